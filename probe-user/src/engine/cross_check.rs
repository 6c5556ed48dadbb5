//! Compares two sources that read the same register: the kernel's tick through perf, and powercap beside it
//! (`package-0` and `package-0@rapl-powercap`).
//!
//! Pure. A reading of the second falls between two ticks of the first, so what the first had measured at that
//! instant lies between its sums at those ticks. Over a span the first measured at least `low` and at most
//! `high`, and the second must lie between, but for `SLACK` of the energy, the same doubt once more (the register
//! itself is up to a period old) and a few of its steps. Spans are judged one after the other, so a source that
//! breaks in the middle of a run shows within a second or so of power. Nothing is switched: which source is
//! summed was decided at the start, and a disagreement does not say who is right; it is a flag.
//!
//! A span in which a window of either was void is dropped: its energy is in no sum, and is flagged already.

use probe_ledger::{Book, DomainId};

use super::records::DomainLabel;

/// Flag of a run and of the records while two sources of a domain disagree.
pub const DISAGREE: &str = "rapl-disagree";

/// Relative difference that is allowed, one in so many.
const SLACK: u64 = 50;
/// A span is at least this long, ns, and holds this much energy by one of the two, nJ.
const SPAN_NS: u64 = 1_000_000_000;
const SPAN_NJ: u64 = 1_000_000_000;
/// The doubt at the ends of a span is at most one in so many parts of its energy.
const DOUBT: u64 = 10;

/// Two sources that gave different energies for the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// The domain, by the source that was chosen first.
    pub first: DomainId,
    /// What the other source reads.
    pub twin: DomainId,
    /// The most that the first can have measured, nJ.
    pub first_nj: u64,
    /// What the other measured, nJ.
    pub twin_nj: u64,
    /// In how long, ns.
    pub span_ns: u64,
}

/// All domains that two sources read.
#[derive(Debug, Default)]
pub struct CrossCheck {
    pairs: Vec<Pair>,
    met: Vec<Disagreement>,
    ever: bool,
}

#[derive(Debug)]
struct Pair {
    first: DomainId,
    twin: DomainId,
    step_nj: u64,
    before: Sum,
    now: Sum,
    begin: Option<Point>,
    disagrees: bool,
}

/// What a domain had measured at an instant.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    t: u64,
    nj: u64,
    void: u64,
}

/// Both domains at an instant of the second.
#[derive(Clone, Copy, Debug)]
struct Point {
    t: u64,
    low: u64,
    high: u64,
    twin: u64,
    void: (u64, u64),
}

impl CrossCheck {
    /// Pairs `NAME@SOURCE` with `NAME` where both are RAPL's. `step_nj` is the register's step.
    #[must_use]
    pub fn new(labels: &[DomainLabel], step_nj: u64) -> Self {
        let rapl = |label: &DomainLabel| label.source.starts_with("rapl-");
        let pair = |(twin, label): (usize, &DomainLabel)| {
            let (name, _) = label.name.split_once('@')?;
            let first = labels.iter().position(|l| l.name == name && rapl(l) && rapl(label))?;
            Some(Pair {
                first: DomainId(first),
                twin: DomainId(twin),
                step_nj,
                before: Sum::default(),
                now: Sum::default(),
                begin: None,
                disagrees: false,
            })
        };
        let pairs = labels.iter().enumerate().filter_map(pair).collect();
        Self { pairs, ..Self::default() }
    }

    /// A domain was sampled at `t`: these are its books now.
    pub fn sampled(&mut self, domain: DomainId, t: u64, book: &Book) {
        let sum = Sum { t, nj: book.measured.0, void: book.void_windows };
        for pair in &mut self.pairs {
            if domain == pair.first {
                (pair.before, pair.now) = (pair.now, sum);
            } else if domain == pair.twin
                && let Some(met) = pair.judge(sum)
            {
                self.ever = true;
                self.met.push(met);
            }
        }
    }

    /// Disagreements that began since the last call.
    pub fn met(&mut self) -> Vec<Disagreement> {
        std::mem::take(&mut self.met)
    }

    /// Whether two sources disagreed in the last span that was judged.
    #[must_use]
    pub fn disagrees(&self) -> bool {
        self.pairs.iter().any(|pair| pair.disagrees)
    }

    /// Whether they ever did.
    #[must_use]
    pub fn ever(&self) -> bool {
        self.ever
    }
}

