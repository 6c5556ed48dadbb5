//! What a run of the probe came to, in numbers: its summary beside the truth.
//!
//! For a run called `perf`:
//!
//! | figure | is |
//! |---|---|
//! | `perf.target_j`, `perf.true_target_j` | charged to the target; what it drew, with its part of memory's active power where memory has registers |
//! | `perf.true_target_with_idle_j` | that, and idle power for its part of the CPUs' time; true where all CPUs were busy |
//! | `perf.target_children` | processes that the target has started and that ran |
//! | `perf.target_cpu_s`, `perf.true_target_cpu_s` | its on-CPU time |
//! | `perf.measured_j` | the domains that the probe sums, from attachment to end |
//! | `perf.true_j` | packages, and memory where it has registers, whatever the probe sums |
//! | `perf.DOMAIN.measured_j`, `.true_j`, `.additive`, `.void_windows`, `.windows` | one domain |
//! | `perf.void_windows`, `perf.domains` | all domains together; how many |
//! | `perf.voids` | which windows were void, and why (a text) |
//! | `perf.flag:NAME` | 1 where the summary has the flag, 0 where the scenario asks for it and it has not |
//! | `perf.kernel_books_compared` | domains whose books in the kernel could be compared |
//! | `perf.kernel_books_agree` | 1 unless one of those differs; none where none was compared |
//! | `perf.stat.EVENT_j` | what `perf stat` counted |

use std::collections::BTreeMap;

use serde::Deserialize;

use super::burn;
use super::report::Findings;
use super::truth::{Package, Truth};

/// The parts of the probe's summary that are looked at.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Summary {
    domains: BTreeMap<String, Domain>,
    targets: BTreeMap<String, Target>,
    flags: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Domain {
    source: String,
    additive: bool,
    measured_nj: u64,
    void_windows: u64,
    void_causes: BTreeMap<String, u64>,
    windows: u64,
    kernel_books: Option<Books>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Books {
    agree: bool,
    windows: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Target {
    requests_nj: u64,
    background_nj: u64,
    cpu_ns: u64,
}

/// The truth at the instants of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truths {
    /// The probe has attached, nothing burns yet.
    pub attached: Truth,
    /// The probe has ended.
    pub ended: Truth,
    /// Memory has energy registers: its joules belong to the machine's.
    pub memory: bool,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "joules of a run of seconds have far fewer than 53 bits of pJ"
)]
fn joules(pj: u64) -> f64 {
    pj as f64 / 1e12
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nanoseconds of a run of seconds have far fewer than 53 bits"
)]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn of_nano(nj: u64) -> f64 {
    joules(nj.saturating_mul(1000))
}

