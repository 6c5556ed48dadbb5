//! How well a calibrated idle power is known: one formula, which the simulator's bench states as well.

use crate::source::{Domain, Scope};

/// What a busy CPU may draw of its package, or of what holds the package, W. Fully loaded cores of today's servers draw 4 to
/// 6 W each (360 W of 96 cores, 350 W of 56); the kernel and the probe, which keep a quiet machine busy, seldom load one fully.
const CPU_WATTS: f64 = 5.0;
/// And of memory: the 10 GB/s that one CPU moves, at 0.1 nJ a byte.
const MEMORY_WATTS: f64 = 1.0;

/// What was seen of one domain while nobody was meant to run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Half of the 95 % interval of the mean, by how far the intervals were apart, W.
    pub(super) spread: f64,
    /// What the counter may have been late by at both ends together, J.
    pub(super) ends: f64,
    /// How long it was measured, s.
    pub(super) seconds: f64,
    /// CPUs that were busy on average.
    pub(super) busy_cpus: f64,
    /// What one of them may draw of this domain, W.
    pub(super) watts_per_cpu: f64,
}

/// Half of the 95 % interval of an idle power, W: √(spread² + (ends / seconds)² + (busy CPUs × watts of one)²).
///
/// The last term is what ran during the measurement, the kernel and the probe above all: it is in what was measured, and no
/// spread shows it, since it is the same in every interval.
pub(super) fn idle_error(seen: &Seen) -> f64 {
    let ends = seen.ends / seen.seconds;
    let work = seen.busy_cpus * seen.watts_per_cpu;
    seen.spread.hypot(ends).hypot(work)
}

/// What a busy CPU may draw of a domain, W: nothing of a device, which has users of its own, nor of built-in graphics.
pub(super) fn watts_per_cpu(domain: &Domain) -> f64 {
    match (domain.scope, &domain.name) {
        (Scope::Device, _) => 0.0,
        (_, name) if name.starts_with("igpu-") => 0.0,
        (_, name) if name.starts_with("dram-") => MEMORY_WATTS,
        _ => CPU_WATTS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::model;
    use crate::source::testing::Tree;

    #[test]
    fn spread_ends_and_work_add_in_quadrature() {
        let seen = Seen {
            spread: 0.3,
            ends: 4.0,
            seconds: 10.0,
            busy_cpus: 0.24,
            watts_per_cpu: CPU_WATTS,
        };
        // √(0.09 + 0.16 + 1.44).
        assert!((idle_error(&seen) - 1.3).abs() < 1e-12, "{}", idle_error(&seen));
        let still = Seen { watts_per_cpu: 0.0, ..seen };
        assert!((idle_error(&still) - 0.5).abs() < 1e-12);
        let memory = Seen { spread: 0.0, ends: 0.0, watts_per_cpu: MEMORY_WATTS, ..seen };
        assert!((idle_error(&memory) - 0.24).abs() < 1e-12);
    }

    #[test]
    fn work_of_cpus_is_in_packages_and_memory_and_in_no_device() {
        let tree = Tree::new().cpus(&[0]);
        let some = model::domains(&model::lookup(None), &tree.topology()).remove(0);
        let of = |name: &str, scope| {
            watts_per_cpu(&Domain { name: name.to_owned(), scope, ..some.clone() })
        };
        for name in ["package-0", "package-0-die-1", "core-0", "package-0@rapl-powercap"] {
            assert_eq!(of(name, Scope::Package(0)), 5.0, "{name}");
        }
        assert_eq!(of("dram-1", Scope::Package(1)), 1.0);
        assert_eq!(of("igpu-0", Scope::Package(0)), 0.0);
        assert_eq!(of("gpu-0", Scope::Device), 0.0);
        for name in ["psys", "system", "battery"] {
            assert_eq!(of(name, Scope::Machine), 5.0, "{name}");
        }
    }
}
