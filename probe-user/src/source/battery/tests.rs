//! Batteries that discharge, that do not, and that are not the machine's.

use super::*;
use crate::source::testing::Tree;

const S: u64 = 1_000_000_000;
const BAT0: &str = "class/power_supply/BAT0";

fn laptop() -> Tree {
    let files = [("status", "Discharging"), ("power_now", "15000000")];
    Tree::new().cpus(&[0]).supply("BAT0", "Battery", &files).supply(
        "AC",
        "Mains",
        &[("online", "0")],
    )
}

fn open(tree: &Tree) -> Result<OpenBatteries, ReadError> {
    match &domains(&tree.roots()).unwrap()[0].reading {
        Reading::Polled(Polled::Battery(batteries)) => batteries.open(),
        other => panic!("{other:?}"),
    }
}

fn watts(tree: &Tree) -> f64 {
    let mut open = open(tree).unwrap();
    let first = open.read(&|| S).unwrap().count;
    (open.read(&|| 2 * S).unwrap().count - first) as f64 / 1e9
}

#[test]
fn a_discharging_battery_is_the_machine_at_its_power() {
    let tree = laptop();
    let domain = &domains(&tree.roots()).unwrap()[0];
    assert_eq!((domain.name.as_str(), domain.scope), ("battery", Scope::Machine));
    assert_eq!((domain.quality, domain.class_ratio), (Quality::Integrated, 0.10));
    assert!((watts(&tree) - 15.0).abs() < 1e-9);
    // Some drivers show what leaves as negative.
    tree.write(&format!("{BAT0}/power_now"), "-12000000\n");
    assert!((watts(&tree) - 12.0).abs() < 1e-9);
}

#[test]
fn current_times_voltage_is_power_and_several_batteries_are_summed() {
    let tree = laptop();
    tree.remove(&format!("{BAT0}/power_now"));
    tree.write(&format!("{BAT0}/current_now"), "1500000\n");
    tree.write(&format!("{BAT0}/voltage_now"), "12000000\n");
    assert!((watts(&tree) - 18.0).abs() < 1e-9);
    let files = [("status", "Discharging"), ("power_now", "4000000"), ("scope", "System")];
    let tree = tree.supply("BAT1", "Battery", &files);
    assert!((watts(&tree) - 22.0).abs() < 1e-9);
    tree.write("class/power_supply/BAT1/status", "Not charging\n");
    assert!((watts(&tree) - 18.0).abs() < 1e-9);
}

#[test]
fn a_mouse_is_not_the_machine() {
    let files = [("status", "Discharging"), ("power_now", "1"), ("scope", "Device")];
    let tree = Tree::new().cpus(&[0]).supply("hidpp_battery_0", "Battery", &files);
    assert!(matches!(domains(&tree.roots()), Err(SourceError::NoBattery { .. })));
    let tree = laptop().supply("hidpp_battery_0", "Battery", &files);
    assert!((watts(&tree) - 15.0).abs() < 1e-9);
}

#[test]
fn nothing_is_measured_while_something_charges() {
    for status in ["Charging", "Full", "Not charging", "Unknown"] {
        let tree = laptop();
        tree.write(&format!("{BAT0}/status"), status);
        let error = open(&tree).unwrap_err();
        assert!(matches!(error, ReadError::OnMains { .. }), "{status}: {error}");
        assert!(error.to_string().contains("unplug"), "{error}");
    }
}

#[test]
fn a_moment_on_mains_is_not_integrated_over() {
    let tree = laptop();
    let mut open = open(&tree).unwrap();
    let first = open.read(&|| S).unwrap().count;
    tree.write(&format!("{BAT0}/status"), "Charging\n");
    assert!(open.read(&|| 2 * S).is_err());
    tree.write(&format!("{BAT0}/status"), "Discharging\n");
    let again = open.read(&|| 3 * S).unwrap().count;
    assert!(again < first, "{again} {first}");
}

#[test]
fn broken_files_are_errors_and_never_zero() {
    for (file, content) in [
        ("status", "Exploding"),
        ("status", ""),
        ("power_now", ""),
        ("power_now", "0"),
        ("power_now", "12 W"),
        ("power_now", "9999999999999"),
        ("power_now", "99999999999999999999"),
    ] {
        let tree = laptop();
        tree.write(&format!("{BAT0}/{file}"), content);
        assert!(open(&tree).is_err(), "{file} {content:?}");
    }
    let tree = laptop();
    tree.remove(&format!("{BAT0}/power_now"));
    assert!(open(&tree).is_err(), "neither power nor current");
    let tree = laptop();
    let mut open = open(&tree).unwrap();
    tree.remove(&format!("{BAT0}/status"));
    assert!(matches!(open.read(&|| S), Err(ReadError::Vanished { .. })));
}

#[test]
fn a_machine_that_draws_nothing_is_not_believed() {
    let tree = laptop();
    let mut running = open(&tree).unwrap();
    tree.write(&format!("{BAT0}/power_now"), "0\n");
    for error in [open(&tree).unwrap_err(), running.read(&|| S).unwrap_err()] {
        assert!(matches!(error, ReadError::NoPower { .. }), "{error}");
        assert!(error.to_string().contains("0 µW"), "{error}");
    }
    tree.remove(&format!("{BAT0}/power_now"));
    tree.write(&format!("{BAT0}/current_now"), "0\n");
    tree.write(&format!("{BAT0}/voltage_now"), "12000000\n");
    assert!(matches!(open(&tree), Err(ReadError::NoPower { .. })));
    let files = [("status", "Discharging"), ("power_now", "4000000")];
    let tree = tree.supply("BAT1", "Battery", &files);
    assert!((watts(&tree) - 4.0).abs() < 1e-9, "the other one gives it all");
}

#[test]
fn a_fifo_in_place_of_a_file_is_not_waited_for() {
    for file in ["type", "status", "power_now"] {
        let tree = laptop();
        tree.fifo(&format!("{BAT0}/{file}"));
        let found = domains(&tree.roots());
        assert_eq!(found.is_err(), file == "type", "{file}");
        if found.is_ok() {
            assert!(matches!(open(&tree), Err(ReadError::Vanished { .. })), "{file}");
        }
    }
}
