//! The runner as its proxy's client sees it: one connection a request, HTTP/1.0, so that a body ends where
//! the connection does.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use futures_core::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Bytes of a head at most.
const MAX_HEAD: usize = 16 << 10;

/// Where the runner listens.
pub(super) struct Upstream {
    address: String,
}

/// What it answered so far.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Read behind the head.
    begun: Bytes,
    socket: TcpStream,
}

impl Upstream {
    pub(super) fn new(address: String) -> Self {
        Self { address }
    }

    /// Sends a request and reads the head of its answer.
    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        id: Option<&HeaderValue>,
        body: &[u8],
    ) -> io::Result<Reply> {
        let mut socket = TcpStream::connect(&self.address).await?;
        socket.set_nodelay(true)?;
        let length = body.len();
        let mut head = format!("{method} {path} HTTP/1.0\r\nContent-Length: {length}\r\n");
        if let Some(id) = id.and_then(|id| id.to_str().ok()) {
            head.push_str(&format!("x-request-id: {id}\r\n"));
        }
        head.push_str("Content-Type: application/json\r\n\r\n");
        socket.write_all(&[head.as_bytes(), body].concat()).await?;
        let mut read = Vec::new();
        loop {
            if let Some((status, headers, used)) = parse(&read)? {
                let begun = Bytes::copy_from_slice(&read[used..]);
                return Ok(Reply { status, headers, begun, socket });
            }
            if read.len() > MAX_HEAD || socket.read_buf(&mut read).await? == 0 {
                return Err(io::Error::other("the answer has no head"));
            }
        }
    }
}

fn parse(read: &[u8]) -> io::Result<Option<(StatusCode, HeaderMap, usize)>> {
    let mut lines = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut lines);
    let httparse::Status::Complete(used) = head.parse(read).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let status = StatusCode::from_u16(head.code.unwrap_or(0)).map_err(io::Error::other)?;
    let field = |line: &httparse::Header<'_>| {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(line.value).ok()?))
    };
    Ok(Some((status, head.headers.iter().filter_map(field).collect(), used)))
}

impl Reply {
    /// The next piece of the body; empty at its end.
    pub(super) async fn next(&mut self) -> io::Result<Bytes> {
        if !self.begun.is_empty() {
            return Ok(std::mem::take(&mut self.begun));
        }
        let mut piece = Vec::with_capacity(16 << 10);
        self.socket.read_buf(&mut piece).await?;
        Ok(piece.into())
    }
}

/// A body that another task reads, or makes. Dropping it ends the task, and so the runner's work.
pub(super) struct Pumped(UnboundedReceiver<io::Result<Bytes>>);

impl Pumped {
    pub(super) fn new(pieces: UnboundedReceiver<io::Result<Bytes>>) -> Self {
        Self(pieces)
    }
}

impl From<Reply> for Pumped {
    fn from(mut reply: Reply) -> Self {
        let (pieces, receiver) = unbounded_channel();
        tokio::spawn(async move {
            loop {
                let piece = tokio::select! {
                    () = pieces.closed() => return,
                    piece = reply.next() => piece,
                };
                let over = piece.as_ref().map_or(true, Bytes::is_empty);
                if over && piece.is_ok() {
                    return;
                }
                if pieces.send(piece).is_err() || over {
                    return;
                }
            }
        });
        Self::new(receiver)
    }
}

impl Stream for Pumped {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}