impl Pair {
    fn judge(&mut self, twin: Sum) -> Option<Disagreement> {
        let Self { before, now, .. } = *self;
        if twin.t > now.t || twin.t < before.t || before.t == 0 {
            // The first was not read around this instant.
            return None;
        }
        let void = (now.void, twin.void);
        let point = Point { t: twin.t, low: before.nj, high: now.nj, twin: twin.nj, void };
        let begin = *self.begin.get_or_insert(point);
        if begin.void != void {
            self.begin = Some(point);
            return None;
        }
        let low = point.low.saturating_sub(begin.high);
        let (high, other) = (point.high - begin.low, point.twin - begin.twin);
        let doubt = (point.high - point.low).saturating_add(begin.high - begin.low);
        let (span, most) = (point.t - begin.t, high.max(other));
        if span < SPAN_NS || most < SPAN_NJ || doubt > most / DOUBT {
            return None;
        }
        self.begin = Some(point);
        let slack = (most / SLACK).saturating_add(doubt).saturating_add(4 * self.step_nj);
        let disagrees = other.saturating_add(slack) < low || other > high.saturating_add(slack);
        let began = disagrees && !self.disagrees;
        self.disagrees = disagrees;
        let (first_nj, twin_nj, span_ns) = (high, other, span);
        began.then_some(Disagreement {
            first: self.first,
            twin: self.twin,
            first_nj,
            twin_nj,
            span_ns,
        })
    }
}

#[cfg(test)]
mod tests {
    use probe_ledger::Nanojoules;

    use super::*;
    use crate::record::Quality;

    const MS: u64 = 1_000_000;

    fn labels(sources: [&str; 2]) -> Vec<DomainLabel> {
        let label = |name: &str, source: &str| DomainLabel {
            name: name.to_owned(),
            source: source.to_owned(),
            quality: Quality::Measured,
            additive: name == "package-0",
            shared_by: None,
        };
        vec![label("package-0", sources[0]), label("package-0@other", sources[1])]
    }

    /// Ticks every `tick` ms, the file every 25 ms, for 10 s; watts of both by ms.
    fn run(tick: u64, first: impl Fn(u64) -> u64, twin: impl Fn(u64) -> u64) -> CrossCheck {
        let mut check = CrossCheck::new(&labels(["rapl-perf", "rapl-powercap"]), 61_036);
        let book = |nj| Book { measured: Nanojoules(nj), ..Book::default() };
        let (mut a, mut b, mut waiting) = (0, 0, vec![]);
        for ms in 1..10_000 {
            a += first(ms) * MS;
            b += twin(ms) * MS;
            if ms % 25 == 0 {
                waiting.push((ms * MS, b));
            }
            if ms % tick == 0 {
                check.sampled(DomainId(0), ms * MS, &book(a));
                for (t, nj) in waiting.drain(..) {
                    check.sampled(DomainId(1), t, &book(nj));
                }
            }
        }
        check
    }

    #[test]
    fn sources_of_one_register_agree_however_seldom_and_unevenly_they_are_read() {
        for tick in [1, 7, 100] {
            let bursts = |ms: u64| if ms % 337 < 20 { 400 } else { 3 };
            let check = run(tick, bursts, bursts);
            assert!(!check.ever(), "{tick}");
        }
    }

    #[test]
    fn a_source_that_shows_5_percent_less_disagrees_and_the_numbers_are_told_once() {
        let mut check = run(1, |_| 95, |_| 100);
        assert!(check.ever() && check.disagrees());
        let met = check.met();
        assert_eq!(met.len(), 1);
        let ratio = met[0].first_nj as f64 / met[0].twin_nj as f64;
        assert!((ratio - 0.95).abs() < 0.01, "{met:?}");
        assert!((1_000 * MS..1_100 * MS).contains(&met[0].span_ns), "{met:?}");
        assert!(!run(1, |_| 99, |_| 100).ever());
    }

    #[test]
    fn one_that_breaks_in_the_middle_shows_and_agrees_again_when_it_is_well() {
        let broken = |ms: u64| if (4_000..6_000).contains(&ms) { 0 } else { 50 };
        let check = run(1, broken, |_| 50);
        assert!(check.ever() && !check.disagrees());
    }

    #[test]
    fn spans_with_void_windows_are_dropped_and_other_sources_are_not_compared() {
        let mut check = CrossCheck::new(&labels(["rapl-perf", "rapl-powercap"]), 1);
        for s in 1..10 {
            let book = |nj, void_windows| Book {
                measured: Nanojoules(nj),
                void_windows,
                ..Book::default()
            };
            check.sampled(DomainId(0), s * 1_000 * MS, &book(0, s));
            check.sampled(DomainId(0), s * 1_000 * MS + MS, &book(0, s));
            check.sampled(DomainId(1), s * 1_000 * MS, &book(s * 100_000 * MS, 0));
        }
        assert!(!check.ever());
        assert!(CrossCheck::new(&labels(["rapl-perf", "hwmon"]), 1).pairs.is_empty());
        assert!(CrossCheck::new(&labels(["perf:msr/tsc/", "rapl-perf"]), 1).pairs.is_empty());
    }
}
