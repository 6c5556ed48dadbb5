//! The machines. Truth is 50 W a package, 5 W its memory, 30 W its cores, 100 W the platform, from 0 to 4 s. A file
//! is first taken in with the second tick (20 ms: 199 J a package), a perf counter with the first (199.5 J). The
//! request has half of what the additive domains count in its two seconds.

use crate::run::{Perf, Ran, Script};
use crate::tree::{PMU, Tree, file};

pub(crate) struct Case {
    pub name: &'static str,
    /// Something is wrong with it.
    pub broken: bool,
    packages: &'static [u32],
    build: fn(&mut Tree),
    /// `--source`; nothing is `auto`.
    pub specs: &'static [&'static str],
    pub script: Script,
    pub perf: Perf,
    pub expect: Expect,
    /// Exit status and quality. The binary cannot open the fake PMU, so powercap or the model is left.
    pub doctor: (i32, &'static str),
    /// Exit status and words of `attach --source rapl-powercap`, where it must refuse.
    pub attach: Option<(i32, &'static str)>,
}

pub(crate) enum Expect {
    /// Nothing can be measured; the message holds this.
    Error(&'static str),
    Runs {
        /// Name, source, summed, joules measured, void windows.
        domains: &'static [Row],
        /// The request's joules.
        request: Option<f64>,
        /// Flags of its record.
        flags: &'static [&'static str],
        /// Words of the notes that explain the choice.
        notes: &'static [&'static str],
        /// Two sources disagreed.
        disagreed: bool,
    },
}

pub(crate) type Row = (&'static str, &'static str, bool, f64, u64);

/// Joules may be off by this much: a count.
const NEAR: f64 = 2e-3;

impl Case {
    pub(crate) fn tree(&self) -> Tree {
        let mut tree = Tree::new(self.packages);
        (self.build)(&mut tree);
        tree
    }

    /// What is not as the line says.
    pub(crate) fn judge(&self, ran: &Ran) -> Vec<String> {
        let Expect::Runs { domains, request, flags, notes, disagreed } = &self.expect else {
            return vec!["runs".into()];
        };
        let mut wrong = vec![];
        let found: Vec<_> = ran.selection.domains.iter().map(|d| d.name.as_str()).collect();
        let wanted: Vec<_> = domains.iter().map(|row| row.0).collect();
        if found != wanted {
            wrong.push(format!("domains {found:?}, not {wanted:?}"));
            return wrong;
        }
        for ((name, source, additive, joules, voids), domain) in
            domains.iter().zip(&ran.selection.domains)
        {
            let (measured, void) = ran.books[*name];
            if domain.source != *source || domain.additive != *additive {
                wrong.push(format!("{name}: {} {}", domain.source, domain.additive));
            }
            if (measured - joules).abs() > NEAR || void != *voids {
                wrong.push(format!("{name}: {measured} J, {void} void; not {joules} J, {voids}"));
            }
        }
        let got = ran.record.joules;
        if got.is_some() != request.is_some()
            || got.zip(*request).is_some_and(|(a, b)| (a - b).abs() > NEAR)
        {
            wrong.push(format!("the request cost {got:?} J, not {request:?}"));
        }
        if ran.record.flags != *flags {
            wrong.push(format!("flags {:?}, not {flags:?}", ran.record.flags));
        }
        for part in *notes {
            if !ran.selection.notes.iter().any(|note| note.text.contains(part)) {
                wrong.push(format!("nothing says {part:?}: {:#?}", ran.selection.notes));
            }
        }
        if ran.disagreed != *disagreed {
            wrong.push(format!("disagreed: {}", ran.disagreed));
        }
        wrong
    }
}

