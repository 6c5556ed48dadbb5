//! Requests: how a target's charge is cut at boundaries and shared between residents.

mod common;

use common::{at, exact, flags, ledger, nj, only, sample};
use probe_ledger::Change::{Enter, First, Leave};
use probe_ledger::*;

#[test]
fn a_boundary_at_30_percent_of_the_on_cpu_time_cuts_the_energy_at_30_percent() {
    let mut l = ledger(vec![exact("package-0")], 2, 1);
    sample(&mut l, 0, 0, 0, &[0, 0]);
    // At half of the wall time the target has run 300 of its 1,000 ns.
    at(&mut l, 0, 1_000, &[300], 7, Enter).unwrap();
    sample(&mut l, 0, 2_000, 2_000, &[1_000, 1_000]);
    at(&mut l, 0, 2_000, &[1_000], 7, Leave).unwrap();
    let account = only(&mut l);
    assert_eq!(nj(&account), 700);
    let target = l.target(ConsumerId(0));
    assert_eq!((target.requests.0, target.background.0), (700, 300));
    assert_eq!(l.books(DomainId(0)).unwrap().consumers[0].cpu, Nanos(1_000));
    assert_eq!((account.cpu, account.resident), (Nanos(700), Nanos(1_000)));
    assert_eq!(account.domains[0].covered, Nanos(1_000));
    assert_eq!(flags(&account), [""; 0]);
}

