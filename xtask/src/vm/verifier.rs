//! How many instructions the verifier walks in each program, per kernel and kind of hook, against the
//! committed counts: the verifier has a limit, and how near we are to it must not creep up unseen.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
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
    pub(super) fn bless(mut self, seen: &BTreeMap<String, Counts>, file: &Path) -> Result<()> {
        self.kernels.extend(seen.clone());
        let text = serde_json::to_string_pretty(&self)? + "\n";
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// What is wrong with the counts of one kernel.
    pub(super) fn compare(&self, kernel: &str, seen: &Counts) -> Vec<String> {
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
        assert_eq!(reference().compare("6.1", &seen(&json!(1100))), [""; 0]);
        let wrong = reference().compare("6.1", &seen(&json!(1101)));
        assert!(wrong[0].contains("1101 instructions, were 1000"), "{wrong:?}");
        assert_eq!(reference().compare("6.1", &seen(&json!(10))), [""; 0]);
    }

    #[test]
    fn no_count_is_no_pass() {
        for none in [json!(0), json!(null)] {
            assert!(reference().compare("6.1", &seen(&none))[0].contains("0 instructions"));
        }
        assert!(reference().compare("6.1", &Counts::new())[0].contains("not loaded"));
        assert!(reference().compare("6.12", &seen(&json!(5)))[0].contains("--bless"));
        let other = counts(&[json!({"rung": "tp_btf", "program": "tick", "verified_insns": 5})]);
        assert_eq!(reference().compare("6.1", &other).len(), 2);
    }

    #[test]
    fn blessing_one_kernel_leaves_the_others() {
        let dir = tempdir();
        let file = dir.join("verifier.json");
        let new = BTreeMap::from([("6.12".to_owned(), seen(&json!(7)))]);
        reference().bless(&new, &file).unwrap();
        let read = Reference::read(&file).unwrap();
        assert_eq!(read.compare("6.1", &seen(&json!(1000))), [""; 0]);
        assert_eq!(read.compare("6.12", &seen(&json!(7))), [""; 0]);
        fs::remove_dir_all(dir).unwrap();
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
