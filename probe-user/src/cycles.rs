//! The counters of the CPUs' cycles, for the weight `cycles`: a core that runs slower does less in its time.
//!
//! It must not know what is done with them. Facility: perf_event_open(2), `PERF_COUNT_HW_CPU_CYCLES`, pinned, on each CPU;
//! it takes a PMU, which most virtual machines do not have. Time is what there is without (any kernel).

use crate::{
    source::{OpenError, Opener, PerfEvent},
    topology::Topology,
};

/// What is known of this machine's cycles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cycles {
    /// The counter of each online CPU.
    Counted(Vec<PerfEvent>),
    /// One of them cannot be had: why, and after a semicolon the remedy.
    Unknown(String),
}

impl Cycles {
    /// Tries the counter of every online CPU.
    #[must_use]
    pub fn read(topology: &Topology, opener: Opener<'_>) -> Self {
        let mut events = Vec::new();
        for (package, of) in topology.packages.iter().enumerate() {
            events.extend(of.cpus.iter().map(|cpu| event(*cpu, package)));
        }
        match events.iter().try_for_each(opener) {
            Ok(()) => Self::Counted(events),
            Err(OpenError::Unsupported { cpu, .. }) => Self::Unknown(format!(
                "CPU {cpu} counts no cycles, it has no PMU that the kernel can use; in a virtual machine have the host \
                 give it one, or use --weight time"
            )),
            Err(error) => Self::Unknown(error.to_string()),
        }
    }

    /// The counters, for the kernel side.
    #[must_use]
    pub fn counters(&self) -> &[PerfEvent] {
        match self {
            Self::Counted(events) => events,
            Self::Unknown(_) => &[],
        }
    }
}

/// `PERF_TYPE_HARDWARE`, whose first is `PERF_COUNT_HW_CPU_CYCLES`.
fn event(cpu: u32, package: usize) -> PerfEvent {
    let (pmu, event) = ("cpu".to_owned(), "cycles".to_owned());
    PerfEvent { pmu, event, type_: 0, config: [0; 4], cpu, package, named: true }
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
        assert_eq!(asked.into_inner(), [(0, 0, 0), (1, 0, 0), (2, 0, 0)]);
        let packages: Vec<_> = cycles.counters().iter().map(|event| event.package).collect();
        assert_eq!(packages, [0, 0, 1]);
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
        assert_eq!(cycles.counters(), []);
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
