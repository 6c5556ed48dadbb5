//! What to ask, in which order and on which connections: the same for the same seed.

use super::seen::Kind;
use crate::rng::Rng;

/// One request of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Number of the request.
    pub id: u64,
    /// What to ask for.
    pub kind: Kind,
}

/// Requests for one connection, in order.
pub type Session = Vec<Step>;

/// Lengths of sessions, in turn: single requests and keep-alive sequences.
const LENGTHS: [usize; 5] = [1, 3, 1, 2, 4];

/// A mixed plan of `requests`: about four in ten streamed and four in ten plain, the rest health
/// checks, of the streams `aborts` left in the middle and spread over the plan. An aborted request
/// is the last of its connection.
#[must_use]
pub fn plan(requests: usize, aborts: usize, seed: u64) -> Vec<Session> {
    let aborts = aborts.min(requests);
    let health = (requests - aborts) / 6;
    let plain = requests * 2 / 5;
    let mut kinds: Vec<Kind> = (0..requests - aborts)
        .map(|i| match i {
            i if i < health => Kind::Health,
            i if i < health + plain => Kind::Plain,
            _ => Kind::Stream,
        })
        .collect();
    shuffle(&mut kinds, &mut Rng::new(seed));
    for i in 0..aborts {
        // Evenly spread, none at the very beginning or end.
        let at = (i + 1) * requests / (aborts + 1);
        kinds.insert(at.min(kinds.len()), Kind::Abort);
    }

    let mut sessions: Vec<Session> = Vec::new();
    let mut room = 0;
    for (id, kind) in kinds.into_iter().enumerate() {
        if room == 0 {
            room = LENGTHS[sessions.len() % LENGTHS.len()];
            sessions.push(Vec::new());
        }
        if let Some(session) = sessions.last_mut() {
            session.push(Step { id: id as u64, kind });
        }
        room = if kind == Kind::Abort { 0 } else { room - 1 };
    }
    sessions
}

fn shuffle(kinds: &mut [Kind], rng: &mut Rng) {
    for i in (1..kinds.len()).rev() {
        kinds.swap(i, rng.below(i + 1));
    }
}

/// A prompt of about `chars` characters, never the same for two numbers.
pub(super) fn prompt(id: u64, chars: usize, seed: u64) -> String {
    const WORDS: [&str; 16] = [
        "energy", "model", "request", "kernel", "answer", "counter", "socket", "measure", "prompt",
        "joule", "token", "slice", "idle", "power", "batch", "clock",
    ];
    let mut rng = Rng::new(seed ^ id.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    // Between half and one and a half of what was asked for.
    let length = chars / 2 + rng.below(chars + 1);
    let mut text = format!("Question {id}:");
    while text.len() < length {
        text.push(' ');
        text.push_str(WORDS[rng.below(WORDS.len())]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_requests_are_four_tenths_streams_four_tenths_plain_and_three_aborts() {
        let steps: Vec<Step> = plan(60, 3, 1).concat();
        let count = |kind| steps.iter().filter(|s| s.kind == kind).count();
        assert_eq!(steps.len(), 60);
        assert_eq!(count(Kind::Abort), 3);
        assert_eq!(count(Kind::Plain), 24);
        assert_eq!(count(Kind::Stream), 24);
        assert_eq!(count(Kind::Health), 9);
        assert!(steps.iter().enumerate().all(|(i, s)| s.id == i as u64));
    }

    #[test]
    fn a_seed_fixes_the_plan_and_an_abort_ends_its_connection() {
        assert_eq!(plan(60, 3, 1), plan(60, 3, 1));
        assert_ne!(plan(60, 3, 1), plan(60, 3, 2));
        for session in plan(200, 20, 3) {
            let aborts = session.iter().position(|s| s.kind == Kind::Abort);
            assert!(aborts.is_none_or(|at| at + 1 == session.len()));
        }
        assert!(plan(60, 3, 1).iter().any(|s| s.len() == 4));
    }

    #[test]
    fn small_plans_hold_what_they_can() {
        assert_eq!(plan(0, 3, 1), Vec::<Session>::new());
        assert_eq!(plan(2, 3, 1).concat().len(), 2);
        assert_eq!(plan(1, 0, 1).concat().len(), 1);
    }

    #[test]
    fn prompts_have_about_the_length_asked_for_and_differ() {
        let lengths: Vec<usize> = (0..100).map(|id| prompt(id, 400, 1).len()).collect();
        assert!(lengths.iter().all(|l| (200..620).contains(l)), "{lengths:?}");
        assert_ne!(prompt(1, 400, 1), prompt(2, 400, 1));
        assert_eq!(prompt(1, 400, 1), prompt(1, 400, 1));
    }
}
