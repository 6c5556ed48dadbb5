//! What must hold of a tracker's outputs, whatever it was fed.

use std::collections::BTreeMap;

use wattprobe::{
    boundary::{Boundary, Facts, Moment, Output, RequestId, Tracker, What},
    record::End,
};

/// Most bytes one connection may hold: a head, 32 requests with their names, two windows.
const CONNECTION: usize = 64 * 1024;

/// Follows a tracker.
#[derive(Default)]
pub struct Watch {
    open: BTreeMap<RequestId, Seen>,
    started: u64,
    finished: Vec<Facts>,
}

/// The boundaries of an open request so far.
struct Seen {
    start: Moment,
    body: Option<Moment>,
    head: Option<Moment>,
    first: Option<Moment>,
    last: Boundary,
}

impl Watch {
    /// Finished requests, in the order in which they ended.
    #[must_use]
    pub fn finished(&self) -> &[Facts] {
        &self.finished
    }

    /// Checks what one call gave, made at `now` on a tracker that may hold `connections`.
    pub fn check(
        &mut self,
        tracker: &Tracker,
        out: &mut Vec<Output>,
        now: u64,
        connections: usize,
    ) {
        for output in out.drain(..) {
            match output {
                Output::Boundary(boundary) => self.boundary(boundary, now),
                Output::Finished(facts) => self.close(*facts),
                Output::NotUnderstood { t, .. } => assert_eq!(t, now),
            }
        }
        let ended = self.open.values().find(|seen| rank(seen.last.what) == rank(What::End));
        assert!(ended.is_none(), "an end without facts");
        let stats = tracker.stats();
        assert_eq!((stats.started, stats.finished), (self.started, self.finished.len() as u64));
        assert_eq!(tracker.in_flight(), self.open.len() as u64);
        assert!(tracker.connections() <= connections);
        assert!(tracker.retained_bytes() <= 2 * connections * 256 + connections * CONNECTION);
    }

    fn boundary(&mut self, boundary: Boundary, now: u64) {
        let at = boundary.at;
        assert!(at.t <= now, "{boundary:?} lies in the future");
        if boundary.what == What::Start {
            self.started += 1;
            assert_eq!(boundary.request.0, self.started, "requests are counted from 1");
            let seen = Seen { start: at, body: None, head: None, first: None, last: boundary };
            self.open.insert(boundary.request, seen);
            return;
        }
        let seen = self.open.get_mut(&boundary.request).expect("a boundary of an open request");
        let last = std::mem::replace(&mut seen.last, boundary);
        let repeats = last.what == boundary.what && boundary.what == What::Chunk;
        let in_order = rank(last.what) < rank(boundary.what) || repeats;
        assert!(in_order, "{:?} behind {:?}", boundary.what, last.what);
        assert!(last.at.t <= at.t, "{boundary:?} before {last:?}");
        assert_eq!((last.conn, last.who), (boundary.conn, boundary.who), "it moved");
        let moment = match boundary.what {
            What::Body => &mut seen.body,
            What::Head => &mut seen.head,
            What::First => &mut seen.first,
            What::Chunk => {
                assert!(seen.first.is_some(), "more content before the first");
                return;
            }
            What::Start | What::End | What::Abort => return,
        };
        *moment = Some(at);
    }

    fn close(&mut self, facts: Facts) {
        let seen = self.open.remove(&facts.request).expect("a request ends once");
        let complete = facts.outcome == End::Complete;
        let last = if complete { What::End } else { What::Abort };
        assert_eq!((seen.last.what, seen.last.at), (last, facts.end));
        assert_eq!((seen.start, seen.body), (facts.start, facts.body));
        assert_eq!((seen.head, seen.first), (facts.head, facts.first));
        for (name, max) in [
            (&facts.method, 24),
            (&facts.path, 256),
            (&facts.model, 128),
            (&facts.external_id, 128),
        ] {
            let Some(name) = name else { continue };
            assert!(name.len() <= max && !name.contains(char::is_control), "{name:?}");
        }
        self.finished.push(facts);
    }
}

fn rank(what: What) -> u8 {
    match what {
        What::Start => 0,
        What::Body => 1,
        What::Head => 2,
        What::First => 3,
        What::Chunk => 4,
        What::End | What::Abort => 5,
    }
}
