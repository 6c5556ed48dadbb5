//! The counters of the CPUs' cycles, for the weight `cycles`: a core that runs slower does less in its time. And of misses of the
//! last cache level, which memory is there for.
//!
//! It must not know what is done with them. Facility: perf_event_open(2), `PERF_COUNT_HW_CPU_CYCLES` and
//! `PERF_COUNT_HW_CACHE_MISSES`, pinned, on each CPU; it takes a PMU, which most virtual machines do not have. Time is what
//! there is without (any kernel).

use crate::{
    source::{OpenError, Opener, PerfEvent},
    topology::{Package, Topology},
};

/// The counters of the online CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuEvents {
    /// Of cycles.
    pub cycles: Vec<PerfEvent>,
    /// Of misses of the last cache level; none where a CPU has no counter for them.
    pub misses: Vec<PerfEvent>,
}

/// What is known of this machine's cycles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cycles {
    /// Every online CPU counts them.
    Counted(CpuEvents),
    /// One of them cannot be had: why, and after a semicolon the remedy.
    Unknown(String),
}

impl Cycles {
    /// Tries the counter of every online CPU.
    #[must_use]
    pub fn read(topology: &Topology, opener: Opener<'_>) -> Self {
        let all = |config| -> Vec<PerfEvent> {
            let packages = topology.packages.iter().enumerate();
            let of = |(package, of): (usize, &Package)| {
                of.cpus.iter().map(|cpu| event(config, *cpu, package)).collect::<Vec<_>>()
            };
            packages.flat_map(of).collect()
        };
        let (cycles, mut misses) = (all(CYCLES), all(MISSES));
        match cycles.iter().try_for_each(opener) {
            Ok(()) => {
                if misses.iter().try_for_each(opener).is_err() {
                    misses.clear();
                }
                Self::Counted(CpuEvents { cycles, misses })
            }
            Err(OpenError::Unsupported { cpu, .. }) => Self::Unknown(format!(
                "CPU {cpu} counts no cycles, it has no PMU that the kernel can use; in a virtual machine have the host \
                 give it one, or use --weight time"
            )),
            Err(error) => Self::Unknown(error.to_string()),
        }
    }

    /// The counters, for the kernel side.
    #[must_use]
    pub fn counters(&self) -> CpuEvents {
        match self {
            Self::Counted(events) => events.clone(),
            Self::Unknown(_) => CpuEvents::default(),
        }
    }
}

/// `PERF_COUNT_HW_CPU_CYCLES` and `PERF_COUNT_HW_CACHE_MISSES`.
const CYCLES: u64 = 0;
const MISSES: u64 = 3;

/// One of `PERF_TYPE_HARDWARE`.
fn event(config: u64, cpu: u32, package: usize) -> PerfEvent {
    let event = if config == CYCLES { "cycles" } else { "cache-misses" };
    let (pmu, event) = ("cpu".to_owned(), event.to_owned());
    PerfEvent { pmu, event, type_: 0, config: [config, 0, 0, 0], cpu, package, named: true }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, io};

    use super::*;
    use crate::source::testing::Tree;

    fn of(cpus: &[u32], opener: Opener<'_>) -> Cycles {
        Cycles::read(&Tree::new().cpus(cpus).topology(), opener)
    }

    #[test]
    fn every_online_cpu_is_asked_for_its_own_counter() {
        let asked = RefCell::new(Vec::new());
        let opener = |event: &PerfEvent| {
            asked.borrow_mut().push((event.cpu, event.type_, event.config[0]));
            Ok(())
        };
        let cycles = of(&[0, 0, 1], &opener);
        let (cycles_of, misses_of) =
            ([0, 1, 2].map(|cpu| (cpu, 0, 0)), [0, 1, 2].map(|cpu| (cpu, 0, 3)));
        assert_eq!(asked.into_inner(), [cycles_of, misses_of].concat());
        let CpuEvents { cycles, misses } = cycles.counters();
        let packages = |of: &[PerfEvent]| of.iter().map(|event| event.package).collect::<Vec<_>>();
        assert_eq!((packages(&cycles), packages(&misses)), (vec![0, 0, 1], vec![0, 0, 1]));
    }

    #[test]
    fn where_one_cpu_counts_no_misses_none_does_and_cycles_are_counted_all_the_same() {
        let opener = |event: &PerfEvent| {
            let (pmu, name, cpu) = (event.pmu.clone(), event.event.clone(), event.cpu);
            match (event.config[0], cpu) {
                (3, 1) => Err(OpenError::Taken { pmu, event: name, cpu }),
                _ => Ok(()),
            }
        };
        let CpuEvents { cycles, misses } = of(&[0, 0], &opener).counters();
        assert_eq!((cycles.len(), misses.len()), (2, 0));
    }

    #[test]
    fn a_cpu_without_a_counter_is_named_with_the_remedy() {
        let opener = |event: &PerfEvent| {
            let (pmu, name, cpu) = (event.pmu.clone(), event.event.clone(), event.cpu);
            let source = io::Error::from_raw_os_error(libc::ENOENT);
            if cpu == 0 {
                return Ok(());
            }
            Err(OpenError::Unsupported { pmu, event: name, cpu, source })
        };
        let cycles = of(&[0, 0], &opener);
        assert_eq!(cycles.counters(), CpuEvents::default());
        let Cycles::Unknown(why) = cycles else { panic!("known") };
        let (what, remedy) = why.split_once("; ").unwrap();
        assert!(
            what.contains("CPU 1 counts no cycles") && remedy.contains("--weight time"),
            "{why}"
        );
    }

    #[test]
    fn a_counter_that_may_not_be_opened_is_told_as_such() {
        let opener = |event: &PerfEvent| {
            let (pmu, name, cpu) = (event.pmu.clone(), event.event.clone(), event.cpu);
            Err(OpenError::Permission { pmu, event: name, cpu })
        };
        let Cycles::Unknown(why) = of(&[0], &opener) else { panic!("known") };
        assert!(why.contains("perf:cpu/cycles/") && why.contains("; run as root"), "{why}");
    }
}