const POWERCAP: &str = "rapl-powercap";
const PERF: &str = "rapl-perf";
/// Of a request whose idle power no source knows.
const IDLE: &[&str] = &["idle-unknown"];
/// One package from a file, nothing wrong.
const ONE: &[Row] = &[("package-0", POWERCAP, true, 199.0, 0)];
/// Nothing can be read: the model of an i7 of two threads that are busy half of the time each.
const MODEL: &[Row] = &[("package-0", "model", true, MODEL_J, 0)];
/// 1.1384 W for each of two threads and 4.2834 W more for the one that is busy, for 3.99 s.
const MODEL_J: f64 = 26.175_198;
/// The same for a package of one thread.
const ONE_THREAD_J: f64 = 21.632_982;
/// Half a busy thread for two seconds.
const MODEL_REQUEST: f64 = 4.283_4;

/// A healthy machine of one package and two CPUs, to be varied.
const CASE: Case = Case {
    name: "",
    broken: false,
    packages: &[0, 0],
    build: |_| {},
    specs: &[],
    script: |_, _| {},
    perf: |_, count| Some(count),
    expect: FINE,
    doctor: (0, "measured"),
    attach: None,
};

/// One package, measured; the request costs half of 50 W × 2 s.
const FINE: Expect = runs(ONE, Some(50.0), IDLE, &[]);
/// A machine on which nothing but the model is left, for this reason.
const fn model(notes: &'static [&'static str]) -> Expect {
    runs(MODEL, Some(MODEL_REQUEST), &[], notes)
}

const fn runs(
    domains: &'static [Row],
    request: Option<f64>,
    flags: &'static [&'static str],
    notes: &'static [&'static str],
) -> Expect {
    Expect::Runs { domains, request, flags, notes, disagreed: false }
}

/// A package's zone, then what is wrong with it: the model is left, and a named source is refused.
const fn unreadable(
    name: &'static str,
    build: fn(&mut Tree),
    notes: &'static [&'static str],
    status: i32,
) -> Case {
    let attach = Some((status, notes[0]));
    Case {
        name,
        broken: true,
        build,
        expect: model(notes),
        doctor: (0, "modelled"),
        attach,
        ..CASE
    }
}

