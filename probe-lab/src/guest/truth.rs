//! What `/proc/simrapl` says: the joules of every process, exactly.
//!
//! The format is described in `probe-lab/simrapl/truth.c`. Energies are picojoules of active power.

use std::collections::BTreeMap;

/// One reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// Nanoseconds since the module was loaded.
    pub t_ns: u64,
    /// By number.
    pub packages: BTreeMap<usize, Package>,
    /// Packages, memory and the rest of the platform.
    pub platform_pj: u64,
    /// By number; those that were ever online.
    pub cpus: BTreeMap<usize, Cpu>,
    /// Every process since loading, those that are gone too.
    pub processes: Vec<Process>,
}

/// A package's energies since loading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// All of it: idle and active.
    pub pj: u64,
    /// Of its tasks.
    pub active_pj: u64,
    /// Idle.
    pub idle_pj: u64,
    /// Its memory: idle and active.
    pub dram_pj: u64,
    /// Of that, idle.
    pub dram_idle_pj: u64,
    /// Its cores, within the package.
    pub cores_pj: u64,
    /// Its graphics, within the package.
    pub graphics_pj: u64,
    /// What its register shows: `pj` at the last update.
    pub shown_pj: u64,
}

/// A CPU's sums since loading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Time with a task.
    pub busy_ns: u64,
    /// Energy of its tasks.
    pub active_pj: u64,
    /// Energy of tasks that the table had no room for.
    pub lost_pj: u64,
}

/// A process's sums since loading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub tgid: u32,
    /// Its main thread's last name.
    pub comm: String,
    /// On-CPU time.
    pub ns: u64,
    /// Energy.
    pub pj: u64,
}

/// A sum over processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// On-CPU time.
    pub ns: u64,
    /// Energy.
    pub pj: u64,
}

/// The kinds of energy, all packages together, pJ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Of tasks.
    pub active: u64,
    /// Of memory, because of tasks.
    pub dram_active: u64,
    /// Of packages, always.
    pub idle: u64,
    /// Of memory, always.
    pub dram_idle: u64,
}

impl Usage {
    /// What was used since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self { ns: self.ns.saturating_sub(earlier.ns), pj: self.pj.saturating_sub(earlier.pj) }
    }
}

/// Why a reading was not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "/proc/simrapl has the line {line:?}, which has no {field}; the guest and simrapl are not of one version"
)]
pub struct Unreadable {
    line: String,
    field: &'static str,
}

/// The fields of one line: a head, then names and values.
struct Line<'a>(&'a str);

impl<'a> Line<'a> {
    fn text(&self, field: &'static str) -> Result<&'a str, Unreadable> {
        let mut words = self.0.split(' ').skip_while(|w| *w != field).skip(1);
        words.next().ok_or_else(|| self.lacks(field))
    }

    fn number(&self, field: &'static str) -> Result<u64, Unreadable> {
        self.text(field)?.parse().map_err(|_| self.lacks(field))
    }

    fn index(&self, field: &'static str) -> Result<usize, Unreadable> {
        self.text(field)?.parse().map_err(|_| self.lacks(field))
    }

    /// The rest of the line: names have blanks.
    fn comm(&self) -> Result<String, Unreadable> {
        self.0.split_once(" comm ").map(|(_, c)| c.to_owned()).ok_or_else(|| self.lacks("comm"))
    }

    fn lacks(&self, field: &'static str) -> Unreadable {
        Unreadable { line: self.0.to_owned(), field }
    }
}

impl Truth {
    /// Reads the text of `/proc/simrapl`.
    ///
    /// # Errors
    /// At the first line that lacks something.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let mut truth = Self::default();
        for text in text.lines() {
            let line = Line(text);
            match text.split(' ').next() {
                Some("simrapl") => truth.t_ns = line.number("t_ns")?,
                Some("platform") => truth.platform_pj = line.number("pj")?,
                Some("package") => {
                    let package = Package {
                        pj: line.number("pj")?,
                        active_pj: line.number("active_pj")?,
                        idle_pj: line.number("idle_pj")?,
                        dram_pj: line.number("dram_pj")?,
                        dram_idle_pj: line.number("dram_idle_pj")?,
                        cores_pj: line.number("cores_pj")?,
                        graphics_pj: line.number("graphics_pj")?,
                        shown_pj: line.number("shown_pj")?,
                    };
                    truth.packages.insert(line.index("package")?, package);
                }
                Some("cpu") => {
                    let cpu = Cpu {
                        busy_ns: line.number("busy_ns")?,
                        active_pj: line.number("active_pj")?,
                        lost_pj: line.number("lost_pj")?,
                    };
                    truth.cpus.insert(line.index("cpu")?, cpu);
                }
                Some("process") => truth.processes.push(Process {
                    tgid: u32::try_from(line.number("process")?)
                        .map_err(|_| line.lacks("process"))?,
                    comm: line.comm()?,
                    ns: line.number("ns")?,
                    pj: line.number("pj")?,
                }),
                _ => {}
            }
        }
        Ok(truth)
    }

