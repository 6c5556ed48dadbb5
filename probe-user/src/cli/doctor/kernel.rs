//! What the kernel side needs, looked up without loading anything.
//!
//! Facilities: `/proc/sys/kernel/*`, `/sys/kernel/btf/vmlinux` (5.2), `/sys/kernel/security/lockdown`
//! (5.4), tracefs.

use procfs::KernelVersion;
use rustix::thread::CapabilitySet;

use super::Row;
use crate::files;
use crate::kernel::{BoundaryRung, fentry_forecast, tells_arrivals, tracefs as tracefs_place};
use crate::privilege::{self, PURPOSES, RUNNING};
use crate::roots::Roots;
use crate::target::counts_as_the_kernel;
use crate::topology::excerpt;

/// The oldest kernel that is supported.
const OLDEST: (u8, u8) = (5, 15);
/// First bytes of BTF, in the order of the machine.
const BTF_MAGIC: u16 = 0xeb9f;

/// Kernel release as the kernel spells it.
pub(super) fn release(roots: &Roots) -> Option<String> {
    let text = files::text(&roots.proc("sys/kernel/osrelease")).ok()?;
    Some(text.trim().to_owned())
}

/// All features, the required ones first.
pub(super) fn features(roots: &Roots) -> Vec<Row> {
    let mut rows = vec![kernel(roots), privilege(roots)];
    rows.extend(capabilities(roots));
    rows.extend(processes(roots));
    rows.extend([
        btf(roots),
        lockdown(roots),
        tracefs(roots),
        boundary(roots),
        arrival(roots),
        tls(roots),
        paranoid(roots),
        statistics(roots),
    ]);
    rows
}

fn row(name: &str, required: bool, usable: bool, detail: String, remedy: &str) -> Row {
    Row {
        name: name.to_owned(),
        present: usable,
        usable,
        required,
        detail,
        remedy: (!usable).then(|| remedy.to_owned()),
    }
}

fn kernel(roots: &Roots) -> Row {
    let release = release(roots);
    let version = release.as_ref().and_then(|r| r.parse::<KernelVersion>().ok());
    let enough = version.is_some_and(|v| (v.major, v.minor) >= OLDEST);
    let detail = match release {
        Some(release) => format!("Linux {}", excerpt(&release)),
        None => format!("cannot read {}", roots.proc("sys/kernel/osrelease").display()),
    };
    let remedy = format!("boot Linux {}.{} or later", OLDEST.0, OLDEST.1);
    row("kernel", true, enough, detail, &remedy)
}

/// How to give the program a capability, and to keep those that it has.
const SETCAP: &str = "run as root, or: setcap \
                      cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search=ep on the program";

fn privilege(roots: &Roots) -> Row {
    let held = privilege::held(roots);
    let detail = match held {
        None => format!("cannot read CapEff in {}", roots.proc("self/status").display()),
        Some(held) if privilege::enough(held) => {
            "CAP_SYS_ADMIN, or CAP_BPF with CAP_PERFMON".to_owned()
        }
        Some(held) => format!(
            "missing: {} (CAP_SYS_ADMIN would do for both)",
            privilege::names(RUNNING.difference(held))
        ),
    };
    row("privilege", true, held.is_some_and(privilege::enough), detail, SETCAP)
}

/// One row for each capability, so that it shows which is missing and what is lost without it.
fn capabilities(roots: &Roots) -> Vec<Row> {
    let Some(held) = privilege::held(roots) else { return vec![] };
    let one = |(cap, name, purpose): &(_, &str, &str)| {
        // CAP_SYS_ADMIN stands in for the two of eBPF.
        let usable = held.contains(*cap) || (RUNNING.contains(*cap) && privilege::enough(held));
        let detail = format!("{}: to {purpose}", if usable { "held" } else { "not held" });
        let name = name.to_lowercase();
        row(&name, false, usable, detail, &format!("run as root, or add {name} to setcap's list"))
    };
    PURPOSES.iter().map(one).collect()
}

