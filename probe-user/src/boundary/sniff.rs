//! What the first bytes of a message look like, decided on as few of them as possible.

use super::output::NotUnderstood;

/// Longest method that is taken for one.
pub(super) const METHOD_MAX: usize = 24;

/// The methods a connection found open, or out of step, is recognised by.
const KNOWN: [&[u8]; 9] =
    [b"GET", b"POST", b"HEAD", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"CONNECT", b"TRACE"];

/// What a prefix of a connection's bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sniff {
    /// Too short to tell.
    More,
    /// A request head begins here.
    Request,
    /// Something else.
    Not(NotUnderstood),
}

/// What a connection's first bytes are.
pub(super) fn request(bytes: &[u8]) -> Sniff {
    match bytes {
        [] | [0x16] => return Sniff::More,
        [0x16, 3, ..] => return Sniff::Not(NotUnderstood::Tls),
        _ => {}
    }
    let method = bytes
        .iter()
        .take(METHOD_MAX + 1)
        .take_while(|c| c.is_ascii_uppercase() || matches!(c, b'-' | b'_'))
        .count();
    if method > METHOD_MAX {
        return Sniff::Not(NotUnderstood::Garbage);
    }
    match (&bytes[..method], &bytes[method..]) {
        (_, [] | [b' ']) if method > 0 => Sniff::More,
        (b"PRI", [b' ', b'*', ..]) => Sniff::Not(NotUnderstood::Http2),
        (b"CONNECT", [b' ', target, ..]) if target.is_ascii_graphic() => Sniff::Request,
        ([_, ..], [b' ', b'/' | b'*' | b'h' | b'H', ..]) => Sniff::Request,
        _ => Sniff::Not(NotUnderstood::Garbage),
    }
}

/// Whether a read begins with what is surely a request: for bytes that may also be anything else.
pub(super) fn surely_request(bytes: &[u8]) -> bool {
    let Some(space) = bytes.iter().take(METHOD_MAX).position(|c| *c == b' ') else {
        return false;
    };
    if !KNOWN.contains(&&bytes[..space]) || request(bytes) != Sniff::Request {
        return false;
    }
    match bytes.iter().position(|c| matches!(c, b'\n' | b'\r')) {
        Some(end) => {
            let line = &bytes[..end];
            line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0")
        }
        None => bytes.iter().all(|c| (b' '..=b'~').contains(c)),
    }
}

/// Whether a read begins with a whole request line: more than any other bytes could be mistaken for.
pub(super) fn request_line(bytes: &[u8]) -> bool {
    surely_request(bytes) && bytes.contains(&b'\n')
}

/// The same of bytes that come in several reads.
pub(super) fn whole_request_line(bytes: &[u8]) -> Sniff {
    match surely_request(bytes) {
        true if request_line(bytes) => Sniff::Request,
        true => Sniff::More,
        false => Sniff::Not(NotUnderstood::Garbage),
    }
}

/// Whether a read can be the beginning of such a request, being too short to tell.
pub(super) fn maybe_request(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && KNOWN.iter().any(|m| m.starts_with(bytes) || bytes.strip_prefix(*m) == Some(b" "))
}

/// Whether these bytes, however few, can begin a response.
pub(super) fn response(bytes: &[u8]) -> bool {
    const VERSION: &[u8] = b"HTTP/1.";
    let n = bytes.len().min(VERSION.len());
    bytes[..n] == VERSION[..n]
}

/// Whether a write begins with what is surely a response: version, digit, space, three digits.
pub(super) fn surely_response(bytes: &[u8]) -> bool {
    matches!(bytes.strip_prefix(b"HTTP/1."), Some([minor, b' ', a, b, c, ..])
        if [minor, a, b, c].iter().all(|d| d.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_read_of_24_bytes_is_a_request() {
        assert_eq!(request(b"POST /v1/chat/completion"), Sniff::Request);
        assert!(surely_request(b"POST /v1/chat/completion"));
    }

    #[test]
    fn what_is_not_http_is_named_after_its_first_bytes() {
        for (bytes, kind) in [
            (&b"\x16\x03\x01\x02\x00"[..], NotUnderstood::Tls),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NotUnderstood::Http2),
            (b"SSH-2.0-OpenSSH", NotUnderstood::Garbage),
            (b"*1\r\n$4\r\nPING\r\n", NotUnderstood::Garbage),
            (b"get / HTTP/1.1", NotUnderstood::Garbage),
            (b"\x16\x04", NotUnderstood::Garbage),
            (&[b'A'; 40], NotUnderstood::Garbage),
            (b" / HTTP/1.1", NotUnderstood::Garbage),
        ] {
            assert_eq!(request(bytes), Sniff::Not(kind), "{bytes:?}");
        }
        for bytes in [&b"\x16"[..], b"P", b"POST", b"PRI ", b"GET "] {
            assert_eq!(request(bytes), Sniff::More, "{bytes:?}");
        }
    }

    #[test]
    fn only_a_known_method_with_a_version_is_surely_a_request() {
        assert!(surely_request(b"GET /health HTTP/1.1\r\nHost: x"));
        assert!(!surely_request(b"GET /health and more\r\n"));
        assert!(!surely_request(b"SPAM /x HTTP/1.1\r\n"));
        assert!(!surely_request(b"{\"model\": \"GET / HTTP/1.1\"}"));
        assert!(maybe_request(b"PO") && maybe_request(b"POST ") && !maybe_request(b"PX"));
    }
}
