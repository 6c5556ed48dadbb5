//! Shares by work: prices that are learned, what teaches them and what does not.

use probe_ledger::Change::{Enter, Leave};
use probe_ledger::*;

use crate::common::{flags, nj, sample};
use crate::{MS, books_close, change, ledger, work};

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
