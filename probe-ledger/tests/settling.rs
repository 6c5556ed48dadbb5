//! Settling: nothing waits for ever, and what was not waited for is said.

mod common;

use common::{at, exact, flags, ledger, missing, nj, only, sample};
use probe_ledger::Change::{Enter, First, Leave};
use probe_ledger::*;

const MS: u64 = 1_000_000;

#[test]
fn a_domain_that_stops_is_dropped_after_the_horizon() {
    let mut l = ledger(vec![exact("package-0"), exact("dram-0")], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    sample(&mut l, 1, 0, 0, &[0]);
    at(&mut l, 0, MS, &[MS], 1, Enter).unwrap();
    at(&mut l, 0, 2 * MS, &[2 * MS], 1, Leave).unwrap();
    for t in (1_000..=10_000).step_by(1_000) {
        sample(&mut l, 0, t * MS, t, &[t * MS]);
        missing(&mut l, 1, t * MS, &[t * MS]);
    }
    assert!(l.settled().is_empty());
    sample(&mut l, 0, 10_003 * MS, 10_003, &[10_003 * MS]);
    let account = only(&mut l);
    assert_eq!(account.domains[1].active, None);
    assert_eq!(flags(&account), ["partial", "domain-stalled"]);
    // While it is away, nobody waits for it.
    at(&mut l, 0, 10_004 * MS, &[10_004 * MS], 2, Enter).unwrap();
    at(&mut l, 0, 10_005 * MS, &[10_005 * MS], 2, Leave).unwrap();
    sample(&mut l, 0, 10_006 * MS, 10_006, &[10_006 * MS]);
    assert_eq!(only(&mut l).request, RequestId(2));
}

#[test]
fn a_domain_that_comes_back_charges_its_long_window_to_background() {
    let mut l = ledger(vec![exact("package-0"), exact("dram-0")], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    sample(&mut l, 1, 0, 0, &[0]);
    at(&mut l, 0, MS, &[MS], 1, Enter).unwrap();
    sample(&mut l, 0, 20_000 * MS, 1, &[20_000 * MS]);
    // The horizon has passed: the second domain's residents are not known any more in this window.
    sample(&mut l, 1, 20_001 * MS, 700, &[20_001 * MS]);
    let book = l.books(DomainId(1)).unwrap();
    assert_eq!((book.consumers[0].requests.0, book.consumers[0].background.0), (0, 700));
    // From then on they are.
    at(&mut l, 0, 20_002 * MS, &[20_002 * MS], 1, Leave).unwrap();
    sample(&mut l, 0, 20_002 * MS, 2, &[20_002 * MS]);
    sample(&mut l, 1, 20_003 * MS, 900, &[20_003 * MS]);
    let account = only(&mut l);
    assert_eq!(account.domains[1].active.unwrap().energy, Nanojoules(100));
    assert_eq!(flags(&account), ["gap", "partial", "domain-stalled"]);
}

#[test]
fn a_domain_that_comes_back_with_a_void_window_starts_afresh_after_it() {
    let mut l = ledger(vec![exact("package-0"), exact("dram-0")], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    sample(&mut l, 1, 0, 5_000, &[0]);
    at(&mut l, 0, MS, &[MS], 1, Enter).unwrap();
    sample(&mut l, 0, 20_000 * MS, 1, &[20_000 * MS]);
    assert_eq!(sample(&mut l, 1, 20_001 * MS, 0, &[20_001 * MS]), Window::Void(Void::Reset));
    sample(&mut l, 1, 20_002 * MS, 600, &[20_002 * MS]);
    l.finish(Nanos(20_002 * MS));
    let book = l.books(DomainId(1)).unwrap();
    assert_eq!((book.consumers[0].requests.0, book.consumers[0].background.0), (600, 0));
}

#[test]
fn a_long_request_is_charged_by_a_domain_that_was_away_in_its_middle() {
    let mut l = ledger(vec![exact("package-0"), exact("dram-0")], 2, 1);
    for d in 0..2 {
        sample(&mut l, d, 0, 0, &[0, 0]);
    }
    at(&mut l, 0, MS, &[MS], 1, Enter).unwrap();
    for d in 0..2 {
        sample(&mut l, d, 2 * MS, 0, &[2 * MS, 0]);
    }
    // Another target's request stalls the second domain; the first target's residents do not change.
    at(&mut l, 1, 3 * MS, &[0], 2, Enter).unwrap();
    sample(&mut l, 0, 20_000 * MS, 0, &[20_000 * MS, 0]);
    sample(&mut l, 1, 20_001 * MS, 700, &[20_001 * MS, 0]);
    l.finish(Nanos(20_001 * MS));
    let book = l.books(DomainId(1)).unwrap();
    assert_eq!((book.consumers[0].requests.0, book.consumers[0].background.0), (700, 0));
}

#[test]
fn the_end_of_the_run_settles_everything_and_says_what_was_open() {
    let mut l = ledger(vec![exact("package-0")], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    at(&mut l, 0, 100, &[100], 1, Enter).unwrap();
    sample(&mut l, 0, 1_000, 1_000, &[1_000]);
    at(&mut l, 0, 1_500, &[1_500], 1, Leave).unwrap();
    at(&mut l, 0, 1_600, &[1_600], 2, Enter).unwrap();
    l.finish(Nanos(2_000));
    let settled = l.settled();
    assert_eq!(settled.len(), 2);
    assert_eq!(nj(&settled[0]), 900);
    assert_eq!(flags(&settled[0]), ["partial", "unfinished-window"]);
    assert_eq!((settled[1].energy, settled[1].resident), (None, Nanos(400)));
    assert_eq!(flags(&settled[1]), ["partial", "unfinished-window", "interrupted"]);
    assert_eq!(l.unsettled(), 0);
    assert!(l.books(DomainId(0)).unwrap().closes());
}

#[test]
fn a_last_sample_at_the_end_of_the_run_leaves_nothing_unfinished() {
    let mut l = ledger(vec![exact("package-0")], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    at(&mut l, 0, 100, &[100], 1, Enter).unwrap();
    sample(&mut l, 0, 2_000, 2_000, &[2_000]);
    l.finish(Nanos(2_000));
    let account = only(&mut l);
    assert_eq!((nj(&account), flags(&account)), (1_900, vec!["interrupted"]));
}

#[test]
fn a_request_that_the_end_finds_resident_has_the_on_cpu_time_that_samples_showed_since() {
    let mut l = ledger(vec![exact("package-0"), exact("package-1")], 2, 2);
    sample(&mut l, 0, 0, 0, &[0, 0]);
    at(&mut l, 0, 100, &[100, 10], 1, Enter).unwrap();
    at(&mut l, 0, 200, &[150, 10], 1, First).unwrap();
    sample(&mut l, 0, 1_000, 1_000, &[700, 900]);
    // Its clocks are known though the counter could not be read; an older sample does not take them back.
    missing(&mut l, 0, 2_000, &[1_300, 900]);
    missing(&mut l, 0, 1_500, &[800, 900]);
    l.finish(Nanos(2_000));
    let account = only(&mut l);
    // From 100 to 1,300 on package 0; of package 1 no sample came, so none of its time is known.
    assert_eq!((account.cpu, account.resident), (Nanos(1_200), Nanos(1_900)));
}

#[test]
fn a_thousand_requests_leave_nothing_behind() {
    let mut l = ledger(vec![exact("package-0"), exact("dram-0")], 1, 1);
    let mut total = 0;
    for i in 0..1_000u64 {
        let t = i * 1_000;
        for d in 0..2 {
            sample(&mut l, d, t, t, &[t]);
        }
        at(&mut l, 0, t + 100, &[t + 100], i, Enter).unwrap();
        at(&mut l, 0, t + 600, &[t + 600], i, Leave).unwrap();
        total += l.settled().iter().map(nj).sum::<u64>();
        assert!(l.unsettled() <= 1);
    }
    assert_eq!(total, 999 * 1_000);
}

#[test]
fn a_request_that_comes_after_its_window_was_closed_keeps_its_part_and_doubts_all_of_it() {
    let mut l = ledger(vec![exact("package-0")], 1, 1);
    sample(&mut l, 0, 100, 0, &[0]);
    at(&mut l, 0, 100, &[0], 1, Enter).unwrap();
    sample(&mut l, 0, 200, 1_000, &[100]);
    // It entered with the other one, and nobody had heard of it.
    at(&mut l, 0, 100, &[0], 2, Enter).unwrap();
    l.finish(Nanos(200));
    let mut accounts = l.settled();
    accounts.sort_by_key(|account| account.request.0);
    assert_eq!(accounts.iter().map(nj).collect::<Vec<_>>(), [500, 500]);
    assert!(flags(&accounts[1]).contains(&"late-boundary"), "{:?}", flags(&accounts[1]));
    assert_eq!(accounts[1].energy.unwrap().low, Nanojoules(0));
    assert_eq!(l.books(DomainId(0)).unwrap().consumers[0].requests, Nanojoules(1_000));
}

#[test]
fn what_a_stalled_domain_brings_of_time_in_which_nothing_changed_is_the_residents() {
    let config = Config {
        domains: vec![exact("package-0"), exact("package-1")],
        consumers: 2,
        packages: 1,
        cpus: 1,
        horizon: Nanos(22),
        patience: Nanos(100),
        policies: Policies::default(),
    };
    let mut ledger = Ledger::new(config).unwrap();
    let both = |ledger: &mut Ledger, t| {
        (0..2).for_each(|d| {
            sample(ledger, d, t, t, &[t, 0]);
        });
    };
    both(&mut ledger, 0);
    at(&mut ledger, 0, 5, &[5], 1, Enter).unwrap();
    at(&mut ledger, 0, 10, &[10], 2, Enter).unwrap();
    at(&mut ledger, 0, 20, &[20], 2, Leave).unwrap();
    both(&mut ledger, 25);
    // Another target's boundary: domain 1 is not waited for.
    at(&mut ledger, 1, 30, &[0], 3, Enter).unwrap();
    sample(&mut ledger, 0, 60, 60, &[60, 0]);
    // Patience with request 1 ends: all is settled up to the last change before 100, which is at 20.
    sample(&mut ledger, 0, 200, 200, &[200, 0]);
    assert_eq!(only(&mut ledger).request, RequestId(2));
    both(&mut ledger, 220);
    at(&mut ledger, 0, 230, &[230], 1, Leave).unwrap();
    both(&mut ledger, 240);
    ledger.finish(Nanos(240));
    let target = ledger.books(DomainId(1)).unwrap().consumers[0];
    assert_eq!((target.active, target.unsettled()), (Nanojoules(240), Some(Nanojoules(0))));
    // 5 before request 1 and 10 after it; nobody else came or went while domain 1 was away.
    assert_eq!((target.background, target.requests), (Nanojoules(15), Nanojoules(225)));
}
