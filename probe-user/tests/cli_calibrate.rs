//! `calibrate` through the real binary, on a fake machine whose counter and CPU time the test moves.
#![expect(clippy::disallowed_methods, reason = "the test moves a counter by the time that passes")]

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nvml_stub::{Gpu, NOT_SUPPORTED, Script};
use probe_lab::fakeroot::FakeRoot;
use serde_json::Value;

/// A package of constant power, and CPUs that are busy for a given part of the time.
struct Machine {
    dir: tempfile::TempDir,
    root: FakeRoot,
    stop: Arc<AtomicBool>,
    mover: Option<JoinHandle<()>>,
}

impl Machine {
    /// It draws 10 W.
    fn new(busy_per_mille: u64) -> Self {
        Self::drawing(10, busy_per_mille)
    }

    fn drawing(watts: u64, busy_per_mille: u64) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let root = FakeRoot::new(dir.path());
        root.cpus(&[0, 0]).expect("files");
        root.zone("intel-rapl:0", "package-0", 0).expect("files");
        root.write("proc/1/root/etc/machine-id", "feedfacefeedfacefeedfacefeedface\n")
            .expect("a file");
        let stop = Arc::new(AtomicBool::new(false));
        let (tree, ended) = (root.clone(), stop.clone());
        let begin = Instant::now();
        let moved = move || {
            let us = u64::try_from(begin.elapsed().as_micros()).expect("a short test");
            // A rename: a reader never sees half of a file.
            let put = |path: &str, text: String| {
                let new = format!("{path}.new");
                tree.write(&new, text).expect("a file");
                std::fs::rename(
                    tree.sysfs().parent().expect("a root").join(&new),
                    tree.sysfs().parent().expect("a root").join(path),
                )
                .expect("a rename");
            };
            let busy = us * busy_per_mille / 1_000;
            put("proc/stat", format!("cpu  {busy} 0 0 {} 0 0 0 0 0 0\n", us - busy));
            // The counter's file stays open in the reader: it is written in place, always as long.
            let path = tree.sysfs().join("class/powercap/intel-rapl:0/energy_uj");
            let file = std::fs::OpenOptions::new().write(true).open(path).expect("a zone");
            file.write_all_at(format!("{:012}\n", us * watts).as_bytes(), 0).expect("written");
        };
        moved();
        let mover = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                moved();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { dir, root, stop, mover: Some(mover) }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("kept/calibration.json")
    }

    fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_wattprobe"))
            .args(args)
            .arg("--sysfs-root")
            .arg(self.root.sysfs())
            .arg("--procfs-root")
            .arg(self.root.procfs())
            .output()
            .expect("the binary runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    fn calibrate(&self, more: &[&str]) -> (Option<i32>, String, String) {
        let file = self.file();
        let file = file.to_str().expect("text");
        let source = ["--source", "rapl-powercap"];
        let args = [&["calibrate", "--for", "1s", "--output", file], &source[..], more].concat();
        self.run(&args)
    }

    /// Its GPU follows a script.
    fn calibrate_beside(&self, gpu: Gpu, more: &[&str]) -> (Option<i32>, String, String) {
        let dir = tempfile::tempdir().expect("a directory");
        let stub =
            nvml_stub::install(dir.path(), &Script::of(vec![gpu]), &[]).expect("it was built");
        let library = stub.library.to_str().expect("text");
        let nvml = ["--source", "nvml", "--nvml-library", library];
        self.calibrate(&[&nvml[..], more].concat())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(mover) = self.mover.take() {
            let _ = mover.join();
        }
    }
}

#[test]
fn a_quiet_machine_s_idle_power_is_measured_and_kept() {
    let machine = Machine::new(5);
    let (status, out, error) = machine.calibrate(&["--json"]);
    assert_eq!(status, Some(0), "{error}");
    let told: Value = serde_json::from_str(&out).expect("one object");
    let kept: Value =
        serde_json::from_slice(&std::fs::read(machine.file()).expect("kept")).expect("json");
    assert_eq!(told, kept);
    let domain = &kept["domains"][0];
    assert_eq!(
        (domain["domain"].as_str(), domain["source"].as_str()),
        (Some("package-0"), Some("rapl-powercap"))
    );
    let (watts, error) =
        (domain["watts"].as_f64().expect("W"), domain["error_watts"].as_f64().expect("W"));
    assert!((watts - 10.0).abs() < 1.0, "{watts}");
    // Half a percent of two CPUs that may draw 5 W each.
    assert!((0.04..5.0).contains(&error), "{error}");
    assert!(!kept.to_string().contains("feedface"), "the machine id is not kept");
    assert_eq!(kept["host"].as_str().map(str::len), Some(32));
}

