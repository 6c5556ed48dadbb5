//! A counter that must move and does not: held, late, stuck; and time that is worthless.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{at, exact, ledger, sample};
use probe_ledger::{
    Cause, Change, DomainId, DomainSpec, Flag, Ledger, Nanojoules, Nanos, Void, Window,
};

const MS: u64 = 1_000_000;

/// Request 1 of the only target.
fn enter(ledger: &mut Ledger, t: u64) {
    at(ledger, 0, t, &[t], 1, Change::Enter).unwrap();
}

fn leave(ledger: &mut Ledger, t: u64) {
    at(ledger, 0, t, &[t], 1, Change::Leave).unwrap();
}

/// Moves every millisecond, in nanojoules; stuck after a second.
fn rapl() -> DomainSpec {
    DomainSpec { period: Nanos(MS), pulse: Some(Nanos(1_000 * MS)), ..exact("package-0") }
}

fn measured(ledger: &Ledger) -> u64 {
    ledger.books(DomainId(0)).unwrap().measured.0
}

#[test]
fn what_a_late_counter_shows_is_laid_along_all_the_time_it_stood_still() {
    // 1 W of consumer 0 from 0 to 50 ms, of consumer 1 from 50 to 100 ms; the counter moves at 100 ms only.
    let mut l = ledger(vec![rapl()], 2, 1);
    sample(&mut l, 0, 0, 0, &[0, 0]);
    for t in 1..100_u64 {
        let (a, b) = (t.min(50) * MS, t.saturating_sub(50) * MS);
        let window = sample(&mut l, 0, t * MS, 0, &[a, b]);
        assert_eq!(window == Window::Held, t > 5, "{t}: {window:?}");
    }
    sample(&mut l, 0, 100 * MS, 100 * MS, &[50 * MS, 50 * MS]);
    let book = l.books(DomainId(0)).unwrap();
    // The first 5 ms were closed at zero before anything could be known: 45 and 50 of 95 parts.
    assert_eq!(book.consumers[0].active, Nanojoules(47_368_421));
    assert_eq!(book.consumers[1].active, Nanojoules(52_631_579));
    assert_eq!((book.late_windows, book.voids.is_empty(), book.void_windows), (1, true, 0));
    // From now on it is known to be late: not a sample closes at zero, and both get their halves.
    for t in 101..=1_000_u64 {
        let (cycles, phase) = (t / 100, t % 100);
        let (a, b) = (cycles * 50 + phase.min(50), cycles * 50 + phase.saturating_sub(50));
        let window = sample(&mut l, 0, t * MS, cycles * 100 * MS, &[a * MS, b * MS]);
        assert_eq!(window == Window::Held, phase > 0, "{t}: {window:?}");
    }
    let book = l.books(DomainId(0)).unwrap();
    assert_eq!(book.consumers[0].active, Nanojoules(47_368_421 + 9 * 50 * MS));
    assert_eq!(book.consumers[1].active, Nanojoules(52_631_579 + 9 * 50 * MS));
    assert_eq!((book.late_windows, book.windows, book.held_samples), (10, 15, 94 + 9 * 99));
    assert!(book.closes());
}

/// 1 W of the target, shown at 100 ms and then every 100 ms: late from 100 ms on.
fn late_at_100_ms() -> Ledger {
    let mut l = ledger(vec![rapl()], 1, 1);
    for t in 0..=100 {
        sample(&mut l, 0, t * MS, t / 100 * 100 * MS, &[t * MS]);
    }
    l
}

#[test]
fn a_request_just_after_a_late_counter_moved_is_charged_what_it_used() {
    let mut l = late_at_100_ms();
    for t in 101..=200 {
        if t == 102 {
            enter(&mut l, t * MS);
        }
        if t == 104 {
            leave(&mut l, t * MS);
        }
        sample(&mut l, 0, t * MS, t / 100 * 100 * MS, &[t * MS]);
    }
    let account = l.settled().remove(0);
    let energy = account.energy.unwrap();
    // 2 ms of 1 W. It may have been any 2 ms of the cycle: the bar is 0.689 of the mean power for 100 ms at both ends.
    assert_eq!(energy.energy, Nanojoules(2 * MS));
    assert_eq!(energy.parts.edges, Nanojoules(97_439_315));
    assert!(account.flags.contains(Flag::CounterLate));
}

