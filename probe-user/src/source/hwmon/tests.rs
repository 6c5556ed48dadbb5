//! Chips of every kind on fake machines, and what they give in numbers.

use super::*;
use crate::source::Split;
use crate::source::testing::Tree;

const S: u64 = 1_000_000_000;

fn names(domains: &[Domain]) -> Vec<(&str, bool, Quality)> {
    domains.iter().map(|d| (d.name.as_str(), d.additive, d.quality)).collect()
}

fn find(tree: &Tree) -> Vec<Domain> {
    domains(&tree.roots(), &tree.topology()).unwrap()
}

fn input(domain: &Domain) -> &HwmonInput {
    match &domain.reading {
        Reading::Polled(Polled::Hwmon(input)) => input,
        other => panic!("{other:?}"),
    }
}

fn meter(oem: &str) -> Vec<(&'static str, String)> {
    vec![
        ("power1_average", "150000000".into()),
        ("power1_average_interval", "50".into()),
        ("power1_oem_info", oem.into()),
    ]
}

fn grace(tree: Tree, number: u32, oem: &str) -> Tree {
    let files = meter(oem);
    let files: Vec<_> = files.iter().map(|(file, says)| (*file, says.as_str())).collect();
    tree.hwmon(number, "power_meter", &format!("ACPI000D:{number:02}"), &files)
}

#[test]
fn amd_sockets_are_packages_and_cores_are_left_out() {
    let files = [
        ("energy1_label", "Ecore000"),
        ("energy1_input", "5"),
        ("energy2_label", "Esocket0"),
        ("energy2_input", "1000000"),
        ("energy3_label", "Esocket1"),
        ("energy3_input", "7"),
        ("energy4_label", "Esocket9"),
        ("energy4_input", "7"),
    ];
    let tree = Tree::new().cpus(&[0, 1]).hwmon(2, "amd_energy", "amd_energy.0", &files);
    let found = find(&tree);
    let measured = Quality::Measured;
    assert_eq!(names(&found), [("package-0", true, measured), ("package-1", true, measured)]);
    assert_eq!((found[0].joules_per_count, found[0].period_ns), (1e-6, 1_000_000));
    let mut open = input(&found[0]).open().unwrap();
    assert_eq!(open.read(&|| 0).unwrap().count, 1_000_000);
}

#[test]
fn a_known_power_over_a_known_time_is_its_joules() {
    let tree = Tree::new().cpus(&[0]).hwmon(
        0,
        "power_meter",
        "ACPI000D:00",
        &[
            ("power1_average", "100000000"),
            ("power1_average_interval", "1000"),
            ("power1_accuracy", "95.0%"),
        ],
    );
    let found = find(&tree);
    let system = &found[0];
    assert_eq!(names(&found), [("system", true, Quality::Integrated)]);
    assert_eq!((system.scope, system.period_ns), (Scope::Machine, S));
    assert!((system.class_ratio - 0.05).abs() < 1e-12);
    let mut open = input(system).open().unwrap();
    let first = open.read(&|| S).unwrap().count;
    tree.write("class/hwmon/hwmon0/power1_average", "300000000\n");
    // From 100 W to 300 W in two seconds: 400 J.
    assert_eq!(open.read(&|| 3 * S).unwrap().count - first, 400 * S);
    tree.write("class/hwmon/hwmon0/power1_average", "-3\n");
    assert!(matches!(open.read(&|| 4 * S), Err(ReadError::Garbage { .. })));
    tree.write("class/hwmon/hwmon0/power1_average", "300000000\n");
    // One reading lost, within the longest gap of three seconds: still linear.
    assert_eq!(open.read(&|| 5 * S).unwrap().count - first, 1_000 * S);
    assert!(open.read(&|| 9 * S).unwrap().count < first, "four seconds: the count begins again");
}

#[test]
fn a_meter_without_accuracy_or_with_a_boast_has_a_stated_error() {
    for (accuracy, ratio) in
        [("100.0%", 0.01), ("5.0%", 0.5), ("80.500%", 0.2), ("lots", 0.1), ("900.0%", 0.1)]
    {
        let files = [("power1_average", "1"), ("power1_accuracy", accuracy)];
        let tree = Tree::new().cpus(&[0]).hwmon(0, "power_meter", "ACPI000D:00", &files);
        let found = find(&tree);
        assert!((found[0].class_ratio - ratio).abs() < 1e-12, "{accuracy}");
        assert_eq!(found[0].period_ns, S, "no interval: a second");
    }
}

