//! The one real counter every x86 machine has: `perf:msr/tsc/`, opened through the same path as RAPL.
//! Needs CAP_PERFMON and the PMU `msr`; where either is missing the test says so and ends.

use std::os::fd::{AsFd, AsRawFd};

use wattprobe::roots::Roots;
use wattprobe::source::{OpenError, PerfEvent, Range, Reading, SourceError, SourceSpec, select};
use wattprobe::topology::Topology;

/// The counters of all packages, or `None` where this machine cannot open them.
fn tsc() -> Option<Vec<PerfEvent>> {
    let roots = Roots::default();
    let topology = Topology::read(&roots).expect("sysfs is mounted");
    let spec: SourceSpec = "perf:msr/tsc/,scale=1e-9".parse().expect("a source");
    let selection = match select(&roots, &topology, &[spec]) {
        Ok(selection) => selection,
        Err(SourceError::Open(OpenError::Permission { .. }) | SourceError::NoPmu { .. }) => {
            eprintln!("not run: no CAP_PERFMON or no PMU msr");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!(selection.domains.len(), topology.packages.len());
    let events = selection.domains.into_iter().map(|domain| {
        assert_eq!(domain.range, Range::Bits(64));
        assert_eq!((domain.idle_watts, domain.period_ns, domain.quantum_nj), (Some(0.0), 0, 1));
        match domain.reading {
            Reading::Kernel(event) => event,
            other => panic!("{other:?}"),
        }
    });
    Some(events.collect())
}

#[test]
fn the_time_stamp_counter_opens_and_only_moves_forward() {
    let Some(events) = tsc() else { return };
    let mut counter = events[0].open().unwrap();
    assert!(counter.as_fd().as_raw_fd() > 2);
    let reads: Vec<u64> = (0..1000).map(|_| counter.read().unwrap()).collect();
    assert!(reads.windows(2).all(|w| w[0] < w[1]));
    // 999 system calls take at least 20 µs and less than a minute at any clock from 1 to 6 GHz.
    let counts = reads[999] - reads[0];
    assert!((20_000..360_000_000_000).contains(&counts), "{counts}");
}

#[test]
fn an_event_on_a_cpu_that_does_not_exist_is_a_typed_error() {
    let Some(mut events) = tsc() else { return };
    events[0].cpu = 8000;
    let error = events[0].open().unwrap_err();
    let typed = matches!(
        error,
        OpenError::Invalid { cpu: 8000, .. } | OpenError::Unsupported { cpu: 8000, .. }
    );
    assert!(typed, "{error}");
}
