//! The client against servers that do what no real one can be asked to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::*;

const KEPT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

/// A server below the prefix `/api` that answers every request of every connection with the text for it
/// and closes behind a connection's last. The request lines that it got.
fn server(connections: &'static [&'static [&'static str]]) -> (Target, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let mut requests = Vec::new();
        for answers in connections {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            for answer in *answers {
                requests.push(request(&mut reader));
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
            }
        }
        requests
    });
    (Target::parse(&url).unwrap(), serving)
}

/// Reads one request to its end; its first line.
fn request(reader: &mut BufReader<TcpStream>) -> String {
    let head: Vec<String> =
        reader.lines().map(|line| line.unwrap()).take_while(|line| !line.is_empty()).collect();
    if head.iter().any(|line| line == "expect: 100-continue") {
        reader.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
    }
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = reader.take(length.map_or(0, |n| n.parse().unwrap()));
    std::io::copy(&mut body, &mut std::io::sink()).unwrap();
    head[0].clone()
}

/// A plain request, then a stream on the same connection.
fn twice(target: &Target) -> Seen {
    let shape = Shape::default();
    let mut client = Client::new(target, &shape, 0, 1);
    let first = client.send(0, Kind::Plain);
    assert_eq!((first.end, first.bytes), (End::Complete, KEPT.len() as u64));
    client.send(1, Kind::Stream)
}

#[test]
fn a_kept_connection_that_closes_without_an_answer_is_tried_once_more() {
    let (target, serving) = server(&[&[KEPT, ""], &[KEPT]]);
    let seen = twice(&target);
    assert_eq!((seen.end, seen.status, seen.connection), (End::Complete, Some(200), 1), "{seen:?}");
    assert_eq!(serving.join().unwrap().len(), 3);
}

#[test]
fn an_answer_that_breaks_off_is_an_error_and_not_sent_again() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                        transfer-encoding: chunked\r\n\r\n";
    const AFTER_ITS_HEAD: &[&[&str]] = &[&[KEPT, HEAD]];
    const WITHIN_ITS_HEAD: &[&[&str]] = &[&[KEPT, "HTTP/1.1 200 OK\r\ncontent-"]];
    for (connections, status) in [(AFTER_ITS_HEAD, Some(200)), (WITHIN_ITS_HEAD, None)] {
        let (target, serving) = server(connections);
        let seen = twice(&target);
        assert_eq!((seen.end, seen.status), (End::Error, status), "{seen:?}");
        assert_eq!(seen.bytes, connections[0][1].len() as u64);
        assert_eq!(serving.join().unwrap().len(), 2);
    }
}

#[test]
fn every_kind_of_request_goes_below_the_prefix_once() {
    let (target, serving) = server(&[&[KEPT, KEPT], &[KEPT], &[KEPT]]);
    let shape = Shape::default();
    twice(&target);
    for hostile in [Attack::BigBody(1), Attack::Continue] {
        let seen = attack(&target, &shape, hostile);
        assert_eq!((seen[0].end, seen[0].status), (End::Complete, Some(200)), "{seen:?}");
        assert_eq!(seen[0].path, "/api/v1/chat/completions");
    }
    assert_eq!(serving.join().unwrap(), ["POST /api/v1/chat/completions HTTP/1.1"; 4]);
}