    /// What all processes used whose name satisfies `is`.
    pub fn usage(&self, is: impl Fn(&str) -> bool) -> Usage {
        self.processes
            .iter()
            .filter(|p| is(&p.comm))
            .fold(Usage::default(), |sum, p| Usage { ns: sum.ns + p.ns, pj: sum.pj + p.pj })
    }

    /// How many processes there have been whose name satisfies `is`.
    pub fn count(&self, is: impl Fn(&str) -> bool) -> u64 {
        self.processes.iter().filter(|p| is(&p.comm)).count() as u64
    }

    /// Time with a task, all CPUs together.
    #[must_use]
    pub fn busy_ns(&self) -> u64 {
        self.cpus.values().map(|c| c.busy_ns).sum()
    }

    /// Sums over the packages: their tasks' energy, their memory's because of those, and both idle energies.
    #[must_use]
    pub fn parts_pj(&self) -> Parts {
        self.packages.values().fold(Parts::default(), |sum, p| Parts {
            active: sum.active + p.active_pj,
            dram_active: sum.dram_active + p.dram_pj.saturating_sub(p.dram_idle_pj),
            idle: sum.idle + p.idle_pj,
            dram_idle: sum.dram_idle + p.dram_idle_pj,
        })
    }

    /// Energy of a domain as the probe names it (`package-0`, `dram-1`, `psys`); none if it has no such.
    #[must_use]
    pub fn domain_pj(&self, name: &str) -> Option<u64> {
        if name == "psys" {
            return Some(self.platform_pj);
        }
        let (kind, number) = name.split_once('-')?;
        let package = self.packages.get(&number.parse().ok()?)?;
        match kind {
            "package" => Some(package.pj),
            "dram" => Some(package.dram_pj),
            "core" => Some(package.cores_pj),
            "igpu" => Some(package.graphics_pj),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
simrapl 1 t_ns 4000
package 0 pj 90 active_pj 50 idle_pj 40 dram_pj 18 dram_idle_pj 8 cores_pj 40 graphics_pj 2 shown_pj 88
package 1 pj 45 active_pj 5 idle_pj 40 dram_pj 9 dram_idle_pj 8 cores_pj 4 graphics_pj 2 shown_pj 45
platform pj 200
cpu 0 package 0 core 0 busy_ns 100 active_pj 50 lost_ns 0 lost_pj 0
cpu 1 package 1 core 0 busy_ns 11 active_pj 5 lost_ns 1 lost_pj 1
process 7 ns 90 pj 45 tasks 2 comm burn-10-tgt
task 7 tgid 7 ns 80 pj 40 runs 3 comm burn-10-tgt
process 8 ns 20 pj 9 tasks 1 comm a pj 5 b
";

    #[test]
    fn every_line_ends_where_it_belongs() {
        let truth = Truth::parse(TEXT).unwrap();
        assert_eq!(truth.t_ns, 4000);
        assert_eq!(truth.busy_ns(), 111);
        assert_eq!(truth.cpus[&1], Cpu { busy_ns: 11, active_pj: 5, lost_pj: 1 });
        assert_eq!(truth.usage(|c| c.ends_with("-tgt")), Usage { ns: 90, pj: 45 });
        assert_eq!(truth.count(|c| c.ends_with("-tgt")), 1);
        assert_eq!(truth.usage(|_| true), Usage { ns: 110, pj: 54 });
        assert_eq!(truth.processes[1].comm, "a pj 5 b");
    }

    #[test]
    fn domains_are_found_by_the_probes_names() {
        let truth = Truth::parse(TEXT).unwrap();
        let all = ["package-1", "dram-0", "core-0", "igpu-1", "psys", "dram-7", "x"];
        let found: Vec<_> = all.iter().map(|n| truth.domain_pj(n)).collect();
        assert_eq!(found, [Some(45), Some(18), Some(40), Some(2), Some(200), None, None]);
    }

    #[test]
    fn parts_are_summed_over_packages() {
        let parts = Truth::parse(TEXT).unwrap().parts_pj();
        assert_eq!(parts, Parts { active: 55, dram_active: 11, idle: 80, dram_idle: 16 });
    }

    #[test]
    fn a_line_without_its_number_is_named() {
        let error = Truth::parse("package 0 pj x active_pj 1").unwrap_err();
        assert_eq!(error.field, "pj");
        assert!(error.to_string().contains("package 0 pj x"), "{error}");
    }

    #[test]
    fn usage_since_an_earlier_reading_is_a_difference() {
        let (a, b) = (Usage { ns: 5, pj: 7 }, Usage { ns: 15, pj: 27 });
        assert_eq!(b.since(a), Usage { ns: 10, pj: 20 });
    }
}
