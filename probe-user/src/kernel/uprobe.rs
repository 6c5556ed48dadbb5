//! Hooks on functions of TLS libraries, by uprobes: put into the file, so that every process that maps it has them, now or
//! later; a program that is run for a process of no target ends at once.
//!
//! Facilities: the `uprobe` PMU (4.17) with a cookie for each hook (5.15); CAP_PERFMON, and CAP_SYS_ADMIN where
//! `kernel.perf_event_paranoid` is above 2.

use std::{
    fs::File,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use aya::programs::{
    ProgramError, UProbe,
    uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeScope},
};
use probe_common::TlsHook;
use procfs::KernelVersion;

use super::{attach::program, error::KernelError, probe::Probe};

/// Linux 6.11 made the return of a hooked function a system call of its own (x86-64), for which a filter that does not know it
/// kills the process, be it of a target or not; later ones let it pass (`seccomp: passthrough uretprobe systemcall without filtering`).
fn returns_are_no_calls(kernel: KernelVersion) -> bool {
    match (kernel.major, kernel.minor) {
        (6, 11) => false,
        (6, 12) => kernel.patch >= 16,
        (6, 13) => kernel.patch >= 5,
        _ => true,
    }
}

/// What is run when a function is called, and when it returns.
const CALL: &str = "tls_call";
const RETURN: &str = "tls_return";

impl Probe {
    /// Hooks functions of a library or an executable, each with the bytes of the file before its code, for all processes
    /// that map it: of this very file, whatever its path may lead to meanwhile.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a program or a hook; those before it stay.
    pub fn hook_tls(
        &mut self,
        file: &File,
        functions: &[(TlsHook, u64)],
    ) -> Result<(), KernelError> {
        if !KernelVersion::current().is_ok_and(returns_are_no_calls) {
            return Err(KernelError::Feature {
                feature: "hooks on returns that seccomp filters let pass",
                remedy: "update to Linux 6.12.16, 6.13.5 or 6.14",
            });
        }
        let file = &PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        for (hook, offset) in functions {
            // Returns first: a call that is seen to begin is then seen to end.
            if !matches!(hook, TlsHook::Connect | TlsHook::Free) {
                self.hook(RETURN, file, *hook, *offset)?;
            }
            self.hook(CALL, file, *hook, *offset)?;
        }
        Ok(())
    }

    /// Loads the programs, without a hook.
    ///
    /// # Errors
    ///
    /// When the kernel refuses one.
    pub fn load_tls(&mut self) -> Result<(), KernelError> {
        [CALL, RETURN].into_iter().try_for_each(|name| self.loaded_uprobe(name).map(|_| ()))
    }

    /// Lets the receives of a target's connections be told to its TLS hooks.
    ///
    /// # Errors
    ///
    /// When the map cannot be written.
    pub fn expect_tls(&mut self, who: u32) -> Result<(), KernelError> {
        self.control.tls |= 1 << who;
        self.maps.set_control(self.control)
    }

    pub(super) fn unhook_tls(&mut self) {
        for name in [CALL, RETURN] {
            if let Ok(hooks) = program::<UProbe>(&mut self.bpf, name) {
                let _ = hooks.unload();
            }
        }
    }

    fn hook(
        &mut self,
        name: &str,
        file: &Path,
        hook: TlsHook,
        offset: u64,
    ) -> Result<(), KernelError> {
        let location = UProbeAttachLocation::AbsoluteOffset(offset);
        let point = UProbeAttachPoint { location, cookie: Some(hook as u64) };
        self.loaded_uprobe(name)?
            .attach(point, file, UProbeScope::AllProcesses)
            .map(|_| ())
            .map_err(|e| KernelError::program(name, e))
    }

    fn loaded_uprobe(&mut self, name: &str) -> Result<&mut UProbe, KernelError> {
        let hooks: &mut UProbe = program(&mut self.bpf, name)?;
        match hooks.load() {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(hooks),
            Err(error) => Err(KernelError::program(name, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_would_kill_confined_processes_get_no_hooks() {
        for (release, safe) in [
            ("5.15.0-30-generic", true),
            ("6.10.9", true),
            ("6.11.2-amd64", false),
            ("6.12.15", false),
            ("6.12.117+deb12-cloud-amd64", true),
            ("6.13.4", false),
            ("6.14.0", true),
            ("7.2.1", true),
        ] {
            let kernel = release.parse::<KernelVersion>().unwrap();
            assert_eq!(returns_are_no_calls(kernel), safe, "{release}");
        }
    }
}
