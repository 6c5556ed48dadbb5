//! Message heads, through httparse: the few lines of them that matter here.

pub(super) mod torn;

use std::time::Duration;

use super::{
    bounded,
    chunked::Chunked,
    content::ContentKind,
    framing::Framing,
    head_text::HEAD_MAX,
    output::NotUnderstood,
    sniff::METHOD_MAX,
    tokens::{count, millis},
};

/// Header lines that are read without asking for memory.
const HEADERS: usize = 100;
/// More lines than a head that is kept can have.
const MOST_HEADERS: usize = HEAD_MAX / b"a:\r\n".len();
/// Bytes kept of a path.
pub(super) const PATH_MAX: usize = 256;
/// Bytes kept of an `x-request-id`.
pub(super) const ID_MAX: usize = 128;

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestHead {
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) path_truncated: bool,
    pub(super) framing: Framing,
    pub(super) external_id: Option<String>,
    /// It waits for `100 Continue`.
    pub(super) expects_continue: bool,
    /// Its body is compressed.
    pub(super) compressed: bool,
}

/// A response's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    /// How its body is delimited if it has one.
    pub(super) framing: Framing,
    pub(super) kind: ContentKind,
    pub(super) compressed: bool,
    /// What it leads to, if this is a `101`.
    pub(super) upgrade: NotUnderstood,
    /// Time spent queued, as TGI reports it.
    pub(super) queue: Option<Duration>,
}

/// The head is not HTTP/1, or contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid HTTP/1 message head")]
pub(super) struct Malformed;

/// Why a head was not read.
enum Unread {
    TooManyLines,
    Malformed,
}

impl From<Malformed> for Unread {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// What httparse says of a head.
fn complete(parsed: httparse::Result<usize>) -> Result<(), Unread> {
    match parsed {
        Ok(httparse::Status::Complete(_)) => Ok(()),
        Err(httparse::Error::TooManyHeaders) => Err(Unread::TooManyLines),
        Ok(httparse::Status::Partial) | Err(_) => Err(Unread::Malformed),
    }
}

/// Reads a head with room for as many lines as it has.
fn with_room<'text, T>(
    read: impl Fn(&mut [httparse::Header<'text>]) -> Result<T, Unread>,
) -> Result<T, Malformed> {
    let read = match read(&mut [httparse::EMPTY_HEADER; HEADERS]) {
        Err(Unread::TooManyLines) => read(&mut vec![httparse::EMPTY_HEADER; MOST_HEADERS]),
        read => read,
    };
    read.map_err(|_| Malformed)
}

/// Parses a complete request head.
pub(super) fn request(text: &[u8]) -> Result<RequestHead, Malformed> {
    read_request(text).map(|(head, _)| head)
}

fn read_request(text: &[u8]) -> Result<(RequestHead, BodyLines), Malformed> {
    with_room(|headers| read_request_in(text, headers))
}

fn read_request_in<'text>(
    text: &'text [u8],
    headers: &mut [httparse::Header<'text>],
) -> Result<(RequestHead, BodyLines), Unread> {
    let mut parsed = httparse::Request::new(headers);
    complete(parsed.parse(text))?;
    let mut body = BodyLines::default();
    let mut external_id = None;
    let mut expects_continue = false;
    for header in parsed.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("x-request-id") {
            external_id = bounded::name(header.value, ID_MAX);
        } else if is("expect") {
            expects_continue = header.value.trim_ascii().eq_ignore_ascii_case(b"100-continue");
        } else {
            body.read(header)?;
        }
    }
    let framing = match (body.coding, body.length) {
        (Coding::Chunked, _) => Framing::Chunked(Chunked::new()),
        (Coding::Other, _) => return Err(Unread::Malformed),
        (Coding::None, length) => Framing::Length(length.unwrap_or(0)),
    };
    let target = parsed.path.ok_or(Malformed)?;
    let (path, path_truncated) = path(target);
    let method = parsed.method.and_then(|m| bounded::name(m.as_bytes(), METHOD_MAX));
    let head = RequestHead {
        method,
        path,
        path_truncated,
        framing,
        external_id,
        expects_continue,
        compressed: body.compressed,
    };
    Ok((head, body))
}

/// Parses a complete response head, as leniently as clients do.
pub(super) fn response(text: &[u8]) -> Result<ResponseHead, Malformed> {
    let mut lenient = httparse::ParserConfig::default();
    lenient
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .ignore_invalid_headers_in_responses(true);
    with_room(|headers| read_response(&lenient, text, headers))
}

fn read_response<'text>(
    config: &httparse::ParserConfig,
    text: &'text [u8],
    headers: &mut [httparse::Header<'text>],
) -> Result<ResponseHead, Unread> {
    let mut parsed = httparse::Response::new(headers);
    complete(config.parse_response(&mut parsed, text))?;
    let status = parsed.code.ok_or(Malformed)?;
    let mut body = BodyLines::default();
    let mut kind = ContentKind::Opaque;
    let mut upgrade = NotUnderstood::Upgrade;
    let mut queue = None;
    for header in parsed.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-type") {
            kind = ContentKind::of(header.value);
        } else if is("upgrade") {
            upgrade = upgrade_kind(header.value);
        } else if is("x-queue-time") {
            queue = millis(header.value);
        } else {
            body.read(header)?;
        }
    }
    let framing = match (body.coding, body.length) {
        (Coding::Chunked, _) => Framing::Chunked(Chunked::new()),
        (Coding::Other, _) | (Coding::None, None) => Framing::UntilClose,
        (Coding::None, Some(length)) => Framing::Length(length),
    };
    Ok(ResponseHead { status, framing, kind, compressed: body.compressed, upgrade, queue })
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Coding {
    #[default]
    None,
    Chunked,
    Other,
}

