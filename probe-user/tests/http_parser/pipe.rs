//! A connection in memory, and futures that are polled by hand: so that a byte at a time can be given to
//! hyper, and what it made of it be seen before the next.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

use hyper::rt::{Read, ReadBufCursor, Write};

#[derive(Default)]
struct Incoming {
    bytes: VecDeque<u8>,
    closed: bool,
    reader: Option<Waker>,
}

/// The end of a connection that hyper holds; what it writes is dropped.
#[derive(Clone, Default)]
pub(crate) struct Pipe(Rc<RefCell<Incoming>>);

impl Pipe {
    /// Gives it bytes.
    pub(crate) fn give(&self, bytes: &[u8]) {
        let mut incoming = self.0.borrow_mut();
        incoming.bytes.extend(bytes);
        incoming.reader.take().into_iter().for_each(Waker::wake);
    }

    /// No more will come.
    pub(crate) fn close(&self) {
        let mut incoming = self.0.borrow_mut();
        incoming.closed = true;
        incoming.reader.take().into_iter().for_each(Waker::wake);
    }
}

impl Read for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut incoming = self.0.borrow_mut();
        if incoming.bytes.is_empty() && !incoming.closed {
            incoming.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        while buffer.remaining() > 0
            && let Some(byte) = incoming.bytes.pop_front()
        {
            buffer.put_slice(&[byte]);
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// A future that is polled as long as it has something to do.
pub(crate) struct Driven<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    /// What it came to.
    pub(crate) result: Option<T>,
    woken: Arc<Woken>,
}

impl<'a, T> Driven<'a, T> {
    pub(crate) fn new(future: impl Future<Output = T> + 'a) -> Self {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        Self { future: Box::pin(future), result: None, woken }
    }

    /// Lets it do all that it can do now; whether that was anything.
    pub(crate) fn turn(&mut self) -> bool {
        let mut any = false;
        while self.result.is_none() && self.woken.0.swap(false, Relaxed) {
            any = true;
            let waker = Waker::from(self.woken.clone());
            if let Poll::Ready(result) = self.future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                self.result = Some(result);
            }
        }
        any
    }
}