/// RAPL's PMU, broken so that none of its events can be used; powercap is left.
const fn pmu(name: &'static str, build: fn(&mut Tree), notes: &'static [&'static str]) -> Case {
    Case { name, broken: true, build, expect: runs(ONE, Some(50.0), IDLE, notes), ..CASE }
}

/// No CPU can be made out.
const fn no_cpus(name: &'static str, build: fn(&mut Tree), part: &'static str) -> Case {
    let attach = Some((1, part));
    Case {
        name,
        broken: true,
        build,
        expect: Expect::Error(part),
        doctor: (4, "absent"),
        attach,
        ..CASE
    }
}

fn one(tree: &mut Tree) {
    tree.zone("intel-rapl:0", "package-0");
}

/// A package's zone and RAPL's PMU with these contents of a file of it.
fn scaled(tree: &mut Tree, scale: &str) {
    one(tree);
    tree.pmu(&["energy-pkg"], "0");
    tree.write(&format!("{PMU}/events/energy-pkg.scale"), scale.as_bytes());
}

fn energy() -> String {
    file("intel-rapl:0", "energy_uj")
}

const ONLINE: &str = "sys/devices/system/cpu/online";

pub(crate) const TABLE: &[Case] = &[
    Case { name: "one package", build: one, ..CASE },
    Case {
        name: "laptop with cores and memory",
        build: |t| {
            one(t);
            t.zone("intel-rapl:0:0", "core");
            t.zone("intel-rapl:0:1", "dram");
        },
        expect: runs(
            &[
                ("package-0", POWERCAP, true, 199.0, 0),
                ("dram-0", POWERCAP, true, 19.9, 0),
                ("core-0", POWERCAP, false, 119.4, 0),
            ],
            Some(55.0),
            IDLE,
            &[],
        ),
        ..CASE
    },
    Case {
        name: "perf and powercap agree",
        build: |t| {
            one(t);
            t.pmu(&["energy-pkg"], "0");
        },
        expect: runs(
            &[
                ("package-0", PERF, true, 199.5, 0),
                ("package-0@rapl-powercap", POWERCAP, false, 199.0, 0),
            ],
            Some(50.0),
            IDLE,
            &["read too, to compare"],
        ),
        ..CASE
    },
    Case {
        name: "two sockets, zones in the other order",
        packages: &[0, 1],
        build: |t| {
            t.zone("intel-rapl:0", "package-1");
            t.zone("intel-rapl:0:0", "dram");
            t.zone("intel-rapl:1", "package-0");
        },
        expect: runs(
            &[
                ("package-1", POWERCAP, true, 199.0, 0),
                ("dram-1", POWERCAP, true, 19.9, 0),
                ("package-0", POWERCAP, true, 199.0, 0),
            ],
            Some(105.0),
            IDLE,
            &[],
        ),
        ..CASE
    },
    Case {
        name: "two dies of a package",
        build: |t| {
            t.zone("intel-rapl:0", "package-0-die-0");
            t.zone("intel-rapl:1", "package-0-die-1");
        },
        expect: runs(
            &[
                ("package-0", POWERCAP, true, 199.0, 0),
                ("package-0-die-1", POWERCAP, true, 199.0, 0),
            ],
            Some(100.0),
            IDLE,
            &[],
        ),
        ..CASE
    },
    Case {
        name: "two packages of two dies through perf's mask",
        packages: &[0, 0, 1, 1],
        build: |t| t.pmu(&["energy-pkg"], "0-3"),
        expect: runs(
            &[
                ("package-0", PERF, true, 199.5, 0),
                ("package-0-die-1", PERF, true, 199.5, 0),
                ("package-1", PERF, true, 199.5, 0),
                ("package-1-die-1", PERF, true, 199.5, 0),
            ],
            Some(200.0),
            IDLE,
            &[],
        ),
        doctor: (0, "modelled"),
        ..CASE
    },
    Case {
        name: "psys alone is not summed",
        build: |t| t.zone("intel-rapl:0", "psys"),
        expect: runs(
            &[("psys", POWERCAP, false, 398.0, 0), ("package-0", "model", true, MODEL_J, 0)],
            Some(MODEL_REQUEST),
            &[],
            &["psys: read from"],
        ),
        doctor: (0, "modelled"),
        ..CASE
    },
    Case { name: "mmio alone", build: |t| t.zone("intel-rapl-mmio:0", "package-0"), ..CASE },
    Case {
        name: "mmio beside the same register",
        build: |t| {
            one(t);
            t.zone("intel-rapl-mmio:0", "package-0");
        },
        expect: runs(
            ONE,
            Some(50.0),
            IDLE,
            &["package-0-mmio shows a counter that is read already"],
        ),
        ..CASE
    },
    Case {
        name: "a hole in the online CPUs",
        packages: &[0, 0, 1, 1],
        build: |t| {
            t.write(ONLINE, b"0,2-3\n");
            one(t);
            t.zone("intel-rapl:1", "package-1");
        },
        expect: runs(
            &[("package-0", POWERCAP, true, 199.0, 0), ("package-1", POWERCAP, true, 199.0, 0)],
            Some(100.0),
            IDLE,
            &[],
        ),
        ..CASE
    },
    Case {
        name: "no counter at all",
        expect: model(&["virtual machines have none"]),
        doctor: (0, "modelled"),
        attach: Some((4, "virtual machines have none")),
        ..CASE
    },
    Case {
        name: "wraps four times",
        build: |t| t.zone_of("intel-rapl:0", "package-0", 49_999_999, 49_999_999),
        ..CASE
    },
    Case {
        name: "a range that no counter reaches",
        build: |t| t.zone_of("intel-rapl:0", "package-0", 1, u64::MAX),
        ..CASE
    },
    Case {
        name: "SGX is enabled",
        build: |t| {
            one(t);
            t.write("proc/cpuinfo", b"processor : 0\nvendor_id : GenuineIntel\nflags : fpu sgx\n");
        },
        expect: runs(ONE, Some(50.0), IDLE, &["INTEL-SA-00389"]),
        ..CASE
    },
    // Broken from the beginning: the counter.
    unreadable(
        "counter is text",
        |t| {
            one(t);
            t.say("intel-rapl:0", b"soon\n");
        },
        &["holds \"soon\""],
        1,
    ),
    unreadable(
        "counter is empty",
        |t| {
            one(t);
            t.say("intel-rapl:0", b"");
        },
        &["holds \"\""],
        1,
    ),
    unreadable(
        "counter is negative",
        |t| {
            one(t);
            t.say("intel-rapl:0", b"-5\n");
        },
        &["holds \"-5\""],
        1,
    ),
    unreadable(
        "counter is above its range",
        |t| {
            one(t);
            t.say("intel-rapl:0", b"262143328851\n");
        },
        &["up to 262143328850"],
        1,
    ),
    unreadable(
        "counter is larger than any number",
        |t| {
            one(t);
            t.say("intel-rapl:0", b"99999999999999999999999999\n");
        },
        &["holds \"9999"],
        1,
    ),
    unreadable(
        "counter is binary",
        |t| {
            one(t);
            t.say("intel-rapl:0", b"\xff\xfe\x00\x01");
        },
        &["not a whole number"],
        1,
    ),
    unreadable(
        "counter is a directory",
        |t| {
            one(t);
            t.stop("intel-rapl:0");
            t.directory(&energy());
        },
        &["not a regular file"],
        1,
    ),
    unreadable(
        "counter is a FIFO",
        |t| {
            one(t);
            t.stop("intel-rapl:0");
            t.fifo(&energy());
        },
        &["not a regular file"],
        1,
    ),
    unreadable(
        "counter is a link to nothing",
        |t| {
            one(t);
            t.stop("intel-rapl:0");
            t.dangling(&energy());
        },
        &["is gone"],
        4,
    ),
    unreadable(
        "counter is a link to itself",
        |t| {
            one(t);
            t.stop("intel-rapl:0");
            t.circle(&energy());
        },
        &["symbolic links"],
        1,
    ),
    unreadable(
        "counter is missing",
        |t| {
            one(t);
            t.stop("intel-rapl:0");
            t.remove(&energy());
        },
        &["is gone"],
        4,
    ),
    // The zone.
    unreadable(
        "name is a FIFO",
        |t| {
            one(t);
            t.fifo(&file("intel-rapl:0", "name"));
        },
        &["not a regular file"],
        1,
    ),
    unreadable(
        "name is no number",
        |t| {
            one(t);
            t.write(&file("intel-rapl:0", "name"), b"package-one");
        },
        &["not package-N"],
        1,
    ),
    unreadable(
        "range is missing",
        |t| {
            one(t);
            t.remove(&file("intel-rapl:0", "max_energy_range_uj"));
        },
        &["max_energy_range_uj"],
        1,
    ),
    unreadable(
        "range is zero",
        |t| {
            one(t);
            t.write(&file("intel-rapl:0", "max_energy_range_uj"), b"0\n");
        },
        &["range in microjoules"],
        1,
    ),
    unreadable(
        "zone is a link to itself",
        |t| {
            one(t);
            t.stop("intel-rapl:0");
            t.circle("sys/class/powercap/intel-rapl:0");
        },
        &["symbolic links"],
        1,
    ),
    unreadable("class is a file", |t| t.write("sys/class/powercap", b"0"), &["powercap"], 1),
    Case {
        name: "a package that the machine does not have",
        broken: true,
        packages: &[0, 1],
        build: |t| t.zone("intel-rapl:0", "package-7"),
        expect: runs(
            &[
                ("package-0", "model", true, ONE_THREAD_J, 0),
                ("package-1", "model", true, ONE_THREAD_J, 0),
            ],
            Some(2.0 * MODEL_REQUEST),
            &[],
            &["no RAPL zone"],
        ),
        doctor: (0, "modelled"),
        attach: Some((4, "no RAPL zone")),
        ..CASE
    },
    Case {
        name: "memory without the package around it",
        broken: true,
        build: |t| t.zone("intel-rapl:0:1", "dram"),
        expect: runs(
            &[("dram-0", POWERCAP, false, 19.9, 0), ("package-0", "model", true, MODEL_J, 0)],
            Some(MODEL_REQUEST),
            &[],
            &["the model's watts include memory"],
        ),
        doctor: (0, "modelled"),
        ..CASE
    },
    Case {
        name: "a package that is listed twice",
        broken: true,
        build: |t| {
            one(t);
            t.zone("intel-rapl:1", "package-0");
        },
        expect: runs(
            &[
                ("package-0", POWERCAP, true, 199.0, 0),
                ("package-0-again-1", POWERCAP, false, 199.0, 0),
            ],
            Some(50.0),
            IDLE,
            &[],
        ),
        ..CASE
    },
    Case {
        name: "ten thousand zones",
        broken: true,
        build: |t| {
            // The first 256 are looked at; whoever looks at more finds nothing there and fails.
            for i in 1..256 {
                t.write(&file(&format!("intel-rapl:{i}"), "name"), b"battery");
            }
            for i in 256..10_000 {
                t.directory(&format!("sys/class/powercap/intel-rapl:{i}"));
            }
            one(t);
        },
        ..CASE
    },
    // The PMU.
    pmu("scale is NaN", |t| scaled(t, "NaN"), &["not a positive scale"]),
    pmu("scale is zero", |t| scaled(t, "0"), &["not a positive scale"]),
    pmu("scale is negative", |t| scaled(t, "-2.3e-10"), &["not a positive scale"]),
    pmu("scale is infinite", |t| scaled(t, "inf"), &["not a positive scale"]),
    pmu(
        "scale is a FIFO",
        |t| {
            scaled(t, "1");
            t.fifo(&format!("{PMU}/events/energy-pkg.scale"));
        },
        &["not a regular file"],
    ),
    pmu(
        "mask of offline CPUs",
        |t| {
            one(t);
            t.pmu(&["energy-pkg"], "8-9");
        },
        &["none of which is online"],
    ),
    pmu(
        "mask is text",
        |t| {
            one(t);
            t.pmu(&["energy-pkg"], "all");
        },
        &["not a list of CPUs"],
    ),
    pmu(
        "type is a directory",
        |t| {
            one(t);
            t.pmu(&["energy-pkg"], "0");
            t.directory(&format!("{PMU}/type"));
        },
        &["not a regular file"],
    ),
    pmu(
        "event is binary",
        |t| {
            one(t);
            t.pmu(&["energy-pkg"], "0");
            t.write(&format!("{PMU}/events/energy-pkg"), b"\xff=\x00");
        },
        &["energy-pkg"],
    ),
    // The CPUs.
    no_cpus("online is empty", |t| t.write(ONLINE, b""), "not at least one CPU"),
    no_cpus("online is binary", |t| t.write(ONLINE, b"\xff\x00"), "not a list of CPUs"),
    no_cpus("online is a FIFO", |t| t.fifo(ONLINE), "not a regular file"),
    no_cpus("online is four billion", |t| t.write(ONLINE, b"0-4294967295"), "not a list of CPUs"),
    no_cpus(
        "package is text",
        |t| t.write("sys/devices/system/cpu/cpu1/topology/physical_package_id", b"first"),
        "not the number of a package",
    ),
    // Broken while it runs.
    Case {
        name: "counter vanishes after two seconds",
        broken: true,
        build: one,
        script: |t, ms| {
            if ms == 2_010 {
                t.say("intel-rapl:0", b"");
            }
        },
        expect: runs(
            &[("package-0", POWERCAP, true, 99.0, 0)],
            Some(25.0),
            &["idle-unknown", "partial", "unfinished-window"],
            &[],
        ),
        ..CASE
    },
    Case {
        name: "counter is garbage for a second, and no joule is lost",
        broken: true,
        build: one,
        script: |t, ms| match ms {
            1_510 => t.say("intel-rapl:0", b"?"),
            2_500 => t.zone("intel-rapl:0", "package-0"),
            _ => {}
        },
        expect: runs(ONE, Some(50.0), &["idle-unknown", "gap"], &[]),
        ..CASE
    },
    Case {
        name: "counter jumps by a megajoule",
        broken: true,
        build: one,
        script: |t, ms| {
            if ms == 2_000 {
                t.zone_of("intel-rapl:0", "package-0", 1_001_000_000, 262_143_328_850);
            }
        },
        expect: runs(
            &[("package-0", POWERCAP, true, 198.5, 1)],
            Some(49.75),
            &["idle-unknown", "void-window", "partial"],
            &[],
        ),
        ..CASE
    },
    Case {
        name: "counter is reset",
        broken: true,
        build: |t| t.zone_of("intel-rapl:0", "package-0", 900_000_000, 262_143_328_850),
        script: |t, ms| {
            if ms == 2_000 {
                t.zone_of("intel-rapl:0", "package-0", 0, 262_143_328_850);
            }
        },
        expect: runs(
            &[("package-0", POWERCAP, true, 198.5, 1)],
            Some(49.75),
            &["idle-unknown", "void-window", "partial"],
            &[],
        ),
        ..CASE
    },
    Case {
        name: "range of one microjoule",
        broken: true,
        build: |t| t.zone_of("intel-rapl:0", "package-0", 0, 1),
        expect: runs(
            &[("package-0", POWERCAP, true, 0.0, 3)],
            None,
            &["void-window", "partial", "counter-stuck"],
            &[],
        ),
        ..CASE
    },
    Case {
        name: "counter is stuck for two seconds, then shows all of it",
        broken: true,
        build: one,
        script: |t, ms| match ms {
            1_010 => t.stop("intel-rapl:0"),
            3_500 => t.zone("intel-rapl:0", "package-0"),
            _ => {}
        },
        expect: runs(
            &[("package-0", POWERCAP, true, 74.0, 3)],
            None,
            &["void-window", "partial", "counter-stuck"],
            &[],
        ),
        ..CASE
    },
    Case {
        name: "counter moves ten times a second",
        broken: true,
        build: one,
        script: |t, ms| {
            if ms % 100 == 0 { t.zone("intel-rapl:0", "package-0") } else { t.stop("intel-rapl:0") }
        },
        expect: runs(
            &[("package-0", POWERCAP, true, 200.0, 0)],
            Some(50.0),
            &["idle-unknown", "counter-late"],
            &[],
        ),
        ..CASE
    },
    Case {
        name: "perf shows a tenth less than powercap",
        broken: true,
        build: |t| {
            one(t);
            t.pmu(&["energy-pkg"], "0");
        },
        perf: |_, count| Some(count / 10 * 9),
        expect: Expect::Runs {
            domains: &[
                ("package-0", PERF, true, 179.55, 0),
                ("package-0@rapl-powercap", POWERCAP, false, 199.0, 0),
            ],
            request: Some(45.0),
            flags: &["idle-unknown", "rapl-disagree"],
            notes: &[],
            disagreed: true,
        },
        ..CASE
    },
    Case {
        name: "perf stops in the middle, powercap beside it goes on",
        broken: true,
        build: |t| {
            one(t);
            t.pmu(&["energy-pkg"], "0");
        },
        perf: |ms, count| (ms <= 2_000).then_some(count),
        expect: runs(
            &[
                ("package-0", PERF, true, 99.5, 0),
                ("package-0@rapl-powercap", POWERCAP, false, 199.0, 0),
            ],
            Some(25.0),
            &["idle-unknown", "partial", "unfinished-window"],
            &[],
        ),
        ..CASE
    },
    Case {
        name: "perf shows noise of 64 bits",
        broken: true,
        build: |t| t.pmu(&["energy-pkg"], "0"),
        perf: |ms, _| Some(ms.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        expect: runs(
            &[("package-0", PERF, true, 0.0, 399)],
            None,
            &["void-window", "partial"],
            &[],
        ),
        doctor: (0, "modelled"),
        ..CASE
    },
];
