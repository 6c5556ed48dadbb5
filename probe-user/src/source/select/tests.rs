//! What is chosen on machines of every kind.

use super::*;
use crate::source::testing::Tree;

/// A kernel that opens every counter.
const ALL: Opener<'_> = &|_| Ok(());
/// A kernel that allows no counter.
const NONE: Opener<'_> =
    &|e| Err(OpenError::Permission { pmu: e.pmu.clone(), event: e.event.clone(), cpu: e.cpu });

fn choose(tree: &Tree, specs: &[&str], opener: Opener<'_>) -> Result<Selection, SourceError> {
    let specs: Vec<_> = specs.iter().map(|s| s.parse().unwrap()).collect();
    select_with(&tree.roots(), &tree.topology(), &specs, opener)
}

fn rows(selection: &Selection) -> Vec<(&str, &str, bool)> {
    selection.domains.iter().map(|d| (d.name.as_str(), d.source.as_str(), d.additive)).collect()
}

fn said(selection: &Selection, outcome: Outcome, text: &str) -> bool {
    selection.notes.iter().any(|n| n.outcome == outcome && n.text.contains(text))
}

fn laptop() -> Tree {
    Tree::new()
        .cpus(&[0, 0])
        .cpuinfo("GenuineIntel", 6, 158, 10)
        .power_pmu(&["energy-pkg", "energy-cores"], "0")
        .zone("intel-rapl:0", "package-0", 5)
        .zone("intel-rapl:0:0", "core", 5)
        .zone("intel-rapl:0:1", "dram", 5)
        .zone("intel-rapl-mmio:0", "package-0", 5)
}

#[test]
fn auto_takes_the_best_rung_of_each_domain_by_itself() {
    let selection = choose(&laptop(), &[], ALL).unwrap();
    assert_eq!(
        rows(&selection),
        [
            ("package-0", "rapl-perf", true),
            ("core-0", "rapl-perf", false),
            ("package-0@rapl-powercap", "rapl-powercap", false),
            ("dram-0", "rapl-powercap", true)
        ]
    );
    assert!(said(&selection, Outcome::Aside, "package-0 is read by another source already"));
    assert!(said(&selection, Outcome::Aside, "core-0 is read by rapl-perf"));
    assert!(said(&selection, Outcome::Aside, "package-0-mmio"));
    assert_eq!(selection.tick_cpus, [0]);
}

#[test]
fn auto_steps_down_where_the_kernel_refuses_and_says_why() {
    let selection = choose(&laptop(), &["auto"], NONE).unwrap();
    assert_eq!(
        rows(&selection),
        [
            ("package-0", "rapl-powercap", true),
            ("dram-0", "rapl-powercap", true),
            ("core-0", "rapl-powercap", false)
        ]
    );
    assert!(said(&selection, Outcome::Refused, "CAP_PERFMON"));
}

#[test]
fn auto_models_packages_that_nothing_measures() {
    let tree = Tree::new().cpus(&[0, 1]).cpuinfo("AuthenticAMD", 25, 17, 1);
    let selection = choose(&tree, &[], ALL).unwrap();
    assert_eq!(rows(&selection), [("package-0", "model", true), ("package-1", "model", true)]);
    assert!(said(&selection, Outcome::Refused, "virtual machines have no RAPL"));
    assert!(said(&selection, Outcome::Chosen, "0.7391 W idle and 2.2822 W busy each, ±50 %"));
    let tree = tree.zone("intel-rapl:0", "package-1", 5);
    let selection = choose(&tree, &[], ALL).unwrap();
    assert_eq!(
        rows(&selection),
        [("package-1", "rapl-powercap", true), ("package-0", "model", true)]
    );
}

#[test]
fn measured_memory_is_not_added_to_a_modelled_package() {
    let tree = Tree::new().cpus(&[0]).power_pmu(&["energy-ram"], "0");
    let selection = choose(&tree, &[], ALL).unwrap();
    assert_eq!(rows(&selection), [("dram-0", "rapl-perf", false), ("package-0", "model", true)]);
    assert!(said(&selection, Outcome::Aside, "include memory"));
}

