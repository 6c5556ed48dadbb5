//! Overlapping requests under every share policy, and the phases of a request.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../common/mod.rs"]
mod common;
mod prices;

use common::{at, exact, flags, nj, sample};
use probe_ledger::Change::{Enter, First, Leave};
use probe_ledger::*;

const MS: u64 = 1_000_000;

fn ledger(share: Share) -> Ledger {
    let (horizon, patience) = (Nanos::from_millis(10_000), Nanos::from_millis(60_000));
    let policies = Policies { share, ..Policies::default() };
    let domains = vec![exact("package-0")];
    Ledger::new(Config { domains, consumers: 1, packages: 1, cpus: 1, horizon, patience, policies })
        .unwrap()
}

/// 1 µJ a millisecond of a target that runs without a break.
fn run(l: &mut Ledger, from: u64, to: u64) {
    for ms in from + 1..=to {
        sample(l, 0, ms * MS, ms * 1_000, &[ms * MS]);
    }
}

fn change(l: &mut Ledger, ms: u64, request: u64, change: Change) {
    at(l, 0, ms * MS, &[ms * MS], request, change).unwrap();
}

fn work(begin: u64, first: u64, prompt: u64, completion: u64) -> Work {
    let ms = |ms: u64| Some(Nanos(ms * MS));
    let (begin, first) = (ms(begin), ms(first));
    let (prompt, completion) = (Some(prompt), Some(completion));
    Work { begin, first, prompt, completion, ..Work::default() }
}

fn books_close(l: &Ledger) {
    let book = l.books(DomainId(0)).unwrap();
    assert!(book.closes(), "{book:?}");
    assert_eq!(book.consumers[0].unsettled(), Some(Nanojoules(0)));
}

/// Two requests of 100 ms, the second 50 ms later; what each did is told.
fn two(share: Share, first: Work, second: Work) -> (Account, Account, Ledger) {
    let mut l = ledger(share);
    sample(&mut l, 0, 0, 0, &[0]);
    run(&mut l, 0, 10);
    change(&mut l, 10, 1, Enter);
    run(&mut l, 10, 60);
    change(&mut l, 60, 2, Enter);
    run(&mut l, 60, 110);
    assert!(l.work(RequestId(1), first));
    change(&mut l, 110, 1, Leave);
    run(&mut l, 110, 160);
    assert!(l.settled().is_empty(), "it overlapped one of which nothing is known yet");
    assert!(l.work(RequestId(2), second));
    change(&mut l, 160, 2, Leave);
    run(&mut l, 160, 170);
    let mut settled = l.settled();
    assert_eq!(settled.len(), 2);
    l.finish(Nanos(170 * MS));
    books_close(&l);
    let second = settled.remove(1);
    (settled.remove(0), second, l)
}

#[test]
fn equal_shares_are_equal_and_without_a_history_the_bar_says_how_little_that_means() {
    // In the 50 ms of overlap: 50 tokens of the first (decode, 60 to 110), 200 prompt tokens of the second.
    let (a, b, l) = two(Share::Equal, work(10, 60, 10, 50), work(60, 110, 200, 10));
    assert_eq!((nj(&a), nj(&b)), (75_000, 75_000));
    let book = l.books(DomainId(0)).unwrap().consumers[0];
    assert_eq!((book.requests.0, book.background.0), (150_000, 20_000));
    for account in [a, b] {
        let estimate = account.energy.unwrap();
        // A sixth of its energy (half of what overlapped) might be the other's: 3.5 times as much work, or as little.
        assert_eq!(estimate.parts.policy, Nanojoules(22_059));
        assert!(estimate.low.0 < 55_000 && estimate.high.0 > 85_000, "{estimate:?}");
    }
}

#[test]
fn by_tokens_each_is_charged_for_what_it_received() {
    let (a, b, _) = two(Share::Tokens, work(10, 60, 10, 50), work(60, 110, 200, 10));
    assert_eq!((nj(&a), nj(&b)), (50_000 + 10_000, 40_000 + 50_000));
    assert_eq!(flags(&a), Vec::<&str>::new());
    // Prefill lay where the prompt was read, decode behind it.
    let phases = |account: &Account| {
        let share = &account.domains[0];
        (share.prefill.unwrap().0, share.decode.unwrap().0)
    };
    assert_eq!((phases(&a), phases(&b)), ((50_000, 10_000), (40_000, 50_000)));
}

#[test]
fn where_the_tokens_of_one_are_unknown_all_share_equally_and_it_is_said() {
    let unknown = Work { prompt: None, ..work(60, 110, 0, 10) };
    let (a, b, _) = two(Share::Tokens, work(10, 60, 10, 50), unknown);
    assert_eq!((nj(&a), nj(&b)), (75_000, 75_000));
    assert_eq!((flags(&a), flags(&b)), (vec!["share-unknown"], vec!["share-unknown"]));
}

#[test]
fn a_queued_request_gets_nothing_and_the_one_that_is_worked_on_gets_all() {
    let (a, b, _) = two(Share::Equal, work(10, 60, 10, 50), work(110, 120, 200, 10));
    assert_eq!((nj(&a), nj(&b)), (100_000, 50_000));
    assert_eq!(a.energy.unwrap().parts.policy, Nanojoules(0));
}

