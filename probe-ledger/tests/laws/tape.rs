//! What a ledger is told, as a list that can be changed before it is told: records dropped, swapped, renamed. And what
//! came of telling it.

use probe_ledger::*;

use crate::host::modulus;
use crate::machine::{CONSUMERS, PACKAGES};

/// One call of the ledger.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Sample {
        t: u64,
        domain: usize,
        counter: Option<u64>,
        clocks: Vec<u64>,
        weights: Option<Weighed>,
    },
    Boundary {
        t: u64,
        target: usize,
        clocks: Vec<u64>,
        request: u64,
        change: Change,
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
}

/// [`Weights`] that are owned.
#[derive(Clone, Debug)]
pub(crate) struct Weighed {
    pub(crate) consumers: Vec<u64>,
    pub(crate) nobody: u64,
    pub(crate) measured: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Tape {
    pub(crate) domains: Vec<DomainSpec>,
    pub(crate) policies: Policies,
    pub(crate) horizon: u64,
    pub(crate) patience: u64,
    pub(crate) inputs: Vec<Input>,
    pub(crate) end: u64,
}

/// A window as the ledger reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) void: Option<Void>,
    pub(crate) gap: bool,
    /// Nanojoules; 0 if it is void.
    pub(crate) energy: u64,
    /// How far the counter moved in it, by the tape.
    pub(crate) counts: u128,
}

pub(crate) struct Told {
    pub(crate) ledger: Ledger,
    pub(crate) accounts: Vec<Account>,
    /// By domain.
    pub(crate) windows: Vec<Vec<Seen>>,
    pub(crate) refused: usize,
}

impl Tape {
    pub(crate) fn ledger(&self) -> Ledger {
        let config = Config {
            domains: self.domains.clone(),
            consumers: CONSUMERS,
            packages: PACKAGES,
            cpus: 4,
            horizon: Nanos(self.horizon),
            patience: Nanos(self.patience),
            policies: self.policies,
        };
        Ledger::new(config).unwrap()
    }

    pub(crate) fn tell(&self) -> Told {
        self.tell_and(|_| {})
    }

    /// Looks at the ledger after every input.
    pub(crate) fn tell_and(&self, mut look: impl FnMut(&Told)) -> Told {
        let windows = vec![Vec::new(); self.domains.len()];
        let mut told = Told { ledger: self.ledger(), accounts: vec![], windows, refused: 0 };
        let mut last: Vec<Option<(u64, u64)>> = vec![None; self.domains.len()];
        for input in &self.inputs {
            match input {
                Input::Sample { t, domain, counter, clocks, weights } => {
                    let weights = weights.as_ref().map(|weights| Weights {
                        consumers: &weights.consumers,
                        nobody: weights.nobody,
                        measured: weights.measured,
                    });
                    let sample = Sample { t: Nanos(*t), counter: *counter, clocks, weights };
                    let window = told.ledger.sample(DomainId(*domain), &sample);
                    let (void, gap, energy) = match window {
                        Window::Closed(closed) => (None, closed.gap, closed.energy.get()),
                        Window::Void(why) => (Some(why), false, 0),
                        _ => (None, false, 0),
                    };
                    if matches!(window, Window::First | Window::Closed(_) | Window::Void(_)) {
                        let now = (*t, counter.unwrap());
                        if let Some((begin, before)) = last[*domain].replace(now) {
                            let modulus = modulus(self.domains[*domain].range);
                            let moved = u128::from(now.1) + modulus - u128::from(before);
                            let counts = moved % modulus;
                            let seen = Seen { begin, end: *t, void, gap, energy, counts };
                            told.windows[*domain].push(seen);
                        }
                    }
                }
                Input::Boundary { t, target, clocks, request, change } => {
                    let (t, request) = (Nanos(*t), RequestId(*request));
                    let boundary = Boundary { t, clocks, request, change: *change };
                    let refused = told.ledger.boundary(ConsumerId(*target), &boundary).is_err();
                    told.refused += usize::from(refused);
                }
                Input::Work { request, work } => {
                    told.ledger.work(RequestId(*request), *work);
                }
                Input::Split { domain, split } => told.ledger.split(DomainId(*domain), *split),
                Input::Distrust { domain, begin, end, cause } => {
                    let (domain, cause) = (DomainId(*domain), *cause);
                    told.ledger.distrust(domain, Nanos(*begin), Nanos(*end), cause);
                }
            }
            let settled = told.ledger.settled();
            told.accounts.extend(settled);
            look(&told);
        }
        told.ledger.finish(Nanos(self.end));
        let settled = told.ledger.settled();
        told.accounts.extend(settled);
        look(&told);
        told
    }

    /// How many intervals a request can at most be settled in: what it gets is rounded once in each. An interval ends where a
    /// phase of anybody's does, at a sample, or a patience before now.
    pub(crate) fn intervals(&self, account: (u64, u64)) -> u64 {
        let mut instants = Vec::new();
        for input in &self.inputs {
            match input {
                Input::Sample { t, .. } | Input::Boundary { t, .. } => {
                    instants.extend([*t, t.saturating_sub(self.patience)]);
                }
                Input::Work { work, .. } => {
                    instants.extend(
                        [work.begin, work.first, work.last].into_iter().flatten().map(Nanos::get),
                    );
                }
                Input::Split { .. } | Input::Distrust { .. } => {}
            }
        }
        instants.sort_unstable();
        instants.dedup();
        let (enter, leave) = account;
        instants.iter().filter(|t| (enter..=leave).contains(*t)).count() as u64 + 2
    }

    /// When each request was resident, as far as the tape tells.
    pub(crate) fn residency(&self, id: u64) -> Option<(u64, u64)> {
        let (mut enter, mut leave) = (None, self.end);
        for input in &self.inputs {
            if let Input::Boundary { t, request, change, .. } = input
                && *request == id
            {
                match change {
                    Change::Enter => enter = Some(*t),
                    Change::Leave => leave = *t,
                    Change::First => {}
                }
            }
        }
        enter.map(|enter| (enter, leave))
    }
}

impl Told {
    pub(crate) fn book(&self, d: usize) -> &Book {
        self.ledger.books(DomainId(d)).unwrap()
    }

    pub(crate) fn account(&self, request: u64) -> Option<&Account> {
        self.accounts.iter().find(|account| account.request == RequestId(request))
    }

    /// What a request was charged in each domain.
    pub(crate) fn energies(&self, request: u64) -> Option<Vec<u64>> {
        let nj = |share: &DomainShare| share.active.map_or(0, |e| e.energy.get());
        self.account(request).map(|account| account.domains.iter().map(nj).collect())
    }

    /// What each consumer was charged in a domain.
    pub(crate) fn active(&self, d: usize) -> Vec<u64> {
        self.book(d).consumers.iter().map(|consumer| consumer.active.get()).collect()
    }

    /// What the accounts of a consumer add up to in a domain.
    pub(crate) fn charged(&self, d: usize, consumer: usize) -> u128 {
        let nj = |a: &Account| a.domains[d].active.map_or(0, |e| u128::from(e.energy.get()));
        self.accounts.iter().filter(|a| a.target == ConsumerId(consumer)).map(nj).sum()
    }
}

/// Nothing but zeros of such a counter is not measured: whether somebody got the odd nanojoule decides whether he has joules.
pub(crate) fn zeros_are_nothing(share: &DomainShare) -> bool {
    [Flag::CounterLate, Flag::CounterStuck].iter().any(|flag| share.flags.contains(*flag))
}
