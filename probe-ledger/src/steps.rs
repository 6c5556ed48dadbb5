//! What a target's requests do together: batch steps, and the convention by which a step's energy is theirs.
//!
//! A step of a server with continuous batching reads some prompt tokens and generates one token for every sequence in
//! decode. Its energy is `a` for each prompt token read, `b` for each token generated, `c` for each token that one was
//! generated from, and `B` however many take part (reading the weights). A prompt token's and a generated token's are
//! its request's own; **`B` belongs in equal parts to all who take part in the step**.
//!
//! Nobody sees steps. How many there were in an interval follows from its energy: what its prompt tokens did not cost, by
//! the price of a step. Over a whole decode they are known: a request takes part in one step less than it generates
//! tokens. That is the equation that prices are learned from; and what a prompt cost while nobody was in decode.

use crate::desk::Slot;
use crate::work::{Amounts, Phases};

/// Prices of a prompt token, of a step, of a generated token, of a token of its context, in joules.
pub(crate) const N: usize = 4;
pub(crate) type Prices = [f64; N];

/// A request that is worked on throughout an interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Worker {
    pub(crate) slot: Slot,
    pub(crate) phases: Phases,
    pub(crate) amounts: Amounts,
    pub(crate) decodes: bool,
}

impl Worker {
    /// Tokens that its next one is generated from, on average.
    fn context(&self) -> f64 {
        if self.amounts.decode > 0.0 { self.amounts.reading / self.amounts.decode } else { 0.0 }
    }

    /// What its part in a step costs of its own.
    fn in_a_step(&self, prices: &Prices) -> f64 {
        let [_, _, token, context] = prices;
        if self.decodes { token + context * self.context() } else { 0.0 }
    }
}

/// What was done in an interval by all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    joules: f64,
    prompts: f64,
    decoding: f64,
    context: f64,
}

impl Batch {
    pub(crate) fn new(workers: &[Worker], joules: f64) -> Self {
        let decoding = || workers.iter().filter(|worker| worker.decodes);
        Self {
            joules,
            prompts: workers.iter().map(|worker| worker.amounts.prefill).sum(),
            decoding: decoding().map(|_| 1.0).sum(),
            context: decoding().map(Worker::context).sum(),
        }
    }

    /// Joules that went into steps of decode; before any price is known, all of them.
    fn of_steps(&self, prices: Option<&Prices>) -> f64 {
        let prompt = prices.map_or(0.0, |prices| prices[0]);
        (self.joules - prompt * self.prompts).max(self.joules * 1e-3)
    }

    /// What each did, in joules by these prices.
    pub(crate) fn works(&self, prices: &Prices, workers: &[Worker]) -> impl Iterator<Item = f64> {
        let [prompt, step, ..] = *prices;
        let own: f64 = workers.iter().map(|worker| worker.in_a_step(prices)).sum();
        let steps = ((self.joules - prompt * self.prompts) / (step + own)).max(0.0);
        let steps = if steps.is_finite() { steps } else { 0.0 };
        let shared = step / workers.len() as f64;
        workers.iter().map(move |worker| {
            prompt * worker.amounts.prefill + steps * (worker.in_a_step(prices) + shared)
        })
    }
}

/// How much of what has a price, and what it cost.
pub(crate) type Equation = ([f64; N], f64);

/// What a request's target did while the request was in decode: sums, and means weighed by the energy of steps.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Decoding {
    /// What the target did in a part of it is not known.
    unseen: bool,
    joules: f64,
    prompts: f64,
    weight: f64,
    decoding: f64,
    context: f64,
}

impl Decoding {
    pub(crate) fn add(&mut self, batch: &Batch, prices: Option<&Prices>) {
        let weight = batch.of_steps(prices);
        self.joules += batch.joules;
        self.prompts += batch.prompts;
        self.weight += weight;
        self.decoding += weight * batch.decoding;
        self.context += weight * batch.context;
    }

    /// A part of it, in which somebody did nobody knows what: its steps are in no sum, so there will be no equation.
    pub(crate) fn miss(&mut self) {
        self.unseen = true;
    }

    /// The equation of a request that is over.
    pub(crate) fn equation(&self, tokens: u64) -> Option<Equation> {
        let steps = tokens.saturating_sub(1) as f64;
        let known = !self.unseen && steps > 0.0 && self.weight > 0.0 && self.joules > 0.0;
        let mean = |sum: f64| steps * sum / self.weight;
        known.then(|| ([self.prompts, steps, mean(self.decoding), mean(self.context)], self.joules))
    }
}

/// What its target did while a request's prompt was read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    joules: f64,
    prompts: f64,
    /// Somebody was in decode: how many steps that were, nobody knows. Or did nobody knows what.
    mixed: bool,
}