#[test]
fn queued_alone_it_is_the_targets_background() {
    let mut l = ledger(Share::Equal);
    sample(&mut l, 0, 0, 0, &[0]);
    change(&mut l, 0, 1, Enter);
    run(&mut l, 0, 100);
    let done = Work { last: Some(Nanos(80 * MS)), ..work(30, 50, 5, 5) };
    assert!(l.work(RequestId(1), done));
    change(&mut l, 100, 1, Leave);
    run(&mut l, 100, 101);
    let account = l.settled().remove(0);
    assert_eq!(nj(&account), 50_000);
    let share = &account.domains[0];
    assert_eq!((share.prefill.unwrap().0, share.decode.unwrap().0), (20_000, 30_000));
    l.finish(Nanos(101 * MS));
    books_close(&l);
    assert_eq!(l.books(DomainId(0)).unwrap().consumers[0].background.0, 51_000);
}

#[test]
fn what_is_told_after_it_has_left_is_not_taken_in() {
    let mut l = ledger(Share::Equal);
    sample(&mut l, 0, 0, 0, &[0]);
    change(&mut l, 0, 1, Enter);
    change(&mut l, 1, 1, First);
    change(&mut l, 2, 1, Leave);
    assert!(!l.work(RequestId(1), Work::default()));
    assert!(!l.work(RequestId(7), Work::default()));
}

/// Pairs of requests that overlap, one after the other; how many accounts were settled after each.
fn pairs(l: &mut Ledger, n: u64, told: Work) -> Vec<usize> {
    sample(l, 0, 0, 0, &[0]);
    let mut settled = Vec::new();
    for pair in 0..n {
        let begin = pair * 100;
        change(l, begin, 2 * pair, Enter);
        change(l, begin, 2 * pair + 1, Enter);
        run(l, begin, begin + 90);
        let at = |t: Option<Nanos>| t.map(|t| t.saturating_add(Nanos(begin * MS)));
        let told = Work { begin: at(told.begin), first: at(told.first), ..told };
        for request in [2 * pair, 2 * pair + 1] {
            l.work(RequestId(request), told);
            change(l, begin + 90, request, Leave);
        }
        run(l, begin + 90, begin + 100);
        settled.push(l.settled().len());
    }
    settled
}

#[test]
fn who_overlapped_waits_for_the_first_prices_and_is_charged_by_them() {
    let mut l = ledger(Share::Work);
    // Each gives two equations, of its prompt and of its decode; eight of them make prices, then all settle.
    assert_eq!(pairs(&mut l, 4, work(0, 40, 100, 20)), [0, 4, 2, 2]);
}

#[test]
fn who_overlapped_does_not_wait_where_nothing_can_be_learned() {
    let uncounted = Work { prompt: None, ..work(0, 40, 0, 20) };
    assert_eq!(pairs(&mut ledger(Share::Work), 3, uncounted), [2, 2, 2]);
    // No prompt token but from a cache, and no generated one but the first: no equation of either. Sixteen wait at most.
    let counts = pairs(&mut ledger(Share::Work), 12, work(0, 40, 0, 1));
    assert_eq!(counts[..8], [0; 8]);
    assert_eq!(counts[8..], [18, 2, 2, 2], "{counts:?}");
}

#[test]
fn before_it_is_learned_they_share_equally_and_it_is_said() {
    let mut l = ledger(Share::Work);
    assert_eq!(pairs(&mut l, 1, work(0, 40, 100, 20)), [0]);
    l.finish(Nanos(100 * MS));
    let both = l.settled();
    assert_eq!((nj(&both[0]), nj(&both[1])), (45_000, 45_000));
    assert!(both.iter().all(|account| flags(account) == ["work-unfitted"]), "{both:?}");
    books_close(&l);
}

#[test]
fn nobody_is_waited_for_longer_than_patience() {
    let mut l = ledger(Share::Equal);
    sample(&mut l, 0, 0, 0, &[0]);
    change(&mut l, 0, 1, Enter);
    change(&mut l, 10, 2, Enter);
    change(&mut l, 20, 2, Leave);
    for s in 1..=60 {
        sample(&mut l, 0, s * 1_000 * MS, s * 1_000_000, &[s * 1_000 * MS]);
        assert!(l.settled().is_empty(), "after {s} s");
    }
    sample(&mut l, 0, 60_021 * MS, 60_021_000, &[60_021 * MS]);
    let account = l.settled().remove(0);
    assert_eq!((account.request, nj(&account)), (RequestId(2), 5_000));
}

#[test]
fn what_was_settled_before_its_phases_were_known_leaves_them_unknown_and_not_0() {
    let mut l = ledger(Share::Equal);
    sample(&mut l, 0, 0, 0, &[0]);
    change(&mut l, 0, 1, Enter);
    // Another comes and goes while its prompt is read: with patience past, what is older is settled.
    let at_s = |l: &mut Ledger, s: u64| sample(l, 0, s * 1_000 * MS, s * 1_000, &[s * 1_000 * MS]);
    at_s(&mut l, 10);
    change(&mut l, 10_000, 2, Enter);
    at_s(&mut l, 20);
    change(&mut l, 20_000, 2, Leave);
    at_s(&mut l, 90);
    assert_eq!(l.settled().len(), 1);
    change(&mut l, 100_000, 1, First);
    at_s(&mut l, 110);
    change(&mut l, 120_000, 1, Leave);
    at_s(&mut l, 130);
    let account = l.settled().remove(0);
    let share = &account.domains[0];
    // 100 s of prefill, of which the first 30 were settled when it was not known what they were.
    assert_eq!((nj(&account), share.prefill, share.decode), (115_000, None, None));
}
