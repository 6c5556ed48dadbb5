use std::os::unix::fs::PermissionsExt;

use super::*;

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()))
}

#[test]
fn two_packages_with_hyperthreads_number_their_cpus_as_linux_does() {
    let dir = tempfile::tempdir().unwrap();
    let root = FakeRoot::new(dir.path()).package_smt(2, 2).package_smt(2, 2).build().unwrap();
    let topology = |cpu: usize, file: &str| {
        read(root.sys(format!("devices/system/cpu/cpu{cpu}/topology/{file}")))
    };
    assert_eq!(topology(5, "physical_package_id"), "1\n");
    assert_eq!(topology(5, "core_id"), "0\n");
    assert_eq!(topology(5, "thread_siblings_list"), "4-5\n");
    assert_eq!(topology(5, "package_cpus_list"), "4-7\n");
    assert_eq!(read(root.sys("devices/system/cpu/online")), "0-7\n");
    let cpuinfo = read(root.proc("cpuinfo"));
    assert_eq!(cpuinfo.matches("processor\t: ").count(), 8);
    assert_eq!(cpuinfo.matches("cpu family\t: 25\n").count(), 8);
}

#[test]
fn zones_nest_and_every_zone_is_linked_from_the_class() {
    let dir = tempfile::tempdir().unwrap();
    let root = FakeRoot::new(dir.path())
        .powercap(Zone::package(0).child("core").child("dram").energy_uj(7))
        .powercap(Zone::psys())
        .powercap(Zone::mmio(0))
        .build()
        .unwrap();
    let name = |zone: &str| read(root.sys(format!("class/powercap/{zone}/name")));
    assert_eq!(name("intel-rapl:0"), "package-0\n");
    assert_eq!(name("intel-rapl:0:1"), "dram\n");
    assert_eq!(name("intel-rapl:1"), "psys\n");
    assert_eq!(name("intel-rapl-mmio:0"), "package-0\n");
    assert_eq!(std::fs::read_dir(root.sys("class/powercap")).unwrap().count(), 7);
    assert_eq!(read(root.sys("class/powercap/intel-rapl:0/energy_uj")), "7\n");
    let nested = root.sys("class/powercap/intel-rapl:0/intel-rapl:0:0/max_energy_range_uj");
    assert_eq!(read(nested), "262143328850\n");
    root.set_energy_uj("intel-rapl:0:1", 99).unwrap();
    assert_eq!(read(root.sys("class/powercap/intel-rapl:0:1/energy_uj")), "99\n");
    assert!(root.set_energy_uj("intel-rapl:9", 1).is_err());
}

#[test]
fn a_pmu_has_its_type_mask_formats_and_events() {
    let dir = tempfile::tempdir().unwrap();
    let root = FakeRoot::new(dir.path())
        .pmu(Pmu::power(&["energy-pkg", "energy-psys"], "0,4"))
        .pmu(Pmu::msr())
        .build()
        .unwrap();
    let file = |path: &str| read(root.sys(format!("bus/event_source/devices/{path}")));
    assert_eq!(file("power/type"), "8\n");
    assert_eq!(file("msr/type"), "9\n");
    assert_eq!(file("power/cpumask"), "0,4\n");
    assert_eq!(file("power/events/energy-psys"), "event=0x05\n");
    assert_eq!(file("power/events/energy-pkg.scale").trim().parse::<f64>(), Ok(2f64.powi(-32)));
    assert_eq!(file("power/events/energy-pkg.unit"), "Joules\n");
    assert_eq!(file("msr/format/event"), "config:0-63\n");
}

#[test]
fn every_way_to_break_a_file_leaves_no_usable_number() {
    for how in Broken::ALL {
        let dir = tempfile::tempdir().unwrap();
        let root = FakeRoot::new(dir.path()).powercap(Zone::package(0)).build().unwrap();
        let path = root.sys("class/powercap/intel-rapl:0/energy_uj");
        root.break_file(&path, how).unwrap();
        if how == Broken::Denied {
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0);
            continue;
        }
        let number = std::fs::read_to_string(&path).ok().and_then(|t| t.trim().parse::<u64>().ok());
        assert_eq!(number, None, "{how:?}");
    }
}