/// The headers that delimit a body, or tell that its bytes are not what it says.
#[derive(Clone, Copy, Debug, Default)]
struct BodyLines {
    coding: Coding,
    length: Option<u64>,
    compressed: bool,
}

impl BodyLines {
    fn read(&mut self, header: &httparse::Header<'_>) -> Result<(), Malformed> {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            let last = header.value.rsplit(|c| *c == b',').next().unwrap_or_default().trim_ascii();
            self.coding = if last.eq_ignore_ascii_case(b"chunked") {
                Coding::Chunked
            } else if codes(header.value) {
                Coding::Other
            } else {
                self.coding
            };
            self.compressed |= codes(header.value);
        } else if header.name.eq_ignore_ascii_case("content-encoding") {
            self.compressed |= codes(header.value);
        } else if header.name.eq_ignore_ascii_case("content-length") {
            for value in header.value.split(|c| *c == b',') {
                let length = count(value.trim_ascii()).ok_or(Malformed)?;
                if self.length.is_some_and(|known| known != length) {
                    return Err(Malformed);
                }
                self.length = Some(length);
            }
        }
        Ok(())
    }
}

/// Whether any of these codings changes the bytes of a body.
fn codes(value: &[u8]) -> bool {
    let plain: [&[u8]; 3] = [b"", b"identity", b"chunked"];
    let mut codings = value.split(|c| *c == b',').map(<[u8]>::trim_ascii);
    codings.any(|coding| !plain.iter().any(|plain| coding.eq_ignore_ascii_case(plain)))
}

fn upgrade_kind(value: &[u8]) -> NotUnderstood {
    let value = value.trim_ascii().to_ascii_lowercase();
    match &value[..] {
        b"websocket" => NotUnderstood::WebSocket,
        v if v.starts_with(b"h2") => NotUnderstood::Http2,
        _ => NotUnderstood::Upgrade,
    }
}

