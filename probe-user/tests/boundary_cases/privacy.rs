//! No prompt and no completion comes out, whichever way the bytes take.

use crate::feed::*;

const MARK: &str = "XyZZyMARK";

fn marked_stream(feed: &mut Feed) {
    feed.send(STREAM_HEAD);
    feed.send(chunk(&delta(MARK)));
    feed.send(chunk(&format!(
        "data: {{\"content\":\"{MARK}\",\"{MARK}\":1,\"prompt\":\"{}{MARK}",
        "x".repeat(9000)
    )));
    assert!(!format!("{:?}", feed.tracker).contains(MARK));
    feed.send(chunk(&format!("{MARK}\"}}\n\n: {MARK}\n\nevent: {MARK}\n\n{LAST}")));
}

#[test]
fn a_marked_prompt_and_a_marked_completion_are_in_no_output_and_no_state() {
    let long = MARK.repeat(5000);
    let bodies = [
        format!("{{\"messages\":[{{\"content\":\"{MARK}\"}}],\"model\":\"m\",\"stream\":true}}"),
        format!(
            "{{\"messages\":[{{\"content\":\"{long} \\\"model\\\":\\\"{MARK}\\\",\"}}],\"model\":\"m\"}}"
        ),
        format!("{{\"{MARK}\":[{{\"model\":\"{MARK}\"}}],\"tools\":{{\"model\":\"{MARK}\"}}}}"),
        format!("not json {long} \"model\":\"{MARK}\"}}"),
        format!("{{\"messages\":\"{long}"),
    ];
    for body in &bodies {
        for cut in [usize::MAX, 4096, 700] {
            for lossy in [false, true] {
                let request = post(&format!("/v1/chat/completions?{MARK}"), body).replace(
                    "Host:",
                    &format!("Authorization: Bearer {MARK}\r\nCookie: {MARK}\r\nHost:"),
                );
                let mut feed = Feed::new();
                for (i, read) in request.as_bytes().chunks(cut.min(request.len())).enumerate() {
                    if lossy && i == 1 {
                        feed.lose_recv(read);
                    } else {
                        feed.recv(read);
                    }
                    assert!(!format!("{:?}", feed.tracker).contains(MARK));
                }
                if lossy {
                    marked_stream(&mut feed);
                    feed.lose_send(MARK);
                    feed.send(format!("{MARK}0\r\n\r\n"));
                } else {
                    feed.send(plain(
                        "200 OK",
                        &format!("{{\"content\":\"{long}\",\"usage\":{{\"prompt_tokens\":1}}}}"),
                    ));
                    feed.recv("GET / HTTP/1.1\r\n\r\n");
                    marked_stream(&mut feed);
                }
                feed.close();
                assert!(!feed.facts().is_empty());
                let (state, output) = (format!("{:?}", feed.tracker), format!("{:?}", feed.out));
                assert!(!state.contains(MARK) && !output.contains(MARK), "{output}");
            }
        }
    }
}

#[test]
fn what_does_come_out_is_bounded_and_printable() {
    let long = "m\\u0007\u{1b}[31m".to_owned() + &"ü".repeat(500);
    let request = post(&format!("/{}", "p".repeat(5000)), &format!("{{\"model\":\"{long}\"}}"))
        .replace("req-1", &"r".repeat(900));
    let mut feed = Feed::new();
    for read in request.as_bytes().chunks(4096) {
        feed.recv(read);
    }
    feed.send(plain("200 OK", "{}"));
    let facts = feed.only();
    let (model, path) = (facts.model.unwrap(), facts.path.unwrap());
    assert!(model.len() <= 128 && model.chars().all(|c| !c.is_control()), "{model:?}");
    assert_eq!((path.len(), facts.external_id.map(|id| id.len())), (256, Some(128)));
}
