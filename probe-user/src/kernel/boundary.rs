//! The boundary rungs: which hooks see the targets' sockets.
//!
//! On the *fentry* rung the kernel's own socket functions are hooked, so that only sockets pay; where the kernel does not
//! allow that, the *tracepoint* rung hooks the socket system calls, for which every system call of the machine pays a
//! little. What is seen is the same, but that the first also sees connections that were handed to another descriptor or
//! process, and those used through io_uring.
//!
//! Beside either, `sk_data_ready` says when bytes come, where the kernel has it.
//!
//! Facilities: `sk_data_ready` (6.3); fentry and fexit (`CONFIG_FUNCTION_TRACER`, BTF; 5.19 for the shape of `tcp_recvmsg`); `sys_exit_*`
//! tracepoints; `recursion_misses` in a program's fdinfo (5.12).

use std::{
    fmt,
    fs::File,
    io::ErrorKind,
    os::fd::{AsFd, AsRawFd},
};

use aya::programs::{FEntry, FExit, Program, ProgramError, TracePoint};
use probe_common::ConnKey;

use super::{
    attach::program, btf::BtfError, error::KernelError, offsets, probe::Probe, tracefs::tracefs,
};
use crate::{roots::Roots, target::Socket};

/// Which hooks see the targets' sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum BoundaryRung {
    /// The kernel's socket functions.
    Fentry,
    /// The socket system calls.
    #[default]
    Tracepoint,
}

impl BoundaryRung {
    /// As users write and read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Tracepoint => "tracepoint",
        }
    }
}

impl fmt::Display for BoundaryRung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether attaching will find the fentry rung, by all that can be seen without loading anything; `Err`: why not.
///
/// # Errors
///
/// With words for the user.
pub fn fentry_forecast(roots: &Roots) -> Result<(), String> {
    let types = offsets::resolve(&roots.sys("kernel/btf/vmlinux")).map_err(|e| e.to_string())?;
    if let Some((of, what)) = types.functions_missing {
        return Err(format!("this kernel has no {of}.{what}"));
    }
    let Ok(Some(place)) = tracefs(roots) else { return Err("tracefs cannot be seen".to_owned()) };
    match File::open(place.join("available_filter_functions")) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err("this kernel was built without CONFIG_FUNCTION_TRACER".to_owned())
        }
        Err(error) => Err(format!("this kernel keeps its functions from being traced ({error})")),
    }
}

/// Whether it will be known when bytes came that are read: sockets say so (`sk_data_ready`, Linux 6.3).
#[must_use]
pub fn tells_arrivals(roots: &Roots) -> bool {
    offsets::resolve(&roots.sys("kernel/btf/vmlinux")).is_ok_and(|types| types.tells_arrivals)
}

const CALLS: [(&str, &str); 14] = [
    ("on_listen", "sys_exit_listen"),
    ("on_close", "sys_enter_close"),
    ("on_shutdown", "sys_enter_shutdown"),
    ("on_read", "sys_exit_read"),
    ("on_readv", "sys_exit_readv"),
    ("on_recvfrom", "sys_exit_recvfrom"),
    ("on_recvmsg", "sys_exit_recvmsg"),
    ("on_write", "sys_exit_write"),
    ("on_writev", "sys_exit_writev"),
    ("on_sendto", "sys_exit_sendto"),
    ("on_sendmsg", "sys_exit_sendmsg"),
    ("on_sendfile", "sys_exit_sendfile64"),
    ("on_accept", "sys_exit_accept"),
    ("on_accept4", "sys_exit_accept4"),
];

/// Beside either rung: says when the bytes came that are read.
const ARRIVALS: (&str, &str) = ("on_data", "sk_data_ready");

/// A function and where its hook runs.
type Function = (&'static str, &'static str, Side);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Entry,
    Exit,
}