#[test]
fn a_request_that_saw_only_zeros_of_a_late_counter_was_not_measured() {
    let mut l = late_at_100_ms();
    // One part in twenty on CPU: too little to prove that the counter should move.
    let clock = |t: u64| 100 * MS + (t - 100) * MS / 20;
    for t in 101..=200 {
        if t == 110 {
            at(&mut l, 0, t * MS, &[clock(t)], 1, Change::Enter).unwrap();
        }
        if t == 130 {
            at(&mut l, 0, t * MS, &[clock(t)], 1, Change::Leave).unwrap();
        }
        let window = sample(&mut l, 0, t * MS, 100 * MS, &[clock(t)]);
        assert!(matches!(window, Window::Closed(w) if w.energy.0 == 0), "{t}: {window:?}");
    }
    let account = l.settled().remove(0);
    assert_eq!((account.energy, account.domains[0].active), (None, None));
    assert!(account.flags.contains(Flag::CounterLate));
    assert!(l.books(DomainId(0)).unwrap().closes());
}

#[test]
fn late_is_forgotten_by_samples_that_are_denser_than_the_sensor_too() {
    let mut l = late_at_100_ms();
    let mut late = vec![];
    // Two samples a period: every other one is held while it is late, and that is no news of lateness.
    for half in 201..=400 {
        let t = half * MS / 2;
        sample(&mut l, 0, t, half / 2 * MS, &[t]);
        late.push(l.books(DomainId(0)).unwrap().late_windows);
    }
    let last = *late.last().unwrap();
    assert!((2..40).contains(&last), "{last}");
    assert_eq!(late[100], last);
    assert_eq!(measured(&l), 200 * MS);
}

#[test]
fn a_run_that_ends_while_a_window_is_held_has_no_joules_of_zero_windows() {
    let run = |stopped: u64, end: u64| {
        let mut l = ledger(vec![rapl()], 1, 1);
        for t in 0..=end {
            if t == 2 {
                enter(&mut l, t * MS);
            }
            // 1 W, not shown any more from some instant on.
            sample(&mut l, 0, t * MS, t.min(stopped) * MS, &[t * MS]);
        }
        l.finish(Nanos(end * MS));
        assert!(l.books(DomainId(0)).unwrap().closes());
        (measured(&l), l.settled().remove(0))
    };
    let names = |flags: probe_ledger::Flags| flags.iter().map(Flag::name).collect::<Vec<_>>();
    // It stopped before the request came; 3 to 6 ms were closed at zero.
    let (shown, account) = run(1, 20);
    assert_eq!((shown, account.energy, account.domains[0].active), (MS, None, None));
    let held = ["partial", "unfinished-window", "interrupted", "counter-late"];
    assert_eq!(names(account.flags), held);
    // 8 ms were seen; 5 more closed at zero, 18 to 20 not at all: joules, and a bar that reaches further.
    let (shown, account) = run(10, 20);
    let energy = account.energy.unwrap();
    assert_eq!((shown, energy.energy), (10 * MS, Nanojoules(8 * MS)));
    assert!(energy.high.0 > 11 * MS, "{energy:?}");
    assert_eq!(names(account.flags), held);
    // Stuck is what is known after a second.
    let (_, account) = run(1, 1_100);
    assert_eq!(account.energy, None);
    assert!(account.flags.contains(Flag::CounterStuck));
    // In time until the end: nothing is held, nothing is said.
    let (_, account) = run(20, 20);
    assert_eq!(account.energy.unwrap().energy, Nanojoules(18 * MS));
    assert_eq!(names(account.flags), ["interrupted"]);
}

