//! `doctor` through the real binary, on fake machines and on this one.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Command;

use probe_lab::fakeroot::FakeRoot;
use serde_json::Value;

/// A machine in a temporary directory.
struct Machine {
    root: FakeRoot,
    _dir: tempfile::TempDir,
}

impl Machine {
    /// A kernel that has everything, one package of two CPUs, no energy counter.
    fn new() -> Self {
        let machine = Self::empty();
        machine.root.cpus(&[0, 0]).expect("files");
        machine.root.cpuinfo("AuthenticAMD", 25, 17, 1).expect("a file");
        machine.write("proc/sys/kernel/osrelease", b"6.1.0-test\n");
        machine.write("proc/sys/kernel/perf_event_paranoid", b"2\n");
        machine.write("proc/sys/kernel/bpf_stats_enabled", b"0\n");
        machine.write("proc/self/status", b"Name:\tx\nCapEff:\t000001ffffffffff\n");
        machine.write("sys/kernel/btf/vmlinux", &0xeb9f_u16.to_ne_bytes());
        machine.write("sys/kernel/tracing/events/syscalls/enable", b"0");
        machine
    }

    fn empty() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { root: FakeRoot::new(dir.path()), _dir: dir }
    }

    fn write(&self, path: &str, content: &[u8]) {
        self.root.write(path, content).expect("a file");
    }

    fn zone(&self, place: &str, name: &str, energy: &str) {
        self.root.zone(place, name, energy).expect("files");
    }

    fn run(&self, args: &[&str]) -> (Option<i32>, Vec<u8>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_wattprobe"))
            .args(args)
            .arg("--sysfs-root")
            .arg(self.root.sysfs())
            .arg("--procfs-root")
            .arg(self.root.procfs())
            .output()
            .expect("the binary runs");
        let errors = String::from_utf8(output.stderr).expect("text");
        (output.status.code(), output.stdout, errors)
    }

    fn doctor(&self) -> (Option<i32>, Value) {
        let (code, out, errors) = self.run(&["doctor", "--json"]);
        assert!(errors.is_empty(), "{errors}");
        (code, serde_json::from_slice(&out).expect("one object"))
    }
}

fn find<'a>(rows: &'a Value, name: &str) -> &'a Value {
    let mut rows = rows.as_array().expect("rows").iter();
    rows.find(|row| row["name"] == name).expect("the row is there")
}

#[test]
fn a_machine_without_sensors_can_attach_with_the_model() {
    let (code, report) = Machine::new().doctor();
    assert_eq!(code, Some(0));
    assert_eq!(report["can_attach"], true);
    assert_eq!(report["quality"], "modelled");
    assert_eq!(report["kernel"], "6.1.0-test");
    assert_eq!((&report["cpus"], &report["packages"]), (&2.into(), &1.into()));
    let model = find(&report["sources"], "model");
    assert_eq!((&model["used"], &model["usable"]), (&true.into(), &true.into()));
    assert!(model["detail"].as_str().is_some_and(|d| d.contains("EPYC 4th Gen")));
    let rapl = find(&report["sources"], "rapl-perf");
    assert_eq!((&rapl["present"], &rapl["usable"]), (&false.into(), &false.into()));
    assert!(rapl["remedy"].as_str().is_some_and(|r| r.contains("virtual machines have no RAPL")));
    let domain = find(&report["domains"], "package-0");
    assert_eq!((&domain["source"], &domain["class_ratio"]), (&"model".into(), &0.5.into()));
}