impl Reading {
    pub(crate) fn add(&mut self, batch: &Batch) {
        self.joules += batch.joules;
        self.prompts += batch.prompts;
        self.mixed |= batch.decoding > 0.0;
    }

    /// A part of it, in which somebody did nobody knows what.
    pub(crate) fn miss(&mut self) {
        self.mixed = true;
    }

    /// The equation of a prompt that is read, in one step; what more steps shared is part of a prompt token's price.
    pub(crate) fn equation(&self) -> Option<Equation> {
        let known = !self.mixed && self.prompts > 0.0 && self.joules > 0.0;
        known.then_some(([self.prompts, 1.0, 0.0, 0.0], self.joules))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::Nanos;
    use crate::work::Work;

    /// In decode since `first`, done at `last`; `prompt` tokens, `completion` tokens.
    fn worker(slot: usize, first: u64, last: u64, tokens: (u64, u64), at: (u64, u64)) -> Worker {
        let work = Work {
            first: Some(Nanos(first)),
            prompt: Some(tokens.0),
            completion: Some(tokens.1),
            ..Work::default()
        };
        let phases = Phases::plain(Nanos(0), None, Some(Nanos(last))).told(&work);
        let amounts = phases.amounts(at.0, at.1);
        Worker { slot: Slot::test(slot), phases, amounts, decodes: phases.decodes(at.0) }
    }

    const PRICES: Prices = [0.1, 6.0, 1.0, 0.01];

    #[test]
    fn the_shared_part_of_a_step_is_everybodys_in_equal_parts() {
        // Two in decode with a context of 100 + 5 and of 300 + 5 tokens, one whose 20 prompt tokens are read.
        let at = (100, 200);
        let workers = [
            worker(0, 100, 200, (100, 10), at),
            worker(1, 100, 200, (300, 10), at),
            worker(2, 200, 300, (40, 10), at),
        ];
        // Ten steps: 6 + (1 + 1.05) + (1 + 3.05) each, and 20 prompt tokens of 0.1.
        let batch = Batch::new(&workers, 10.0 * 12.1 + 2.0);
        let works: Vec<f64> = batch.works(&PRICES, &workers).collect();
        for (work, known) in works.iter().zip([40.5, 60.5, 22.0]) {
            assert!((work - known).abs() < 1e-9, "{works:?}");
        }
    }

    #[test]
    fn an_interval_that_cost_less_than_its_prompt_tokens_had_no_step() {
        let at = (0, 100);
        let workers = [worker(0, 100, 200, (40, 1), at), worker(1, 0, 100, (1, 5), at)];
        let works: Vec<f64> = Batch::new(&workers, 1.0).works(&PRICES, &workers).collect();
        assert_eq!(works, [4.0, 0.0]);
    }

    #[test]
    fn a_finished_request_gives_an_equation_in_which_its_steps_are_known() {
        let at = (100, 200);
        let alone = worker(0, 100, 200, (100, 11), at);
        let mut seen = Decoding::default();
        for _ in 0..2 {
            seen.add(&Batch::new(&[alone], 40.0), None);
        }
        let (x, joules) = seen.equation(11).unwrap();
        assert_eq!((x[0], x[1], x[2], joules), (0.0, 10.0, 10.0, 80.0));
        assert!((x[3] - 10.0 * 105.5).abs() < 1e-9, "{x:?}");
        assert_eq!(seen.equation(1), None, "no step of decode");
        assert_eq!(Decoding::default().equation(11), None, "never in decode");
        seen.miss();
        assert_eq!(seen.equation(11), None, "ten steps, but the energy of some of them only");
    }

    #[test]
    fn a_prompt_that_was_read_while_nobody_decoded_gives_an_equation_of_one_step() {
        let at = (0, 100);
        let reads = worker(0, 100, 200, (40, 5), at);
        let mut seen = Reading::default();
        assert_eq!(seen.equation(), None);
        seen.add(&Batch::new(&[reads], 10.0));
        assert_eq!(seen.equation(), Some(([40.0, 1.0, 0.0, 0.0], 10.0)));
        seen.add(&Batch::new(&[reads, worker(1, 0, 100, (1, 5), at)], 10.0));
        assert_eq!(seen.equation(), None);
    }

    #[test]
    fn means_are_weighed_by_what_steps_cost() {
        let at = (100, 200);
        let [a, b] = [0, 1].map(|i| worker(i, 100, 200, (100, 11), at));
        let mut seen = Decoding::default();
        seen.add(&Batch::new(&[a], 10.0), Some(&PRICES));
        seen.add(&Batch::new(&[a, b], 30.0), Some(&PRICES));
        let (x, _) = seen.equation(11).unwrap();
        assert!((x[2] - 17.5).abs() < 1e-9, "one for a quarter, two for three: {x:?}");
    }
}