/// The kernel's programs and procfs must mean the same process by a number; no row where procfs does not say.
fn processes(roots: &Roots) -> Option<Row> {
    let same = counts_as_the_kernel(roots)?;
    let detail = if same { "the host's" } else { "one of its own: processes have other numbers" };
    let remedy = "run it in the host's: docker run --pid=host, hostPID: true in Kubernetes";
    Some(row("pid-namespace", true, same, detail.to_owned(), remedy))
}

fn btf(roots: &Roots) -> Row {
    let path = roots.sys("kernel/btf/vmlinux");
    let mut magic = [0_u8; 2];
    let read = std::fs::File::open(&path)
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut magic));
    let (usable, detail) = match read {
        Ok(()) if u16::from_ne_bytes(magic) == BTF_MAGIC => (true, path.display().to_string()),
        Ok(()) => (false, format!("{} is not BTF", path.display())),
        Err(error) => (false, format!("{}: {error}", path.display())),
    };
    row("btf", true, usable, detail, "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y")
}

/// Lockdown in confidentiality mode forbids BPF to read kernel memory.
fn lockdown(roots: &Roots) -> Row {
    let path = roots.sys("kernel/security/lockdown");
    let mode = files::text(&path).ok();
    let usable = !mode.as_deref().is_some_and(|m| m.contains("[confidentiality]"));
    let detail = mode.map_or_else(|| "not built in".to_owned(), |m| excerpt(&m));
    let remedy = "boot without lockdown=confidentiality";
    Row { present: true, ..row("lockdown", true, usable, detail, remedy) }
}

/// Attach cannot do without; it mounts tracefs itself where it may.
fn tracefs(roots: &Roots) -> Row {
    let place = roots.sys("kernel/tracing");
    let (usable, detail, remedy) = match tracefs_place(roots) {
        Ok(Some(path)) => (true, path.display().to_string(), ""),
        Err(error) => (false, format!("{}: {error}", place.display()), SETCAP),
        Ok(None) => (
            privilege::held(roots).is_some_and(|held| held.contains(CapabilitySet::SYS_ADMIN)),
            format!("not mounted at {}; attach mounts it where it may", place.display()),
            "mount -t tracefs tracefs /sys/kernel/tracing",
        ),
    };
    row("tracefs", true, usable, detail, remedy)
}

/// Which hooks will see the servers' sockets. Both see every request.
fn boundary(roots: &Roots) -> Row {
    let detail = match fentry_forecast(roots) {
        Ok(()) => format!("{}: only sockets pay for being seen", BoundaryRung::Fentry),
        Err(why) => format!(
            "{}: every system call of the machine pays a little while attached, since {why}",
            BoundaryRung::Tracepoint
        ),
    };
    row("boundary", false, true, detail, "")
}

/// Whether it will be seen how long requests lay unread.
fn arrival(roots: &Roots) -> Row {
    let seen = tells_arrivals(roots);
    let detail = if seen {
        "how long a request lay unread in its socket is seen"
    } else {
        "not seen: this kernel has no tracepoint sk_data_ready, so unread_s will be null"
    };
    row("arrival", false, seen, detail.to_owned(), "boot Linux 6.3 or later")
}

/// Who may open perf counters and timers without CAP_PERFMON: nobody from 1 on, as those are CPU-wide. Above 2,
/// which Debian and Ubuntu add to the kernel, CAP_PERFMON does not help either.
fn paranoid(roots: &Roots) -> Row {
    let value = sysctl(roots, "perf_event_paranoid");
    let closed = value.is_some_and(|value| value > 2);
    let admin = privilege::held(roots).is_some_and(|held| held.contains(CapabilitySet::SYS_ADMIN));
    if closed && !admin {
        let detail = "above 2: this kernel keeps counters and timers for CAP_SYS_ADMIN".to_owned();
        let remedy = "run as root, or: sysctl kernel.perf_event_paranoid=2";
        return row("perf-events", true, false, detail, remedy);
    }
    let detail = match value {
        Some(_) if closed => "above 2: CPU-wide counters need CAP_SYS_ADMIN".to_owned(),
        Some(value) if value <= 0 => format!("{value}: CPU-wide counters are open to all"),
        Some(value) => format!("{value}: CPU-wide counters need CAP_PERFMON"),
        None => "not readable: this kernel has no perf events".to_owned(),
    };
    row(
        "perf-events",
        false,
        value.is_some(),
        detail,
        "boot a kernel built with CONFIG_PERF_EVENTS=y",
    )
}