#[test]
fn graces_labels_say_what_is_the_socket_and_what_lies_within() {
    let mut tree = Tree::new().cpus(&[0, 1]);
    let labels = ["CPU Power Socket 0", "Grace Power Socket 0", "Module Power Socket 0"];
    for (n, label) in (0..).zip(labels) {
        tree = grace(tree, n, label);
    }
    for (n, label) in
        (3..).zip(["SysIO Power Socket 1", "Grace Power Socket 1", "Grace Power Socket 7"])
    {
        tree = grace(tree, n, label);
    }
    let found = find(&tree);
    let rows: Vec<_> = found.iter().map(|d| (d.name.as_str(), d.additive, d.scope)).collect();
    assert_eq!(
        rows,
        [
            ("package-0", true, Scope::Package(0)),
            ("package-1", true, Scope::Package(1)),
            ("core-0", false, Scope::Package(0)),
            ("module-0", false, Scope::Package(0)),
            ("sysio-1", false, Scope::Package(1)),
        ]
    );
    assert_eq!(found[0].period_ns, 50_000_000);
}

#[test]
fn an_old_driver_keeps_its_files_with_the_device() {
    let tree = Tree::new().cpus(&[0]).hwmon(4, "x", "ACPI000D:00", &[]);
    tree.remove("class/hwmon/hwmon4/name");
    tree.write("class/hwmon/hwmon4/device/name", "power_meter\n");
    tree.write("class/hwmon/hwmon4/device/power1_average", "7\n");
    let found = find(&tree);
    assert_eq!(found[0].name, "system");
    assert!(input(&found[0]).path.ends_with("hwmon4/device/power1_average"));
}

#[test]
fn several_unnamed_meters_or_a_charging_one_are_not_used() {
    let files = [("power1_average", "7")];
    let tree = Tree::new()
        .cpus(&[0])
        .hwmon(0, "power_meter", "ACPI000D:00", &files)
        .hwmon(1, "power_meter", "ACPI000D:01", &files)
        .hwmon(2, "coretemp", "coretemp.0", &files);
    let error = domains(&tree.roots(), &tree.topology()).unwrap_err();
    assert!(matches!(error, SourceError::NoHwmon { .. }), "{error}");
    tree.write("class/hwmon/hwmon1/power1_is_battery", "1\n");
    assert_eq!(find(&tree)[0].name, "system");
}

#[test]
fn cards_are_numbered_by_address_and_built_in_ones_are_not_summed() {
    let amd = [("power1_average", "50000000"), ("power1_input", "1")];
    let apu = [("power1_input", "20000000"), ("in1_label", "vddnb")];
    let xe = [
        ("energy1_label", "card"),
        ("energy1_input", "9"),
        ("energy2_label", "pkg"),
        ("energy2_input", "8"),
    ];
    let xe_pkg = [("energy2_label", "pkg"), ("energy2_input", "8")];
    let tree = Tree::new()
        .cpus(&[0])
        .hwmon(1, "amdgpu", "0000:43:00.0", &amd)
        .hwmon(2, "amdgpu", "0000:07:00.0", &apu)
        .hwmon(3, "xe", "0000:03:00.0", &xe)
        .hwmon(4, "xe", "0000:23:00.0", &xe_pkg)
        .hwmon(5, "i915", "0000:33:00.0", &[("energy1_input", "7")])
        .hwmon(6, "xe", "0000:13:00.0", &[("energy1_label", "other"), ("energy1_input", "7")]);
    let found = find(&tree);
    let rows: Vec<_> = found
        .iter()
        .map(|d| {
            let input = input(d);
            let file = input.path.file_name().unwrap().to_str().unwrap();
            let card = input.card.as_ref().unwrap().address.as_deref().unwrap();
            (d.name.as_str(), d.additive, file, card)
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("gpu-0", true, "energy1_input", "0000:03:00.0"),
            ("gpu-1", true, "energy2_input", "0000:23:00.0"),
            ("gpu-2", true, "energy1_input", "0000:33:00.0"),
            ("gpu-3", true, "power1_average", "0000:43:00.0"),
            ("igpu-0", false, "power1_input", "0000:07:00.0"),
        ]
    );
    assert!(found.iter().all(|d| d.scope == Scope::Device));
}