#[test]
fn a_named_source_that_cannot_be_used_is_an_error() {
    let tree = laptop();
    assert!(matches!(choose(&tree, &["rapl-perf"], NONE), Err(SourceError::Open(_))));
    let energy = "class/powercap/intel-rapl:0/energy_uj";
    tree.write(energy, "soon");
    assert!(matches!(choose(&tree, &["rapl-powercap"], ALL), Err(SourceError::Sensor(_))));
    let tree = Tree::new().cpus(&[0]);
    assert!(matches!(choose(&tree, &["rapl-perf"], ALL), Err(SourceError::NoPmu { .. })));
    assert!(matches!(choose(&tree, &["rapl-powercap"], ALL), Err(SourceError::NoPowercap { .. })));
    assert!(matches!(choose(&tree, &["perf:a/b/"], ALL), Err(SourceError::NoPmu { .. })));
}

#[test]
fn two_sources_of_one_domain_are_compared_and_not_summed() {
    let selection = choose(&laptop(), &["rapl-perf", "rapl-powercap"], ALL).unwrap();
    assert_eq!(
        rows(&selection),
        [
            ("package-0", "rapl-perf", true),
            ("core-0", "rapl-perf", false),
            ("package-0@rapl-powercap", "rapl-powercap", false),
            ("dram-0", "rapl-powercap", true),
            ("core-0@rapl-powercap", "rapl-powercap", false),
            ("package-0-mmio", "rapl-powercap", false)
        ]
    );
}

#[test]
fn the_first_other_event_is_the_package_and_further_ones_stand_beside_it() {
    let tree = Tree::new().cpus(&[0, 1]).msr_pmu();
    let specs = ["perf:msr/tsc/,scale=1e-9", "perf:msr/aperf/,scale=1e-9"];
    let selection = choose(&tree, &specs, ALL).unwrap();
    assert_eq!(
        rows(&selection),
        [
            ("package-0", "perf:msr/tsc/", true),
            ("package-1", "perf:msr/tsc/", true),
            ("aperf-0", "perf:msr/aperf/", false),
            ("aperf-1", "perf:msr/aperf/", false)
        ]
    );
    assert_eq!(selection.tick_cpus, [0, 1]);
}

#[test]
fn the_same_source_twice_is_an_error_even_with_another_scale() {
    let tree = Tree::new().cpus(&[0]).msr_pmu();
    let specs = ["perf:msr/tsc/,scale=1e-9", "perf:msr/tsc/,scale=2e-9"];
    assert!(matches!(choose(&tree, &specs, ALL), Err(SourceError::Twice(_))));
    assert!(matches!(choose(&tree, &["model", "model"], ALL), Err(SourceError::Twice(_))));
}

