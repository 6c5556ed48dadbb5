//! What a user without privileges is told, by the real binary running as one.
//!
//! Needs root to become nobody; an ordinary user runs the same checks as himself.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use probe_lab::fakeroot::FakeRoot;

const NOBODY: u32 = 65534;

/// A directory that everybody may read, with a copy of the binary: the build's own directory may be
/// closed to others.
fn open_directory() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir.path(), everybody).expect("own directory");
    let binary = dir.path().join("wattprobe");
    std::fs::copy(env!("CARGO_BIN_EXE_wattprobe"), &binary).expect("a copy");
    (dir, binary)
}

fn as_nobody(binary: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(binary);
    command.args(args);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    // While another test's thread forks, its child briefly holds the copy open for writing.
    for _ in 0..100 {
        match command.output() {
            Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            done => return done.expect("the binary runs"),
        }
    }
    panic!("the copy stays busy")
}

#[track_caller]
fn refused(output: &Output, says: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains(says) && text.lines().count() == 1, "{text}");
}

#[test]
fn attach_without_privilege_names_the_capability() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port().to_string();
    let (_dir, binary) = open_directory();
    refused(&as_nobody(&binary, &["attach", "--for", "2s", "--port", &port]), "CAP_BPF");
}

#[test]
fn a_perf_counter_without_permission_names_the_capability() {
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
    let open_to_all =
        paranoid.ok().and_then(|p| p.trim().parse::<i32>().ok()).is_none_or(|p| p < 1);
    if open_to_all || !Path::new("/sys/bus/event_source/devices/msr/events/tsc").exists() {
        eprintln!("not run: counters are open to all here, or there is no PMU msr");
        return;
    }
    let (_dir, binary) = open_directory();
    let args = ["attach", "--port", "1", "--source", "perf:msr/tsc/,scale=1e-9"];
    refused(&as_nobody(&binary, &args), "CAP_BPF, CAP_PERFMON");
}

#[test]
fn a_powercap_zone_without_permission_says_run_as_root() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: only root can make a file that another user may not read");
        return;
    }
    let (dir, binary) = open_directory();
    let root = FakeRoot::new(dir.path());
    root.cpus(&[0]).expect("files");
    root.zone("intel-rapl:0", "package-0", 5).expect("files");
    let secret = std::fs::Permissions::from_mode(0o400);
    let energy = root.path("sys/class/powercap/intel-rapl:0/energy_uj");
    std::fs::set_permissions(energy, secret).expect("own file");
    let sysfs = root.sysfs();
    let sysfs = sysfs.to_str().expect("a plain path");
    let args = ["attach", "--port", "1", "--source", "rapl-powercap", "--sysfs-root", sysfs];
    refused(&as_nobody(&binary, &args), "run as root");
}

#[test]
fn doctor_says_which_privilege_is_missing() {
    let (_dir, binary) = open_directory();
    let output = as_nobody(&binary, &["doctor"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("missing: CAP_BPF, CAP_PERFMON"), "{text}");
    assert!(text.contains("not held: to load eBPF programs"), "{text}");
    assert!(text.contains("run as root"), "{text}");
}
