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

/// A server whose prompt tokens cost 10 nJ, whose steps 400 nJ and whose tokens 100 nJ each; a step lasts a millisecond.
struct Server {
    l: Ledger,
    ms: u64,
    sum: u64,
    requests: u64,
}

impl Server {
    /// So long, at so many nanojoules a millisecond.
    fn spend(&mut self, for_ms: u64, each: u64) {
        for _ in 0..for_ms {
            self.ms += 1;
            self.sum += each;
            sample(&mut self.l, 0, self.ms * MS, self.sum, &[self.ms * MS]);
        }
    }

    /// So many at once: 1,000 prompt tokens each in 20 ms, one step, then 41 tokens each in 40 steps. Returns what
    /// each was charged.
    fn serve(&mut self, n: u64) -> Vec<u64> {
        let ids: Vec<u64> = (0..n).map(|i| self.requests + i).collect();
        self.requests += n;
        let begin = self.ms;
        ids.iter().for_each(|id| change(&mut self.l, begin, *id, Enter));
        self.spend(20, n * 500 + 20);
        let first = self.ms;
        self.spend(40, 400 + n * 100);
        for id in ids {
            assert!(self.l.work(RequestId(id), work(begin, first, 1_000, 41)));
            change(&mut self.l, self.ms, id, Leave);
        }
        self.spend(1, 7);
        self.l.settled().iter().map(nj).collect()
    }
}

#[test]
fn by_work_each_is_charged_by_what_its_tokens_cost_once_that_is_learned() {
    let mut server = Server { l: ledger(Share::Work), ms: 0, sum: 0, requests: 0 };
    sample(&mut server.l, 0, 0, 0, &[0]);
    // Two equations each, of its prompt and of its decode: then there are prices, and nobody waits for them.
    for _ in 0..4 {
        assert_eq!(server.serve(1), [30_400], "alone, whatever the policy");
    }
    for _ in 0..20 {
        assert_eq!(server.serve(1), [30_400], "alone, whatever the policy");
        assert_eq!(server.serve(2), [22_200; 2], "alike, whatever the policy");
    }
    // Twenty steps in which one generates 20 tokens while another's 1,000 prompt tokens are read.
    let begin = server.ms;
    change(&mut server.l, begin, 1_000, Enter);
    change(&mut server.l, begin, 1_001, Enter);
    server.spend(20, 400 + 100 + 500);
    let end = server.ms;
    // Its context is as long as those that were learned from, and from a cache.
    let cached = Work { cached: 1_010, ..work(begin, begin, 0, 20) };
    assert!(server.l.work(RequestId(1_000), cached));
    change(&mut server.l, end, 1_000, Leave);
    assert!(server.l.work(RequestId(1_001), work(begin, end, 1_000, 0)));
    change(&mut server.l, end, 1_001, Leave);
    server.spend(1, 7);
    let both = server.l.settled();
    // 20 tokens, 1,000 prompt tokens, and half of 20 steps each.
    let close = |energy: u64, truth: f64| (energy as f64 / truth - 1.0).abs() < 0.01;
    assert!(close(nj(&both[0]), 6_000.0) && close(nj(&both[1]), 14_000.0), "{both:?}");
    assert!(flags(&both[0]).is_empty());
    // Prices that have foretold everything: what is uncertain is when steps began and ended.
    for account in &both {
        let estimate = account.energy.unwrap();
        assert!((1..1_000).contains(&estimate.parts.policy.0), "{estimate:?}");
    }
    let last = server.ms;
    server.l.finish(Nanos(last * MS));
    books_close(&server.l);
}

/// Learns from sixteen, one after the other: a prompt token costs 10 nJ, a step 400, a token 100.
fn taught() -> Server {
    let mut server = Server { l: ledger(Share::Work), ms: 0, sum: 0, requests: 0 };
    sample(&mut server.l, 0, 0, 0, &[0]);
    for n in [1, 2].repeat(8) {
        server.serve(n);
    }
    server
}

/// Of one that generates 40 tokens in 40 steps while the prompt of 2,000 tokens of another is read.
fn unlike(server: &mut Server) -> (u64, u64) {
    let begin = server.ms;
    for id in [2_000, 2_001] {
        change(&mut server.l, begin, id, Enter);
    }
    server.spend(40, 400 + 100 + 500);
    let end = server.ms;
    let cached = Work { cached: 1_000, ..work(begin, begin, 0, 40) };
    assert!(server.l.work(RequestId(2_000), cached));
    assert!(server.l.work(RequestId(2_001), work(begin, end, 2_000, 0)));
    change(&mut server.l, end, 2_000, Leave);
    change(&mut server.l, end, 2_001, Leave);
    server.spend(1, 7);
    let mut both = server.l.settled();
    both.sort_by_key(|account| account.request.0);
    (nj(&both[0]), nj(&both[1]))
}

