//! Capabilities: what the probe needs to start, and giving up all that a running probe can do without.
//!
//! Starting takes CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN in place of both), CAP_DAC_READ_SEARCH where
//! tracefs is closed to others, and whatever the sources' files ask for. A running probe keeps the first
//! two, for programs and counters that it opens again; and of the two that let it see the sockets of
//! another user's processes only those without which it cannot see its targets. Capabilities are a
//! thread's: a thread that was started before calls [`renounce`] for itself.
//!
//! Facilities: capabilities(7), `PR_SET_NO_NEW_PRIVS` (3.5); CAP_BPF and CAP_PERFMON (5.8).

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io;
use rustix::process::{getegid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

use crate::files;
use crate::roots::Roots;

/// What a running probe always keeps.
pub const RUNNING: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::PERFMON);

/// What may be needed to see a target beside that, the least first: nothing where its processes are the
/// probe's own user's and hold no capability that the probe lacks.
pub const SIGHT: [CapabilitySet; 3] = [
    CapabilitySet::empty(),
    CapabilitySet::SYS_PTRACE,
    CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH),
];

/// The capabilities that matter here, with what each is for.
pub const PURPOSES: [(CapabilitySet, &str, &str); 5] = [
    (CapabilitySet::BPF, "CAP_BPF", "load eBPF programs"),
    (CapabilitySet::PERFMON, "CAP_PERFMON", "let them read kernel memory, open energy counters"),
    (
        CapabilitySet::SYS_PTRACE,
        "CAP_SYS_PTRACE",
        "see sockets and network namespaces of another user's processes, and of those with more privileges",
    ),
    (
        CapabilitySet::DAC_READ_SEARCH,
        "CAP_DAC_READ_SEARCH",
        "read tracefs, powercap and the sockets of another user's processes",
    ),
    (
        CapabilitySet::SYS_ADMIN,
        "CAP_SYS_ADMIN",
        "time the kernel programs, mount tracefs where it is not",
    ),
];

/// The effective capabilities of this process; `None` where procfs does not say.
#[must_use]
pub fn held(roots: &Roots) -> Option<CapabilitySet> {
    let status = files::text(&roots.proc("self/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let bits = u64::from_str_radix(value.trim(), 16).ok()?;
    Some(CapabilitySet::from_bits_retain(bits))
}

/// Whether these are enough to load and attach: CAP_SYS_ADMIN alone, or CAP_BPF with CAP_PERFMON.
#[must_use]
pub fn enough(held: CapabilitySet) -> bool {
    held.contains(CapabilitySet::SYS_ADMIN) || held.contains(RUNNING)
}

/// Gives up all this thread can do without while the probe runs. `sees` looks at the targets: of
/// [`SIGHT`] the least is kept with which it says yes, or the most if it never does.
///
/// # Errors
/// When the kernel refuses, which it never does for giving up.
pub fn reduce(mut sees: impl FnMut() -> bool) -> io::Result<CapabilitySet> {
    let now = capabilities(None)?;
    // CAP_SYS_ADMIN stands for both where a kernel or a container knows no other.
    let base = if now.permitted.contains(RUNNING) { RUNNING } else { CapabilitySet::SYS_ADMIN };
    let least = SIGHT.into_iter().map(|sight| base | sight).find(|keep| {
        let effective = now.permitted & *keep;
        set_capabilities(None, CapabilitySets { effective, ..now }).is_ok() && sees()
    });
    let keep = now.permitted & least.unwrap_or(base | SIGHT[SIGHT.len() - 1]);
    // CAP_SETPCAP, needed for the bounding set, must be effective once more.
    set_capabilities(None, CapabilitySets { effective: now.effective, ..now })?;
    keep_only(keep)?;
    Ok(keep)
}

/// Gives up everything: for a thread that only computes, or serves what it was handed.
///
/// # Errors
/// As [`reduce`].
pub fn renounce() -> io::Result<()> {
    keep_only(CapabilitySet::empty())
}

fn keep_only(keep: CapabilitySet) -> io::Result<()> {
    set_no_new_privs(true)?;
    if capabilities(None)?.effective.contains(CapabilitySet::SETPCAP) {
        let each = (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit));
        // The first that the kernel does not know ends the list.
        for cap in each.take_while(|cap| capability_is_in_bounding_set(*cap).is_ok()) {
            if !keep.contains(cap) {
                remove_capability_from_bounding_set(cap)?;
            }
        }
    }
    clear_ambient_capability_set()?;
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: keep, permitted: keep, inheritable })
}

