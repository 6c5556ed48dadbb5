//! Network namespaces: which process is in which, so that each one's sockets are read once.
//!
//! `/proc/PID/ns/net` is a link whose text holds the namespace's inode number; to read it of another user's process takes
//! CAP_SYS_PTRACE.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;

use crate::roots::Roots;

/// The number that the kernel gives the first namespace of processes (`PROC_PID_INIT_INO` of its `include/linux/proc_ns.h`, 3.8).
const FIRST: u64 = 0xeffffffc;

/// Namespaces of some processes.
#[derive(Debug, Default)]
pub(super) struct Networks {
    /// One of its processes, the one with the lowest number, by namespace.
    pub(super) member: BTreeMap<u64, u32>,
    /// Processes that live, but may not be looked into.
    pub(super) hidden: Vec<u32>,
}

impl Networks {
    /// Those of these processes, in ascending order. Processes that end meanwhile are left out.
    #[must_use]
    pub(super) fn of(pids: impl Iterator<Item = u32>, roots: &Roots) -> Self {
        let mut networks = Self::default();
        for pid in pids {
            match of(roots, pid, "net") {
                Ok(Some(net)) => {
                    networks.member.entry(net).or_insert(pid);
                }
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                    networks.hidden.push(pid);
                }
                _ => {}
            }
        }
        networks
    }
}

/// The network namespace of a process; `None` where it cannot be seen.
#[must_use]
pub(super) fn network(roots: &Roots, process: impl Display) -> Option<u64> {
    of(roots, process, "net").ok().flatten()
}

/// Whether this process counts processes as the kernel's programs do: not in a namespace of processes of its own. `None` where
/// procfs does not say.
#[must_use]
pub fn counts_as_the_kernel(roots: &Roots) -> Option<bool> {
    of(roots, "self", "pid").ok().flatten().map(|inode| inode == FIRST)
}

fn of(roots: &Roots, process: impl Display, kind: &str) -> std::io::Result<Option<u64>> {
    let link = fs::read_link(roots.proc(format!("{process}/ns/{kind}")))?;
    Ok(link.to_str().and_then(|text| {
        let number = text.strip_prefix(kind)?.strip_prefix(":[")?.strip_suffix(']')?;
        number.parse().ok()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::testing::Tree;

    #[test]
    fn each_namespace_is_seen_through_its_first_process() {
        let tree = Tree::new();
        for (pid, net) in [(7, "net:[11]"), (8, "net:[12]"), (9, "net:[11]"), (10, "what")] {
            tree.link(&format!("{pid}/ns/net"), net);
        }
        let networks = Networks::of([7, 8, 9, 10, 11].into_iter(), &tree.roots());
        assert_eq!(networks.member, BTreeMap::from([(11, 7), (12, 8)]));
        assert!(networks.hidden.is_empty());
        assert_eq!(network(&tree.roots(), 8), Some(12));
    }

    #[test]
    fn the_first_namespace_of_processes_has_one_number_on_every_machine() {
        let tree = Tree::new();
        assert_eq!(counts_as_the_kernel(&tree.roots()), None, "procfs does not say");
        for (link, first) in [("pid:[4026531836]", true), ("pid:[4026532449]", false)] {
            tree.link("self/ns/pid", link);
            assert_eq!(counts_as_the_kernel(&tree.roots()), Some(first), "{link}");
        }
    }
}
