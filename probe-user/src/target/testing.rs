//! A fake procfs in a temporary directory: processes in namespaces, with control groups and sockets.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::roots::Roots;

/// The tree; removed on drop. Paths are beneath procfs.
pub(super) struct Tree(tempfile::TempDir);

/// A process: number, parent, name, network namespace, control group.
pub(super) type Process<'a> = (u32, u32, &'a str, u64, &'a str);

impl Tree {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn roots(&self) -> Roots {
        let at = |name| self.0.path().join(name);
        Roots { sysfs: at("sys"), procfs: at("proc"), nvml: None }
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.roots().proc(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) fn link(&self, path: &str, text: impl AsRef<Path>) {
        let path = self.roots().proc(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        symlink(text, path).unwrap();
    }

    /// Processes, none with a socket.
    pub(super) fn with(self, processes: &[Process<'_>]) -> Self {
        for (pid, parent, name, net, group) in processes {
            let zeros = "0 ".repeat(48);
            self.write(&format!("{pid}/stat"), &format!("{pid} ({name}) S {parent} {zeros}\n"));
            self.write(&format!("{pid}/cgroup"), &format!("0::{group}\n"));
            self.link(&format!("{pid}/ns/net"), format!("net:[{net}]"));
            fs::create_dir_all(self.roots().proc(format!("{pid}/fd"))).unwrap();
            self.sockets(&pid.to_string(), &[]);
        }
        self
    }

    /// The probe's own network namespace, and the sockets that listen there: port and inode.
    pub(super) fn own(&self, net: u64, listening: &[(u16, u64)]) {
        self.link("self/ns/net", format!("net:[{net}]"));
        self.sockets("self", listening);
    }

    /// What a process sees listening in its network namespace: port and inode.
    pub(super) fn sockets(&self, process: &str, listening: &[(u16, u64)]) {
        let mut text = "  sl  local_address rem_address   st tx_queue rx_queue\n".to_owned();
        for (port, inode) in listening {
            let line = format!(
                "   0: 0100007F:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 {inode} 1 \
                 0000000000000000 100 0 0 10 0"
            );
            writeln!(text, "{line}").unwrap();
        }
        self.write(&format!("{process}/net/tcp"), &text);
    }

    /// The same of a unix socket.
    pub(super) fn unix(&self, process: &str, path: &str, inode: u64) {
        let head = "Num       RefCount Protocol Flags    Type St Inode Path";
        let line = format!("0000000000000000: 00000002 00000000 00010000 0001 01 {inode} {path}");
        self.write(&format!("{process}/net/unix"), &format!("{head}\n{line}\n"));
    }

    /// A process holds a socket.
    pub(super) fn holds(&self, pid: u32, fd: u32, inode: u64) {
        self.link(&format!("{pid}/fd/{fd}"), format!("socket:[{inode}]"));
    }

    /// A process is gone.
    pub(super) fn end(&self, pid: u32) {
        fs::remove_dir_all(self.roots().proc(pid.to_string())).unwrap();
    }
}
