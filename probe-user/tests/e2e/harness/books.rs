//! The books close: integer nanojoules, every domain, every target.

use std::collections::BTreeMap;

use wattprobe::record::End;
use wattprobe::snapshot::Snapshot;

use super::probe::Outcome;

/// Asserts every equation of the contract.
pub(crate) fn close(outcome: &Outcome) {
    let summary = &outcome.summary;
    assert!(
        !summary.domains.is_empty(),
        "no machine is without a domain: the model is the last rung"
    );
    for (name, domain) in &summary.domains {
        let active: u64 = domain.consumers.values().map(|c| c.active_nj).sum();
        assert_eq!(
            domain.measured_nj,
            domain.idle_nj + domain.residual_nj + active,
            "{name}: measured = idle + residual + active"
        );
        assert!(domain.windows > 0, "{name}: no window was closed");
    }
    for (name, target) in &summary.targets {
        let active: u64 = additive(summary, name);
        assert_eq!(
            active,
            target.requests_nj + target.background_nj,
            "{name}: active = requests + background"
        );
    }
    ends_add_up(outcome);
}

/// A consumer's active energy over the additive set.
fn additive(summary: &Snapshot, consumer: &str) -> u64 {
    let domains = summary.domains.values().filter(|domain| domain.additive);
    domains.filter_map(|domain| domain.consumers.get(consumer)).map(|c| c.active_nj).sum()
}

/// The summary counts the records that were written, by end.
fn ends_add_up(outcome: &Outcome) {
    let mut counted = BTreeMap::new();
    for record in &outcome.records {
        let end = serde_json::to_value(record.end).expect("an end has a name");
        *counted.entry(end.as_str().expect("a name is text").to_owned()).or_insert(0) += 1;
    }
    let told: BTreeMap<_, _> = outcome
        .summary
        .requests
        .iter()
        .filter(|(_, n)| **n > 0)
        .map(|(k, n)| (k.clone(), *n))
        .collect();
    assert_eq!(counted, told, "records by end against the summary");
    let joules: f64 = outcome.records.iter().filter_map(|r| r.joules).sum();
    let requests_nj: u64 = outcome.summary.targets.values().map(|t| t.requests_nj).sum();
    let booked = requests_nj as f64 / 1e9;
    assert!(
        (joules - booked).abs() <= 1e-6 * booked + 1e-6,
        "records sum to {joules} J, the books say {booked} J"
    );
}

/// With a counter the kernel reads: its own books agree with user space's in every domain.
pub(crate) fn kernel_agrees(outcome: &Outcome) {
    for (name, domain) in &outcome.summary.domains {
        let books = domain.kernel_books.unwrap_or_else(|| panic!("{name}: no kernel books"));
        assert!(books.agree, "{name}: {books:?}, flags {:?}", outcome.summary.flags);
        assert!(books.windows > 0, "{name}: {books:?}");
        assert_eq!(books.max_difference_units, 0, "{name}: equal to the bit: {books:?}");
    }
}

/// No record was lost on the way from the kernel. A switch that the kernel did not report is no record,
/// and how many there are is the machine's doing; a torn clock makes one window longer, which must stay
/// rare.
pub(crate) fn nothing_lost(outcome: &Outcome) {
    let kinds = &outcome.summary.events.lost_by_kind;
    let records = kinds.iter().filter(|(kind, _)| !["switch", "torn"].contains(&kind.as_str()));
    let lost: Vec<_> = records.filter(|(_, n)| **n > 0).collect();
    assert!(lost.is_empty(), "{lost:?}");
    let windows: u64 = outcome.summary.domains.values().map(|domain| domain.windows).sum();
    let torn = kinds.get("torn").copied().unwrap_or(0);
    assert!(torn * 100 <= windows, "{torn} torn of {windows} windows");
}

/// The ends of records by their external id, each id exactly once.
pub(crate) fn by_id(outcome: &Outcome) -> BTreeMap<&str, &wattprobe::record::RequestRecord> {
    let mut by_id = BTreeMap::new();
    for record in &outcome.records {
        if let Some(id) = record.external_id.as_deref() {
            let twice = by_id.insert(id, record);
            assert!(twice.is_none(), "{id} has two records: {record:?} and {twice:?}");
        }
    }
    by_id
}

/// Whether an end says that the client got less than everything.
pub(crate) fn is_cut_short(end: End) -> bool {
    matches!(end, End::Aborted | End::Reset)
}
