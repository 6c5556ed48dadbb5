//! A container without an engine: namespaces of its own and a control group named as Docker names one.
//!
//! `unshare` gives a shell namespaces of processes, network, mounts and control groups; it starts `lab-server` there as
//! process 1. Needs root, `unshare`, `ip`, and a mounted cgroup2 that is ours to write.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::clock;
use super::parts::lab_binary;
use super::process::Running;

/// Where the control groups are made, beneath the root of cgroup2.
const SLICE: &str = "wattprobe-e2e.slice";

/// What runs inside. The mounts are its own; the socket's directory is covered, so that nobody outside has it.
const INSIDE: &str = "ip link set lo up && mount -t tmpfs none \"$1\" && shift && exec \"$@\"";

/// A running container.
pub(crate) struct Container {
    /// What stays outside and waits for the server.
    process: Running,
    /// The server's process, as the host counts.
    pub(crate) pid: u32,
    group: PathBuf,
    covered: PathBuf,
}

impl Container {
    /// A container of this id whose server is given these arguments; `None`, with the reason on standard error, where this
    /// machine cannot have one.
    pub(crate) fn start(dir: &Path, id: &str, arguments: &[&str]) -> Option<Self> {
        let group = match group(id) {
            Ok(group) => group,
            Err(why) => {
                eprintln!("not run: {why}");
                return None;
            }
        };
        let covered = dir.join("covered");
        let _ = fs::create_dir(&covered);
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\"/cgroup.procs && exec \"$@\""]).arg(&group);
        command.args(["unshare", "--pid", "--net", "--mount", "--cgroup", "--fork"]);
        command.args(["--mount-proc", "--kill-child", "sh", "-c", INSIDE, "sh"]).arg(&covered);
        command.arg(lab_binary("lab-server")).args(arguments);
        let mut process = Running::start(&mut command, dir, &id[..12]);
        process.line("listening on ", Duration::from_secs(60));
        let pids = fs::read_to_string(group.join("cgroup.procs")).expect("it is our group");
        let pids = pids.lines().map(|pid| pid.parse().expect("a number"));
        let pid = pids.max().filter(|pid| *pid != process.id()).expect("the server runs there");
        Some(Self { process, pid, group, covered })
    }

    /// Does something in its network.
    pub(crate) fn inside<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let net = fs::File::open(format!("/proc/{}/ns/net", self.pid)).expect("it runs");
        let enter = || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&net), kind).expect("root may");
            what()
        };
        // A thread's network namespace is its own.
        thread::scope(|scope| scope.spawn(enter).join().expect("it does not panic"))
    }

    /// The path of its control group beneath the root of cgroup2.
    pub(crate) fn group(&self) -> String {
        let name = self.group.file_name().expect("a group has a name").to_string_lossy();
        format!("{SLICE}/{name}")
    }

    /// A directory that is another outside.
    pub(crate) fn covered(&self) -> &Path {
        &self.covered
    }

    /// The same directory, seen from outside.
    pub(crate) fn seen_outside(&self) -> PathBuf {
        let inside = self.covered.strip_prefix("/").expect("it is absolute");
        Path::new("/proc").join(self.pid.to_string()).join("root").join(inside)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.process.signal(rustix::process::Signal::KILL);
        self.process.end(Duration::from_secs(10));
        // A group can go once its last process is gone.
        clock::wait_until(Duration::from_secs(10), || {
            fs::remove_dir(&self.group).is_ok() || !self.group.exists()
        });
        let _ = self.group.parent().map(fs::remove_dir);
    }
}

/// Makes the control group of a container of Docker.
fn group(id: &str) -> Result<PathBuf, String> {
    for (tool, argument) in [("unshare", "--version"), ("ip", "-Version")] {
        let found = Command::new(tool).arg(argument).output();
        found.map_err(|error| format!("{tool}: {error}"))?;
    }
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
    let root = mounts.lines().find_map(|line| match *line.split(' ').collect::<Vec<_>>() {
        [_, place, "cgroup2", ..] => Some(PathBuf::from(place)),
        _ => None,
    });
    let root = root.ok_or("no cgroup2 is mounted")?;
    let group = root.join(SLICE).join(format!("docker-{id}.scope"));
    fs::create_dir_all(&group).map_err(|error| format!("{}: {error}", group.display()))?;
    Ok(group)
}
