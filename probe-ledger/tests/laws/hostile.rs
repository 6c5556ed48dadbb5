//! Any numbers at all: the ledger never panics, its books always close, its memory stays bounded.

use probe_ledger::*;
use proptest::prelude::*;

use crate::hold;

#[derive(Clone, Debug)]
enum Input {
    Sample {
        domain: usize,
        t: u64,
        counter: Option<u64>,
        clocks: Vec<u64>,
        weights: Option<(Vec<u64>, u64, bool)>,
    },
    Work {
        request: u64,
        work: Work,
    },
    Split {
        domain: usize,
        split: Split,
    },
    Distrust {
        domain: usize,
        begin: u64,
        end: u64,
        cause: Cause,
    },
    /// The input before it, once more.
    Again,
    Boundary {
        target: usize,
        t: u64,
        clocks: Vec<u64>,
        request: u64,
        change: Change,
    },
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

fn work() -> impl Strategy<Value = Work> {
    let any = || prop::option::of(number());
    (any(), any(), any(), any(), number(), any()).prop_map(
        |(begin, first, last, prompt, cached, completion)| {
            let [begin, first, last] = [begin, first, last].map(|t| t.map(Nanos));
            Work { begin, first, last, prompt, cached, completion }
        },
    )
}

fn input() -> impl Strategy<Value = Input> {
    let weights = prop::option::of((clocks(3), number(), any::<bool>()));
    let split = prop::sample::select(&Split::ALL[..]);
    let cause = prop_oneof![Just(Cause::Suspended), Just(Cause::Hotplug)];
    let change = prop_oneof![Just(Change::Enter), Just(Change::First), Just(Change::Leave)];
    prop_oneof![
        10 => (0usize..4, number(), prop::option::weighted(0.9, number()), clocks(3), weights).prop_map(
            |(domain, t, counter, clocks, weights)| Input::Sample { domain, t, counter, clocks, weights }
        ),
        4 => (0u64..6, work()).prop_map(|(request, work)| Input::Work { request, work }),
        1 => (0usize..4, split).prop_map(|(domain, split)| Input::Split { domain, split }),
        1 => (0usize..4, number(), number(), cause)
            .prop_map(|(domain, begin, end, cause)| Input::Distrust { domain, begin, end, cause }),
        2 => Just(Input::Again),
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
            idle_error: idle.filter(|power| power.0.is_multiple_of(3)),
            max_power,
            period: Nanos(period),
            quantum: Nanojoules(quantum),
            class: Ratio(class),
            expected_window: Nanos(expected),
            pulse: (quantum % 2 == 0).then_some(Nanos(quantum)),
        }
    })
}

fn tell(ledger: &mut Ledger, input: &Input) {
    match input {
        Input::Sample { domain, t, counter, clocks, weights } => {
            let weights = weights.as_ref().map(|(consumers, nobody, measured)| Weights {
                consumers,
                nobody: *nobody,
                measured: *measured,
            });
            let sample = Sample { t: Nanos(*t), counter: *counter, clocks, weights };
            ledger.sample(DomainId(*domain), &sample);
        }
        Input::Boundary { target, t, clocks, request, change } => {
            let request = RequestId(*request);
            let boundary = Boundary { t: Nanos(*t), clocks, request, change: *change };
            let _ = ledger.boundary(ConsumerId(*target), &boundary);
        }
        Input::Work { request, work } => {
            ledger.work(RequestId(*request), *work);
        }
        Input::Split { domain, split } => ledger.split(DomainId(*domain), *split),
        Input::Distrust { domain, begin, end, cause } => {
            ledger.distrust(DomainId(*domain), Nanos(*begin), Nanos(*end), *cause);
        }
        Input::Finish(t) => ledger.finish(Nanos(*t)),
        Input::Again => {}
    }
}

#[test]
fn no_input_breaks_the_books() {
    let case = (
        prop::collection::vec(domain(), 0..4),
        (number(), number()),
        prop::collection::vec(input(), 0..200),
    );
    hold(540, &case, |policies, (domains, (horizon, patience), inputs)| {
        let count = domains.len();
        let (horizon, patience) = (Nanos(horizon), Nanos(patience));
        let config =
            Config { domains, consumers: 3, packages: 2, cpus: 1, horizon, patience, policies };
        let mut ledger = Ledger::new(config).unwrap();
        let (mut charged, mut given) = (vec![0u128; count], vec![0u128; count]);
        let mut settle = |ledger: &mut Ledger| {
            for account in ledger.settled() {
                prop_assert!(account.mean_residents >= 0.0);
                for (d, share) in account.domains.iter().enumerate() {
                    given[d] += share.idle.map_or(0, |e| u128::from(e.get()));
                    let Some(e) = share.active else { continue };
                    prop_assert!(e.low <= e.energy && e.energy <= e.high, "{:?}", e);
                    charged[d] += u128::from(e.energy.get());
                }
            }
            for d in 0..count {
                let book = ledger.books(DomainId(d)).unwrap();
                prop_assert!(book.closes(), "{:?}", book);
            }
            Ok(())
        };
        let mut last = &Input::Again;
        for input in &inputs {
            last = if matches!(input, Input::Again) { last } else { input };
            tell(&mut ledger, last);
            settle(&mut ledger)?;
        }
        ledger.finish(Nanos(u64::MAX));
        settle(&mut ledger)?;
        prop_assert_eq!(ledger.unsettled(), 0);
        for (d, (charged, given)) in charged.into_iter().zip(given).enumerate() {
            let book = ledger.books(DomainId(d)).unwrap();
            let requests: u128 = book.consumers.iter().map(|c| u128::from(c.requests.get())).sum();
            prop_assert_eq!((charged, given), (requests, u128::from(book.idle_given.get())));
        }
        Ok(())
    });
}