/// The path of a request target, without scheme, authority, query and fragment; whether it was cut.
fn path(target: &str) -> (Option<String>, bool) {
    let target = target.split(['?', '#']).next().unwrap_or_default();
    let path = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => {
            rest.find('/').map_or("/", |slash| &rest[slash..])
        }
        _ => target,
    };
    (bounded::name(path.as_bytes(), PATH_MAX), path.len() > PATH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_no_query_no_authority_and_a_bound() {
        assert_eq!(path("/v1/x?key=secret#f").0.as_deref(), Some("/v1/x"));
        assert_eq!(path("http://user:pw@host:1/a/b?c").0.as_deref(), Some("/a/b"));
        assert_eq!(path("http://host").0.as_deref(), Some("/"));
        assert_eq!(path("/a/http://b").0.as_deref(), Some("/a/http://b"));
        let (long, cut) = path(&format!("/{}", "x".repeat(1000)));
        assert_eq!((long.map(|p| p.len()), cut), (Some(PATH_MAX), true));
    }

    #[test]
    fn a_request_s_body_is_delimited_as_the_standard_says() {
        let framing = |lines: &str| {
            request(format!("POST / HTTP/1.1\r\n{lines}\r\n").as_bytes()).map(|head| head.framing)
        };
        assert_eq!(framing(""), Ok(Framing::EMPTY));
        assert_eq!(framing("Content-Length: 5\r\n"), Ok(Framing::Length(5)));
        assert_eq!(framing("content-length: 5, 5\r\n"), Ok(Framing::Length(5)));
        let chunked = Ok(Framing::Chunked(Chunked::new()));
        assert_eq!(framing("Transfer-Encoding: gzip, Chunked\r\nContent-Length: 5\r\n"), chunked);
        for bad in [
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: -1\r\n",
            "Transfer-Encoding: gzip\r\n",
        ] {
            assert_eq!(framing(bad), Err(Malformed), "{bad}");
        }
    }

    #[test]
    fn a_coding_of_content_or_transfer_makes_a_body_compressed() {
        for (line, expected) in [
            ("Content-Encoding: gzip", true),
            ("content-encoding: br", true),
            ("Content-Encoding: zstd", true),
            ("Content-Encoding: identity", false),
            ("Content-Encoding:", false),
            ("Transfer-Encoding: gzip, chunked", true),
            ("Transfer-Encoding: Chunked", false),
            ("Accept-Encoding: gzip", false),
        ] {
            let asked = request(format!("POST / HTTP/1.1\r\n{line}\r\n\r\n").as_bytes()).unwrap();
            let told = response(format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n").as_bytes()).unwrap();
            assert_eq!((asked.compressed, told.compressed), (expected, expected), "{line}");
        }
    }

    #[test]
    fn a_response_without_a_length_ends_with_the_connection() {
        let head = response(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").unwrap();
        assert_eq!(
            (head.status, head.framing, head.kind),
            (200, Framing::UntilClose, ContentKind::Events)
        );
        let head = response(b"HTTP/1.1 101 X\r\nUpgrade: WebSocket\r\n\r\n").unwrap();
        assert_eq!(head.upgrade, NotUnderstood::WebSocket);
        assert_eq!(response(b"HTTP/2 200\r\n\r\n"), Err(Malformed));
    }

    #[test]
    fn a_head_has_as_many_lines_as_it_has() {
        let lines = "a:\r\n".repeat(3000) + "Content-Length: 5\r\nX-Request-Id: i\r\n\r\n";
        let head = request(format!("POST / HTTP/1.1\r\n{lines}").as_bytes()).unwrap();
        assert_eq!((head.framing, head.external_id.as_deref()), (Framing::Length(5), Some("i")));
        let head = response(format!("HTTP/1.1 200 OK\r\n{lines}").as_bytes()).unwrap();
        assert_eq!(head.framing, Framing::Length(5));
    }

    #[test]
    fn a_response_is_read_as_leniently_as_clients_read_it() {
        let text = b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length : 5\r\nno header\r\n\r\n";
        assert_eq!(response(text).unwrap().framing, Framing::Length(5));
        assert_eq!(torn::response(text), Err(Malformed), "but not where it may be no head");
    }
}
