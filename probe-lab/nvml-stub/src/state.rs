//! The script in force and the time since the library was initialised.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::SCRIPT;
use crate::abi::{DRIVER_NOT_LOADED, INVALID_ARGUMENT, Return};
use crate::script::{Gpu, Script};

/// State of one loaded copy. A C library has nowhere else to keep it.
static STATE: Mutex<Option<State>> = Mutex::new(None);

struct State {
    file: PathBuf,
    /// Inode and time of change of the script that was read.
    read: (u64, i64, i64),
    script: Script,
    began: f64,
}

/// Seconds of `CLOCK_MONOTONIC`.
fn now() -> f64 {
    let t = clock_gettime(ClockId::Monotonic);
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

/// Reads the script beside the library; time begins.
pub(crate) fn init(library: &Path) -> Result<(), Return> {
    let file = library.with_file_name(SCRIPT);
    let mut state = STATE.lock().map_err(|_| DRIVER_NOT_LOADED)?;
    if state.is_some() {
        return Ok(());
    }
    let (script, read) = read(&file).ok_or(DRIVER_NOT_LOADED)?;
    let init = script.init_s;
    *state = Some(State { file, read, script, began: now() });
    drop(state);
    std::thread::sleep(Duration::from_secs_f64(init));
    Ok(())
}

fn read(file: &Path) -> Option<(Script, (u64, i64, i64))> {
    let stamp = stamp(file)?;
    Some((serde_json::from_slice(&std::fs::read(file).ok()?).ok()?, stamp))
}

fn stamp(file: &Path) -> Option<(u64, i64, i64)> {
    let meta = std::fs::metadata(file).ok()?;
    Some((meta.ino(), meta.mtime(), meta.mtime_nsec()))
}

/// The script now, and the seconds since the beginning.
pub(crate) fn with<T>(f: impl FnOnce(&Script, f64) -> Result<T, Return>) -> Result<T, Return> {
    let mut state = STATE.lock().map_err(|_| DRIVER_NOT_LOADED)?;
    let state = state.as_mut().ok_or(DRIVER_NOT_LOADED)?;
    if stamp(&state.file).is_some_and(|stamp| stamp != state.read)
        && let Some((script, stamp)) = read(&state.file)
    {
        (state.script, state.read) = (script, stamp);
    }
    f(&state.script, now() - state.began)
}

/// One call on one GPU: hangs or fails as the script says, else answers.
pub(crate) fn on_gpu<T>(
    index: usize,
    call: &str,
    f: impl FnOnce(&Gpu, f64) -> Result<T, Return>,
) -> Result<T, Return> {
    let hang = with(|script, t| {
        let gpu = script.gpus.get(index).ok_or(INVALID_ARGUMENT)?;
        let hangs = gpu.hangs.iter().filter(|hang| hang.call == call && hang.from_s <= t);
        Ok(hangs.map(|hang| hang.for_s).fold(0.0, f64::max))
    })?;
    std::thread::sleep(Duration::from_secs_f64(hang));
    with(|script, t| {
        let gpu = script.gpus.get(index).ok_or(INVALID_ARGUMENT)?;
        let meant = |fault: &&crate::Fault| fault.call == "*" || fault.call == call;
        match gpu.faults.iter().filter(meant).find(|fault| fault.from_s <= t) {
            Some(fault) => Err(fault.code),
            None => f(gpu, t),
        }
    })
}
