//! What the tests share: parts, servers, the probe, a client, the checks.

pub mod accounting;
pub mod books;
pub mod client;
pub mod clock;
pub mod hostile;
pub mod life;
pub mod load;
pub mod parts;
pub mod probe;
pub mod process;
pub mod response;
pub mod server;
pub mod truth;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One probe at a time: it refuses a second instance, and the tests measure CPU time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}