/// Accepts come last: what they begin is seen by all others.
const FUNCTIONS: [Function; 17] = [
    ("on_inet_listen", "inet_listen", Side::Exit),
    ("on_unix_listen", "unix_listen", Side::Exit),
    ("on_inet_close", "inet_release", Side::Entry),
    ("on_unix_close", "unix_release", Side::Entry),
    ("on_inet_shut", "inet_shutdown", Side::Entry),
    ("on_unix_shut", "unix_shutdown", Side::Entry),
    ("on_tcp_recv", "tcp_recvmsg", Side::Exit),
    ("on_tcp_send", "tcp_sendmsg", Side::Exit),
    ("on_tcp_page", "tcp_sendpage", Side::Exit),
    ("on_unix_recv", "unix_stream_recvmsg", Side::Exit),
    ("on_unix_send", "unix_stream_sendmsg", Side::Exit),
    ("on_unix_page", "unix_stream_sendpage", Side::Exit),
    ("on_mptcp_listen", "mptcp_listen", Side::Exit),
    ("on_graft", "security_sock_graft", Side::Entry),
    ("on_mptcp_accept", "mptcp_stream_accept", Side::Exit),
    ("on_inet_accept", "inet_accept", Side::Exit),
    ("on_unix_accept", "unix_accept", Side::Exit),
];

/// Not in every kernel: the first two are gone in Linux 6.5, where sendfile goes through the functions that send; the next two are
/// there with `CONFIG_MPTCP`, the last one with `CONFIG_SECURITY_NETWORK`.
const OPTIONAL: [&str; 5] =
    ["on_tcp_page", "on_unix_page", "on_mptcp_listen", "on_mptcp_accept", "on_graft"];

impl Probe {
    /// Chooses the boundary rung before any target is known, the one wished for, else the best that the kernel allows, and
    /// loads its programs.
    ///
    /// # Errors
    ///
    /// When the rung wished for cannot be had.
    pub fn choose_boundary(&mut self, wish: Option<BoundaryRung>) -> Result<(), KernelError> {
        let tried = match wish {
            Some(BoundaryRung::Tracepoint) => return self.load_calls(),
            Some(BoundaryRung::Fentry) | None => self.load_functions(),
        };
        match (tried, wish) {
            (Ok(()), _) => self.boundary = BoundaryRung::Fentry,
            (Err(why), Some(_)) => return Err(why),
            // Why it is not the best one the doctor says.
            (Err(_), None) => {
                self.unload_functions();
                self.load_calls()?;
            }
        }
        Ok(())
    }

    /// The rung that was chosen.
    #[must_use]
    pub fn boundary(&self) -> BoundaryRung {
        self.boundary
    }

    /// Loads every function's program, and attaches each for a moment, which loading alone does not try.
    fn load_functions(&mut self) -> Result<(), KernelError> {
        if let Some(missing) = self.functions_missing {
            return Err(BtfError::Missing(missing.0, missing.1).into());
        }
        for function in FUNCTIONS {
            self.load_function(function)?;
        }
        FUNCTIONS.into_iter().try_for_each(|function| self.attach_function(function, true))
    }

    /// Loads every system call's program: the verifier takes its time, which is not to be part of what is measured.
    fn load_calls(&mut self) -> Result<(), KernelError> {
        CALLS.into_iter().try_for_each(|(name, _)| self.loaded_call(name).map(|_| ()))
    }

    fn loaded_call(&mut self, name: &str) -> Result<&mut TracePoint, KernelError> {
        let hook: &mut TracePoint = program(&mut self.bpf, name)?;
        match hook.load() {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(hook),
            Err(error) => Err(KernelError::program(name, error)),
        }
    }

    fn load_function(&mut self, (name, function, side): Function) -> Result<(), KernelError> {
        let btf = self.btf.as_ref().ok_or(KernelError::Feature {
            feature: "type information for fentry",
            remedy: "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y",
        })?;
        let loaded = match side {
            Side::Entry => program::<FEntry>(&mut self.bpf, name)?.load(function, btf),
            Side::Exit => program::<FExit>(&mut self.bpf, name)?.load(function, btf),
        };
        match loaded {
            Err(ProgramError::Btf(_)) if OPTIONAL.contains(&name) => Ok(()),
            other => other.map_err(|e| refused(name, e)),
        }
    }

    fn unload_functions(&mut self) {
        for (name, _, side) in FUNCTIONS {
            let _ = match side {
                Side::Entry => program::<FEntry>(&mut self.bpf, name).map(FEntry::unload),
                Side::Exit => program::<FExit>(&mut self.bpf, name).map(FExit::unload),
            };
        }
    }

