//! When a request had arrived that the server then read.

use crate::feed::*;

const HEALTH: &str = "GET /health HTTP/1.1\r\n\r\n";
const PROPS: &str = "GET /props HTTP/1.1\r\n\r\n";

fn all(feed: &Feed) -> Vec<Option<u64>> {
    feed.facts().iter().map(|facts| facts.arrived).collect()
}

#[test]
fn a_request_arrived_with_its_first_byte_however_many_reads_it_takes() {
    let mut feed = Feed::new();
    let mut arrived = Vec::new();
    for _ in 0..2 {
        arrived.push(Some(feed.t - LAY));
        for byte in post("/v1/chat/completions", CHAT).bytes() {
            feed.recv([byte]);
        }
        feed.send(plain("200 OK", CHAT_ANSWER));
    }
    assert_eq!(all(&feed), arrived);
}

#[test]
fn of_requests_read_at_once_only_the_first_is_known_to_have_come_then() {
    let mut feed = Feed::new();
    let arrived = Some(feed.t - LAY);
    feed.recv([HEALTH, PROPS].concat());
    feed.send(plain("200 OK", "{}"));
    feed.send(plain("200 OK", "{}"));
    assert_eq!(all(&feed), [arrived, None]);
}

#[test]
fn a_request_that_is_found_behind_a_loss_arrived_with_its_own_read() {
    let mut feed = Feed::new();
    feed.lose_recv(HEALTH);
    feed.lose_send(plain("200 OK", "{}"));
    let arrived = Some(feed.t - LAY);
    feed.recv(PROPS);
    feed.send(plain("200 OK", "{}"));
    assert_eq!(feed.only().arrived, arrived);
}
