//! Loads the library, finds out what each GPU can do and how often its counter moves.
//!
//! All on a thread of its own: a driver in trouble hangs in a call and never returns. That thread is then
//! left behind; it ends with the process.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::device::{Device, Fault, Gpus, Nvml, Power};
use super::watch::{Seen, Watch};
use super::{Gpu, Meter, domain};
use crate::clock::Clock;
use crate::source::Domain;

/// A machine of eight GPUs without persistence mode takes seconds to wake them.
pub const PATIENCE_NS: u64 = 30_000_000_000;
/// For how long the counters are watched, ns.
const WATCH_NS: u64 = 700_000_000;
/// How often they are looked at meanwhile.
const LOOK: Duration = Duration::from_millis(1);
/// Period of a counter that did not move at all while it was watched, ns.
const STILL_NS: u64 = 1_000_000_000;

/// Why there are no GPUs.
#[derive(Debug, thiserror::Error)]
pub enum NvmlError {
    /// A machine that was made up has no driver.
    #[error("no NVIDIA library belongs to this sysfs; name one with --nvml-library")]
    NoneNamed,
    /// It cannot be loaded.
    #[error("cannot load {}: {what}; install the NVIDIA driver's libraries, or name the library with --nvml-library", path.display())]
    Load {
        /// The library.
        path: PathBuf,
        /// What the loader or the library said.
        what: String,
    },
    /// It is there and does not work.
    #[error("NVML of {} does not work: {what}; check nvidia-smi, and that /dev/nvidia* are there for this user", path.display())]
    Broken {
        /// The library.
        path: PathBuf,
        /// What it said.
        what: String,
    },
    /// It works and knows no GPU.
    #[error("the NVIDIA driver knows no GPU; check nvidia-smi")]
    NoGpu,
    /// One GPU cannot be read.
    #[error("GPU {index} cannot be read: {what}; check nvidia-smi, or leave the source nvml out")]
    Gpu {
        /// Its index.
        index: u32,
        /// What the library said.
        what: String,
    },
    /// It does not answer.
    #[error(
        "the NVIDIA driver did not answer within {seconds} s; look for Xid errors in the kernel's log, or leave the source nvml out"
    )]
    Hangs {
        /// How long it was waited for.
        seconds: u64,
    },
    /// No thread.
    #[error("cannot start a thread for NVML: {0}; raise the limit of processes (ulimit -u)")]
    Thread(io::Error),
}

/// What a library knows.
#[derive(Debug)]
pub struct Found {
    /// One for each GPU that can be read.
    pub domains: Vec<Domain>,
    /// The others, and why.
    pub refused: Vec<NvmlError>,
}

/// Opens a library; a driver that has not answered by then is given up on.
pub(super) fn open(path: &Path, patience_ns: u64) -> Result<Found, NvmlError> {
    let (sink, found) = channel();
    let of = path.to_path_buf();
    // Nobody may be left to hear it.
    let run = move || drop(sink.send(find(&of)));
    thread::Builder::new().name("nvml-open".into()).spawn(run).map_err(NvmlError::Thread)?;
    let hangs = || NvmlError::Hangs { seconds: patience_ns / 1_000_000_000 };
    match found.recv_timeout(Duration::from_nanos(patience_ns)) {
        Ok(found) => found,
        Err(RecvTimeoutError::Timeout) => Err(hangs()),
        Err(RecvTimeoutError::Disconnected) => {
            Err(NvmlError::Broken { path: path.into(), what: "its thread ended".into() })
        }
    }
}

fn find(path: &Path) -> Result<Found, NvmlError> {
    use nvml_wrapper::error::NvmlError as Raw;
    let load = |error: Raw| {
        let (path, what) = (path.to_path_buf(), error.to_string());
        match error {
            Raw::LibloadingError(_) | Raw::FailedToLoadSymbol(_) => NvmlError::Load { path, what },
            _ => NvmlError::Broken { path, what },
        }
    };
    // Kept until the process ends: see the module's head.
    let nvml: &'static Nvml = Box::leak(Box::new(Nvml::load(path).map_err(load)?));
    let count = nvml.count().map_err(load)?;
    if count == 0 {
        return Err(NvmlError::NoGpu);
    }
    let (mut open, mut refused) = (Vec::new(), Vec::new());
    for index in 0..count {
        let device = nvml.device(index);
        match able(&device) {
            Ok((meter, mig)) => open.push((device, Gpu { index, meter, mig, nvml })),
            Err(fault) => refused.push(NvmlError::Gpu { index, what: text(fault) }),
        }
    }
    measure(&mut open);
    Ok(Found { domains: open.into_iter().map(|(_, gpu)| domain(gpu)).collect(), refused })
}

fn text(fault: Fault) -> String {
    match fault {
        Fault::Unsupported => "it shows neither energy nor power".into(),
        Fault::Nothing => "it has no reading".into(),
        Fault::Failed(what) => what,
    }
}

/// The best that a GPU can do, and whether it is in MIG mode.
fn able(device: &Device) -> Result<(Meter, bool), Fault> {
    let mig = device.mig()?;
    let counter = Meter::Energy { period_ns: STILL_NS, seen: false };
    match device.energy_mj() {
        Ok(_) => return Ok((counter, mig)),
        Err(Fault::Failed(what)) => return Err(Fault::Failed(what)),
        Err(_) => {}
    }
    if device.power_mw(Power::Instant).is_ok() {
        return Ok((Meter::Instant, mig));
    }
    device.power_mw(Power::Average).map(|_| (Meter::Average, mig))
}

/// Watches all counters at once, for as long as one of them has more to tell.
fn measure(open: &mut [(Device, Gpu)]) {
    let clock = Clock::start();
    let began = clock.now();
    let mut counters: Vec<(&Device, &mut Gpu, Watch)> = open
        .iter_mut()
        .filter(|(_, gpu)| matches!(gpu.meter, Meter::Energy { .. }))
        .map(|(device, gpu)| (&*device, gpu, Watch::default()))
        .collect();
    while clock.now() - began < WATCH_NS && !counters.iter().all(|(.., w)| w.is_enough()) {
        for (device, _, watch) in &mut counters {
            // A failure is a look that was not taken.
            if let Ok(mj) = device.energy_mj() {
                watch.look(clock.now(), mj);
            }
        }
        thread::sleep(LOOK);
    }
    for (_, gpu, watch) in counters {
        let (period_ns, seen) = match watch.seen() {
            Seen::Every(period) => (period, true),
            Seen::Once => (WATCH_NS, false),
            Seen::Still => (STILL_NS, false),
        };
        gpu.meter = Meter::Energy { period_ns, seen };
    }
}