#[test]
fn a_busy_machine_is_refused_unless_forced_and_keeps_nothing() {
    let machine = Machine::new(300);
    let (status, _, error) = machine.calibrate(&[]);
    assert_eq!(status, Some(3), "{error}");
    assert!(error.contains("% of the time") && error.contains("--force"), "{error}");
    assert_eq!(error.lines().count(), 1);
    assert!(!machine.file().exists());
    let (status, out, error) = machine.calibrate(&["--force"]);
    assert_eq!(status, Some(0), "{error}");
    assert!(out.starts_with("package-0: ") && out.contains(" W idle ±"), "{out}");
}

#[test]
fn a_counter_that_stands_still_is_no_idle_power_even_if_forced_and_a_good_file_stays() {
    let good = "a good calibration";
    let machine = Machine::drawing(0, 0);
    std::fs::create_dir_all(machine.file().parent().expect("a directory")).expect("made");
    std::fs::write(machine.file(), good).expect("written");
    for more in [&[][..], &["--force"]] {
        let (status, _, error) = machine.calibrate(more);
        assert_eq!(status, Some(3), "{error}");
        assert!(
            error.contains("package-0: the counter did not move in")
                && error.contains(" s; choose"),
            "{error}"
        );
        assert_eq!(std::fs::read_to_string(machine.file()).expect("it stays"), good);
    }
}

#[test]
fn a_gpu_that_is_used_while_the_cpus_rest_is_not_idle() {
    let machine = Machine::new(5);
    let used = Gpu::steady(300.0, 20.0).process(4242, 90);
    let (status, _, error) = machine.calibrate_beside(used.clone(), &[]);
    assert_eq!(status, Some(3), "{error}");
    assert!(error.contains("gpu-0 was used for 90.0 % of the time") && error.contains("--force"));
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(!machine.file().exists());
    let (status, out, error) = machine.calibrate_beside(used, &["--force"]);
    assert_eq!(status, Some(0), "{error}");
    assert!(out.contains("gpu-0: 3") || out.contains("gpu-0: 2"), "{out}");
}

#[test]
fn a_gpu_with_a_process_is_idle_if_its_driver_says_so_and_refused_if_it_says_nothing() {
    let machine = Machine::new(5);
    let held = Gpu::steady(60.0, 20.0).process(4242, 0);
    let (status, out, error) = machine.calibrate_beside(held.clone(), &[]);
    assert_eq!(status, Some(0), "{error}");
    assert!(out.contains("gpu-0: ") && out.contains("package-0: "), "{out}");
    std::fs::remove_file(machine.file()).expect("kept");
    let silent = held.failing("nvmlDeviceGetUtilizationRates", NOT_SUPPORTED);
    let (status, _, error) = machine.calibrate_beside(silent, &[]);
    assert_eq!(status, Some(3), "{error}");
    assert!(error.contains("gpu-0: somebody may be on it") && error.contains("--force"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(!machine.file().exists());
}

#[test]
fn attach_refuses_the_calibration_of_another_cpu_and_warns_of_one_that_is_old() {
    let machine = Machine::new(5);
    machine.root.cpuinfo("AuthenticAMD", 25, 17, 1).expect("a file");
    let (status, _, error) = machine.calibrate(&[]);
    assert_eq!(status, Some(0), "{error}");
    let file = machine.file();
    let attach = || {
        let file = file.to_str().expect("text");
        // Nobody listens there: it never gets to the kernel.
        machine.run(&["attach", "--port", "1", "--source", "rapl-powercap", "--calibration", file])
    };
    let (_, _, error) = attach();
    assert!(!error.contains("calibra"), "young: {error}");
    let kept = std::fs::read_to_string(&file).expect("kept");
    let mut old: Value = serde_json::from_str(&kept).expect("json");
    old["date"] = "2024-02-29T00:00:00Z".into();
    std::fs::write(&file, old.to_string()).expect("written");
    let (_, _, error) = attach();
    assert!(
        error.contains("warning: idle power of package-0 as calibrated on 2024-02-29"),
        "{error}"
    );
    assert!(error.contains(" days ago; run wattprobe calibrate again"), "{error}");
    machine.root.cpuinfo("AuthenticAMD", 26, 2, 1).expect("a file");
    let (status, _, error) = attach();
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains("is of another CPU") && error.contains("family 25 model 17"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn what_cannot_be_measured_or_found_says_what_to_do() {
    let machine = Machine::new(0);
    let (status, _, error) =
        machine.run(&["calibrate", "--source", "model", "--output", "/dev/null/x"]);
    assert_eq!(status, Some(4), "{error}");
    assert!(error.contains("no domain") && error.contains("doctor"), "{error}");
    std::fs::remove_file(machine.root.procfs().join("1/root/etc/machine-id")).expect("it is there");
    let (status, _, error) = machine.calibrate(&[]);
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains("no machine id"), "{error}");
}
