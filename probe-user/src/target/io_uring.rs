//! Whether a process uses io_uring: then it holds a descriptor of a ring.
//!
//! What goes through a ring is not a system call of its own. It must not know eBPF. Facility: io_uring(7), Linux 5.1.

use procfs::process::{FDTarget, Process};

use crate::roots::Roots;

/// Whether the process holds a ring; false also when it cannot be seen.
#[must_use]
pub fn holds_ring(pid: u32, roots: &Roots) -> bool {
    let fds = Process::new_with_root(roots.proc(pid.to_string())).and_then(|process| process.fd());
    fds.is_ok_and(|fds| fds.filter_map(Result::ok).any(|fd| is_ring(&fd.target)))
}

fn is_ring(target: &FDTarget) -> bool {
    matches!(target, FDTarget::AnonInode(name) if name.trim_matches(['[', ']']) == "io_uring")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_told_from_other_descriptors_without_a_file() {
        let ring = |link: &str| is_ring(&link.parse().unwrap());
        assert!(ring("anon_inode:[io_uring]"));
        assert!(!ring("anon_inode:[eventpoll]"));
        assert!(!ring("socket:[12]") && !ring("/tmp/io_uring"));
    }

    #[test]
    fn a_process_without_one_or_that_is_not_there_holds_none() {
        assert!(!holds_ring(std::process::id(), &Roots::default()));
        assert!(!holds_ring(u32::MAX, &Roots::default()));
    }
}
