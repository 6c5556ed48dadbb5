//! The bytes: requests, answers, and where they end.

use clap::ValueEnum;

/// Streams end so.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// One piece of content in a stream.
const EVENT: &str = r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"flood","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}"#;
const PLAIN: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"flood","choices":[{"index":0,"message":{"role":"assistant","content":" word word"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}"#;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ask {
    /// For a chat completion.
    Plain,
    /// For one as a stream.
    Stream,
    /// For the health of a server, which any server answers.
    Health,
}

/// A whole request.
pub(super) fn request(ask: Ask) -> Vec<u8> {
    if ask == Ask::Health {
        return b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n".into();
    }
    let stream = ask == Ask::Stream;
    let body = format!(
        r#"{{"model":"flood","stream":{stream},"messages":[{{"role":"user","content":"say two words"}}]}}"#
    );
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// The whole answer that is no stream.
pub(super) fn plain() -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    format!("{head}content-length: {}\r\n\r\n{PLAIN}", PLAIN.len()).into_bytes()
}

/// The head of a stream.
pub(super) fn stream_head() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        .into()
}

/// One event of a stream, as a chunk.
pub(super) fn stream_event() -> Vec<u8> {
    chunk(&format!("{EVENT}\n\n"))
}

/// The end of a stream. It does not say how many tokens there were: who wants to know has to count.
pub(super) fn stream_end() -> Vec<u8> {
    [chunk("data: [DONE]\n\n"), LAST_CHUNK.into()].concat()
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// Pieces of content in a stream.
pub(super) fn events(answer: &[u8]) -> u64 {
    let content = b"\"delta\":{\"content\"";
    answer.windows(content.len()).filter(|window| window == content).count() as u64
}

/// How long the message at the beginning of `bytes` is; `None`: not all of it is there. A chunked one is taken to end
/// where the bytes do.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    match content_length(&bytes[..head]) {
        Some(body) => (bytes.len() >= head + body).then_some(head + body),
        None if bytes.starts_with(b"GET") => Some(head),
        None => bytes.ends_with(LAST_CHUNK).then_some(bytes.len()),
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    head.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_where_its_framing_says() {
        for whole in [request(Ask::Plain), request(Ask::Stream), plain()] {
            assert_eq!(length(&whole), Some(whole.len()));
            assert_eq!(length(&whole[..whole.len() - 1]), None);
            assert_eq!(length(&whole[..20]), None);
        }
        let stream = [stream_head(), stream_event(), stream_event(), stream_end()].concat();
        assert_eq!((length(&stream), events(&stream)), (Some(stream.len()), 2));
        assert_eq!(length(&stream[..stream.len() - 5]), None);
    }
}
