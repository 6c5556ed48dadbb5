//! What the tests share: parts, servers, the probe, a client, the checks.

pub(crate) mod accounting;
pub(crate) mod address;
pub(crate) mod agree;
pub(crate) mod ask;
pub(crate) mod books;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod container;
pub(crate) mod hostile;
pub(crate) mod life;
pub(crate) mod load;
pub(crate) mod matrix;
pub(crate) mod meter;
pub(crate) mod parts;
pub(crate) mod priority;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod response;
pub(crate) mod server;
pub(crate) mod tape;
pub(crate) mod tls;
pub(crate) mod truth;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One probe at a time: it refuses a second instance, and the tests measure CPU time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the full form of a test was asked for, as `cargo xtask test --long` does.
pub(crate) fn long() -> bool {
    std::env::var_os("WATTPROBE_LONG").is_some()
}

/// How long a server may take for whatever it is asked.
pub(crate) fn patience() -> Duration {
    Duration::from_secs(if emulated() { 600 } else { 60 })
}

/// Whether the processor is an emulated one, in the truth machine.
pub(crate) fn emulated() -> bool {
    std::env::var_os("WATTPROBE_EMULATED").is_some()
}
