//! Sockets, and the life of a server.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;

use super::{Address, Error, router};
use crate::engine::Engine;

/// A socket that listens.
pub enum Bound {
    /// TCP, and the address it really has.
    Tcp(std::net::TcpListener, SocketAddr),
    /// A unix socket and its path.
    Unix(std::os::unix::net::UnixListener, std::path::PathBuf),
}

impl Bound {
    /// The address as a client would write it.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Tcp(_, address) => format!("http://{address}"),
            Self::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }
}

/// Listens on `address`.
///
/// # Errors
/// When the address is taken or may not be used.
pub fn bind(address: &Address) -> Result<Bound, Error> {
    let named = |source| Error::Listen { address: address.clone(), source };
    match address {
        Address::Tcp(host, port) => {
            let listener = std::net::TcpListener::bind((host.as_str(), *port)).map_err(named)?;
            prepare(&listener)?;
            listener.set_nonblocking(true)?;
            let local = listener.local_addr()?;
            Ok(Bound::Tcp(listener, local))
        }
        Address::Unix(path) => {
            let listener = std::os::unix::net::UnixListener::bind(path).map_err(named)?;
            prepare(&listener)?;
            listener.set_nonblocking(true)?;
            Ok(Bound::Unix(listener, path.clone()))
        }
    }
}

/// Lets thousands of connections wait to be accepted; the standard library's backlog is 128, and
/// a connection beyond it is retried by its client after a whole second.
fn prepare(listener: &impl std::os::fd::AsFd) -> io::Result<()> {
    Ok(rustix::net::listen(listener, 8192)?)
}

/// Serves until `stop` is ready, then lets open answers finish.
///
/// # Errors
/// When the socket breaks.
pub async fn serve(
    bound: Bound,
    app: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    match bound {
        Bound::Tcp(listener, _) => {
            let listener = TcpListener::from_std(listener)?.tap_io(|stream| {
                // A token must not wait for the acknowledgement of the one before.
                let _ = stream.set_nodelay(true);
            });
            axum::serve(listener, app).with_graceful_shutdown(stop).await?;
        }
        Bound::Unix(listener, path) => {
            let listener = UnixListener::from_std(listener)?;
            axum::serve(listener, app).with_graceful_shutdown(stop).await?;
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// A server on its own thread, for tests.
pub struct Running {
    url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

/// Starts a server on its own thread.
///
/// # Errors
/// When the address cannot be listened on or the thread cannot be made.
pub fn spawn(address: &Address, engine: Engine) -> Result<Running, Error> {
    let bound = bind(address)?;
    let url = bound.url();
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new().name("lab-http".into()).spawn(move || {
        runtime()?.block_on(serve(bound, router(engine), async {
            let _ = stopped.await;
        }))
    })?;
    Ok(Running { url, stop: Some(stop), thread: Some(thread) })
}

impl Running {
    /// Where it listens: `http://HOST:PORT` or `unix:PATH`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops accepting, lets open answers finish, and reports how serving ended.
    ///
    /// # Errors
    /// When serving failed.
    pub fn stop(mut self) -> Result<(), Error> {
        self.shut()
    }

    fn shut(&mut self) -> Result<(), Error> {
        drop(self.stop.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the server's thread panicked").into()),
            None => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.shut();
    }
}

/// A runtime for socket work: the calling thread and no other.
///
/// # Errors
/// When the system refuses it.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