#[test]
fn powercap_zones_are_used_and_their_kinds_told_apart() {
    let machine = Machine::new();
    machine.zone("intel-rapl:0", "package-0", "12345");
    machine.zone("intel-rapl:0:0", "core", "1");
    machine.zone("intel-rapl:0:1", "dram", "1");
    machine.zone("intel-rapl-mmio:0", "package-0", "12345");
    let (code, report) = machine.doctor();
    assert_eq!((code, &report["quality"]), (Some(0), &"measured".into()));
    assert_eq!(find(&report["sources"], "rapl-powercap")["used"], true);
    assert_eq!(find(&report["sources"], "model")["used"], false);
    assert_eq!(find(&report["domains"], "dram-0")["additive"], true);
    assert_eq!(find(&report["domains"], "core-0")["additive"], false);
    assert_eq!(report["domains"].as_array().map(Vec::len), Some(3));
    // 0.689 of a millisecond at both edges of package and memory, in quadrature, of the sum of the two.
    let ratio = report["one_second_ratio"].as_f64().expect("a number");
    assert!((ratio - 0.689e-3).abs() < 1e-5, "{ratio}");
    let (_, text, _) = machine.run(&["doctor"]);
    let text = String::from_utf8(text).expect("text");
    assert!(text.contains("would carry an error bar of ±0.07 % here"), "{text}");
}

#[test]
fn a_counter_that_reads_garbage_is_present_and_not_usable() {
    let machine = Machine::new();
    machine.zone("intel-rapl:0", "package-0", "unknown");
    let (code, report) = machine.doctor();
    let row = find(&report["sources"], "rapl-powercap");
    assert_eq!((&row["present"], &row["usable"]), (&true.into(), &false.into()));
    assert!(row["detail"].as_str().is_some_and(|d| d.contains("unknown")));
    assert_eq!((code, &report["quality"]), (Some(0), &"modelled".into()));
}

#[test]
fn a_pmu_the_kernel_does_not_serve_is_present_and_not_usable() {
    let machine = Machine::new();
    machine.root.power_pmu(&["energy-pkg"], "0").expect("files");
    let (_, report) = machine.doctor();
    let row = find(&report["sources"], "rapl-perf");
    assert_eq!((&row["present"], &row["usable"]), (&true.into(), &false.into()));
    let (code, _, errors) = machine.run(&["attach", "--port", "1", "--source", "rapl-perf"]);
    assert_eq!(code, Some(4));
    assert!(errors.contains("perf:power/energy-pkg/") && errors.lines().count() == 1, "{errors}");
}

#[test]
fn what_attach_cannot_do_without_makes_exit_status_4_and_names_the_remedy() {
    for (file, content, name, remedy) in [
        ("proc/sys/kernel/osrelease", &b"4.19.0\n"[..], "kernel", "5.15"),
        ("proc/self/status", b"CapEff:\t0000000000000000\n", "privilege", "run as root"),
        ("sys/kernel/btf/vmlinux", b"", "btf", "CONFIG_DEBUG_INFO_BTF"),
        ("sys/devices/system/cpu/online", b"?", "topology", "--sysfs-root"),
    ] {
        let machine = Machine::new();
        machine.write(file, content);
        let (code, report) = machine.doctor();
        assert_eq!((code, &report["can_attach"]), (Some(4), &false.into()), "{name}");
        let row = find(&report["features"], name);
        assert_eq!((&row["usable"], &row["required"]), (&false.into(), &true.into()), "{name}");
        assert!(row["remedy"].as_str().is_some_and(|r| r.contains(remedy)), "{name}: {row}");
        let (code, text, _) = machine.run(&["doctor"]);
        let text = String::from_utf8(text).expect("text");
        assert_eq!(code, Some(4));
        assert!(text.contains(remedy) && text.contains("cannot work here"), "{text}");
    }
}

#[test]
fn an_empty_machine_is_described_without_panic() {
    let machine = Machine::empty();
    let (code, report) = machine.doctor();
    assert_eq!((code, &report["can_attach"]), (Some(4), &false.into()));
    assert_eq!((&report["quality"], &report["kernel"]), (&"absent".into(), &Value::Null));
    assert_eq!(report["cpus"], Value::Null);
}

