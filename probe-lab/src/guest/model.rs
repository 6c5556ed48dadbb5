//! The simulated RAPL against itself: what its tasks used, what its packages used, and what the kernel's own
//! powercap driver read from its registers must be one and the same.
//!
//! | figure | is |
//! |---|---|
//! | `m.package_j`, `m.tasks_and_idle_j` | the packages; every task since loading and idle energy |
//! | `m.counter_j`, `m.counted_j` | what the packages' powercap counters moved by, and what the registers should have |
//! | `m.wraps`, `m.true_wraps` | how often the counters began anew, and how often they should have |
//! | `m.burner_w` | a burner's joules over its time on a CPU |
//! | `m.lost_j` | of tasks that found no room in the module's tables |

use std::fs;
use std::thread;
use std::time::Duration;

use super::burn::{Burner, RIVAL};
use super::machine;
use super::measure::{MeasureError, end, start, truth};
use super::report::Findings;
use super::scenario::Model;
use super::truth::Truth;

/// How often the counters are looked at.
const LOOK: Duration = Duration::from_millis(20);
const ZONES: &str = "/sys/class/powercap";

/// A package's powercap counter, followed across its wraps.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Counter {
    path: String,
    range_uj: u64,
    first_uj: u64,
    last_uj: u64,
    wraps: u64,
}

impl Counter {
    fn new(path: String, range_uj: u64, uj: u64) -> Self {
        Self { path, range_uj, first_uj: uj, last_uj: uj, wraps: 0 }
    }

    /// Counts from the last look.
    fn begin(&mut self) {
        (self.first_uj, self.wraps) = (self.last_uj, 0);
    }

    fn next(&mut self, uj: u64) {
        self.wraps += u64::from(uj < self.last_uj);
        self.last_uj = uj;
    }

    fn moved_uj(&self) -> u64 {
        (self.wraps * self.range_uj + self.last_uj).saturating_sub(self.first_uj)
    }
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The zones called `package-N`.
fn counters() -> Vec<Counter> {
    let Ok(zones) = fs::read_dir(ZONES) else { return vec![] };
    let mut found: Vec<_> = zones
        .filter_map(Result::ok)
        .filter_map(|zone| {
            let zone = zone.path().to_str()?.to_owned();
            let name = fs::read_to_string(format!("{zone}/name")).ok()?;
            let path = format!("{zone}/energy_uj");
            let first = name.starts_with("package-").then(|| number(&path))??;
            Some(Counter::new(path, number(&format!("{zone}/max_energy_range_uj"))?, first))
        })
        .collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Carries it out.
///
/// # Errors
/// [`MeasureError`].
pub fn run(model: &Model, found: &mut Findings) -> Result<(), MeasureError> {
    let mut burners = start(&model.loads, RIVAL, Duration::from_millis(model.burn_ms))?;
    let mut counters = counters();
    let before = stand_still(&mut counters)?;
    counters.iter_mut().for_each(Counter::begin);
    burners.iter_mut().try_for_each(Burner::go)?;
    for _ in 0..model.burn_ms / 20 {
        thread::sleep(LOOK);
        look(&mut counters);
    }
    burners.iter_mut().try_for_each(Burner::done)?;
    let after = stand_still(&mut counters)?;
    end(burners)?;
    figures(&model.name, &before, &after, &counters, found);
    Ok(())
}

/// Counters and truth of one instant: the registers are held meanwhile.
fn stand_still(counters: &mut [Counter]) -> Result<Truth, MeasureError> {
    machine::set_parameter("stuck", "1")?;
    // An update may be in progress on another CPU.
    thread::sleep(LOOK);
    look(counters);
    let truth = truth()?;
    machine::set_parameter("stuck", "0")?;
    Ok(truth)
}

fn look(counters: &mut [Counter]) {
    for counter in counters {
        if let Some(uj) = number(&counter.path) {
            counter.next(uj);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures of seconds, far below 53 bits")]
fn figures(name: &str, before: &Truth, after: &Truth, counters: &[Counter], found: &mut Findings) {
    let mut put = |figure: &str, value: f64| found.figure(format!("{name}.{figure}"), value);
    let joules = |pj: u64| pj as f64 / 1e12;
    let package = |t: &Truth| t.packages.values().map(|p| p.pj).sum::<u64>();
    let idle = after.packages.values().map(|p| p.idle_pj).sum::<u64>();
    let lost = after.cpus.values().map(|c| c.lost_pj).sum::<u64>();
    let burner = after.usage(|c| c.ends_with(RIVAL)).since(before.usage(|c| c.ends_with(RIVAL)));
    let shown = |t: &Truth| t.packages.values().map(|p| p.shown_pj).sum::<u64>();
    let drawn = shown(after).saturating_sub(shown(before));
    put("package_j", joules(package(after)));
    put("tasks_and_idle_j", joules(after.usage(|_| true).pj + lost + idle));
    put("lost_j", joules(lost));
    put("packages", after.packages.len() as f64);
    put("zones", counters.len() as f64);
    put("counter_j", counters.iter().map(Counter::moved_uj).sum::<u64>() as f64 / 1e6);
    put("counted_j", joules(drawn));
    put("wraps", counters.iter().map(|c| c.wraps).sum::<u64>() as f64);
    if burner.ns > 0 {
        put("burner_w", burner.pj as f64 / burner.ns as f64 / 1e3);
    }
    if let Some(wraps) = counters.first().and_then(|c| (drawn / 1_000_000).checked_div(c.range_uj))
    {
        put("true_wraps", wraps as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_followed_across_its_wraps() {
        let mut counter = Counter::new("x".into(), 1000, 700);
        counter.next(900);
        counter.begin();
        for uj in [950, 20, 20, 990, 5] {
            counter.next(uj);
        }
        assert_eq!((counter.wraps, counter.moved_uj()), (2, 1105));
    }

    #[test]
    fn tasks_and_idle_make_the_package() {
        let text = "simrapl 1 t_ns 4\n\
            package 0 pj 3000000000000 active_pj 2000000000000 idle_pj 1000000000000 dram_pj 0 dram_idle_pj 0 cores_pj 0 graphics_pj 0 shown_pj 3000000000000\n\
            process 7 ns 200000000 pj 2000000000000 tasks 1 comm burn-10-oth\n";
        let after = Truth::parse(text).unwrap();
        let mut found = Findings::default();
        figures(
            "m",
            &Truth::default(),
            &after,
            &[Counter::new("x".into(), 1_000_000, 5)],
            &mut found,
        );
        let get = |n: &str| found.figures[n];
        assert!((get("m.package_j") - 3.0).abs() < 1e-9);
        assert!((get("m.tasks_and_idle_j") - 3.0).abs() < 1e-9);
        assert!((get("m.burner_w") - 10.0).abs() < 1e-9);
        assert!((get("m.true_wraps") - 3.0).abs() < 1e-9);
    }
}
