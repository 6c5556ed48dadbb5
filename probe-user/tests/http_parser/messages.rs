//! Well-formed messages: every one is read to the same byte, wherever it is cut.

use proptest::prelude::*;

use crate::{by_hyper, by_tracker};

/// Requests, then what the tracker must see as hyper does, with the bytes cut anywhere once.
fn same_requests(bytes: &[u8]) {
    let hyper = by_hyper::requests(bytes);
    assert!(!hyper.refused, "hyper refused {:?}", String::from_utf8_lossy(bytes));
    assert_eq!(by_tracker::requests(bytes.chunks(1)), hyper, "byte by byte");
    for cut in 0..=bytes.len() {
        let (a, b) = bytes.split_at(cut);
        let tracker = by_tracker::requests([a, b]);
        let ends: Vec<_> =
            hyper.ends.iter().map(|end| if *end <= cut { cut } else { bytes.len() }).collect();
        assert_eq!(tracker.ends, ends, "cut at {cut}");
        assert_eq!(tracker.heads, hyper.heads, "cut at {cut}");
    }
}

/// Responses to requests of these methods likewise.
fn same_responses(methods: &[&str], bytes: &[u8]) {
    let hyper = by_hyper::responses(methods, bytes);
    assert!(!hyper.refused, "hyper refused {:?}", String::from_utf8_lossy(bytes));
    let tracker = by_tracker::responses(methods, &hyper.ends, bytes.chunks(1));
    assert_eq!(tracker, hyper, "byte by byte");
    for cut in 0..=bytes.len() {
        // Calls end where a response does, since the next request comes then.
        let mut cuts: Vec<_> = hyper.ends.iter().copied().chain([0, cut, bytes.len()]).collect();
        cuts.retain(|at| *at <= bytes.len());
        cuts.sort_unstable();
        let parts = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        let tracker = by_tracker::responses(methods, &hyper.ends, parts);
        assert_eq!(tracker, hyper, "cut at {cut}");
    }
}

#[test]
fn requests_of_every_framing_end_at_the_byte_where_hyper_says() {
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"HEAD /health?a=b HTTP/1.1\r\nHost: x\r\n\r\nOPTIONS /x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\n\r\n",
        b"POST /a HTTP/1.1\r\ncontent-length: 0\r\n\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
        b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
        b"POST /a HTTP/1.1\r\nTRANSFER-ENCODING: Chunked\r\n\r\n00a;name=\"v\"\r\n0123456789\r\n0\r\nChecksum: 1\r\nB: 2\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
        b"POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}PUT /b HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
        b"POST /a HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"GET http://host/absolute?q HTTP/1.1\r\nHost: host\r\n\r\n",
    ] {
        same_requests(bytes);
    }
}

#[test]
fn responses_of_every_framing_end_at_the_byte_where_hyper_says() {
    for (methods, bytes) in [
        (&["GET"][..], &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..]),
        (&["POST", "GET"], b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}"),
        (&["HEAD", "GET"], b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
        (&["GET", "GET"], b"HTTP/1.1 304 Not Modified\r\nContent-Length: 900\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
        (&["HEAD", "GET"], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
        (&["POST"], b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
        (&["POST"], b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"),
        (&["POST", "GET"], b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: {}\n\r\n1;x=y\r\n\n\r\n0\r\nTrailer: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (&["GET"], b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: [DONE]\n\n"),
        (&["GET"], b"HTTP/1.0 200 OK\r\n\r\nhello"),
        (&["GET"], b"HTTP/1.1 500 \r\nContent-Length: 2\r\n\r\n{}"),
    ] {
        same_responses(methods, bytes);
    }
}

/// A body as it goes over, with the header that says how.
fn body() -> impl Strategy<Value = (String, Vec<u8>)> {
    let bytes = proptest::collection::vec(
        prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'0')],
        0..40,
    );
    let extension = prop_oneof![Just(""), Just(";a"), Just(";a=\"b\"")];
    let trailer = prop_oneof![Just(""), Just("A: b\r\n"), Just("Server-Timing: x\r\nC: d\r\n")];
    (bytes, 0_usize..9, extension, trailer).prop_map(|(bytes, size, extension, trailer)| {
        if size == 0 {
            return (format!("Content-Length: {}\r\n", bytes.len()), bytes);
        }
        let mut body = Vec::new();
        for chunk in bytes.chunks(size) {
            body.extend(format!("{:X}{extension}\r\n", chunk.len()).bytes());
            body.extend(chunk);
            body.extend(b"\r\n");
        }
        body.extend(format!("0\r\n{trailer}\r\n").bytes());
        ("Transfer-Encoding: chunked\r\n".to_owned(), body)
    })
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let method = prop_oneof![Just("GET"), Just("POST"), Just("PUT"), Just("DELETE"), Just("PATCH")];
    let noise =
        prop_oneof![Just(""), Just("X: \t y \r\n"), Just("Content-Type: application/json\r\n")];
    (method, "/[a-z/]{0,12}", noise, proptest::option::of(body())).prop_map(
        |(method, path, noise, body)| {
            let (framing, body) = body.unwrap_or_default();
            let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{noise}{framing}\r\n");
            [head.as_bytes(), &body].concat()
        },
    )
}

fn response() -> impl Strategy<Value = Vec<u8>> {
    let status =
        prop_oneof![Just("200 OK"), Just("201 Created"), Just("404 Not Found"), Just("503 Busy")];
    let kind = prop_oneof![Just("application/json"), Just("text/event-stream"), Just("text/plain")];
    let interim = prop_oneof![3 => Just(""), 1 => Just("HTTP/1.1 100 Continue\r\n\r\n")];
    (status, kind, interim, body()).prop_map(|(status, kind, interim, (framing, body))| {
        let head = format!("{interim}HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{framing}\r\n");
        [head.as_bytes(), &body].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn any_pipelined_requests_end_where_hyper_says(requests in proptest::collection::vec(request(), 1..5)) {
        same_requests(&requests.concat());
    }

    #[test]
    fn any_responses_end_where_hyper_says(responses in proptest::collection::vec(response(), 1..4)) {
        same_responses(&vec!["POST"; responses.len()], &responses.concat());
    }
}
