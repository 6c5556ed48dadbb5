//! Well-formed requests and responses of the shapes that inference servers use. Wherever somebody's words
//! may stand, there stands [`MARK`].

/// It must come out nowhere.
pub const MARK: &str = "ΩΩ";
/// The same in a query, where clients write ASCII.
pub const QUERY_MARK: &str = "zZmArKzZ";

/// A request.
pub struct Request {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Length of the head, where the client waits for `100 Continue` behind it.
    pub pause: Option<usize>,
    /// Only the head of its response is sent.
    pub is_head: bool,
}

/// A response.
pub struct Response {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its status.
    pub status: u16,
    /// It ends with the connection.
    pub until_close: bool,
}

/// The request for `path` of this shape, with about `size` bytes of prompt.
#[must_use]
pub fn request(path: &str, shape: u8, size: usize) -> Request {
    let prompt = format!("{MARK} say \\\"model\\\":\\\"{MARK}\\\", \\\\").repeat(size / 32 + 1);
    let body = format!(
        "{{\"messages\":[{{\"role\":\"user\",\"content\":\"{prompt}\"}}],\"tools\":[{{\"{MARK}\":1}}],\"stream\":{}}}",
        shape % 2 == 0
    );
    let fields = format!("Host: x\r\nCookie: {MARK}\r\nAuthorization: Bearer {MARK}\r\n");
    let with_length = |extra: &str| {
        format!(
            "POST {path}?{QUERY_MARK} HTTP/1.1\r\n{fields}{extra}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let (mut pause, mut is_head) = (None, false);
    let text = match shape % 6 {
        0 => format!("GET {path}?q={QUERY_MARK} HTTP/1.1\r\n{fields}\r\n"),
        1 => {
            is_head = true;
            format!("HEAD {path} HTTP/1.1\r\n{fields}\r\n")
        }
        2 => {
            let head =
                format!("POST {path} HTTP/1.1\r\n{fields}Transfer-Encoding: chunked\r\n\r\n");
            let (a, b) = body.split_at(body.floor_char_boundary(body.len() / 3));
            format!("{head}{}{}0\r\n\r\n", chunk(a), chunk(b))
        }
        3 => {
            let text = with_length("Expect: 100-continue\r\n");
            pause = text.find("\r\n\r\n").map(|end| end + 4);
            text
        }
        _ => with_length("X-Request-Id: id\r\n"),
    };
    Request { bytes: text.into_bytes(), pause, is_head }
}

/// A response of this shape with so many events.
#[must_use]
pub fn response(shape: u8, events: u8, is_head: bool) -> Response {
    let event = format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{MARK} \\\"usage\\\":{{}}\"}}}}],\"model\":\"m\"}}\n\n"
    );
    let last = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":9}}\n\ndata: [DONE]\n\n";
    let line = format!("{{\"model\":\"m\",\"response\":\"{MARK}\",\"done\":false}}\n");
    let json = format!(
        "{{\"choices\":[{{\"message\":{{\"content\":\"{}\"}}}}],\"usage\":{{\"prompt_tokens\":3}}}}",
        MARK.repeat(usize::from(events) * 8)
    );
    let head = |status: &str, kind: &str, framing: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nSet-Cookie: {MARK}\r\n{framing}\r\n")
    };
    let chunks = |text: &str| format!("{}0\r\n\r\n", chunk(text).repeat(usize::from(events)));
    let chunked = "Transfer-Encoding: chunked\r\n";
    let length = |body: &str| format!("Content-Length: {}\r\n", body.len());
    let sse = "text/event-stream";
    let (status, head, body) = match shape % 7 {
        0 => (200, head("200 OK", "application/json", &length(&json)), json),
        1 => (200, head("200 OK", sse, chunked), chunks(&event)),
        2 => (200, head("200 OK", sse, ""), event.repeat(events.into()) + last),
        3 => (204, "HTTP/1.1 204 No Content\r\n\r\n".to_owned(), String::new()),
        4 => (200, head("200 OK", "application/x-ndjson", chunked), chunks(&line)),
        5 => (503, head("503 Busy", "text/plain", &length(MARK)), MARK.to_owned()),
        _ => {
            let (a, b) = json.split_at(json.floor_char_boundary(json.len() / 2));
            let body = format!("{}{}0\r\nA: {MARK}\r\n\r\n", chunk(a), chunk(b));
            (200, head("200 OK", "application/json", chunked), body)
        }
    };
    let text = if is_head { head } else { head + &body };
    Response { bytes: text.into_bytes(), status, until_close: shape % 7 == 2 && !is_head }
}

fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}
