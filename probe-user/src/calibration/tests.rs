//! Whose a calibration is, and hostile files.

use super::*;

fn machine(id: &str) -> (tempfile::TempDir, Roots) {
    let dir = tempfile::tempdir().unwrap();
    let etc = dir.path().join("proc/1/root/etc");
    fs::create_dir_all(&etc).unwrap();
    fs::write(etc.join("machine-id"), id).unwrap();
    let (sysfs, procfs) = (dir.path().join("sys"), dir.path().join("proc"));
    (dir, Roots { sysfs, procfs, nvml: None })
}

fn calibration(roots: &Roots) -> Calibration {
    Calibration {
        schema: SCHEMA,
        host: host(roots).unwrap(),
        cpu: None,
        kernel: None,
        date: "2026-01-01T00:00:00Z".into(),
        version: "0".into(),
        seconds: 10.0,
        busy: Some(0.001),
        domains: vec![IdleDomain {
            domain: "package-0".into(),
            source: "rapl-powercap".into(),
            joules_per_count: 1e-6,
            watts: 12.5,
            error_watts: 0.1,
            intervals: 20,
        }],
    }
}

#[test]
fn what_was_kept_is_read_again_and_the_id_is_not_in_it() {
    let (dir, roots) = machine("0123456789abcdef0123456789abcdef\n");
    let path = dir.path().join("a/b/calibration.json");
    assert_eq!(Calibration::read(&path, &roots).unwrap(), None);
    let kept = calibration(&roots);
    kept.write(&path).unwrap();
    kept.write(&path).unwrap();
    assert_eq!(Calibration::read(&path, &roots).unwrap(), Some(kept));
    assert!(!fs::read_to_string(&path).unwrap().contains("0123456789abcdef"));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn idle_power_is_given_to_the_domain_that_it_was_measured_of_under_the_scale_that_it_had() {
    let (_dir, roots) = machine("a");
    let tree = crate::source::testing::Tree::new().cpus(&[0]);
    let some = model::domains(&model::lookup(None), &tree.topology()).remove(0);
    let counter = Reading::Kernel(crate::source::PerfEvent {
        pmu: "power".into(),
        event: "energy-pkg".into(),
        type_: 1,
        config: [0; 4],
        cpu: 0,
        package: 0,
        named: true,
    });
    let domain = |source: &str, joules_per_count| Domain {
        source: source.into(),
        joules_per_count,
        reading: counter.clone(),
        ..some.clone()
    };
    let mut domains =
        [domain("rapl-powercap", 1e-6), domain("rapl-powercap", 2e-6), domain("rapl-perf", 1e-6)];
    assert_eq!(calibration(&roots).apply(&mut domains), ["package-0"]);
    assert_eq!(domains[0].idle_watts, Some(12.5));
    assert!(domains[1..].iter().all(|domain| domain.idle_watts != Some(12.5)));
}

#[test]
fn another_machine_s_and_a_hostile_file_are_one_line() {
    let (dir, roots) = machine("a");
    let path = dir.path().join("c.json");
    calibration(&roots).write(&path).unwrap();
    let (_other, others) = machine("b");
    let error = Calibration::read(&path, &others).unwrap_err().to_string();
    assert!(error.contains("2026-01-01T00:00:00Z is of another machine"), "{error}");
    let good = fs::read_to_string(&path).unwrap();
    for text in [
        "",
        "{",
        "[[[[[[",
        "\u{0}",
        &good.replace("12.5", "-1"),
        &good.replace("12.5", "1e300"),
        &good.replace("2026-01-01T00:00:00Z", "\\u001b[2J"),
    ] {
        fs::write(&path, text).unwrap();
        let error = Calibration::read(&path, &roots).unwrap_err().to_string();
        assert!(error.contains("is no calibration") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn another_cpu_s_is_refused_and_one_that_nobody_knows_is_not() {
    let (dir, roots) = machine("a");
    let path = dir.path().join("c.json");
    let kept =
        Calibration { cpu: Some("AuthenticAMD family 25 model 17".into()), ..calibration(&roots) };
    kept.write(&path).unwrap();
    assert_eq!(Calibration::read(&path, &roots).unwrap().as_ref(), Some(&kept), "no cpuinfo");
    let tree = probe_lab::fakeroot::FakeRoot::new(dir.path());
    tree.cpuinfo("AuthenticAMD", 25, 17, 1).unwrap();
    assert_eq!(Calibration::read(&path, &roots).unwrap().as_ref(), Some(&kept));
    tree.cpuinfo("AuthenticAMD", 26, 2, 1).unwrap();
    let error = Calibration::read(&path, &roots).unwrap_err().to_string();
    assert!(error.contains("of 2026-01-01T00:00:00Z is of another CPU"), "{error}");
    assert!(error.contains("model 17") && error.contains("family 26 model 2"), "{error}");
    calibration(&roots).write(&path).unwrap();
    assert!(Calibration::read(&path, &roots).unwrap().is_some(), "it was not known then");
}

#[test]
fn an_absurd_power_does_not_take_the_place_of_a_good_calibration() {
    let (dir, roots) = machine("a");
    let path = dir.path().join("c.json");
    let good = calibration(&roots);
    good.write(&path).unwrap();
    for (watts, error_watts) in [(1e12, 0.1), (12.5, 1e12), (f64::NAN, 0.1), (-1.0, 0.1)] {
        let mut absurd = good.clone();
        (absurd.domains[0].watts, absurd.domains[0].error_watts) = (watts, error_watts);
        let error = absurd.write(&path).unwrap_err().to_string();
        assert!(error.starts_with("package-0: ") && error.contains("; choose"), "{error}");
    }
    assert_eq!(Calibration::read(&path, &roots).unwrap(), Some(good));
}

#[test]
fn others_than_root_keep_it_in_their_own_state_directory() {
    let path = |root, state: &str, home: &str| {
        let some = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        default_path(root, some(state), some(home)).map(|path| path.display().to_string())
    };
    assert_eq!(path(true, "/s", "/h").unwrap(), SYSTEM);
    assert_eq!(path(false, "/s", "/h").unwrap(), "/s/wattprobe/calibration.json");
    assert_eq!(path(false, "s", "/h").unwrap(), "/h/.local/state/wattprobe/calibration.json");
    assert_eq!(path(false, "", ""), None);
}
