//! Whether Intel's energy filtering is on: the CPU then adds noise to what RAPL reports, on purpose.
//!
//! Since the microcode of November 2020 (INTEL-SA-00389: CVE-2020-8694 and CVE-2020-8695, "Platypus") processors from
//! Skylake on filter RAPL while SGX is enabled in the firmware, and where bit 0 of the MSR
//! `IA32_MISC_PACKAGE_CTLS` (0xBC) is set; the MSR exists where bit 10 of `IA32_ARCH_CAPABILITIES` (0x10A) says so.
//! Filtered energy is right in the mean over seconds and wrong over milliseconds; Intel publishes no bound.
//!
//! Facility: `/dev/cpu/N/msr` (module `msr`, CAP_SYS_RAWIO), else the flag `sgx` in `/proc/cpuinfo`, which the kernel
//! shows where the firmware enabled SGX (Linux 5.11). The second says "possible" only: whether the microcode
//! filters, it cannot tell.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use crate::files;
use crate::roots::Roots;

/// `IA32_MISC_PACKAGE_CTLS`; bit 0 is ENERGY_FILTERING_ENABLE.
const MISC_PACKAGE_CTLS: u64 = 0xbc;
/// `IA32_ARCH_CAPABILITIES`; bit 10 says that the MSR above exists.
const ARCH_CAPABILITIES: u64 = 0x10a;

/// What is known of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Filtering {
    /// Nothing speaks for it.
    #[default]
    No,
    /// SGX is enabled; whether the microcode filters is not known.
    Possible,
    /// The MSR says so.
    On,
}

impl Filtering {
    /// Looks, on one CPU of the package.
    #[must_use]
    pub fn look(roots: &Roots, cpu: u32) -> Self {
        let text = files::text(&roots.proc("cpuinfo")).unwrap_or_default();
        let field = |name: &str| {
            let line =
                text.lines().find(|line| line.split(':').next().map(str::trim) == Some(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
        };
        if field("vendor_id") != Some("GenuineIntel") {
            return Self::No;
        }
        if msr(roots, cpu).unwrap_or(false) {
            return Self::On;
        }
        let sgx = field("flags").is_some_and(|flags| flags.split_whitespace().any(|f| f == "sgx"));
        if sgx { Self::Possible } else { Self::No }
    }

    /// Flag of a run that reads filtered counters.
    #[must_use]
    pub fn flag(self) -> Option<&'static str> {
        match self {
            Self::No => None,
            Self::Possible => Some("energy-filtering-possible"),
            Self::On => Some("energy-filtered"),
        }
    }

    /// What to say of it.
    #[must_use]
    pub fn text(self) -> Option<&'static str> {
        match self {
            Self::No => None,
            Self::Possible => Some(
                "SGX is enabled, so the microcode may add noise to RAPL (INTEL-SA-00389): joules of requests \
                 below a second may be off; disable SGX in the firmware if it is not used",
            ),
            Self::On => Some(
                "energy filtering is on (MSR 0xBC bit 0, INTEL-SA-00389): the CPU adds noise to RAPL, joules of \
                 requests below a second are off; disable it in the firmware",
            ),
        }
    }
}

/// Bit 0 of the MSR; `None` where it cannot be read or does not exist.
fn msr(roots: &Roots, cpu: u32) -> Option<bool> {
    // Beside procfs, so that a fake machine never reads the real one's.
    let path = roots.procfs.with_file_name("dev").join(format!("cpu/{cpu}/msr"));
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
    let read = |register: u64| {
        let mut value = [0; 8];
        file.read_exact_at(&mut value, register).ok()?;
        Some(u64::from_le_bytes(value))
    };
    (read(ARCH_CAPABILITIES)? >> 10 & 1 == 1).then(|| read(MISC_PACKAGE_CTLS))?.map(|v| v & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::Tree;

    const INTEL: &str = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu sgx_lc msr";

    /// A file that answers like `/dev/cpu/0/msr`.
    fn registers(capabilities: u64, controls: u64) -> Vec<u8> {
        let mut bytes = vec![0; 0x200];
        bytes[0x10a..0x112].copy_from_slice(&capabilities.to_le_bytes());
        bytes[0xbc..0xc4].copy_from_slice(&controls.to_le_bytes());
        bytes
    }

    fn look(cpuinfo: &str, msr: Option<&[u8]>) -> Filtering {
        let tree = Tree::new();
        tree.write("proc/cpuinfo", cpuinfo);
        if let Some(bytes) = msr {
            tree.write_bytes("proc/../dev/cpu/0/msr", bytes);
        }
        Filtering::look(&tree.roots(), 0)
    }

    #[test]
    fn the_register_is_believed_where_it_exists_and_sgx_makes_it_possible() {
        let sgx = format!("{INTEL} sgx\n");
        assert_eq!(look(INTEL, None), Filtering::No);
        assert_eq!(look(&sgx, None), Filtering::Possible);
        assert_eq!(look(INTEL, Some(&registers(1 << 10, 1))), Filtering::On);
        assert_eq!(look(INTEL, Some(&registers(1 << 10, 2))), Filtering::No);
        // The register does not exist; what lies there means nothing.
        assert_eq!(look(INTEL, Some(&registers(0, 1))), Filtering::No);
        assert_eq!(look(&sgx, Some(&registers(1 << 10, 0))), Filtering::Possible);
        assert_eq!(look(&sgx, Some(&[1; 7])), Filtering::Possible);
    }

    #[test]
    fn other_vendors_and_garbage_have_none() {
        let on = registers(1 << 10, 1);
        for cpuinfo in ["", "flags : sgx", "vendor_id : AuthenticAMD\nflags : sgx", "\u{0}:\n::\n"]
        {
            assert_eq!(look(cpuinfo, Some(&on)), Filtering::No, "{cpuinfo:?}");
        }
    }
}