#[test]
fn a_package_ticks_where_its_pmu_says_and_other_events_follow() {
    let tree = Tree::new().cpus(&[0, 0]).msr_pmu().power_pmu(&["energy-pkg"], "1");
    let specs = ["perf:msr/tsc/,scale=1e-9", "perf:power/energy-pkg/"];
    let selection = choose(&tree, &specs, ALL).unwrap();
    assert_eq!(selection.tick_cpus, [1]);
    let cpus: Vec<_> = selection
        .domains
        .iter()
        .map(|d| match &d.reading {
            Reading::Kernel(e) => e.cpu,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(cpus, [1, 1]);
    let names: Vec<_> = rows(&selection).into_iter().map(|(name, _, sum)| (name, sum)).collect();
    let second = "package-0@perf:power/energy-pkg/";
    assert_eq!(names, [("package-0", true), (second, false)]);
}

#[test]
fn more_counters_than_a_tick_reads_are_refused() {
    let tree = Tree::new().cpus(&[0]).msr_pmu();
    let events: Vec<_> = (0..9).map(|i| format!("e{i}")).collect();
    for event in &events {
        let file = format!("bus/event_source/devices/msr/events/{event}");
        tree.write(&file, "event=0x00\n");
    }
    let specs: Vec<_> = events.iter().map(|e| format!("perf:msr/{e}/,scale=1")).collect();
    let specs: Vec<_> = specs.iter().map(String::as_str).collect();
    let error = choose(&tree, &specs, ALL).unwrap_err();
    assert!(matches!(error, SourceError::TooManyCounters { counters: 9, .. }), "{error}");
}

#[test]
fn a_selection_without_an_additive_domain_says_what_is_missing() {
    let tree = Tree::new().cpus(&[0]).power_pmu(&["energy-cores"], "0");
    let selection = choose(&tree, &["perf:power/energy-cores/"], ALL).unwrap();
    assert!(said(&selection, Outcome::Refused, "additive"));
}

#[test]
fn auto_leaves_out_what_a_tick_cannot_read_starting_with_what_is_not_summed() {
    let events = ["energy-pkg", "energy-ram", "energy-cores", "energy-gpu", "energy-psys"];
    let tree = Tree::new().cpus(&[0, 0]).power_pmu(&events, "0,1");
    let selection = choose(&tree, &[], ALL).unwrap();
    assert_eq!(selection.domains.len(), MAX_COUNTERS);
    assert_eq!(selection.domains.iter().filter(|d| d.additive).count(), 4);
    assert!(said(&selection, Outcome::Aside, "psys: a tick reads at most 8 counters"));
}

const METER: [(&str, &str); 1] = [("power1_average", "90000000")];
const CARD: [(&str, &str); 1] = [("energy1_input", "5")];
const BATTERY: [(&str, &str); 2] = [("status", "Discharging"), ("power_now", "9000000")];

#[test]
fn a_meter_of_the_whole_machine_stands_alone_where_no_package_is_measured() {
    let tree = Tree::new()
        .cpus(&[0, 1])
        .hwmon(0, "power_meter", "ACPI000D:00", &METER)
        .hwmon(1, "i915", "0000:03:00.0", &CARD)
        .supply("BAT0", "Battery", &BATTERY);
    let selection = choose(&tree, &[], ALL).unwrap();
    assert_eq!(rows(&selection), [("system", "hwmon", true), ("gpu-0", "hwmon", false)]);
    assert!(said(&selection, Outcome::Aside, "the whole machine is measured"));
    assert!(said(&selection, Outcome::Aside, "gpu-0: part of the machine"));
    assert!(said(&selection, Outcome::Aside, "something better measures"));
}

#[test]
fn a_meter_of_the_whole_machine_stands_beside_measured_packages() {
    let tree =
        laptop().hwmon(0, "power_meter", "ACPI000D:00", &METER).supply("BAT0", "Battery", &BATTERY);
    let selection = choose(&tree, &[], ALL).unwrap();
    let system = rows(&selection).into_iter().find(|row| row.0 == "system");
    assert_eq!(system, Some(("system", "hwmon", false)));
    assert!(said(&selection, Outcome::Aside, "system: it holds the packages' energy"));
    let selection = choose(&tree, &["rapl-perf", "battery"], ALL).unwrap();
    let battery = *rows(&selection).last().unwrap();
    assert_eq!(battery, ("battery", "battery", false));
}

#[test]
fn a_battery_is_better_than_the_model_while_it_discharges() {
    let tree = Tree::new().cpus(&[0]).supply("BAT0", "Battery", &BATTERY);
    let selection = choose(&tree, &[], ALL).unwrap();
    assert_eq!(rows(&selection), [("battery", "battery", true)]);
    tree.write("class/power_supply/BAT0/status", "Charging");
    let selection = choose(&tree, &[], ALL).unwrap();
    assert_eq!(rows(&selection), [("package-0", "model", true)]);
    assert!(said(&selection, Outcome::Refused, "unplug the charger"));
    assert!(matches!(choose(&tree, &["battery"], ALL), Err(SourceError::Sensor(_))));
    let none = Tree::new().cpus(&[0]);
    assert!(matches!(choose(&none, &["battery"], ALL), Err(SourceError::NoBattery { .. })));
    assert!(matches!(choose(&none, &["hwmon"], ALL), Err(SourceError::NoHwmon { .. })));
}

#[test]
fn measured_sockets_and_cards_are_summed_and_the_model_fills_what_is_left() {
    let sockets = [("energy1_label", "Esocket0"), ("energy1_input", "5")];
    let tree = Tree::new().cpus(&[0, 1]).hwmon(0, "amd_energy", "amd_energy.0", &sockets).hwmon(
        1,
        "xe",
        "0000:03:00.0",
        &[("energy2_label", "pkg"), ("energy2_input", "5")],
    );
    let selection = choose(&tree, &[], ALL).unwrap();
    assert_eq!(
        rows(&selection),
        [("package-0", "hwmon", true), ("gpu-0", "hwmon", true), ("package-1", "model", true)]
    );
    assert!(said(&selection, Outcome::Chosen, "0000:03:00.0"));
}

/// Two cores of two threads, Linux 6.14 or later.
fn epyc() -> Tree {
    Tree::new()
        .cpus(&[0, 0, 0, 0])
        .siblings(&["0,2", "1,3"])
        .cpuinfo("AuthenticAMD", 25, 1, 1)
        .power_pmu(&["energy-pkg"], "0")
        .power_core_pmu("0-1")
}

#[test]
fn auto_shares_a_package_by_what_its_cores_drew_and_says_so() {
    let selection = choose(&epyc(), &[], ALL).unwrap();
    assert_eq!(
        rows(&selection),
        [("core-0", "amd-core-perf", false), ("package-0", "rapl-perf", true)]
    );
    let said_of = |text| said(&selection, Outcome::Chosen, text);
    assert!(said_of(
        "2 cores read by the kernel on their own 4 CPUs, shares the energy of package-0"
    ));
    assert!(said_of("package-0: read by the kernel on CPU 0; summed"));
    // Counters of cores take no room in the tick.
    assert_eq!(selection.tick_cpus, [0]);
}

#[test]
fn cores_the_kernel_refuses_are_left_out_by_auto_and_an_error_by_name() {
    let refuse: Opener<'_> = &|e| if e.pmu == "power_core" { NONE(e) } else { Ok(()) };
    let selection = choose(&epyc(), &[], refuse).unwrap();
    assert_eq!(rows(&selection), [("package-0", "rapl-perf", true)]);
    assert!(said(&selection, Outcome::Refused, "power_core/energy-core/"));
    assert!(matches!(choose(&epyc(), &["amd-core-perf"], refuse), Err(SourceError::Open(_))));
}

#[test]
fn cores_alone_are_no_machine_and_the_user_is_told() {
    let selection = choose(&epyc(), &["amd-core-perf"], ALL).unwrap();
    assert_eq!(rows(&selection), [("core-0", "amd-core-perf", false)]);
    assert!(said(&selection, Outcome::Refused, "add a source that covers packages"));
    let selection = choose(&epyc(), &["rapl-perf", "amd-core-perf"], ALL).unwrap();
    assert_eq!(selection.domains.len(), 2);
}

#[test]
fn a_machine_without_such_cores_is_chosen_for_as_ever() {
    let selection = choose(&laptop(), &[], ALL).unwrap();
    assert!(said(&selection, Outcome::Refused, "GenuineIntel does not count it"));
    let error = choose(&laptop(), &["amd-core-perf"], ALL).unwrap_err();
    assert!(matches!(error, SourceError::NoCoreEnergy { .. }), "{error}");
}

#[test]
fn a_die_that_cannot_be_read_is_missing_from_the_sum_and_every_number_says_so() {
    let tree = Tree::new().cpus(&[0, 0]).zone("intel-rapl:0", "package-0-die-0", 5).zone(
        "intel-rapl:1",
        "package-0-die-1",
        5,
    );
    assert!(choose(&tree, &[], ALL).unwrap().flags.is_empty());
    tree.write("class/powercap/intel-rapl:1/energy_uj", "junk");
    let selection = choose(&tree, &[], ALL).unwrap();
    assert_eq!(rows(&selection), [("package-0", "rapl-powercap", true)]);
    assert_eq!(selection.flags, ["part-unreadable"]);
    assert!(said(&selection, Outcome::Refused, "package-0-die-1 is there and cannot be read"));
    // Where nothing of a package can be read, another source takes all of it.
    tree.write("class/powercap/intel-rapl:0/energy_uj", "junk");
    let selection = choose(&tree, &[], ALL).unwrap();
    assert_eq!(rows(&selection), [("package-0", "model", true)]);
    assert!(selection.flags.is_empty());
}

#[test]
fn a_library_that_was_named_and_cannot_be_used_is_told_to_everybody() {
    let tree = Tree::new().cpus(&[0]);
    let roots = Roots { nvml: Some("/dev/null".into()), ..tree.roots() };
    let selection = select_with(&roots, &tree.topology(), &[], ALL).unwrap();
    let told = |n: &&Note| n.source == "auto" && n.text.contains("library that was named");
    assert_eq!(selection.notes.iter().filter(told).count(), 1);
    let selection = choose(&tree, &[], ALL).unwrap();
    assert_eq!(selection.notes.iter().filter(told).count(), 0);
}

#[test]
fn a_fifo_in_the_place_of_a_list_of_siblings_does_not_hang() {
    let tree = epyc();
    tree.remove("devices/system/cpu/cpu0/topology/thread_siblings_list");
    tree.fifo("devices/system/cpu/cpu0/topology/thread_siblings_list");
    let selection = choose(&tree, &[], ALL).unwrap();
    assert!(said(&selection, Outcome::Refused, "not a regular file"));
}