#[test]
fn a_source_without_scale_or_of_another_unit_says_how_to_declare_one() {
    let machine = Machine::new();
    machine.root.msr_pmu().expect("files");
    let margin = "sys/bus/event_source/devices/msr/events/margin";
    machine.write(margin, b"event=0x05\n");
    machine.write(&format!("{margin}.unit"), b"C\n");
    for (spec, code, says) in [
        ("perf:msr/tsc/", 2, "scale=JOULES_PER_COUNT"),
        ("perf:msr/margin/", 2, "\"C\", not Joules"),
        ("perf:msr/mperf/", 4, "it has: aperf, margin, tsc"),
        ("perf:power/energy-pkg/", 4, "it has: msr"),
        ("rapl-powercap", 4, "intel_rapl_msr"),
    ] {
        let (status, _, errors) = machine.run(&["attach", "--port", "1", "--source", spec]);
        assert_eq!(status, Some(code), "{spec}: {errors}");
        assert!(errors.contains(says) && errors.lines().count() == 1, "{spec}: {errors}");
    }
}

#[test]
fn a_wrong_source_is_named_even_while_another_probe_runs() {
    // The name that a running probe holds; should one run now, so much the better.
    let name = SocketAddr::from_abstract_name("wattprobe").expect("a name");
    let _held = UnixListener::bind_addr(&name);
    let (status, _, errors) =
        Machine::new().run(&["attach", "--port", "1", "--source", "rapl-powercap"]);
    assert_eq!(status, Some(4), "{errors}");
    assert!(errors.contains("intel_rapl_msr"), "{errors}");
}

#[test]
fn this_machine_is_described_in_both_forms() {
    let output = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_wattprobe")).args(args).output();
        output.expect("the binary runs")
    };
    let (text, json) = (output(&["doctor"]), output(&["doctor", "--json"]));
    let report: Value = serde_json::from_slice(&json.stdout).expect("one object");
    let expected = if report["can_attach"] == true { 0 } else { 4 };
    assert_eq!((text.status.code(), json.status.code()), (Some(expected), Some(expected)));
    let text = String::from_utf8(text.stdout).expect("text");
    for heading in ["kernel\n", "sources, best first", "domains that attach would read"] {
        assert!(text.contains(heading), "{text}");
    }
    assert!(!report["domains"].as_array().expect("domains").is_empty());
}

#[test]
fn gpus_are_shown_with_how_they_are_read_and_those_that_cannot_be_with_why() {
    let machine = Machine::new();
    let (_, report) = machine.doctor();
    let row = find(&report["sources"], "nvml");
    assert_eq!((&row["usable"], &row["used"]), (&false.into(), &false.into()));
    assert!(row["remedy"].as_str().is_some_and(|r| r.contains("--nvml-library")), "{row}");

    let dir = tempfile::tempdir().expect("a directory");
    let gpu = nvml_stub::Gpu::steady(200.0, 50.0);
    let no_counter =
        gpu.clone().failing("nvmlDeviceGetTotalEnergyConsumption", nvml_stub::NOT_SUPPORTED);
    let lost = gpu.clone().failing("*", nvml_stub::GPU_IS_LOST);
    let script = nvml_stub::Script::of(vec![gpu, no_counter, lost]);
    let stub = nvml_stub::install(dir.path(), &script, &[]).expect("the library was built");
    let library = stub.library.to_string_lossy();
    let (code, out, errors) = machine.run(&["doctor", "--json", "--nvml-library", &library]);
    assert!(errors.is_empty(), "{errors}");
    assert_eq!(code, Some(0));
    let report: Value = serde_json::from_slice(&out).expect("one object");
    let row = find(&report["sources"], "nvml");
    assert_eq!((&row["usable"], &row["used"]), (&true.into(), &true.into()));
    let detail = row["detail"].as_str().expect("text");
    assert!(detail.starts_with("gpu-0, gpu-1; but GPU 2 cannot be read"), "{detail}");
    let domain = |name| find(&report["domains"], name);
    assert_eq!(domain("gpu-0")["quality"], "measured");
    assert_eq!(domain("gpu-1")["quality"], "integrated");
    // 0.689 of at least 50 ms at both ends of a second, in quadrature.
    let ratio = domain("gpu-0")["one_second_ratio"].as_f64().expect("a number");
    assert!((0.048..1.0).contains(&ratio), "{ratio}");
}
