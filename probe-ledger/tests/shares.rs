//! Overlapping requests under every share policy, and the phases of a request.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{at, exact, flags, nj, sample};
use probe_ledger::Change::{Enter, First, Leave};
use probe_ledger::*;

const MS: u64 = 1_000_000;

fn ledger(share: Share) -> Ledger {
    let (horizon, patience) = (Nanos::from_millis(10_000), Nanos::from_millis(60_000));
    let policies = Policies { share, ..Policies::default() };
    let domains = vec![exact("package-0")];
    Ledger::new(Config { domains, consumers: 1, packages: 1, horizon, patience, policies }).unwrap()
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
fn equal_shares_are_equal_and_the_bar_says_what_others_would_have_charged() {
    // In the 50 ms of overlap: 50 tokens of the first (decode, 60 to 110), 200 prompt tokens of the second.
    let (a, b, l) = two(Share::Equal, work(10, 60, 10, 50), work(60, 110, 200, 10));
    assert_eq!((nj(&a), nj(&b)), (75_000, 75_000));
    let book = l.books(DomainId(0)).unwrap().consumers[0];
    assert_eq!((book.requests.0, book.background.0), (150_000, 20_000));
    // By tokens it would have been 10,000 and 40,000 of the 50,000.
    assert_eq!(a.energy.unwrap().parts.policy, Nanojoules(15_000));
    assert!(a.energy.unwrap().low.0 <= 60_000 && a.energy.unwrap().high.0 < 80_000);
    assert!(b.energy.unwrap().low.0 > 70_000 && b.energy.unwrap().high.0 >= 90_000);
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

/// A server whose prompt tokens cost 10 nJ and whose generated ones cost 500 nJ, with a steady load of pairs: learned
/// from those that are alone, used where two overlap.
#[test]
fn by_work_each_is_charged_by_what_its_tokens_cost_once_that_is_learned() {
    let mut l = ledger(Share::Work);
    sample(&mut l, 0, 0, 0, &[0]);
    let (mut ms, mut sum, mut id) = (0, 0, 0);
    let mut charges = Vec::new();
    // Alone: 1,000 prompt tokens in 20 ms, then 40 generated in 20 ms.
    let mut spend = |l: &mut Ledger, for_ms: u64, each: u64| {
        for _ in 0..for_ms {
            ms += 1;
            sum += each;
            sample(l, 0, ms * MS, sum, &[ms * MS]);
        }
        ms
    };
    for round in 0..40 {
        id += 1;
        let begin = spend(&mut l, 1, 7);
        change(&mut l, begin, id, Enter);
        let first = spend(&mut l, 20, 500);
        let end = spend(&mut l, 20, 1_000);
        assert!(l.work(RequestId(id), work(begin, first, 1_000, 40)));
        change(&mut l, end, id, Leave);
        spend(&mut l, 1, 7);
        charges.extend(l.settled());
        assert_eq!(nj(&charges[round]), 30_000, "alone, whatever the policy");
    }
    // One generates 40 tokens while another's 1,000 prompt tokens are read: 20,000 nJ and 10,000 nJ.
    let begin = spend(&mut l, 1, 7);
    change(&mut l, begin, 100, Enter);
    change(&mut l, begin, 101, Enter);
    let end = spend(&mut l, 20, 1_500);
    // Its context is as long as those that were learned from, and from a cache.
    let cached = Work { cached: 1_000, ..work(begin, begin, 0, 40) };
    assert!(l.work(RequestId(100), cached));
    change(&mut l, end, 100, Leave);
    assert!(l.work(RequestId(101), work(begin, end, 1_000, 0)));
    change(&mut l, end, 101, Leave);
    let last = spend(&mut l, 1, 7);
    let both = l.settled();
    let close = |energy: u64, truth: f64| (energy as f64 / truth - 1.0).abs() < 0.01;
    assert!(close(nj(&both[0]), 20_000.0) && close(nj(&both[1]), 10_000.0), "{both:?}");
    assert!(flags(&both[0]).is_empty());
    l.finish(Nanos(last * MS));
    books_close(&l);
}

#[test]
fn before_it_is_learned_they_share_equally_and_it_is_said() {
    let (a, b, _) = two(Share::Work, work(10, 60, 10, 50), work(60, 110, 200, 10));
    assert_eq!((nj(&a), nj(&b)), (75_000, 75_000));
    assert_eq!((flags(&a), flags(&b)), (vec!["work-unfitted"], vec!["work-unfitted"]));
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
