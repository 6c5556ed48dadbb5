//! How an interval is shared between those who are worked on in it, and what that is worth.

use crate::desk::Desk;
use crate::fit::Tariff;
use crate::flag::{Flag, Flags};
use crate::policy::Share;
use crate::steps::{Batch, Worker};

/// Each worker's part of an interval under a policy; in equal parts, and said so, where it does not know.
pub(crate) fn fractions(
    policy: Share,
    workers: &[Worker],
    tariff: &Tariff,
    batch: &Batch,
) -> (Vec<f64>, Flags) {
    let n = workers.len();
    let equal = || vec![1.0 / n as f64; n];
    if n == 1 || policy == Share::Equal {
        return (equal(), Flags::NONE);
    }
    let known = |worker: &Worker| match policy {
        Share::Work => worker.phases.priceable(),
        Share::Tokens | Share::Equal => worker.phases.counted(),
    };
    let works: Option<Vec<f64>> = match (policy, &tariff.prices) {
        _ if !workers.iter().all(known) => None,
        (Share::Work, None) => return (equal(), Flag::WorkUnfitted.into()),
        (Share::Work, Some(prices)) => Some(batch.works(prices, workers).collect()),
        _ => Some(workers.iter().map(|w| w.amounts.prefill + w.amounts.decode).collect()),
    };
    let total = works.iter().flatten().sum::<f64>();
    match works.filter(|_| total > 0.0 && total.is_finite()) {
        Some(works) => (works.into_iter().map(|work| work / total).collect(), Flags::NONE),
        None => (equal(), Flag::ShareUnknown.into()),
    }
}

/// What each would be charged by work, and how uncertain that is.
pub(crate) fn doubts(
    workers: &[Worker],
    (chosen, share): (&[f64], Share),
    tariff: &Tariff,
    batch: &Batch,
    summed: u64,
    desk: &mut Desk,
) {
    let work = (share != Share::Work).then(|| fractions(Share::Work, workers, tariff, batch).0);
    let priced = tariff.prices.is_some() && workers.iter().all(|w| w.phases.priceable());
    let begun = workers.iter().all(|w| w.phases.begun);
    let best = work.as_deref().filter(|_| priced).unwrap_or(chosen);
    for ((worker, chosen), best) in workers.iter().zip(chosen).zip(best) {
        let Some(request) = desk.get_mut(worker.slot) else { continue };
        let (shares, summed) = (&mut request.shares, summed as f64);
        let moved = best * (1.0 - best) * summed;
        shares.chosen += chosen * summed;
        shares.best += best * summed;
        // Untried prices foretell nothing.
        if let Some(error) = tariff.error.filter(|_| priced) {
            shares.foretold += error * moved;
            shares.steps += moved;
            shares.queues += if begun { 0.0 } else { moved };
        } else {
            shares.unknown += moved;
        }
    }
}
