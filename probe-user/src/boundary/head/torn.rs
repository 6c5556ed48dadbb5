//! Heads of which something is missing: what the lines of them say that are whole.

use super::{
    Coding, HEADERS, Malformed, RequestHead, ResponseHead, path, read_request, read_response,
    with_room,
};
use crate::boundary::{
    bounded,
    framing::Framing,
    head,
    head_text::{HeadState, HeadText},
    sniff::METHOD_MAX,
};

/// Parses a request head of which lines are missing. Where no line that is left says how the body is
/// delimited, one that is missing may: the framing is lost.
pub(in crate::boundary) fn request(text: &[u8]) -> Result<RequestHead, Malformed> {
    let (mut head, body) = read_request(text)?;
    if body.coding == Coding::None && body.length.is_none() {
        head.framing = Framing::lost();
    }
    Ok(head)
}

/// The whole lines of a request head that is cut short, a request line that is itself cut being made
/// whole; and whether that cut the path.
pub(in crate::boundary) fn whole_lines(text: &[u8]) -> Option<(Vec<u8>, bool)> {
    if let Some(lines) = up_to_last_line(text) {
        return Some((lines.to_vec(), false));
    }
    let mut words = text.splitn(3, |c| *c == b' ');
    let (method, target) = (words.next()?, words.next()?);
    let cut = words.next().is_none() && !target.iter().any(|c| matches!(c, b'?' | b'#'));
    Some(([method, b" ", target, b" HTTP/1.1\r\n"].concat(), cut))
}

fn up_to_last_line(text: &[u8]) -> Option<&[u8]> {
    text.iter().rposition(|c| *c == b'\n').map(|end| &text[..=end])
}

/// What the whole lines of a head that is cut short say.
pub(in crate::boundary) fn request_beginning(lines: &[u8]) -> RequestHead {
    let text = [lines, b"\r\n"].concat();
    request(&text).unwrap_or_else(|_| {
        let (method, path) = request_line(lines);
        RequestHead {
            method,
            path,
            path_truncated: false,
            framing: Framing::lost(),
            external_id: None,
            expects_continue: false,
            compressed: false,
        }
    })
}

/// What a request line cut short says: method and path.
fn request_line(text: &[u8]) -> (Option<String>, Option<String>) {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    // What was read before the error stays in `parsed`.
    let _ = parsed.parse(text);
    let method = parsed.method.and_then(|m| bounded::name(m.as_bytes(), METHOD_MAX));
    (method, parsed.path.and_then(|target| path(target).0))
}

/// Parses a response head of which lines are missing, behind which others were found that may be none.
pub(super) fn response(text: &[u8]) -> Result<ResponseHead, Malformed> {
    let strict = httparse::ParserConfig::default();
    with_room(|headers| read_response(&strict, text, headers))
}

/// A response head whose end was not captured: its lines that are whole; and the length of its body, if they say it. The
/// framing is lost.
pub(in crate::boundary) fn response_beginning(
    text: &[u8],
) -> Result<(ResponseHead, Option<u64>), Malformed> {
    let lines = up_to_last_line(text).ok_or(Malformed)?;
    let mut head = head::response(&[lines, b"\r\n"].concat())?;
    let length = if let Framing::Length(length) = head.framing { Some(length) } else { None };
    head.framing = Framing::lost();
    Ok((head, length))
}

/// What the whole lines of a head on both sides of missing bytes say, and how many bytes of `behind` are of it.
pub(in crate::boundary) fn response_around(
    before: &[u8],
    behind: &[u8],
) -> Option<(ResponseHead, usize)> {
    let first = behind.iter().position(|c| *c == b'\n')? + 1;
    let mut text = HeadText::behind(up_to_last_line(before)?.to_vec());
    let pushed = text.push(&behind[first..]);
    // A stream of events has empty lines, too.
    if pushed.state != HeadState::Complete || !pushed.text.ends_with(b"\r\n\r\n") {
        return None;
    }
    let head = response(pushed.text).ok()?;
    (head.framing != Framing::UntilClose).then_some((head, first + pushed.used))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boundary::content::ContentKind;

    #[test]
    fn a_head_cut_short_keeps_its_whole_lines_and_a_cut_request_line() {
        let lines = |text: &[u8]| {
            let (lines, cut) = whole_lines(text).unwrap();
            (String::from_utf8(lines).unwrap(), cut)
        };
        let whole = ("GET /a HTTP/1.1\r\nA: b\r\n".to_owned(), false);
        assert_eq!(lines(b"GET /a HTTP/1.1\r\nA: b\r\nCookie: c"), whole);
        assert_eq!(lines(b"GET /aa"), ("GET /aa HTTP/1.1\r\n".to_owned(), true));
        assert_eq!(lines(b"GET /aa?b"), ("GET /aa?b HTTP/1.1\r\n".to_owned(), false));
        assert_eq!(lines(b"GET /aa HT"), ("GET /aa HTTP/1.1\r\n".to_owned(), false));
        assert_eq!(whole_lines(b"GET"), None);
        let head =
            request_beginning(b"POST /a HTTP/1.1\r\nContent-Length: 5\r\nX-Request-ID: i\r\n");
        assert_eq!((head.framing, head.external_id.as_deref()), (Framing::Length(5), Some("i")));
        let head = request_beginning(b"POST /a HTTP/1.1\r\nContent-Length: x\r\n");
        assert_eq!((head.framing.is_lost(), head.path.as_deref()), (true, Some("/a")));
    }

    #[test]
    fn the_beginning_of_a_head_gives_what_its_whole_lines_say() {
        let (head, length) = response_beginning(
            b"HTTP/1.1 503 No\r\nContent-Type: application/json\r\nContent-Length: 7\r\nX-Lo",
        )
        .unwrap();
        assert_eq!((head.status, head.kind, length), (503, ContentKind::Json, Some(7)));
        assert!(head.framing.is_lost());
        let (method, path) = request_line(b"PUT /a?b HTTP/1.1\r\nCookie: aa");
        assert_eq!((method.as_deref(), path.as_deref()), (Some("PUT"), Some("/a")));
    }
}
