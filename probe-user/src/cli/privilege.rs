//! Whether this process may load programs at all.
//!
//! Facility: `CapEff` of `/proc/self/status`, capabilities(7).

use crate::roots::Roots;

/// Bits of `CapEff`, from the kernel's `include/uapi/linux/capability.h`.
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_BPF: u64 = 1 << 39;

/// CAP_SYS_ADMIN alone, or CAP_BPF with CAP_PERFMON; `None` where procfs does not say.
pub(super) fn capable(roots: &Roots) -> Option<bool> {
    let status = std::fs::read_to_string(roots.proc("self/status")).ok()?;
    let held = effective(&status)?;
    let both = CAP_BPF | CAP_PERFMON;
    Some(held & CAP_SYS_ADMIN != 0 || held & both == both)
}

/// The effective capabilities in `/proc/PID/status`.
fn effective(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(value.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::Tree;

    #[test]
    fn root_or_the_two_capabilities_are_enough() {
        for (caps, enough) in [
            ("000001ffffffffff", Some(true)),
            ("000000c000000000", Some(true)),
            ("0000008000000000", Some(false)),
            ("0000004000000000", Some(false)),
            ("0000000000200000", Some(true)),
            ("0000000000000000", Some(false)),
            ("what", None),
        ] {
            let tree = Tree::new();
            let status = format!("Name:\twattprobe\nCapEff:\t{caps}\nSeccomp:\t0\n");
            tree.write("proc/self/status", &status);
            assert_eq!(capable(&tree.roots()), enough, "{caps}");
        }
        assert_eq!(capable(&Tree::new().roots()), None, "no procfs there");
    }
}
