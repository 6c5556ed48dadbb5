//! The process table, as far as targets need it: parents, names, sockets.

use std::collections::{BTreeMap, BTreeSet};

use procfs::process::{FDTarget, Process, all_processes_with_root};

use super::TargetError;
use crate::roots::Roots;

/// A process.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its parent.
    pub parent: u32,
    /// Its name, as the kernel keeps it: at most 15 bytes, no arguments.
    pub name: String,
}

/// A file descriptor of a process that is a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Process.
    pub tgid: u32,
    /// File descriptor.
    pub fd: i32,
    /// Inode number.
    pub inode: u64,
}

/// The sockets of processes, by process.
pub(super) type Held = BTreeMap<u32, Vec<Socket>>;

/// All processes at one moment.
pub(super) struct Table {
    roots: Roots,
    entries: BTreeMap<u32, Entry>,
}

impl Table {
    /// Reads the process table. Processes that vanish meanwhile are left out.
    ///
    /// # Errors
    ///
    /// When procfs cannot be read at all.
    pub(super) fn read(roots: &Roots) -> Result<Self, TargetError> {
        let all = all_processes_with_root(&roots.procfs)
            .map_err(|source| TargetError::Procfs { path: roots.procfs.clone(), source })?;
        let entry = |process: Process| {
            let stat = process.stat().ok()?;
            let parent = u32::try_from(stat.ppid).unwrap_or(0);
            // A zombie runs no more, and its parent may never reap it; but other threads may outlive the first.
            let gone = matches!(stat.state, 'Z' | 'X' | 'x') && stat.num_threads <= 1;
            let pid = u32::try_from(stat.pid).ok()?;
            (!gone).then_some((pid, Entry { parent, name: stat.comm }))
        };
        let entries = all.filter_map(Result::ok).filter_map(entry).collect();
        Ok(Self { roots: roots.clone(), entries })
    }

    /// Every process.
    pub(super) fn pids(&self) -> impl Iterator<Item = u32> + '_ {
        self.entries.keys().copied()
    }

    /// One process.
    #[must_use]
    pub(super) fn get(&self, pid: u32) -> Option<&Entry> {
        self.entries.get(&pid)
    }

    /// The given processes and all their descendants.
    #[must_use]
    pub(super) fn tree(&self, of: &BTreeSet<u32>) -> BTreeSet<u32> {
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (pid, entry) in &self.entries {
            children.entry(entry.parent).or_default().push(*pid);
        }
        let mut tree = BTreeSet::new();
        let mut open: Vec<u32> =
            of.iter().copied().filter(|p| self.entries.contains_key(p)).collect();
        while let Some(pid) = open.pop() {
            if tree.insert(pid) {
                open.extend(children.get(&pid).into_iter().flatten());
            }
        }
        tree
    }

    /// The parents of a process, the nearest first.
    pub(super) fn ancestors(&self, pid: u32) -> impl Iterator<Item = u32> + '_ {
        let parent = |pid: &u32| self.get(*pid).map(|entry| entry.parent);
        // The table is no picture of one instant: numbers that were given anew could make a circle.
        std::iter::successors(parent(&pid), parent).take(self.entries.len())
    }

    /// The sockets that each of the processes has open; none when it is gone or may not be looked into.
    #[must_use]
    pub(super) fn sockets(&self, pids: impl Iterator<Item = u32>) -> Held {
        pids.map(|pid| (pid, self.sockets_of(pid))).collect()
    }

    fn sockets_of(&self, pid: u32) -> Vec<Socket> {
        let Ok(process) = Process::new_with_root(self.roots.proc(pid.to_string())) else {
            return Vec::new();
        };
        let Ok(fds) = process.fd() else { return Vec::new() };
        fds.filter_map(Result::ok)
            .filter_map(|info| match info.target {
                FDTarget::Socket(inode) => Some(Socket { tgid: pid, fd: info.fd, inode }),
                _ => None,
            })
            .collect()
    }

    /// The cgroup paths of a process, one a hierarchy.
    #[must_use]
    pub(super) fn cgroups(&self, pid: u32) -> Vec<String> {
        let Ok(process) = Process::new_with_root(self.roots.proc(pid.to_string())) else {
            return Vec::new();
        };
        let Ok(groups) = process.cgroups() else { return Vec::new() };
        groups.into_iter().map(|group| group.pathname).collect()
    }
}
