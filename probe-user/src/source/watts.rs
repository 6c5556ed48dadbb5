//! Published watts of one hardware thread, idle and busy, by CPU family.
//!
//! Source: Cloud Carbon Footprint, `ccf-coefficients`, commit b0032d928c787cf76cecd7d1d611c5b46f366e29
//! (March 2026), `output/coefficients-aws-use.csv`; the two halves of Skylake, which that file merges,
//! and Neoverse N1 from `tests/test_power_averages.py` of the same commit.
//! <https://github.com/cloud-carbon-footprint/ccf-coefficients>. They are means over published
//! SPECpower_ssj2008 results (<https://www.spec.org/power_ssj2008/results/>): watts of the *whole
//! server* at the wall, at active idle and at full load, divided by its hardware threads. So memory,
//! fans and power supply are inside, and a thread beside a busy sibling counts like any other.
//!
//! Turin Dense: the two SPECpower results of ASUS RS720A-E13-RS8U with two EPYC 9965 (May 2025), idle 150 W and
//! 157 W, full load 800 W, 768 threads. The table's own "EPYC 5th Gen" (3.68 / 8.96 W) averages in
//! 16-core EPYC 4005 boards and would put a two-socket Turin above 3 kW, so the other fifth-generation
//! parts take the general value.
//!
//! General: 0.74 / 3.5 W, the mean over all families that Cloud Carbon Footprint's methodology uses for
//! an unknown processor (Appendix I, AWS). <https://www.cloudcarbonfootprint.org/docs/methodology/>
//!
//! Model numbers: the kernel's `arch/x86/include/asm/intel-family.h` and AMD's processor manuals.

/// A row: which CPUs, and their watts.
#[derive(Debug)]
pub(super) struct Row {
    /// `vendor_id`, or the implementer of an ARM core.
    pub(super) vendor: &'static str,
    /// CPU family; the architecture for ARM.
    pub(super) family: u32,
    /// Models, first and last; the part for ARM.
    pub(super) models: (u32, u32),
    /// Steppings, first and last.
    pub(super) steppings: (u32, u32),
    /// What the table calls it.
    pub(super) name: &'static str,
    /// Idle, W.
    pub(super) min: f64,
    /// Busy, W.
    pub(super) max: f64,
}

const AMD: &str = "AuthenticAMD";
const INTEL: &str = "GenuineIntel";
const ANY: (u32, u32) = (0, u32::MAX);

const fn row(
    vendor: &'static str,
    family: u32,
    models: (u32, u32),
    name: &'static str,
    min: f64,
    max: f64,
) -> Row {
    Row { vendor, family, models, steppings: ANY, name, min, max }
}

/// Intel model 85 is three generations, told apart by stepping.
const fn model85(steppings: (u32, u32), name: &'static str, min: f64, max: f64) -> Row {
    Row { vendor: INTEL, family: 6, models: (85, 85), steppings, name, min, max }
}

/// The watts of a CPU that no row names.
pub(super) const GENERAL: Row = row("", 0, ANY, "an unknown CPU", 0.74, 3.5);

/// The table; the first row that fits counts.
pub(super) const TABLE: [Row; 31] = [
    row(AMD, 23, (0, 15), "EPYC 1st Gen", 0.8468, 2.6042),
    row(AMD, 23, (48, 63), "EPYC 2nd Gen", 0.4743, 1.6930),
    row(AMD, 25, (0, 15), "EPYC 3rd Gen", 0.4556, 1.9573),
    row(AMD, 25, (16, 31), "EPYC 4th Gen", 0.7391, 2.2822),
    row(AMD, 25, (160, 175), "EPYC 4th Gen", 0.7391, 2.2822),
    row(AMD, 26, (16, 31), "EPYC 9965 (Turin Dense)", 0.1999, 1.0417),
    row(INTEL, 6, (42, 42), "Sandy Bridge", 2.2122, 8.6309),
    row(INTEL, 6, (45, 45), "Sandy Bridge", 2.2122, 8.6309),
    row(INTEL, 6, (58, 58), "Ivy Bridge", 1.7074, 5.5569),
    row(INTEL, 6, (62, 62), "Ivy Bridge", 1.7074, 5.5569),
    row(INTEL, 6, (60, 60), "Haswell", 1.8574, 5.5954),
    row(INTEL, 6, (63, 63), "Haswell", 1.8574, 5.5954),
    row(INTEL, 6, (69, 70), "Haswell", 1.8574, 5.5954),
    row(INTEL, 6, (61, 61), "Broadwell", 0.7128, 3.6853),
    row(INTEL, 6, (71, 71), "Broadwell", 0.7128, 3.6853),
    row(INTEL, 6, (79, 79), "Broadwell", 0.7128, 3.6853),
    row(INTEL, 6, (86, 86), "Broadwell", 0.7128, 3.6853),
    model85((0, 4), "Skylake (Server)", 0.55, 4.01),
    model85((5, 7), "Cascade Lake", 0.6903, 4.0632),
    row(INTEL, 6, (78, 78), "Skylake (Client)", 1.82, 5.86),
    row(INTEL, 6, (94, 94), "Skylake (Client)", 1.82, 5.86),
    row(INTEL, 6, (142, 142), "Coffee Lake", 1.1384, 5.4218),
    row(INTEL, 6, (158, 158), "Coffee Lake", 1.1384, 5.4218),
    row(INTEL, 6, (106, 106), "Ice Lake", 0.7668, 3.7582),
    row(INTEL, 6, (108, 108), "Ice Lake", 0.7668, 3.7582),
    row(INTEL, 6, (143, 143), "Sapphire Rapids", 1.0363, 4.1605),
    row(INTEL, 6, (207, 207), "Emerald Rapids", 0.8140, 4.4820),
    row(INTEL, 6, (173, 174), "Granite Rapids", 0.5816, 2.5275),
    // ARM: implementer 0x41, part. Graviton 2 has the same core as Altra; the table gives Graviton
    // the values of EPYC 2nd Gen, measured on another machine, so Altra's own are taken.
    row("0x41", 8, (0xd0c, 0xd0c), "Neoverse N1", 0.74, 1.71),
    row("HygonGenuine", 24, ANY, "EPYC 1st Gen", 0.8468, 2.6042),
    model85((10, 11), "Cascade Lake (Cooper Lake has no row of its own)", 0.6903, 4.0632),
];
