//! Messages that are wrong: both refuse them, or the difference has its reason.

use crate::{by_hyper, by_tracker};

/// Who refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Both,
    /// hyper alone, because of this: an observer that need not judge reads on.
    Hyper(&'static str),
    /// The tracker alone, because of this.
    Tracker(&'static str),
    Neither(&'static str),
}

use Refused::{Both, Hyper, Neither, Tracker};

/// Compares what was refused; all differences at once.
fn check(cases: &[(&[u8], Refused)], refused: impl Fn(&[u8]) -> (bool, bool)) {
    let mut wrong = Vec::new();
    for (bytes, expected) in cases {
        let who = match expected {
            Both => (true, true),
            Hyper(_) => (true, false),
            Tracker(_) => (false, true),
            Neither(_) => (false, false),
        };
        if refused(bytes) != who {
            let text = String::from_utf8_lossy(bytes);
            wrong.push(format!("{text:?}: {:?}, not {expected:?}", refused(bytes)));
        }
    }
    assert!(wrong.is_empty(), "(hyper, tracker) refused:\n{}", wrong.join("\n"));
}

const LENIENT: &str = "the end of the message is not in doubt";

#[test]
fn a_malformed_request_is_refused_by_both_or_for_a_reason() {
    let cases: &[(&[u8], Refused)] = &[
        (b"GET /a\r\n\r\n", Both),
        (b"GET /a HTTP/3.1\r\n\r\n", Both),
        (b"GET /a HTTP/1.1\r\nA b\r\n\r\n", Both),
        (b"GET /a HTTP/1.1\r\n: x\r\n\r\n", Both),
        (b"GET /a HTTP/1.1\r\nA: \0\r\n\r\n", Both),
        (b"POST /a HTTP/1.1\r\nContent-Length: x\r\n\r\n", Both),
        (b"POST /a HTTP/1.1\r\nContent-Length: -1\r\n\r\n", Both),
        (b"POST /a HTTP/1.1\r\nContent-Length: +1\r\n\r\nx", Both),
        (b"POST /a HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n", Both),
        (b"POST /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", Both),
        (b"POST /a HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", Both),
        (b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", Both),
        (b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", Both),
        (b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", Both),
        (b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", Both),
        (b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n", Both),
        (b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n", Hyper(LENIENT)),
        (
            b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\n0\r\n\r\n",
            Hyper(LENIENT),
        ),
        (
            b"POST /a HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Neither("the coding wins"),
        ),
        (b"POST /a HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\nx", Hyper(LENIENT)),
        (b"\x16\x03\x01\x02\x00\x01", Hyper("it is TLS, which is followed by its records")),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Both),
        (
            b"get / HTTP/1.1\r\n\r\n",
            Tracker("no client writes methods in small letters, and much else begins so"),
        ),
    ];
    check(cases, |bytes| {
        (by_hyper::requests(bytes).refused, by_tracker::requests([bytes]).refused)
    });
}

#[test]
fn a_malformed_response_is_refused_by_both_or_for_a_reason() {
    let cases: &[(&[u8], Refused)] = &[
        (b"HTTP/2 200\r\n\r\n", Both),
        (b"HTTP/1.1 20 OK\r\n\r\n", Both),
        (b"220 smtp ready\r\n", Both),
        (b"HTTP/1.1 200 OK\r\nA b\r\n\r\n", Hyper("clients pass over a line that is no header")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Both),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", Both),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", Both),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell", Both),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello", Both),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Both),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n", Hyper(LENIENT)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx", Neither("the close ends it")),
    ];
    check(cases, |bytes| {
        let hyper = by_hyper::responses(&["GET"], bytes);
        let tracker = by_tracker::responses(&["GET"], &hyper.ends, [bytes]);
        (hyper.refused, tracker.refused)
    });
}
