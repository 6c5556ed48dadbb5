//! Puts events into order of time.
//!
//! Programs on different CPUs stamp an event before they find room for it in the ring, so two events may
//! stand there a few microseconds out of order. Events are held until something at least
//! [`SLACK_NS`] later has been seen.

use std::collections::VecDeque;

use crate::event::Event;

/// How far out of order events may be: between stamp and ring lie a few hundred instructions with
/// interrupts at most.
pub const SLACK_NS: u64 = 2_000_000;

/// Events that wait for their turn, by time. They come nearly in order, so the place of one is found in a few steps from
/// the end.
#[derive(Default)]
pub struct Reorder {
    waiting: VecDeque<Event>,
}

impl Reorder {
    /// Takes an event in.
    pub fn push(&mut self, event: Event) {
        let t = event.t();
        let later = self.waiting.iter().rev().take_while(|waiting| waiting.t() > t).count();
        self.waiting.insert(self.waiting.len() - later, event);
    }

    /// The next event that nothing can overtake any more.
    pub fn pop(&mut self) -> Option<Event> {
        let (first, newest) = (self.waiting.front()?, self.waiting.back()?);
        if first.t().saturating_add(SLACK_NS) > newest.t() {
            return None;
        }
        self.waiting.pop_front()
    }

    /// The next event, at the end of the run.
    pub fn flush(&mut self) -> Option<Event> {
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Process, ProcessChange};

    fn at(t: u64, tgid: u32) -> Event {
        Event::Process(Process { t, who: 4, tgid, change: ProcessChange::Exec })
    }

    #[test]
    fn events_come_out_by_time_and_equal_times_as_they_came() {
        let mut reorder = Reorder::default();
        for (t, tgid) in [(30, 1), (10, 2), (20, 3), (20, 4)] {
            reorder.push(at(t, tgid));
        }
        assert!(reorder.pop().is_none(), "nothing is late enough yet");
        reorder.push(at(SLACK_NS + 20, 5));
        let order: Vec<u64> = std::iter::from_fn(|| reorder.pop()).map(|e| e.t()).collect();
        assert_eq!(order, [10, 20, 20]);
        let rest: Vec<u64> = std::iter::from_fn(|| reorder.flush()).map(|e| e.t()).collect();
        assert_eq!(rest, [30, SLACK_NS + 20]);
    }
}