    /// Hooks the sockets.
    ///
    /// # Errors
    ///
    /// When the kernel refuses one.
    pub fn attach_sockets(&mut self) -> Result<(), KernelError> {
        match self.boundary {
            BoundaryRung::Fentry => {
                FUNCTIONS.into_iter().try_for_each(|function| self.attach_function(function, false))
            }
            BoundaryRung::Tracepoint => CALLS.into_iter().try_for_each(|(name, point)| {
                let attached = self.loaded_call(name)?.attach("syscalls", point);
                attached.map(|_| ()).map_err(|e| KernelError::program(name, e))
            }),
        }?;
        if self.tells_arrivals { self.attach_tracing(ARRIVALS) } else { Ok(()) }
    }

    /// `briefly`: and detaches it at once.
    fn attach_function(
        &mut self,
        (name, _, side): Function,
        briefly: bool,
    ) -> Result<(), KernelError> {
        let attached = match side {
            Side::Entry => {
                let hook: &mut FEntry = program(&mut self.bpf, name)?;
                hook.attach().and_then(|link| if briefly { hook.detach(link) } else { Ok(()) })
            }
            Side::Exit => {
                let hook: &mut FExit = program(&mut self.bpf, name)?;
                hook.attach().and_then(|link| if briefly { hook.detach(link) } else { Ok(()) })
            }
        };
        match attached {
            Err(ProgramError::NotLoaded) if OPTIONAL.contains(&name) => Ok(()),
            other => other.map_err(|e| refused(name, e)),
        }
    }

    pub(super) fn detach_sockets(&mut self) {
        self.skipped_before = self.skipped();
        self.unload_functions();
        for (name, _) in CALLS {
            if let Ok(hook) = program::<TracePoint>(&mut self.bpf, name) {
                let _ = hook.unload();
            }
        }
        self.detach_tracing(ARRIVALS.0);
    }

    /// Calls that the kernel did not run a hook for, because the same hook was in the midst of another on that CPU.
    /// Can only be on the fentry rung, where the kernel is preemptible.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        let programs = FUNCTIONS.iter().filter_map(|(name, ..)| self.bpf.program(name));
        let now: u64 = programs.filter_map(|program| skipped_by(program, &self.roots)).sum();
        now.max(self.skipped_before)
    }

    /// What the hooks know an open socket by.
    pub(super) fn key_of(&self, socket: &Socket) -> ConnKey {
        match self.boundary {
            BoundaryRung::Fentry => ConnKey::socket(socket.inode),
            BoundaryRung::Tracepoint => ConnKey::descriptor(socket.tgid, socket.fd),
        }
    }

    /// Whether a connection must be forgotten when its process ends: the kernel closes descriptors then without a system
    /// call.
    pub(super) fn forgets_with_process(&self) -> bool {
        self.boundary == BoundaryRung::Tracepoint
    }
}

/// fentry is refused for many reasons that are no missing right, with whatever error.
fn refused(name: &str, source: ProgramError) -> KernelError {
    KernelError::Program { name: name.to_owned(), source: Box::new(source) }
}

fn skipped_by(program: &Program, roots: &Roots) -> Option<u64> {
    let fd = program.fd().ok()?.as_fd().as_raw_fd();
    let info = crate::files::text(&roots.proc("self/fdinfo").join(fd.to_string())).ok()?;
    misses(&info)
}

/// `recursion_misses` of a program's fdinfo.
fn misses(info: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_skipped_stands_in_the_programs_fdinfo() {
        let info = "pos:\t0\nflags:\t02000002\nprog_type:\t26\nrun_cnt:\t7\nrecursion_misses:\t3\n";
        assert_eq!(misses(info), Some(3));
        assert_eq!(misses("pos:\t0\n"), None);
    }

    #[test]
    fn every_hook_has_its_own_program() {
        let mut names: Vec<_> = FUNCTIONS.iter().map(|(name, ..)| *name).collect();
        names.extend(CALLS.iter().map(|(name, _)| *name));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FUNCTIONS.len() + CALLS.len());
        assert!(!names.contains(&ARRIVALS.0));
        assert!(OPTIONAL.iter().all(|name| names.contains(name)));
    }
}