/// Whether functions of a server's TLS library can be hooked; which library it is shows when attaching.
fn tls(roots: &Roots) -> Row {
    let pmu = roots.sys("bus/event_source/devices/uprobe");
    let usable = pmu.is_dir();
    let detail = if usable {
        "requests through OpenSSL and its kin are read, by uprobes; of others sizes and times are seen"
    } else {
        "sizes and times only: this kernel has no uprobes"
    };
    let remedy =
        "boot a kernel built with CONFIG_UPROBE_EVENTS=y to see what is in requests over TLS";
    row("tls", false, usable, detail.to_owned(), remedy)
}

fn statistics(roots: &Roots) -> Row {
    let value = sysctl(roots, "bpf_stats_enabled");
    let detail = match value {
        Some(0) => "off; the probe turns it on while it is attached",
        Some(_) => "on",
        None => "not in this kernel: the summary will not show what the kernel programs cost",
    };
    let mut row = row(
        "bpf-stats",
        false,
        value.is_some(),
        detail.to_owned(),
        "boot Linux 5.8 or later with CONFIG_BPF_SYSCALL=y",
    );
    row.present = value.is_some();
    row
}

fn sysctl(roots: &Roots, name: &str) -> Option<i64> {
    let text = files::text(&roots.proc("sys/kernel").join(name)).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::Tree;

    fn machine(release: &str, caps: &str) -> Tree {
        let tree = Tree::new();
        tree.write("proc/sys/kernel/osrelease", release);
        tree.write(
            "proc/self/status",
            &format!("Name:\twattprobe\nCapEff:\t{caps}\nSeccomp:\t0\n"),
        );
        tree.write_bytes("kernel/btf/vmlinux", &BTF_MAGIC.to_ne_bytes());
        tree
    }

    fn state(tree: &Tree, name: &str) -> Row {
        features(&tree.roots()).into_iter().find(|row| row.name == name).unwrap()
    }

    #[test]
    fn the_oldest_supported_kernel_is_5_15() {
        for (release, usable) in [
            ("6.18.44-fc-v669\n", true),
            ("5.15.0-30-cloud-amd64", true),
            ("5.10.9", false),
            ("4.19.0", false),
            ("", false),
            ("next", false),
        ] {
            let row = state(&machine(release, "0"), "kernel");
            assert_eq!((row.usable, row.required), (usable, true), "{release}");
            assert_eq!(row.remedy.is_some(), !usable);
        }
    }

    #[test]
    fn the_privilege_must_be_held_and_be_readable() {
        for (caps, usable) in
            [("000000c000000000", true), ("0000000000000000", false), ("what", false)]
        {
            assert_eq!(state(&machine("6.1.0", caps), "privilege").usable, usable, "{caps}");
        }
    }

    #[test]
    fn btf_must_be_there_and_be_btf() {
        let tree = machine("6.1.0", "0");
        assert!(state(&tree, "btf").usable);
        tree.write("kernel/btf/vmlinux", "no");
        assert!(!state(&tree, "btf").usable);
        tree.remove("kernel/btf/vmlinux");
        let row = state(&tree, "btf");
        assert!(row.remedy.unwrap().contains("CONFIG_DEBUG_INFO_BTF"));
    }

    #[test]
    fn a_pid_namespace_of_its_own_is_in_the_way() {
        let tree = machine("6.1.0", "0");
        assert!(features(&tree.roots()).iter().all(|row| row.name != "pid-namespace"));
        let place = tree.roots().proc("self/ns");
        std::fs::create_dir_all(&place).unwrap();
        for (link, usable) in [("pid:[4026531836]", true), ("pid:[4026532449]", false)] {
            let _ = std::fs::remove_file(place.join("pid"));
            std::os::unix::fs::symlink(link, place.join("pid")).unwrap();
            let row = state(&tree, "pid-namespace");
            assert_eq!((row.usable, row.required), (usable, true), "{link}");
            assert_eq!(row.remedy.is_some_and(|r| r.contains("--pid=host")), !usable);
        }
    }

    #[test]
    fn only_confidentiality_lockdown_is_in_the_way() {
        let tree = machine("6.1.0", "0");
        assert!(state(&tree, "lockdown").usable);
        tree.write("kernel/security/lockdown", "none [integrity] confidentiality\n");
        assert!(state(&tree, "lockdown").usable);
        tree.write("kernel/security/lockdown", "none integrity [confidentiality]\n");
        assert!(!state(&tree, "lockdown").usable);
    }

    #[test]
    fn tracefs_is_required_unless_attach_may_mount_it() {
        for (caps, usable) in [("000000c000000000", false), ("000001ffffffffff", true)] {
            let row = state(&machine("6.1.0", caps), "tracefs");
            assert_eq!((row.usable, row.required), (usable, true), "{caps}");
            assert_eq!(row.remedy.is_some_and(|r| r.starts_with("mount")), !usable);
        }
    }

    #[test]
    fn the_boundary_rung_is_named_and_never_in_the_way() {
        let row = state(&machine("6.1.0", "0"), "boundary");
        assert!(row.usable && !row.required && row.detail.starts_with("tracepoint: "), "{row:?}");
    }

    #[test]
    fn whether_arrivals_are_seen_the_kernels_types_say() {
        let tree = machine("6.3.0", "0");
        let row = state(&tree, "arrival");
        assert!(!row.usable && !row.required && row.remedy.is_some(), "{row:?}");
        let (types, real) = (tree.roots().sys("kernel/btf/vmlinux"), "/sys/kernel/btf/vmlinux");
        let _ = std::fs::remove_file(&types);
        std::fs::create_dir_all(types.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(real, &types).unwrap();
        let name = b"\0btf_trace_sk_data_ready\0";
        let has = std::fs::read(real).unwrap().windows(name.len()).any(|bytes| bytes == name);
        assert_eq!(state(&tree, "arrival").usable, has);
    }

    #[test]
    fn a_distribution_that_keeps_counters_for_the_administrator_is_told_apart() {
        for (paranoid, caps, usable) in [
            ("3\n", "000000c000000000", false),
            ("2\n", "000000c000000000", true),
            ("4\n", "000001ffffffffff", true),
        ] {
            let tree = machine("6.1.0", caps);
            tree.write("proc/sys/kernel/perf_event_paranoid", paranoid);
            let row = state(&tree, "perf-events");
            assert_eq!(row.usable, usable, "{paranoid}");
            assert_eq!(row.remedy.is_some_and(|r| r.contains("perf_event_paranoid=2")), !usable);
        }
    }

    #[test]
    fn optional_features_say_what_is_lost_without_them() {
        let tree = machine("6.1.0", "0");
        tree.write("proc/sys/kernel/bpf_stats_enabled", "0\n");
        tree.write("proc/sys/kernel/perf_event_paranoid", "-1\n");
        let row = state(&tree, "bpf-stats");
        assert_eq!((row.present, row.usable, row.required), (true, true, false));
        let row = state(&machine("6.1.0", "0"), "bpf-stats");
        assert!(!row.usable && row.detail.contains("will not show"));
        assert!(state(&tree, "perf-events").detail.contains("open to all"));
    }
}
