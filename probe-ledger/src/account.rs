//! A settled request: what it cost, in every domain, with its error bar.

use crate::bar::{Bar, Estimate};
use crate::desk::Request;
use crate::domain::DomainSpec;
use crate::flag::{Flag, Flags};
use crate::id::{ConsumerId, DomainId, RequestId};
use crate::tally::Tally;
use crate::unit::{Nanojoules, Nanos};

/// A request of so many sensor periods was seen by the sensor.
const LONG: u64 = 10;

/// What a request cost. Settled: no later sample changes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// The request.
    pub request: RequestId,
    /// Its target.
    pub target: ConsumerId,
    /// By `DomainId`, every domain of the ledger.
    pub domains: Vec<DomainShare>,
    /// Sum over the additive domains that measured it; `None` if none did.
    pub energy: Option<Estimate>,
    /// What it is given of their idle energy, beside `energy`; `None` if the policy gives none, or no idle power was known.
    pub idle: Option<Nanojoules>,
    /// Its share of the target's on-CPU time while it was resident.
    pub cpu: Nanos,
    /// From `Enter` to `Leave`.
    pub resident: Nanos,
    /// Residents over that time on average, itself included: 1 is alone.
    pub mean_residents: f64,
    /// What limits the meaning of `energy`: its own flags and those of the additive domains.
    pub flags: Flags,
}

/// What a request cost in one domain.
#[derive(Clone, Debug, PartialEq)]
pub struct DomainShare {
    /// The domain.
    pub domain: DomainId,
    /// Active energy and error bar; `None` if no valid window of the domain saw the request, or
    /// nothing but zeros of a counter that was late or stuck.
    pub active: Option<Estimate>,
    /// Of that, before its first content; `None` if it had none, or was settled in part before that was known.
    pub prefill: Option<Nanojoules>,
    /// Of that, from its first content on; `None` as `prefill` is.
    pub decode: Option<Nanojoules>,
    /// What it is given of the domain's idle energy, beside `active`; `None` under the policy `none`, or where no idle power
    /// was known.
    pub idle: Option<Nanojoules>,
    /// Part of its residency that valid windows cover.
    pub covered: Nanos,
    /// What limits the meaning of `active`.
    pub flags: Flags,
}

impl Account {
    pub(crate) fn new<'a>(request: &Request, specs: impl Iterator<Item = &'a DomainSpec>) -> Self {
        let resident = request.leave.unwrap_or(request.enter).since(request.enter);
        let mut sum: Option<Bar> = None;
        let mut flags = request.flags;
        let mut idle: Option<Nanojoules> = None;
        let mut domains = Vec::with_capacity(request.tallies.len());
        for (i, (spec, tally)) in specs.zip(&request.tallies).enumerate() {
            // Nothing but zeros of a counter that turned out to be late or stuck: not measured.
            let faulty = [Flag::CounterStuck, Flag::CounterLate];
            let zeros = tally.settled == 0 && faulty.iter().any(|flag| tally.flags.contains(*flag));
            // One that came late may have a part in windows that were closed before it was known of.
            let seen = tally.windows > 0 || tally.settled > 0;
            let bar = (seen && !zeros).then(|| Bar::new(spec, tally, resident.0));
            let first = request.phases().first.is_some() && !request.unphased;
            let share = DomainShare::new(DomainId(i), tally, bar, resident, first);
            if spec.additive {
                flags = flags.union(share.flags);
                idle = match (idle, share.idle) {
                    (Some(sum), Some(more)) => Some(sum.saturating_add(more)),
                    (sum, more) => sum.or(more),
                };
                sum = match (sum, bar) {
                    (Some(sum), Some(bar)) => Some(sum.add(bar)),
                    (sum, bar) => sum.or(bar),
                };
            }
            domains.push(share);
        }
        let mean_residents = if resident.0 == 0 {
            request.last_crowd as f64
        } else {
            request.crowd as f64 / resident.0 as f64
        };
        Self {
            request: request.id,
            target: request.target,
            domains,
            energy: sum.map(|bar| bar.shared(&request.shares).estimate()),
            idle,
            cpu: Nanos(request.cpu),
            resident,
            mean_residents,
            flags,
        }
    }
}

impl DomainShare {
    fn new(
        domain: DomainId,
        tally: &Tally,
        bar: Option<Bar>,
        resident: Nanos,
        first: bool,
    ) -> Self {
        let mut flags = tally.flags;
        for (windows, flag) in
            [(tally.idle_unknown, Flag::IdleUnknown), (tally.idle_learned, Flag::IdleLearned)]
        {
            if windows > 0 && bar.is_some() {
                flags.insert(flag);
            }
        }
        // A register that moves once a millisecond shows a shorter request nothing.
        let long = tally.covered > tally.period.saturating_mul(LONG);
        if bar.is_some() && long && tally.ran && tally.whole == 0 && tally.idle_power > 0 {
            flags.insert(Flag::IdleAbove);
        }
        if tally.covered < resident.0 {
            flags.insert(Flag::Partial);
        }
        let prefill = (first && bar.is_some()).then_some(tally.prefill);
        Self {
            domain,
            active: bar.map(Bar::estimate),
            prefill: prefill.map(Nanojoules),
            decode: prefill.map(|p| Nanojoules(tally.settled.saturating_sub(p))),
            idle: tally.idle.map(Nanojoules),
            covered: Nanos(tally.covered),
            flags,
        }
    }
}
