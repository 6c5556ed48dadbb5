//! What a request did and when, as far as it is known: its phases and its tokens, and what of that falls into an
//! interval.

use crate::unit::Nanos;

/// More tokens than any request has: such a count is an error of whoever counted, and not known.
const MOST_TOKENS: u64 = 100_000_000;

/// What is known of a request besides its boundaries once it is over, however it came to be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// When the server began to work on it: before, it was queued. `None`: when it entered.
    pub begin: Option<Nanos>,
    /// When its prompt had been processed. `None`: that is not known.
    pub first: Option<Nanos>,
    /// When its last token had been generated. `None`: when it left.
    pub last: Option<Nanos>,
    /// Prompt tokens that were processed. More than 10⁸ are taken as unknown, here and below.
    pub prompt: Option<u64>,
    /// Prompt tokens that were taken from a cache: context, but no work. Too many of them: the prompt is unknown.
    pub cached: u64,
    /// Tokens that were generated.
    pub completion: Option<u64>,
}

/// A request's time line: queued, prefill, decode, done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Phases {
    pub(crate) enter: u64,
    pub(crate) begin: u64,
    /// Somebody told when that was; else it is when the request entered, queued or not.
    pub(crate) begun: bool,
    /// `None`: where prefill ends and decode begins is not known.
    pub(crate) first: Option<u64>,
    pub(crate) last: u64,
    /// `u64::MAX` while it is resident.
    pub(crate) leave: u64,
    prompt: Option<u64>,
    cached: u64,
    pub(crate) completion: Option<u64>,
}

/// What a request did in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Amounts {
    /// Prompt tokens.
    pub(crate) prefill: f64,
    /// Generated tokens.
    pub(crate) decode: f64,
    /// Generated tokens, each with the tokens that it was generated from.
    pub(crate) reading: f64,
}

impl Phases {
    /// Of a request that is resident still, or of which nothing was told.
    pub(crate) fn plain(enter: Nanos, first: Option<Nanos>, leave: Option<Nanos>) -> Self {
        let leave = leave.map_or(u64::MAX, |t| t.0);
        Self {
            enter: enter.0,
            begin: enter.0,
            begun: false,
            first: first.map(|t| t.0.clamp(enter.0, leave)),
            last: leave,
            leave,
            prompt: None,
            cached: 0,
            completion: None,
        }
    }

    /// With what was told of it; instants that contradict each other are moved into order.
    pub(crate) fn told(self, work: &Work) -> Self {
        let within = |t: Option<Nanos>, from: u64, to: u64| t.map(|t| t.0.clamp(from, to));
        let last = within(work.last, self.enter, self.leave).unwrap_or(self.leave);
        let first = within(work.first, self.enter, last);
        let begin = within(work.begin, self.enter, first.unwrap_or(last)).unwrap_or(self.enter);
        let can_be = |tokens: &u64| *tokens <= MOST_TOKENS;
        let prompt = work.prompt.filter(|prompt| can_be(prompt) && can_be(&work.cached));
        let cached = work.cached.min(MOST_TOKENS);
        let completion = work.completion.filter(can_be);
        let begun = work.begin.is_some();
        Self { begin, begun, first, last, prompt, cached, completion, ..self }
    }

    /// The instants at which what it does changes.
    pub(crate) fn instants(self) -> impl Iterator<Item = u64> {
        [Some(self.enter), Some(self.begin), self.first, Some(self.last), Some(self.leave)]
            .into_iter()
            .flatten()
    }

    /// Whether it is worked on throughout an interval between two instants of anybody.
    pub(crate) fn works(&self, from: u64, to: u64) -> bool {
        self.begin <= from && to <= self.last
    }

    /// In decode throughout an interval between two instants of anybody.
    pub(crate) fn decodes(&self, from: u64) -> bool {
        self.first.is_some_and(|first| first <= from)
    }

    /// Whether its tokens are known.
    pub(crate) fn counted(&self) -> bool {
        self.prompt.is_some() && self.completion.is_some()
    }

    /// Whether prices say what it did: its tokens are known, and which of them it did when.
    pub(crate) fn priceable(&self) -> bool {
        self.counted() && (self.first.is_some() || self.completion == Some(0))
    }