/// Whether this process may make files in a directory by the directory's owner and mode alone, as a probe must that has given
/// up every privilege to pass over them.
///
/// # Errors
/// What the kernel says of the directory.
pub fn may_write(dir: &Path) -> std::io::Result<bool> {
    let meta = dir.metadata()?;
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let grants = match () {
        () if meta.uid() == uid => 0o300,
        () if meta.gid() == gid => 0o030,
        () => 0o003,
    };
    Ok(meta.mode() & grants == grants)
}

/// Names of the capabilities in a set that matter here, or `none`.
#[must_use]
pub fn names(set: CapabilitySet) -> String {
    let known = PURPOSES.iter().filter(|(cap, _, _)| set.contains(*cap));
    let names: Vec<_> = known.map(|(_, name, _)| *name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;
    use crate::source::testing::Tree;

    #[test]
    fn root_or_the_two_capabilities_are_enough() {
        for (caps, known) in [
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
            assert_eq!(held(&tree.roots()).map(enough), known, "{caps}");
        }
        assert_eq!(held(&Tree::new().roots()), None, "no procfs there");
    }

    #[test]
    fn a_set_is_named_by_what_matters_here() {
        assert_eq!(names(RUNNING), "CAP_BPF, CAP_PERFMON");
        assert_eq!(names(CapabilitySet::NET_ADMIN), "none");
    }

    /// Capabilities are a thread's, so a test may give up those of its own.
    fn on_a_thread<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(test).join().unwrap()
    }

    #[test]
    fn renouncing_leaves_nothing_of_any_set() {
        let (left, ambient) = on_a_thread(|| {
            renounce().unwrap();
            (capabilities(None).unwrap(), rustix::thread::no_new_privs().unwrap())
        });
        let none = CapabilitySet::empty();
        assert_eq!((left.effective, left.permitted, left.inheritable), (none, none, none));
        assert!(ambient);
    }

    #[test]
    fn the_least_sight_with_which_the_targets_are_seen_is_kept() {
        if !capabilities(None).unwrap().permitted.contains(CapabilitySet::SETPCAP) {
            eprintln!("not run: needs root");
            return;
        }
        for (sight, first_seen) in SIGHT.into_iter().zip(1..) {
            let kept = on_a_thread(move || {
                let mut looks = 0;
                let kept = reduce(|| {
                    looks += 1;
                    looks == first_seen
                });
                let bounding = capability_is_in_bounding_set(CapabilitySet::SYS_ADMIN).unwrap();
                (kept.unwrap(), capabilities(None).unwrap(), bounding)
            });
            assert_eq!(kept.0, RUNNING | sight);
            assert_eq!((kept.1.effective, kept.1.permitted), (RUNNING | sight, RUNNING | sight));
            assert!(!kept.2, "not even a set-uid program could get it back");
        }
        let never = on_a_thread(|| reduce(|| false).unwrap());
        assert_eq!(never, RUNNING | SIGHT[2], "what cannot be judged is not taken away");
    }

    #[test]
    fn a_directory_is_ours_by_its_owner_and_mode_whatever_we_may_pass_over() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |mode| std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(mode));
        for (bits, grants) in [(0o755, true), (0o500, false), (0o577, false)] {
            mode(bits).unwrap();
            assert_eq!(may_write(dir.path()).unwrap(), grants, "{bits:o}");
        }
        if chown(dir.path(), Some(65_534), Some(65_534)).is_err() {
            eprintln!("not run further: needs root");
            return;
        }
        for (bits, grants) in [(0o755, false), (0o770, false), (0o773, true)] {
            mode(bits).unwrap();
            assert_eq!(may_write(dir.path()).unwrap(), grants, "{bits:o} of another user");
        }
        assert!(may_write(Path::new("/nowhere")).is_err());
    }
}