#[test]
fn a_decode_of_which_a_part_was_not_learned_from_teaches_nothing() {
    let mut server = taught();
    let before = unlike(&mut server);
    // 40 × 100 of its own and 40 × 200 of the steps; 2,000 × 10 and the other half of the steps.
    assert!(before.0.abs_diff(12_000) < 200 && before.1.abs_diff(28_000) < 200, "{before:?}");
    // Eight times one generates 101 tokens, and beside 80 of its 100 steps is another of which no token is told.
    for i in 0..8 {
        let (a, b, begin) = (3_000 + i, 4_000 + i, server.ms);
        change(&mut server.l, begin, a, Enter);
        server.spend(10, 500);
        change(&mut server.l, begin + 10, b, Enter);
        server.spend(80, 600);
        assert!(
            server
                .l
                .work(RequestId(b), Work { prompt: None, ..work(begin + 10, begin + 10, 0, 9) })
        );
        change(&mut server.l, begin + 90, b, Leave);
        server.spend(10, 500);
        assert!(server.l.work(RequestId(a), work(begin, begin, 0, 101)));
        change(&mut server.l, begin + 100, a, Leave);
        server.spend(1, 7);
    }
    server.l.settled();
    assert_eq!(unlike(&mut server), before, "100 steps did not cost the energy of 20");
}

#[test]
fn by_work_one_whose_phases_are_unknown_is_not_charged_for_its_prompt_alone() {
    let mut server = taught();
    let begin = server.ms;
    change(&mut server.l, begin, 2_000, Enter);
    change(&mut server.l, begin, 2_001, Enter);
    server.spend(40, 400 + 200);
    let end = server.ms;
    assert!(server.l.work(RequestId(2_000), work(begin, begin, 0, 40)));
    // A plain answer with its usage and nothing else: a token of prompt and forty more, nobody knows when.
    let usage = Work { begin: None, first: None, ..work(0, 0, 1, 40) };
    assert!(server.l.work(RequestId(2_001), usage));
    change(&mut server.l, end, 2_000, Leave);
    change(&mut server.l, end, 2_001, Leave);
    server.spend(1, 7);
    let both = server.l.settled();
    assert_eq!((nj(&both[0]), nj(&both[1])), (12_000, 12_000));
    for account in &both {
        assert_eq!(flags(account), ["share-unknown"]);
        // As where there are no prices: 3.5 times as much or as little.
        let policy = account.energy.unwrap().parts.policy.0;
        assert_eq!(policy, 6_667, "a half of 12,000 might be the other's");
    }
}

#[test]
fn by_work_one_that_generated_nothing_needs_no_first_token_to_be_priced() {
    let mut server = taught();
    let begin = server.ms;
    change(&mut server.l, begin, 2_000, Enter);
    change(&mut server.l, begin, 2_001, Enter);
    server.spend(40, 400 + 100 + 500);
    let end = server.ms;
    let cached = Work { cached: 1_000, ..work(begin, begin, 0, 40) };
    assert!(server.l.work(RequestId(2_000), cached));
    let embedding = Work { begin: None, first: None, ..work(0, 0, 2_000, 0) };
    assert!(server.l.work(RequestId(2_001), embedding));
    change(&mut server.l, end, 2_000, Leave);
    change(&mut server.l, end, 2_001, Leave);
    server.spend(1, 7);
    let both = server.l.settled();
    assert!(nj(&both[1]).abs_diff(28_000) < 300, "{both:?}");
    assert!(flags(&both[1]).is_empty());
}

#[test]
fn a_count_of_tokens_that_cannot_be_is_unknown_and_moves_no_price() {
    let mut server = taught();
    let before = unlike(&mut server);
    for i in 0..8 {
        let begin = server.ms;
        change(&mut server.l, begin, 3_000 + i, Enter);
        server.spend(40, 500);
        let end = server.ms;
        let broken = work(begin, begin, 0, 18_000_000_000_000_000_000);
        assert!(server.l.work(RequestId(3_000 + i), broken));
        change(&mut server.l, end, 3_000 + i, Leave);
        server.spend(1, 7);
    }
    server.l.settled();
    assert_eq!(unlike(&mut server), before);
}

#[test]
fn which_of_two_that_leave_together_is_told_of_first_changes_nobodys_share() {
    let shares = |first_to_leave: usize| {
        let mut server = taught();
        let begin = server.ms;
        // One generates 20 tokens beside one whose prompt is read; then four more come, and all of it costs double.
        change(&mut server.l, begin, 1, Enter);
        change(&mut server.l, begin, 2, Enter);
        server.spend(20, 1_000);
        let middle = server.ms;
        assert!(server.l.work(RequestId(1), Work { cached: 1_000, ..work(begin, begin, 0, 20) }));
        change(&mut server.l, middle, 1, Leave);
        (3..7).for_each(|id| change(&mut server.l, middle, id, Enter));
        server.spend(40, 2_000);
        let end = server.ms;
        let mut last: Vec<u64> = (2..7).collect();
        last.rotate_left(first_to_leave);
        for id in last {
            let told = match id {
                2 => work(begin, middle, 1_000, 41),
                _ => Work { cached: 1_000, ..work(middle, middle, 0, 41) },
            };
            assert!(server.l.work(RequestId(id), told));
            change(&mut server.l, end, id, Leave);
        }
        server.spend(1, 7);
        let mut all = server.l.settled();
        all.sort_by_key(|account| account.request.0);
        all.iter().map(nj).collect::<Vec<_>>()
    };
    let one = shares(0);
    assert_eq!(one.len(), 6);
    for first in 1..5 {
        let other = shares(first);
        let close = one.iter().zip(&other).all(|(a, b)| a.abs_diff(*b) <= 2);
        assert!(close, "{one:?} {other:?}");
    }
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