impl Summary {
    /// Reads the file of `--summary`.
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Adds what the run came to.
    pub fn figures<'a>(
        &self,
        prefix: &str,
        truths: &Truths,
        asked: impl Iterator<Item = &'a str>,
        into: &mut Findings,
    ) {
        let mut put = |name: &str, value: f64| into.figure(format!("{prefix}.{name}"), value);
        self.domains(truths, &mut put);
        self.targets(truths, &mut put);
        for flag in asked {
            put(&format!("flag:{flag}"), 0.0);
        }
        for flag in &self.flags {
            put(&format!("flag:{flag}"), 1.0);
        }
        let sources: Vec<_> =
            self.domains.iter().map(|(name, d)| format!("{name}={}", d.source)).collect();
        into.text(format!("{prefix}.sources"), sources.join(" "));
        into.text(format!("{prefix}.flags"), self.flags.join(" "));
        let voids = self.domains.iter().flat_map(|(name, domain)| {
            domain.void_causes.iter().map(move |(why, n)| format!("{name} {why} {n}"))
        });
        let voids: Vec<_> = voids.collect();
        if !voids.is_empty() {
            into.text(format!("{prefix}.voids"), voids.join(", "));
        }
    }

    fn domains(&self, truths: &Truths, put: &mut impl FnMut(&str, f64)) {
        let (mut measured, mut void) = (0, 0);
        let (mut compared, mut agree) = (0, true);
        for (name, domain) in &self.domains {
            let truth = truths.domain_pj(name);
            put(&format!("{name}.measured_j"), of_nano(domain.measured_nj));
            put(&format!("{name}.additive"), f64::from(u8::from(domain.additive)));
            put(&format!("{name}.void_windows"), count(domain.void_windows));
            put(&format!("{name}.windows"), count(domain.windows));
            if let Some(pj) = truth {
                put(&format!("{name}.true_j"), joules(pj));
            }
            void += domain.void_windows;
            // Books without a window were not compared either.
            if let Some(books) = domain.kernel_books.as_ref().filter(|b| b.windows > 0) {
                compared += 1;
                agree &= books.agree;
            }
            if domain.additive {
                measured += domain.measured_nj;
            }
        }
        put("measured_j", of_nano(measured));
        put("true_j", joules(truths.machine_pj()));
        put("void_windows", count(void));
        put("domains", count(self.domains.len() as u64));
        put("kernel_books_compared", count(compared));
        if compared > 0 {
            put("kernel_books_agree", f64::from(u8::from(agree)));
        }
    }

    fn targets(&self, truths: &Truths, put: &mut impl FnMut(&str, f64)) {
        let (nj, ns) = self
            .targets
            .values()
            .fold((0, 0), |(nj, ns), t| (nj + t.requests_nj + t.background_nj, ns + t.cpu_ns));
        let is_target = |comm: &str| comm.ends_with(burn::TARGET);
        let whole = truths.ended.usage(is_target).since(truths.attached.usage(is_target));
        let own = joules(whole.pj) * truths.memory_factor();
        put("target_j", of_nano(nj));
        put("target_cpu_s", seconds(ns));
        put("true_target_j", own);
        put("true_target_cpu_s", seconds(whole.ns));
        let born = truths.ended.count(is_target).saturating_sub(truths.attached.count(is_target));
        put("target_children", count(born));
        put(
            "true_target_with_idle_j",
            own + truths.idle_watts() * seconds(whole.ns) / truths.cpus(),
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run of seconds")]
fn count(n: u64) -> f64 {
    n as f64
}

impl Truths {
    /// Energy of a domain while the probe was attached.
    fn domain_pj(&self, name: &str) -> Option<u64> {
        Some(self.ended.domain_pj(name)?.saturating_sub(self.attached.domain_pj(name)?))
    }

    /// Energy of the whole machine, as far as it has registers, while the probe was attached.
    fn machine_pj(&self) -> u64 {
        let memory = |p: &Package| if self.memory { p.dram_pj } else { 0 };
        let sum = |t: &Truth| t.packages.values().map(|p| p.pj + memory(p)).sum::<u64>();
        sum(&self.ended).saturating_sub(sum(&self.attached))
    }

    /// Joules with memory for each joule of a task: memory's active power is a fixed part of the tasks'.
    fn memory_factor(&self) -> f64 {
        if !self.memory {
            return 1.0;
        }
        let (from, to) = (self.attached.parts_pj(), self.ended.parts_pj());
        let active = to.active.saturating_sub(from.active);
        let dram = to.dram_active.saturating_sub(from.dram_active);
        if active == 0 { 1.0 } else { 1.0 + joules(dram) / joules(active) }
    }

    /// Idle power of packages, and of memory where that has registers.
    fn idle_watts(&self) -> f64 {
        let idle = |t: &Truth| {
            let parts = t.parts_pj();
            joules(parts.idle + if self.memory { parts.dram_idle } else { 0 })
        };
        let ns = self.ended.t_ns.saturating_sub(self.attached.t_ns);
        if ns == 0 { 0.0 } else { (idle(&self.ended) - idle(&self.attached)) / seconds(ns) }
    }

    fn cpus(&self) -> f64 {
        count(self.ended.cpus.len().max(1) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::truth::{Cpu, Process};
    use super::*;

    /// A machine after `s` seconds, of which the target ran `own` at 10 W: 5 W idle, 20 % memory.
    fn truth(s: u64, own: u64, other: u64) -> Truth {
        let pj = |w: u64, s: u64| w * s * 1_000_000_000_000;
        let active_pj = pj(10, own + other);
        let package = Package {
            pj: pj(5, s) + active_pj,
            active_pj,
            idle_pj: pj(5, s),
            dram_pj: pj(1, s) + active_pj / 5,
            dram_idle_pj: pj(1, s),
            ..Package::default()
        };
        let process = |comm: &str, s: u64| Process {
            comm: comm.to_owned(),
            ns: s * 1_000_000_000,
            pj: pj(10, s),
            ..Process::default()
        };
        Truth {
            t_ns: s * 1_000_000_000,
            packages: [(0, package)].into(),
            cpus: [(0, Cpu { busy_ns: (own + other) * 1_000_000_000, ..Cpu::default() })].into(),
            processes: vec![process("burn-10-tgt", own), process("burn-10-oth", other)],
            ..Truth::default()
        }
    }

    const SUMMARY: &str = r#"{"domains": {
        "package-0": {"source": "rapl-perf", "additive": true, "measured_nj": 60000000000, "void_windows": 1,
            "void_causes": {"reset": 1}, "windows": 7, "kernel_books": {"agree": true, "windows": 7}},
        "dram-0": {"source": "rapl-perf", "additive": true, "measured_nj": 0, "void_windows": 0, "void_causes": {},
            "windows": 7, "kernel_books": null},
        "core-0": {"source": "rapl-perf", "additive": false, "measured_nj": 5, "void_windows": 0, "void_causes": {},
            "windows": 7, "kernel_books": null}},
        "targets": {"tgt": {"requests_nj": 0, "background_nj": 12000000000, "cpu_ns": 1000000000}},
        "flags": ["idle-unknown"], "schema": 1}"#;

    #[test]
    fn the_summary_and_the_truth_stand_side_by_side() {
        let truths = Truths { attached: truth(10, 1, 1), ended: truth(15, 2, 4), memory: true };
        let mut found = Findings::default();
        let asked = ["idle-unknown", "counter-stuck"].into_iter();
        Summary::parse(SUMMARY).unwrap().figures("p", &truths, asked, &mut found);
        let near = |name: &str, value: f64| {
            let got = found.figures[name];
            assert!((got - value).abs() < 1e-9, "{name} {got}");
        };
        near("p.target_j", 12.0);
        near("p.target_cpu_s", 1.0);
        near("p.target_children", 0.0);
        near("p.true_target_j", 12.0);
        // 1 s on the only CPU, with 6 W idle.
        near("p.true_target_with_idle_j", 18.0);
        near("p.measured_j", 60.0);
        // 5 s of 6 W, and 4 s of 12 W.
        near("p.true_j", 78.0);
        near("p.package-0.true_j", 65.0);
        near("p.package-0.additive", 1.0);
        near("p.core-0.additive", 0.0);
        near("p.void_windows", 1.0);
        near("p.domains", 3.0);
        near("p.kernel_books_compared", 1.0);
        near("p.kernel_books_agree", 1.0);
        near("p.flag:idle-unknown", 1.0);
        near("p.flag:counter-stuck", 0.0);
        assert_eq!(found.texts["p.voids"], "package-0 reset 1");
        assert_eq!(
            found.texts["p.sources"],
            "core-0=rapl-perf dram-0=rapl-perf package-0=rapl-perf"
        );
    }

    #[test]
    fn books_that_disagree_are_seen() {
        let text = SUMMARY.replace("\"agree\": true", "\"agree\": false");
        let mut found = Findings::default();
        let summary = Summary::parse(&text).unwrap();
        summary.figures("p", &Truths::default(), std::iter::empty(), &mut found);
        assert!(found.figures["p.kernel_books_agree"].abs() < 1e-9);
    }

    #[test]
    fn where_no_books_were_compared_none_agree() {
        let books = "{\"agree\": true, \"windows\": 7}";
        for none in ["null", "{\"agree\": true, \"windows\": 0}"] {
            let mut found = Findings::default();
            let summary = Summary::parse(&SUMMARY.replace(books, none)).unwrap();
            summary.figures("p", &Truths::default(), std::iter::empty(), &mut found);
            assert!(found.figures["p.kernel_books_compared"].abs() < 1e-9, "{none}");
            assert!(!found.figures.contains_key("p.kernel_books_agree"), "{none}");
        }
    }
}
