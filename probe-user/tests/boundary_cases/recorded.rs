//! What the tracker makes of a real server's recorded socket calls.

use wattprobe::{
    boundary::{Facts, Limits, Output, Tracker, What},
    event::Io,
    record::{End, TokenSource},
};

use crate::trace;

fn replay(calls: &[Io]) -> (Vec<Facts>, Vec<(u64, What, u64)>) {
    let mut tracker = Tracker::new(Limits::default());
    let mut out = Vec::new();
    calls.iter().for_each(|io| tracker.on_io(io, &mut out));
    assert_eq!((tracker.in_flight(), tracker.connections(), tracker.stats().losses), (0, 0, 0));
    let mut facts = Vec::new();
    let mut told = Vec::new();
    for output in out {
        match output {
            Output::Finished(finished) => facts.push(*finished),
            Output::Boundary(b) => told.push((b.request.0, b.what, b.at.t / 1000)),
            Output::NotUnderstood { kind, .. } => panic!("{kind:?}"),
        }
    }
    facts.sort_by_key(|f| f.request);
    (facts, told)
}

#[test]
fn the_recorded_llama_server_is_seen_as_it_was_driven() {
    for peeks_are_seen in [false, true] {
        let (facts, told) = replay(&trace::llama_server(peeks_are_seen));
        let seen: Vec<_> = facts
            .iter()
            .map(|f| {
                let path = f.path.as_deref().unwrap_or_default();
                (path, f.status, f.outcome, f.stream, f.completion_tokens, f.token_source)
            })
            .collect();
        let chat = "/v1/chat/completions";
        let (done, gone) = (End::Complete, End::Aborted);
        use TokenSource::{Chunks, None as Nothing, Timings, Usage};
        assert_eq!(
            seen,
            [
                (chat, Some(200), done, Some(false), Some(8), Usage),
                (chat, Some(200), done, Some(true), Some(8), Usage),
                (chat, Some(200), gone, Some(false), None, Nothing),
                (chat, Some(200), gone, Some(true), Some(20), Chunks),
                ("/completion", Some(200), done, Some(true), Some(4), Timings),
                ("/health", Some(200), done, None, None, Nothing),
                (chat, Some(400), done, None, None, Nothing),
            ]
        );
        assert!(facts.iter().all(|f| f.flags.is_empty()));
        assert_eq!((facts[0].prompt_tokens, facts[1].prompt_tokens), (Some(31), Some(31)));
        assert_eq!(facts[1].content_events, Some(8));
        assert!(
            facts[1].prompt_cached > Some(0) && facts[1].prompt_processed < facts[1].prompt_tokens
        );
        // The head goes out when the slot starts, the first content with the role, 30 ms later.
        let of = |request, what| told.iter().find(|b| (b.0, b.1) == (request, what)).map(|b| b.2);
        assert_eq!((of(2, What::Head), of(2, What::First)), (Some(560_080), Some(590_371)));
        assert_eq!(of(2, What::End), Some(754_948));
        assert_eq!(of(3, What::Abort), Some(2_068_912));
    }
}