#[test]
fn a_card_is_used_by_the_processes_whose_clients_ran_on_it() {
    let address = "0000:03:00.0";
    let tree = Tree::new().cpus(&[0]).hwmon(3, "i915", address, &[("energy1_input", "7")]);
    let client = |id: u32, ns: u64| {
        format!("drm-pdev:\t{address}\ndrm-client-id:\t{id}\ndrm-engine-render:\t{ns} ns\n")
    };
    tree.drm_client(70, 5, &client(1, 1_000));
    tree.drm_client(70, 6, &client(1, 1_000));
    tree.drm_client(80, 3, &client(2, 500));
    tree.drm_client(90, 3, "drm-pdev:\t0000:99:00.0\ndrm-client-id:\t9\ndrm-engine-x:\t5 ns\n");
    let found = find(&tree);
    let shared = |list| Users::Device(Split::Utilisation, list);
    let mut open = input(&found[0]).open().unwrap();
    assert_eq!(open.read(&|| S).unwrap().users, shared(vec![]), "a baseline");
    tree.drm_client(70, 5, &client(1, 4_000));
    tree.drm_client(70, 6, &client(1, 4_000));
    tree.drm_client(80, 3, &client(2, 700));
    let users = open.read(&|| S + 5_000_000).unwrap().users;
    assert_eq!(users, shared(vec![(70, 3_000), (80, 200)]));
    let users = open.read(&|| S + 6_000_000).unwrap().users;
    assert_eq!(users, shared(vec![]), "nobody was seen: the energy is residual");
    tree.remove("proc/80/fdinfo/3");
    assert_eq!(open.read(&|| 3 * S).unwrap().users, shared(vec![]));
}

#[test]
fn broken_files_are_left_out_or_errors_and_never_zero() {
    for content in ["", "?", "-1", "1e6", "99999999999999999999999", "\u{0}"] {
        let files = [("energy1_input", "7")];
        let tree = Tree::new().cpus(&[0]).hwmon(0, "i915", "0000:03:00.0", &files);
        let found = find(&tree);
        tree.write("class/hwmon/hwmon0/energy1_input", content);
        let error = input(&found[0]).open().unwrap_err();
        assert!(matches!(error, ReadError::Garbage { .. }), "{content:?}: {error}");
        tree.remove("class/hwmon/hwmon0/energy1_input");
        let error = input(&found[0]).open().unwrap_err();
        assert!(matches!(error, ReadError::Vanished { .. }), "{error}");
    }
    let tree = Tree::new().cpus(&[0]);
    tree.write("class/hwmon/hwmonX/name", "i915");
    tree.write("class/hwmon/hwmon1/energy1_input", "5");
    tree.write_bytes("class/hwmon/hwmon2/name", &[0xff; 4096]);
    assert!(domains(&tree.roots(), &tree.topology()).is_err());
}

#[test]
fn a_fifo_in_place_of_a_file_is_not_waited_for() {
    let address = "0000:03:00.0";
    let tree = Tree::new()
        .cpus(&[0])
        .hwmon(0, "xe", address, &[("energy1_input", "7"), ("energy1_label", "card")])
        .hwmon(1, "i915", "0000:04:00.0", &[("energy1_input", "7")]);
    tree.fifo("class/hwmon/hwmon1/name");
    tree.drm_client(70, 5, "");
    tree.fifo("proc/70/fdinfo/5");
    let found = find(&tree);
    assert_eq!(found.len(), 1);
    let users = input(&found[0]).open().unwrap().read(&|| S).unwrap().users;
    assert_eq!(users, Users::Device(Split::Clocks, vec![]));
    tree.fifo("class/hwmon/hwmon0/energy1_input");
    assert!(input(&found[0]).open().is_err());
}

#[test]
fn a_crowd_on_another_card_and_many_descriptors_of_one_client_hide_nobody() {
    let (here, there) = ("0000:03:00.0", "0000:04:00.0");
    let tree = Tree::new().cpus(&[0]).hwmon(3, "i915", here, &[("energy1_input", "7")]);
    let told = |card: &str, id: u32, ns: u64| {
        format!("drm-pdev:\t{card}\ndrm-client-id:\t{id}\ndrm-engine-render:\t{ns} ns\n")
    };
    for n in 0..300 {
        tree.drm_client(1000 + n, 3, &told(there, n, 5));
        tree.drm_client(60, 3 + n, &told(here, 1000, 5));
    }
    for tgid in [2, 70, 9999] {
        tree.drm_client(tgid, 3, &told(here, 2000 + tgid, 100));
    }
    let found = find(&tree);
    let mut open = input(&found[0]).open().unwrap();
    open.read(&|| S).unwrap();
    for tgid in [2, 70, 9999] {
        tree.drm_client(tgid, 3, &told(here, 2000 + tgid, 100 + u64::from(tgid)));
    }
    let users = open.read(&|| S + 5_000_000).unwrap().users;
    let shares = vec![(2, 2), (70, 70), (9999, 9999)];
    assert_eq!(users, Users::Device(Split::Utilisation, shares));
}

#[test]
fn inputs_of_one_chip_share_a_thread_and_those_of_another_have_their_own() {
    let group =
        |path: &str| HwmonInput { path: path.into(), longest_gap_ns: None, card: None }.group();
    assert_eq!(group("/sys/class/hwmon/hwmon3/energy1_input"), "hwmon-3");
    assert_eq!(group("/tmp/hwmon9/sys/class/hwmon/hwmon12/device/power1_average"), "hwmon-12");
    assert_eq!(group("/nowhere/energy1_input"), "hwmon");
}
