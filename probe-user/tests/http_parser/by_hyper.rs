//! What hyper makes of a connection's bytes, byte by byte.

use std::{cell::RefCell, convert::Infallible, future::poll_fn, pin::Pin, rc::Rc};

use hyper::{
    Request, Response,
    body::{Body, Incoming},
    client, server,
    service::service_fn,
};

use crate::pipe::{Driven, Pipe};

/// What was seen, and behind how many bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Method and path of each request whose head was read, or the status of each response.
    pub(crate) heads: Vec<String>,
    /// Behind how many bytes each message ended; one more than there are: with the close.
    pub(crate) ends: Vec<usize>,
    /// It refused to read on.
    pub(crate) refused: bool,
}

type Shared = Rc<RefCell<(usize, Seen)>>;

/// Reads a message's body to its end; whether it had one.
async fn read(body: Incoming) -> bool {
    let mut body = Box::pin(body);
    loop {
        match poll_fn(|cx| Pin::as_mut(&mut body).poll_frame(cx)).await {
            None => return true,
            Some(Ok(_)) => {}
            Some(Err(_)) => return false,
        }
    }
}

fn ended(shared: &Shared) {
    let mut shared = shared.borrow_mut();
    let at = shared.0;
    shared.1.ends.push(at);
}

/// The requests in `bytes`, as a server reads them that answers each at once.
pub(crate) fn requests(bytes: &[u8]) -> Seen {
    let (pipe, shared) = (Pipe::default(), Shared::default());
    let service = service_fn(|request: Request<Incoming>| {
        let head = format!("{} {}", request.method(), request.uri().path());
        shared.borrow_mut().1.heads.push(head);
        let shared = shared.clone();
        async move {
            if read(request.into_body()).await {
                ended(&shared);
            } else {
                shared.borrow_mut().1.refused = true;
            }
            Ok::<_, Infallible>(Response::new(String::new()))
        }
    });
    let mut builder = server::conn::http1::Builder::new();
    builder.header_read_timeout(None).half_close(true);
    let mut connection = Driven::new(builder.serve_connection(pipe.clone(), service));
    connection.turn();
    for (i, byte) in bytes.iter().enumerate() {
        shared.borrow_mut().0 = i + 1;
        pipe.give(&[*byte]);
        connection.turn();
    }
    let refused = matches!(connection.result, Some(Err(_)));
    drop(connection);
    let mut seen = shared.borrow().1.clone();
    seen.refused |= refused;
    seen
}

/// The responses in `bytes` to requests of these methods, as a client reads them that sends each when it
/// has the answer to the one before.
pub(crate) fn responses(methods: &[&str], bytes: &[u8]) -> Seen {
    let (pipe, shared) = (Pipe::default(), Shared::default());
    let handshake = client::conn::http1::handshake::<_, String>(pipe.clone());
    let mut handshake = Driven::new(handshake);
    handshake.turn();
    let (mut sender, connection) =
        handshake.result.expect("nothing is waited for").expect("nothing was read");
    let mut connection = Driven::new(connection);
    let mut client = Driven::new(async {
        for method in methods {
            sender.ready().await?;
            let request = Request::builder().method(*method).uri("/").body(String::new());
            let response = sender.send_request(request.expect("a valid request")).await?;
            shared.borrow_mut().1.heads.push(response.status().as_str().to_owned());
            if !read(response.into_body()).await {
                break;
            }
            ended(&shared);
        }
        Ok::<_, hyper::Error>(())
    });
    let mut turn = |at: usize| {
        shared.borrow_mut().0 = at;
        while client.turn() | connection.turn() {}
    };
    turn(0);
    for (i, byte) in bytes.iter().enumerate() {
        pipe.give(&[*byte]);
        turn(i + 1);
    }
    pipe.close();
    turn(bytes.len() + 1);
    let failed = |result: &Option<hyper::Result<()>>| matches!(result, Some(Err(_)));
    let refused = failed(&client.result);
    drop((client, connection));
    let mut seen = shared.borrow().1.clone();
    seen.refused = refused || seen.ends.len() < seen.heads.len();
    seen
}