#[test]
fn a_request_that_came_to_a_stuck_counter_is_told_at_the_end_of_the_run() {
    let mut l = ledger(vec![rapl()], 1, 1);
    for t in 0..=1_600 {
        if t == 1_500 {
            enter(&mut l, t * MS);
        }
        sample(&mut l, 0, t * MS, 7, &[t * MS]);
    }
    l.finish(Nanos(1_600 * MS));
    let account = l.settled().remove(0);
    assert_eq!(account.energy, None);
    assert!(account.flags.contains(Flag::CounterStuck), "{:?}", account.flags);
    assert!(!account.flags.contains(Flag::CounterLate));
}

#[test]
fn the_bar_of_a_late_counter_uses_the_period_that_was_measured() {
    let bar = |every: u64| {
        let mut l = ledger(vec![rapl()], 1, 1);
        for t in 0..=1_000_u64 {
            if t == 300 {
                enter(&mut l, t * MS);
            }
            if t == 700 {
                leave(&mut l, t * MS);
            }
            // 1 W, shown every so many milliseconds.
            sample(&mut l, 0, t * MS, t / every * every * MS, &[t * MS]);
        }
        l.finish(Nanos(1_000 * MS));
        l.settled().remove(0)
    };
    let (good, late) = (bar(1), bar(50));
    let (energy, sharp) = (late.energy.unwrap(), good.energy.unwrap());
    assert!(good.flags.is_empty(), "{:?}", good.flags);
    assert_eq!(late.flags.iter().map(Flag::name).collect::<Vec<_>>(), ["counter-late"]);
    assert_eq!(sharp.energy, Nanojoules(400 * MS));
    // 0.689 of 1 W for a period at both edges, in quadrature.
    assert_eq!(sharp.parts.edges, Nanojoules(974_394));
    // 50 ms at each edge, at the power there or the mean: at least 48.7 mJ instead of 1.
    assert!((48_700_000..62_000_000).contains(&energy.parts.edges.0), "{:?}", energy.parts);
    assert!(energy.low.0 <= 400 * MS && energy.high.0 >= 400 * MS, "{energy:?}");
}

#[test]
fn one_hiccup_is_forgotten_once_the_counter_moves_in_time_again() {
    let mut l = ledger(vec![rapl()], 1, 1);
    let mut late = vec![];
    for t in 0..400 {
        let shown = if (100..150).contains(&t) { 99 } else { t };
        sample(&mut l, 0, t * MS, shown * MS, &[t * MS]);
        late.push(l.books(DomainId(0)).unwrap().late_windows);
    }
    assert_eq!((late[149], late[150]), (0, 1));
    assert!(late[399] < 30, "{}", late[399]);
    assert_eq!(late[399], late[200]);
    assert_eq!(measured(&l), 399 * MS);
}

#[test]
fn a_stuck_counter_is_void_and_its_requests_have_no_joules() {
    let mut l = ledger(vec![rapl()], 1, 1);
    let mut voids = vec![];
    for t in 0..5_000 {
        if t == 1_004 {
            enter(&mut l, t * MS);
        }
        if t == 3_500 {
            leave(&mut l, t * MS);
        }
        // 1 W; nothing from 1 s to 4 s, then all of it at once.
        let shown = if (1_000..4_000).contains(&t) { 999 } else { t };
        if let Window::Void(why) = sample(&mut l, 0, t * MS, shown * MS, &[t * MS]) {
            voids.push((t, why));
        }
    }
    // A second after it last moved, again after each further one, and when it moves.
    assert_eq!(voids, [1_999, 2_999, 3_999, 4_000].map(|t| (t, Void::Stuck)));
    // 1 J before, 1 J after, the lump of 3 J nobody's.
    assert_eq!(measured(&l), 999 * MS + 999 * MS);
    let account = l.settled().remove(0);
    assert_eq!(account.energy, None, "zero joules were not measured, nothing was");
    assert!(account.flags.contains(Flag::CounterStuck) && account.flags.contains(Flag::Void));
    assert!(account.flags.contains(Flag::Partial));
    let book = l.books(DomainId(0)).unwrap();
    assert_eq!((book.voids.get(&Void::Stuck), book.void_windows), (Some(&4), 4));
    assert!(book.closes());
}