    /// What it did in an interval in which it works. Tokens are spread evenly over their phase.
    pub(crate) fn amounts(&self, from: u64, to: u64) -> Amounts {
        let tokens = |n: Option<u64>| n.unwrap_or(0) as f64;
        let (prompt, completion) = (tokens(self.prompt), tokens(self.completion));
        let part = |begin: u64, end: u64| {
            let (from, to) = (from.clamp(begin, end), to.clamp(begin, end));
            let whole = (end - begin).max(1) as f64;
            ((from - begin) as f64 / whole, (to - begin) as f64 / whole)
        };
        // Where the phases are not known, both kinds of work lie over all of it.
        let (prefill, decode) = match self.first {
            Some(first) => (part(self.begin, first), part(first, self.last)),
            None => (part(self.begin, self.last), part(self.begin, self.last)),
        };
        let generated = completion * (decode.1 - decode.0);
        let context = prompt + self.cached as f64 + completion * f64::midpoint(decode.0, decode.1);
        Amounts {
            prefill: prompt * (prefill.1 - prefill.0),
            decode: generated,
            reading: generated * context,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Phases {
        let work = Work {
            begin: Some(Nanos(200)),
            first: Some(Nanos(400)),
            last: Some(Nanos(900)),
            prompt: Some(100),
            cached: 20,
            completion: Some(50),
        };
        Phases::plain(Nanos(100), None, Some(Nanos(1000))).told(&work)
    }

    #[test]
    fn a_request_is_queued_then_reads_its_prompt_then_writes() {
        let request = request();
        assert!(!request.works(100, 200));
        assert_eq!(request.amounts(200, 300), Amounts { prefill: 50.0, ..Amounts::default() });
        // Ten tokens from 130 on average: 120 before the first, and five more on average.
        let decode = Amounts { prefill: 0.0, decode: 10.0, reading: 1250.0 };
        assert_eq!(request.amounts(400, 500), decode);
        assert!(!request.works(900, 1000));
    }

    #[test]
    fn the_parts_of_a_request_add_up_to_it() {
        let request = request();
        let cuts = [200, 217, 399, 400, 651, 900];
        let sum = cuts.windows(2).fold((0.0, 0.0), |sum, cut| {
            let amounts = request.amounts(cut[0], cut[1]);
            (sum.0 + amounts.prefill, sum.1 + amounts.decode)
        });
        assert!((sum.0 - 100.0).abs() < 1e-9 && (sum.1 - 50.0).abs() < 1e-9, "{sum:?}");
    }

    #[test]
    fn instants_that_contradict_each_other_are_put_in_order() {
        let work = Work { begin: Some(Nanos(5000)), first: Some(Nanos(10)), ..Work::default() };
        let odd = Phases::plain(Nanos(100), Some(Nanos(300)), Some(Nanos(1000))).told(&work);
        assert_eq!((odd.begin, odd.first, odd.last), (100, Some(100), 1000));
        assert!(!odd.counted());
    }

    #[test]
    fn tokens_that_no_request_has_are_not_known() {
        let known = |prompt, cached, completion| {
            let (prompt, completion) = (Some(prompt), Some(completion));
            let work = Work { prompt, cached, completion, ..Work::default() };
            let told = Phases::plain(Nanos(0), None, None).told(&work);
            (told.prompt.is_some(), told.completion.is_some())
        };
        assert_eq!(known(MOST_TOKENS, MOST_TOKENS, MOST_TOKENS), (true, true));
        assert_eq!(known(MOST_TOKENS + 1, 0, 1), (false, true));
        assert_eq!(known(1, MOST_TOKENS + 1, 1), (false, true));
        assert_eq!(known(1, 0, u64::MAX), (true, false));
    }

    #[test]
    fn without_its_phases_only_a_request_that_generates_nothing_is_priceable() {
        let priceable = |first: Option<u64>, completion| {
            let (first, prompt) = (first.map(Nanos), Some(7));
            let work = Work { first, prompt, completion, ..Work::default() };
            Phases::plain(Nanos(0), None, None).told(&work).priceable()
        };
        assert!(priceable(Some(3), Some(5)) && priceable(None, Some(0)));
        assert!(!priceable(None, Some(5)) && !priceable(Some(3), None));
    }

    #[test]
    fn a_phase_without_length_has_no_part_in_any_interval() {
        let work = Work { first: Some(Nanos(100)), prompt: Some(7), ..Work::default() };
        let cached = Phases::plain(Nanos(100), None, Some(Nanos(200))).told(&work);
        assert!(cached.amounts(100, 200).prefill.abs() < 1e-12);
    }
}