#[test]
fn prefill_and_decode_are_cut_at_the_first_content() {
    let mut l = ledger(vec![exact("package-0")], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    at(&mut l, 0, 100, &[100], 1, Enter).unwrap();
    sample(&mut l, 0, 1_000, 1_000, &[1_000]);
    at(&mut l, 0, 1_500, &[1_250], 1, First).unwrap();
    sample(&mut l, 0, 2_000, 3_000, &[2_000]);
    at(&mut l, 0, 2_400, &[2_400], 1, Leave).unwrap();
    assert!(l.settled().is_empty(), "the window of its last byte is still open");
    sample(&mut l, 0, 3_000, 4_000, &[3_000]);
    let account = only(&mut l);
    let share = &account.domains[0];
    // 900 of the first window, 1/4 of the second's 2,000; then the other 3/4 and 400 of the last.
    assert_eq!((share.prefill, share.decode), (Some(Nanojoules(1_400)), Some(Nanojoules(1_900))));
    assert_eq!(nj(&account), 3_300);
}

#[test]
fn a_request_without_first_content_has_no_phases() {
    let mut l = ledger(vec![exact("package-0")], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    at(&mut l, 0, 0, &[0], 1, Enter).unwrap();
    at(&mut l, 0, 500, &[500], 1, Leave).unwrap();
    sample(&mut l, 0, 1_000, 1_000, &[1_000]);
    let account = only(&mut l);
    assert_eq!((account.domains[0].prefill, account.domains[0].decode), (None, None));
    assert_eq!(nj(&account), 500);
}

#[test]
fn overlapping_residents_share_equally_and_only_while_they_overlap() {
    let mut l = ledger(vec![exact("package-0")], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    at(&mut l, 0, 0, &[0], 1, Enter).unwrap();
    at(&mut l, 0, 400, &[400], 2, Enter).unwrap();
    at(&mut l, 0, 800, &[800], 1, Leave).unwrap();
    at(&mut l, 0, 1_000, &[1_000], 2, Leave).unwrap();
    sample(&mut l, 0, 1_000, 1_000, &[1_000]);
    let settled = l.settled();
    let got: Vec<_> = settled.iter().map(|a| (a.request.0, nj(a), a.cpu.0)).collect();
    assert_eq!(got, [(1, 600, 600), (2, 400, 400)]);
    assert_eq!(settled[0].mean_residents, 1.5);
    assert!((settled[1].mean_residents - 5.0 / 3.0).abs() < 1e-12);
    assert_eq!(l.target(ConsumerId(0)).background, Nanojoules(0));
}

#[test]
fn a_request_waits_for_the_slowest_domain() {
    let slow = DomainSpec { scope: Scope::Machine, ..exact("gpu-0") };
    let mut l = ledger(vec![exact("package-0"), slow], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    sample(&mut l, 1, 0, 0, &[0]);
    at(&mut l, 0, 250, &[250], 1, Enter).unwrap();
    sample(&mut l, 0, 500, 500, &[500]);
    at(&mut l, 0, 750, &[750], 1, Leave).unwrap();
    sample(&mut l, 0, 1_000, 1_000, &[1_000]);
    assert!(l.settled().is_empty());
    assert_eq!((l.unsettled(), l.residents(ConsumerId(0))), (1, 0));
    // The slow domain sees both boundaries in one window of 4,000 ns: 500 of them are the request's.
    sample(&mut l, 1, 4_000, 40_000, &[4_000]);
    let account = only(&mut l);
    let by_domain: Vec<_> = account.domains.iter().map(|d| d.active.unwrap().energy.0).collect();
    assert_eq!(by_domain, [500, 5_000]);
    assert_eq!(nj(&account), 5_500);
    assert_eq!(l.unsettled(), 0);
}

#[test]
fn domains_outside_the_additive_set_are_kept_but_not_summed() {
    let psys = DomainSpec { additive: false, ..exact("psys") };
    let mut l = ledger(vec![exact("package-0"), psys], 1, 1);
    for d in 0..2 {
        sample(&mut l, d, 0, 0, &[0]);
    }
    at(&mut l, 0, 0, &[0], 1, Enter).unwrap();
    at(&mut l, 0, 1_000, &[1_000], 1, Leave).unwrap();
    sample(&mut l, 0, 1_000, 100, &[1_000]);
    sample(&mut l, 1, 1_000, 900, &[1_000]);
    let account = only(&mut l);
    assert_eq!(nj(&account), 100);
    assert_eq!(account.domains[1].active.unwrap().energy, Nanojoules(900));
    assert_eq!(l.target(ConsumerId(0)).requests, Nanojoules(100));
}

#[test]
fn two_packages_are_cut_each_on_its_own_clock() {
    let second = DomainSpec { scope: Scope::Package(1), ..exact("package-1") };
    let mut l = ledger(vec![exact("package-0"), second], 1, 2);
    sample(&mut l, 0, 0, 0, &[0]);
    sample(&mut l, 1, 0, 0, &[0]);
    at(&mut l, 0, 500, &[100, 900], 1, Enter).unwrap();
    at(&mut l, 0, 1_000, &[1_000, 1_000], 1, Leave).unwrap();
    sample(&mut l, 0, 1_000, 1_000, &[1_000]);
    sample(&mut l, 1, 1_000, 1_000, &[1_000]);
    let account = only(&mut l);
    let by_domain: Vec<_> = account.domains.iter().map(|d| d.active.unwrap().energy.0).collect();
    assert_eq!(by_domain, [900, 100]);
    assert_eq!(account.cpu, Nanos(1_000));
    let on_cpu = |d| l.books(DomainId(d)).unwrap().consumers[0].cpu;
    assert_eq!((on_cpu(0), on_cpu(1)), (Nanos(1_000), Nanos(1_000)));
}

#[test]
fn a_device_is_cut_by_wall_clock() {
    let gpu = DomainSpec { scope: Scope::Device, ..exact("gpu-0") };
    let mut l = ledger(vec![gpu], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    at(&mut l, 0, 250, &[999_999], 1, Enter).unwrap();
    at(&mut l, 0, 750, &[999_999], 1, Leave).unwrap();
    sample(&mut l, 0, 1_000, 1_000, &[10]);
    assert_eq!(nj(&only(&mut l)), 500);
}

#[test]
fn a_clock_outside_its_window_is_clamped_into_it() {
    let mut l = ledger(vec![exact("package-0")], 1, 1);
    sample(&mut l, 0, 0, 0, &[1_000]);
    at(&mut l, 0, 100, &[10], 1, Enter).unwrap();
    at(&mut l, 0, 200, &[99_999], 1, Leave).unwrap();
    sample(&mut l, 0, 1_000, 500, &[2_000]);
    assert_eq!(nj(&only(&mut l)), 500);
}

#[test]
fn a_target_clock_that_goes_backwards_counts_no_time_twice() {
    let mut l = ledger(vec![exact("package-0")], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    at(&mut l, 0, 100, &[100], 1, Enter).unwrap();
    at(&mut l, 0, 200, &[200], 2, Enter).unwrap();
    at(&mut l, 0, 300, &[150], 2, Leave).unwrap();
    at(&mut l, 0, 400, &[400], 1, Leave).unwrap();
    sample(&mut l, 0, 1_000, 1_000, &[1_000]);
    let got: Vec<_> = l.settled().iter().map(|a| (a.request.0, nj(a), a.cpu.0)).collect();
    assert_eq!(got, [(2, 0, 0), (1, 300, 300)]);
    assert_eq!(l.anomalies().clocks_backwards, 1);
}

#[test]
fn a_boundary_before_the_last_one_is_taken_as_simultaneous() {
    let mut l = ledger(vec![exact("package-0")], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    at(&mut l, 0, 500, &[500], 1, Enter).unwrap();
    at(&mut l, 0, 400, &[400], 2, Enter).unwrap();
    at(&mut l, 0, 700, &[700], 1, Leave).unwrap();
    at(&mut l, 0, 700, &[700], 2, Leave).unwrap();
    sample(&mut l, 0, 1_000, 1_000, &[1_000]);
    let got: Vec<_> = l.settled().iter().map(|a| (nj(a), a.resident.0)).collect();
    assert_eq!(got, [(100, 200), (100, 200)]);
    let met = l.anomalies();
    assert_eq!((met.boundaries_backwards, met.clocks_backwards), (1, 0));
}

#[test]
fn a_boundary_after_its_window_closed_moves_into_the_next_one_and_says_so() {
    let mut l = ledger(vec![exact("package-0")], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    sample(&mut l, 0, 1_000, 1_000, &[1_000]);
    at(&mut l, 0, 900, &[900], 1, Enter).unwrap();
    at(&mut l, 0, 1_500, &[1_500], 1, Leave).unwrap();
    sample(&mut l, 0, 2_000, 2_000, &[2_000]);
    let account = only(&mut l);
    assert_eq!(nj(&account), 500);
    assert_eq!(flags(&account), ["partial", "late-boundary"]);
    assert_eq!(l.anomalies().late_boundaries, 1);
    assert_eq!(l.target(ConsumerId(0)).background, Nanojoules(1_500));
}

#[test]
fn contradictions_are_refused_and_counted() {
    let mut l = ledger(vec![exact("package-0")], 2, 1);
    let id = RequestId(1);
    assert_eq!(at(&mut l, 0, 1, &[0], 1, Leave), Err(Refused::NotResident(id)));
    assert_eq!(at(&mut l, 0, 1, &[0], 1, First), Err(Refused::NotResident(id)));
    at(&mut l, 0, 2, &[0], 1, Enter).unwrap();
    assert_eq!(at(&mut l, 0, 3, &[0], 1, Enter), Err(Refused::AlreadyResident(id)));
    assert_eq!(at(&mut l, 1, 3, &[0], 1, Leave), Err(Refused::NotResident(id)));
    at(&mut l, 0, 4, &[0], 1, First).unwrap();
    assert_eq!(at(&mut l, 0, 5, &[0], 1, First), Err(Refused::AlreadyFirst(id)));
    assert_eq!(at(&mut l, 2, 5, &[0], 1, Leave), Err(Refused::NoSuchConsumer(2)));
    let clocks = Refused::Clocks { given: 2, packages: 1 };
    assert_eq!(at(&mut l, 0, 5, &[0, 0], 1, Leave), Err(clocks));
    assert_eq!(l.anomalies().refused_boundaries, 7);
    at(&mut l, 0, 6, &[0], 1, Leave).unwrap();
    at(&mut l, 0, 7, &[0], 1, Enter).unwrap();
    assert_eq!(l.residents(ConsumerId(0)), 1);
}

#[test]
fn a_void_window_costs_the_request_nothing_and_is_flagged() {
    let spec = DomainSpec { max_power: Some(Nanowatts::from_watts(1.0)), ..exact("package-0") };
    let mut l = ledger(vec![spec], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    at(&mut l, 0, 0, &[0], 1, Enter).unwrap();
    sample(&mut l, 0, 1_000, 1_000, &[1_000]);
    sample(&mut l, 0, 2_000, 99_000, &[2_000]);
    sample(&mut l, 0, 3_000, 100_000, &[3_000]);
    at(&mut l, 0, 3_000, &[3_000], 1, Leave).unwrap();
    let account = only(&mut l);
    assert_eq!(nj(&account), 2_000);
    assert_eq!(flags(&account), ["void-window", "partial"]);
    assert_eq!(account.domains[0].covered, Nanos(2_000));
}

#[test]
fn a_domain_that_never_measured_the_request_is_none_not_zero() {
    let mut l = ledger(vec![exact("package-0"), exact("dram-0")], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    at(&mut l, 0, 0, &[0], 1, Enter).unwrap();
    at(&mut l, 0, 1_000, &[1_000], 1, Leave).unwrap();
    sample(&mut l, 0, 1_000, 100, &[1_000]);
    l.finish(Nanos(2_000));
    let account = only(&mut l);
    assert_eq!(account.domains[1].active, None);
    assert_eq!(nj(&account), 100);
    assert_eq!(flags(&account), ["partial", "unfinished-window"]);
}

#[test]
fn without_any_domain_only_cpu_time_is_known() {
    let mut l = ledger(vec![], 1, 1);
    at(&mut l, 0, 10, &[1_000], 1, Enter).unwrap();
    at(&mut l, 0, 30, &[1_500], 1, Leave).unwrap();
    let account = only(&mut l);
    assert_eq!((account.energy, account.cpu), (None, Nanos(500)));
}

#[test]
fn background_tells_loading_waiting_and_spinning_apart() {
    const S: u64 = 1_000_000_000;
    let mut l = ledger(vec![exact("package-0")], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    sample(&mut l, 0, 2 * S, 1_000, &[1]);
    at(&mut l, 0, 2 * S, &[1], 1, Enter).unwrap();
    sample(&mut l, 0, 3 * S, 1_100, &[2]);
    sample(&mut l, 0, 4 * S, 1_130, &[3]);
    let begin = Some(Nanos(3 * S));
    assert!(l.work(RequestId(1), Work { begin, ..Work::default() }));
    at(&mut l, 0, 4 * S, &[3], 1, Leave).unwrap();
    // Half a second after the last byte begins a window that counts as after it, two seconds after one that does not.
    sample(&mut l, 0, 4 * S + S / 2, 1_137, &[4]);
    sample(&mut l, 0, 6 * S, 1_140, &[5]);
    sample(&mut l, 0, 7 * S, 1_190, &[6]);
    let (account, target) = (only(&mut l), l.target(ConsumerId(0)));
    assert_eq!((nj(&account), target.requests.0, target.background.0), (30, 30, 1_160));
    let Background { before, waiting, after } = target.during;
    assert_eq!((before.0, waiting.0, after.0), (1_000, 100, 10));
}

#[test]
fn in_a_window_with_boundaries_only_what_follows_a_last_byte_by_a_second_is_after_it() {
    const S: u64 = 1_000_000_000;
    let mut l = ledger(vec![exact("package-0")], 1, 1);
    sample(&mut l, 0, 0, 0, &[0]);
    // 1 µJ and 1 ns of CPU a second, in windows of ten.
    at(&mut l, 0, 4 * S, &[4], 1, Enter).unwrap();
    at(&mut l, 0, 5 * S, &[5], 1, Leave).unwrap();
    sample(&mut l, 0, 10 * S, 10_000, &[10]);
    let during = |l: &Ledger| {
        let Background { before, waiting, after } = l.target(ConsumerId(0)).during;
        (before.0, waiting.0, after.0)
    };
    assert_eq!(during(&l), (4_000, 0, 1_000), "four of loading, one of spinning, four of neither");
    sample(&mut l, 0, 20 * S, 20_000, &[20]);
    at(&mut l, 0, 28 * S, &[28], 2, Enter).unwrap();
    at(&mut l, 0, 29 * S, &[29], 2, Leave).unwrap();
    sample(&mut l, 0, 30 * S, 30_000, &[30]);
    assert_eq!(during(&l), (4_000, 0, 2_000), "nor eight of silence");
    l.finish(Nanos(30 * S));
    let target = l.target(ConsumerId(0));
    assert_eq!((target.requests.0, target.background.0), (2_000, 28_000));
    assert!(l.books(DomainId(0)).unwrap().closes());
}

#[test]
fn what_a_domain_brings_after_all_are_settled_is_told_apart_the_same_way() {
    const S: u64 = 1_000_000_000;
    for (end, after) in [(6, 1_000), (9, 1_000), (10, 1_000)] {
        let mut l = ledger(vec![exact("package-0"), exact("dram-0")], 1, 1);
        (0..2).for_each(|d| {
            sample(&mut l, d, 0, 0, &[0]);
        });
        at(&mut l, 0, 0, &[0], 1, Enter).unwrap();
        at(&mut l, 0, 5 * S, &[5], 1, Leave).unwrap();
        sample(&mut l, 0, 10 * S, 10_000, &[10]);
        // Settled up to here; the rest of the package's window follows.
        sample(&mut l, 1, end * S, 0, &[end]);
        let target = l.target(ConsumerId(0));
        assert_eq!((target.background.0, target.during.after.0), (5_000, after), "{end}");
    }
}
