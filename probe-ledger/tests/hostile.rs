//! Any numbers at all: the ledger never panics, its books always close, its memory stays bounded.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use probe_ledger::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Input {
    Sample { domain: usize, t: u64, counter: Option<u64>, clocks: Vec<u64> },
    Boundary { target: usize, t: u64, clocks: Vec<u64>, request: u64, change: Change },
    Finish(u64),
}

/// Small numbers, any numbers, and the ends.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..100, any::<u64>(), Just(0), Just(u64::MAX), Just(u64::MAX - 1), 0u64..1 << 40]
}

fn clocks(usual: usize) -> impl Strategy<Value = Vec<u64>> {
    prop_oneof![
        9 => prop::collection::vec(number(), usual..=usual),
        1 => prop::collection::vec(number(), 0..5)
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let change = prop_oneof![Just(Change::Enter), Just(Change::First), Just(Change::Leave)];
    prop_oneof![
        10 => (0usize..4, number(), prop::option::weighted(0.9, number()), clocks(3))
            .prop_map(|(domain, t, counter, clocks)| Input::Sample { domain, t, counter, clocks }),
        10 => (0usize..4, number(), clocks(2), 0u64..6, change).prop_map(
            |(target, t, clocks, request, change)| Input::Boundary { target, t, clocks, request, change }
        ),
        1 => number().prop_map(Input::Finish),
    ]
}

fn domain() -> impl Strategy<Value = DomainSpec> {
    let range = prop_oneof![(1u32..=64).prop_map(Range::Bits), number().prop_map(Range::Max)];
    let scope = prop_oneof![
        (0usize..2).prop_map(Scope::Package),
        Just(Scope::Machine),
        Just(Scope::Device)
    ];
    let power = || prop::option::of(number().prop_map(Nanowatts));
    let rest = (power(), power(), number(), number(), any::<u32>(), number(), 1e-15f64..4.0);
    (range, scope, any::<bool>(), rest).prop_map(|(range, scope, additive, rest)| {
        let (idle, max_power, period, quantum, class, expected, joules) = rest;
        DomainSpec {
            name: "hostile".to_owned(),
            scale: Scale::from_joules_per_count(joules).unwrap(),
            range,
            scope,
            additive,
            idle,
            idle_error: None,
            max_power,
            period: Nanos(period),
            quantum: Nanojoules(quantum),
            class: Ratio(class),
            expected_window: Nanos(expected),
            pulse: (quantum % 2 == 0).then_some(Nanos(quantum)),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_input_breaks_the_books(
        domains in prop::collection::vec(domain(), 0..4),
        horizon in number(),
        inputs in prop::collection::vec(input(), 0..200)
    ) {
        let count = domains.len();
        let policies = Policies::default();
        let config = Config { domains, consumers: 3, packages: 2, horizon: Nanos(horizon), patience: Nanos(horizon), policies };
        let mut ledger = Ledger::new(config).unwrap();
        let mut charged = vec![0u128; count];
        let mut settle = |ledger: &mut Ledger| {
            for account in ledger.settled() {
                assert!(account.mean_residents >= 0.0);
                for (sum, share) in charged.iter_mut().zip(account.domains) {
                    let Some(e) = share.active else { continue };
                    assert!(e.low <= e.energy && e.energy <= e.high, "{e:?}");
                    *sum += u128::from(e.energy.get());
                }
            }
        };
        for input in &inputs {
            match input {
                Input::Sample { domain, t, counter, clocks } => {
                    let sample = Sample { t: Nanos(*t), counter: *counter, clocks, weights: None };
                    ledger.sample(DomainId(*domain), &sample);
                }
                Input::Boundary { target, t, clocks, request, change } => {
                    let request = RequestId(*request);
                    let boundary = Boundary { t: Nanos(*t), clocks, request, change: *change };
                    let _ = ledger.boundary(ConsumerId(*target), &boundary);
                }
                Input::Finish(t) => ledger.finish(Nanos(*t)),
            }
            settle(&mut ledger);
        }
        ledger.finish(Nanos(u64::MAX));
        settle(&mut ledger);
        prop_assert_eq!(ledger.unsettled(), 0);
        for (d, charged) in charged.into_iter().enumerate() {
            let book = ledger.books(DomainId(d)).unwrap();
            prop_assert!(book.closes(), "{:?}", book);
            let requests: u128 = book.consumers.iter().map(|c| u128::from(c.requests.get())).sum();
            prop_assert_eq!(charged, requests);
        }
    }
}
