//! The virtual machine itself: what a distribution's init would do, and no more.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, mount};
use rustix::net::{AddressFamily, SendFlags, SocketType, send, socket};
use rustix::system::{RebootCommand, finit_module, reboot};

/// Where the host puts modules.
const MODULES: &str = "/m";

/// In the order in which they depend on each other; a machine has those that the host gave it.
pub const MODULE_ORDER: [&str; 6] =
    ["simrapl", "iosf_mbi", "intel_rapl_common", "intel_rapl_msr", "rapl", "msr"];

/// Why the machine would not.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}: {source}", path.display())]
pub struct MachineError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> MachineError {
    move |source| MachineError { what, path: path.into(), source }
}

/// Mounts what the probe and the burners need.
///
/// # Errors
/// When one of the indispensable ones cannot be mounted.
pub fn mount_all() -> Result<(), MachineError> {
    let all = [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/run"),
        ("cgroup2", "/sys/fs/cgroup"),
        ("bpf", "/sys/fs/bpf"),
        ("tracefs", "/sys/kernel/tracing"),
    ];
    for (kind, place) in all {
        // Folders that the kernel makes itself cannot be made, and are there.
        let _ = fs::create_dir_all(place);
        let mounted = mount(kind, place, kind, MountFlags::empty(), None).map_err(io::Error::from);
        match mounted {
            // devtmpfs may be there before init is.
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error()) => {}
            Err(e) if place.starts_with("/sys/") => eprintln!("lab-guest: no {kind}: {e}"),
            other => other.map_err(failed("mount", place))?,
        }
    }
    // The same addresses in every process: an emulator then translates the same code once, not for every
    // short-lived child again.
    let place = "/proc/sys/kernel/randomize_va_space";
    fs::write(place, "0").map_err(failed("write", place))?;
    fs::create_dir_all(super::burn::NAMES).map_err(failed("make", super::burn::NAMES))
}

/// Loads a module; false if the machine was not given it.
///
/// # Errors
/// When the kernel refuses it.
pub fn load_module(name: &str, params: &str) -> Result<bool, MachineError> {
    let path = Path::new(MODULES).join(format!("{name}.ko"));
    let file = match File::open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(failed("open", &path))?,
    };
    let params = std::ffi::CString::new(params)
        .map_err(|_| failed("pass parameters to", &path)(io::ErrorKind::InvalidInput.into()))?;
    match finit_module(&file, &params, 0).map_err(io::Error::from) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(true),
        other => other.map(|()| true).map_err(failed("load", &path)),
    }
}

/// Changes a parameter of simrapl.
///
/// # Errors
/// When there is no such parameter, or it is fixed.
pub fn set_parameter(name: &str, value: &str) -> Result<(), MachineError> {
    let path = format!("/sys/module/simrapl/parameters/{name}");
    fs::write(&path, value).map_err(failed("set", path))
}

/// Sets a sysctl.
///
/// # Errors
/// When there is no such sysctl, or the kernel refuses the value.
pub fn set_sysctl(name: &str, value: &str) -> Result<(), MachineError> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    fs::write(&path, value).map_err(failed("set", path))
}

/// Takes a CPU away or brings it back.
///
/// # Errors
/// When the kernel cannot.
pub fn set_online(cpu: u32, online: bool) -> Result<(), MachineError> {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/online");
    fs::write(&path, if online { "1" } else { "0" }).map_err(failed("write", path))
}

/// The text of `/proc/simrapl`.
///
/// # Errors
/// When simrapl is not loaded.
pub fn truth_text() -> Result<String, MachineError> {
    fs::read_to_string("/proc/simrapl").map_err(failed("read", "/proc/simrapl"))
}

/// Switches the machine off.
///
/// # Errors
/// When this is not process 1 of a machine.
pub fn power_off() -> io::Result<()> {
    Ok(reboot(RebootCommand::PowerOff)?)
}

/// Sets the loopback device up, as `ip link set lo up` does: rtnetlink(7), `RTM_NEWLINK`.
///
/// # Errors
/// When the kernel does not take it.
pub fn loopback_up() -> io::Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST: u16 = 1;
    const IFF_UP: u32 = 1;
    /// The first device of every network namespace.
    const LOOPBACK: u32 = 1;
    // Its protocol 0 is NETLINK_ROUTE.
    let route = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    let mut message = Vec::with_capacity(32);
    message.extend(32_u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence and sender, then a family, padding and type of no meaning.
    message.extend([0; 12]);
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    send(&route, &message, SendFlags::empty())?;
    Ok(())
}
