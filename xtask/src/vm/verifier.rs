//! How many instructions the verifier walks in each program, per kernel and kind of hook, against the
//! committed counts: the verifier has a limit, and how near we are to it must not creep up unseen.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Growth that needs a look, as a part of the committed count.
const GROWTH: f64 = 0.1;

/// Instructions by program, by kind of hook.
pub(super) type Counts = BTreeMap<String, BTreeMap<String, u64>>;

/// Counts by kernel; the committed file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Reference {
    kernels: BTreeMap<String, Counts>,
}

/// Where it lies.
pub(super) fn file(root: &Path) -> PathBuf {
    root.join("probe-ebpf/verifier.json")
}

impl Reference {
    /// The committed counts; none where there is no file yet.
    pub(super) fn read(file: &Path) -> Result<Self> {
        if !file.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(file)?;
        serde_json::from_str(&text).with_context(|| format!("cannot read {}", file.display()))
    }

    /// Takes over the counts of the kernels that ran; the others stay.
    pub(super) fn bless(
        mut self,
        seen: &BTreeMap<String, Counts>,
        failed: &[String],
        file: &Path,
    ) -> Result<()> {
        ensure!(failed.is_empty(), "machines failed; nothing was taken over");
        ensure!(!seen.is_empty(), "nothing was counted; add `--scenario verify`");
        let holes: Vec<_> =
            seen.iter().flat_map(|(kernel, counts)| holes(kernel, counts)).collect();
        ensure!(holes.is_empty(), "{}; nothing was taken over", holes.join("; "));
        for line in self.changes(seen) {
            println!("blessed: {line}");
        }
        self.kernels.extend(seen.clone());
        let text = serde_json::to_string_pretty(&self)? + "\n";
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Counts that change by more than [`GROWTH`], either way.
    fn changes(&self, seen: &BTreeMap<String, Counts>) -> Vec<String> {
        let mut lines = Vec::new();
        for (kernel, counts) in seen {
            for (rung, programs) in counts {
                for (program, new) in programs {
                    let old = self.kernels.get(kernel).and_then(|c| c.get(rung)?.get(program));
                    if let Some(old) =
                        old.filter(|old| exceeds(**old, *new) || exceeds(*new, **old))
                    {
                        lines.push(format!("Linux {kernel} {rung} {program}: {old} -> {new}"));
                    }
                }
            }
        }
        lines
    }

    /// What is wrong with the counts of one kernel, which calls itself `release`.
    pub(super) fn compare(&self, kernel: &str, release: &str, seen: &Counts) -> Vec<String> {
        let wrong = self.wrong(kernel, seen);
        wrong.into_iter().map(|line| format!("Linux {release}: {line}")).collect()
    }

    fn wrong(&self, kernel: &str, seen: &Counts) -> Vec<String> {
        let Some(reference) = self.kernels.get(kernel) else {
            return vec![format!(
                "no committed counts; run `cargo xtask vm --kernel {kernel} --bless`"
            )];
        };
        let mut wrong = Vec::new();
        for rung in keys(reference, seen) {
            let (old, new) = (reference.get(rung), seen.get(rung));
            let empty = BTreeMap::new();
            let (old, new) = (old.unwrap_or(&empty), new.unwrap_or(&empty));
            for program in keys(old, new) {
                match (old.get(program), new.get(program)) {
                    (_, Some(0)) => wrong.push(format!("{rung} {program}: 0 instructions counted")),
                    (Some(old), Some(new)) if exceeds(*old, *new) => wrong.push(format!(
                        "{rung} {program}: {new} instructions, were {old}; make it smaller, or `vm --bless`"
                    )),
                    (Some(_), Some(_)) => {}
                    (None, _) => wrong.push(format!("{rung} {program}: not in the committed counts; `vm --bless`")),
                    (_, None) => wrong.push(format!("{rung} {program}: not loaded")),
                }
            }
        }
        wrong
    }
}

fn keys<'a, V>(a: &'a BTreeMap<String, V>, b: &'a BTreeMap<String, V>) -> BTreeSet<&'a String> {
    a.keys().chain(b.keys()).collect()
}

#[expect(clippy::cast_precision_loss, reason = "the kernel's limit is a million instructions")]
fn exceeds(old: u64, new: u64) -> bool {
    new as f64 > old as f64 * (1.0 + GROWTH)
}

/// Why these counts are no reference: there are none, one is 0, or a kind of hook lacks a program that
/// another has. A raw hook's twin has a name of its own.
fn holes(kernel: &str, counts: &Counts) -> Vec<String> {
    let plain = |program: &String| program.trim_end_matches("_raw").to_owned();
    let all: BTreeSet<String> = counts.values().flat_map(BTreeMap::keys).map(plain).collect();
    if all.is_empty() {
        return vec![format!("Linux {kernel}: no program was counted")];
    }
    let mut holes = Vec::new();
    for (rung, programs) in counts {
        let here: BTreeSet<String> = programs.keys().map(plain).collect();
        let missing = all.difference(&here).map(|p| format!("Linux {kernel} {rung}: no {p}"));
        holes.extend(missing);
        let zero = programs.iter().filter(|(_, count)| **count == 0);
        holes.extend(zero.map(|(p, _)| format!("Linux {kernel} {rung} {p}: 0 instructions")));
    }
    holes
}

/// The counts in a guest's lines. A program whose count the kernel does not tell counts 0, which fails.
pub(super) fn counts(lines: &[Value]) -> Counts {
    let mut counts = Counts::new();
    for line in lines {
        if let (Some(rung), Some(program)) = (line["rung"].as_str(), line["program"].as_str()) {
            let instructions = line["verified_insns"].as_u64().unwrap_or(0);
            counts.entry(rung.to_owned()).or_default().insert(program.to_owned(), instructions);
        }
    }
    counts
}

/// Programs down, kernels and hooks across.
pub(super) fn table(seen: &BTreeMap<String, Counts>) -> Vec<Vec<String>> {
    let columns: Vec<(&String, &String)> = seen
        .iter()
        .flat_map(|(kernel, counts)| counts.keys().map(move |rung| (kernel, rung)))
        .collect();
    let programs: BTreeSet<&String> =
        seen.values().flat_map(|counts| counts.values().flat_map(BTreeMap::keys)).collect();
    let head = columns.iter().map(|(kernel, rung)| format!("{kernel} {rung}"));
    let mut rows = vec![std::iter::once("program".to_owned()).chain(head).collect::<Vec<_>>()];
    for program in programs {
        let cell = |(kernel, rung): &(&String, &String)| {
            let count = seen[*kernel][*rung].get(program);
            count.map_or_else(String::new, u64::to_string)
        };
        rows.push(std::iter::once(program.clone()).chain(columns.iter().map(cell)).collect());
    }
    rows
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(instructions: &Value) -> Counts {
        counts(&[json!({"rung": "raw_tp", "program": "tick", "verified_insns": instructions})])
    }

    fn reference() -> Reference {
        Reference { kernels: BTreeMap::from([("6.1".to_owned(), seen(&json!(1000)))]) }
    }

    #[test]
    fn a_program_may_grow_by_a_tenth_and_no_more() {
        assert_eq!(reference().compare("6.1", "6.1.9", &seen(&json!(1100))), [""; 0]);
        let wrong = reference().compare("6.1", "6.1.9", &seen(&json!(1101)));
        assert!(wrong[0].starts_with("Linux 6.1.9: "), "{wrong:?}");
        assert!(wrong[0].contains("1101 instructions, were 1000"), "{wrong:?}");
        assert_eq!(reference().compare("6.1", "6.1.9", &seen(&json!(10))), [""; 0]);
    }

    #[test]
    fn no_count_is_no_pass() {
        for none in [json!(0), json!(null)] {
            assert!(
                reference().compare("6.1", "6.1.9", &seen(&none))[0].contains("0 instructions")
            );
        }
        assert!(reference().compare("6.1", "6.1.9", &Counts::new())[0].contains("not loaded"));
        assert!(reference().compare("6.12", "6.12.9", &seen(&json!(5)))[0].contains("--bless"));
        let other = counts(&[json!({"rung": "tp_btf", "program": "tick", "verified_insns": 5})]);
        assert_eq!(reference().compare("6.1", "6.1.9", &other).len(), 2);
    }

    #[test]
    fn blessing_one_kernel_leaves_the_others() {
        let dir = tempdir();
        let file = dir.join("verifier.json");
        let new = BTreeMap::from([("6.12".to_owned(), seen(&json!(7)))]);
        reference().bless(&new, &[], &file).unwrap();
        let read = Reference::read(&file).unwrap();
        assert_eq!(read.compare("6.1", "6.1.9", &seen(&json!(1000))), [""; 0]);
        assert_eq!(read.compare("6.12", "6.12.9", &seen(&json!(7))), [""; 0]);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_is_no_whole_count_is_not_blessed() {
        let dir = std::env::temp_dir().join("wattprobe-verifier-refused");
        let line = |rung: &str, program: &str, n: Value| json!({"rung": rung, "program": program, "verified_insns": n});
        let refused = |lines: &[Value], failed: &[String]| {
            let new = BTreeMap::from([("6.12".to_owned(), counts(lines))]);
            reference().bless(&new, failed, &dir.join("none")).unwrap_err().to_string()
        };
        assert!(refused(&[], &[]).contains("no program"));
        assert!(
            refused(&[line("raw_tp", "tick", json!(null))], &[]).contains("tick: 0 instructions")
        );
        let uneven = [
            line("raw_tp", "switch_raw", json!(5)),
            line("tp_btf", "switch", json!(5)),
            line("tp_btf", "tick", json!(5)),
        ];
        assert!(refused(&uneven, &[]).contains("raw_tp: no tick"));
        assert!(refused(&uneven[..2], &["vm::x".to_owned()]).contains("machines failed"));
        let none = reference().bless(&BTreeMap::new(), &[], &dir.join("none"));
        assert!(none.unwrap_err().to_string().contains("nothing was counted"));
        assert_eq!(holes("6.12", &counts(&uneven[..2])), [""; 0]);
    }

    #[test]
    fn a_blessing_tells_what_changed_by_more_than_a_tenth() {
        let changes =
            |n: u64| reference().changes(&BTreeMap::from([("6.1".to_owned(), seen(&json!(n)))]));
        assert_eq!(changes(1101), ["Linux 6.1 raw_tp tick: 1000 -> 1101"]);
        assert_eq!(changes(900), ["Linux 6.1 raw_tp tick: 1000 -> 900"]);
        assert_eq!(changes(1050), [""; 0]);
    }

    fn tempdir() -> PathBuf {
        let dir = std::env::temp_dir().join(format!("wattprobe-verifier-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn the_table_has_a_column_for_each_kernel_and_hook() {
        let all = BTreeMap::from([("6.1".to_owned(), seen(&json!(3)))]);
        assert_eq!(table(&all), [["program", "6.1 raw_tp"], ["tick", "3"]]);
    }
}