#[test]
fn a_request_that_saw_the_counter_stop_may_have_cost_its_mean_power_for_the_rest() {
    let mut l = ledger(vec![rapl()], 1, 1);
    enter(&mut l, 0);
    for t in 0..4_000_u64 {
        if t == 2_500 {
            leave(&mut l, t * MS);
        }
        sample(&mut l, 0, t * MS, t.min(1_000) * MS, &[t * MS]);
    }
    let energy = l.settled().remove(0).energy.unwrap();
    assert_eq!(energy.energy, Nanojoules(1_000 * MS));
    assert!(energy.high.0 >= 2_480 * MS, "{energy:?}");
}

#[test]
fn a_counter_may_stand_still_while_nobody_runs_or_where_it_is_allowed_to() {
    let mut idle = ledger(vec![rapl()], 1, 1);
    let mut allowed = ledger(vec![DomainSpec { pulse: None, ..rapl() }], 1, 1);
    for t in (0..10_000).step_by(100) {
        // 5 ms of 100 on CPU.
        let window = sample(&mut idle, 0, t * MS, 7, &[t * MS / 20]);
        assert!(matches!(window, Window::First | Window::Closed(_)), "{t}: {window:?}");
        let window = sample(&mut allowed, 0, t * MS, 7, &[t * MS]);
        assert!(matches!(window, Window::First | Window::Closed(_)), "{t}: {window:?}");
    }
}

#[test]
fn every_window_that_touches_distrusted_time_is_void_and_no_other() {
    for (cause, why, flag) in [
        (Cause::Suspended, Void::Suspended, Flag::Suspended),
        (Cause::Hotplug, Void::Hotplug, Flag::Hotplug),
    ] {
        let mut l = ledger(vec![rapl()], 1, 1);
        enter(&mut l, 0);
        let mut void = vec![];
        for t in 0..100 {
            if t == 20 {
                // Known before the samples: the window from 29 to 30 ms is the first one in it.
                let time = |t: u64| Nanos(t * MS + MS / 2);
                l.distrust(DomainId(0), time(29), time(31), cause);
                l.distrust(DomainId(9), time(0), time(90), cause);
            }
            // The counter was reset to something larger: 1 kJ that no one burned.
            let counter = t * MS + if t > 30 { 1_000_000_000_000 } else { 0 };
            match sample(&mut l, 0, t * MS, counter, &[t * MS]) {
                Window::Void(reason) => void.push((t, reason)),
                window => assert!(!matches!(window, Window::Closed(c) if c.energy.0 > MS), "{t}"),
            }
        }
        assert_eq!(void, [30, 31, 32].map(|t| (t, why)));
        assert_eq!(measured(&l), 96 * MS);
        leave(&mut l, 99 * MS);
        l.finish(Nanos(99 * MS));
        let account = l.settled().remove(0);
        assert!(account.flags.contains(flag) && account.flags.contains(Flag::Void));
        assert_eq!(account.energy.unwrap().energy, Nanojoules(96 * MS));
    }
}

#[test]
fn windows_between_two_distrusted_times_are_valid_and_each_has_its_own_cause() {
    let mut l = ledger(vec![rapl()], 1, 1);
    l.distrust(DomainId(0), Nanos(10 * MS), Nanos(20 * MS), Cause::Suspended);
    l.distrust(DomainId(0), Nanos(80 * MS), Nanos(90 * MS), Cause::Hotplug);
    for t in (0..=100).step_by(10) {
        sample(&mut l, 0, t * MS, t * MS, &[t * MS]);
    }
    let book = l.books(DomainId(0)).unwrap();
    let voids: Vec<_> = book.voids.iter().map(|(cause, n)| (*cause, *n)).collect();
    assert_eq!(voids, [(Void::Suspended, 1), (Void::Hotplug, 1)]);
    assert_eq!((book.windows, measured(&l)), (8, 80 * MS));
}
