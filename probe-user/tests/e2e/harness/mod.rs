//! What the tests share: parts, servers, the probe, a client, the checks.

pub(crate) mod accounting;
pub(crate) mod ask;
pub(crate) mod books;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod hostile;
pub(crate) mod life;
pub(crate) mod load;
pub(crate) mod parts;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod response;
pub(crate) mod server;
pub(crate) mod tape;
pub(crate) mod truth;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One probe at a time: it refuses a second instance, and the tests measure CPU time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}
