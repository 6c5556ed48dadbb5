//! Files of sysfs and arguments as an enemy would write them: every parser returns, none panics.

use proptest::prelude::*;

use super::sensor::parse_number;
use super::testing::Tree;
use super::{SourceSpec, perf, pmu::Pmu, powercap};
use crate::topology::{Topology, parse_cpu_list};

/// Text that is nearly right, which goes deeper than noise.
fn nearly() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9a-z:,=/@. -]{0,24}",
        "config[0-3]?:[0-9]{1,2}(-[0-9]{1,3})?(,[0-9]{1,2}-[0-9]{1,2}){0,3}",
        "(event|umask|config)=0?x?[0-9a-f]{0,17}(,event=[0-9]{0,20})?",
        "[0-9]{0,12}-?[0-9]{0,12}(,[0-9]{0,5}){0,3}",
        "package-[0-9-]{0,12}(-die-[0-9]{0,3})?",
        "\\PC{0,40}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn text_parsers_return_whatever_they_are_given(text in nearly(), bytes in any::<Vec<u8>>()) {
        let _ = text.parse::<SourceSpec>();
        let _ = format!("perf:{text}").parse::<SourceSpec>();
        if let Ok(cpus) = parse_cpu_list(&text) {
            prop_assert!(cpus.windows(2).all(|w| w[0] < w[1]) && cpus.len() <= 8192);
        }
        let _ = parse_number(&bytes);
    }

    #[test]
    fn a_number_of_microjoules_is_read_back_exactly(uj: u64) {
        prop_assert_eq!(parse_number(format!("{uj}\n").as_bytes()), Some(uj));
        prop_assert_eq!(parse_number(format!("{uj}.0").as_bytes()), None);
    }

    #[test]
    fn a_pmu_of_nearly_right_files_is_read_or_refused(
        format in nearly(), event in nearly(), scale in nearly(), mask in nearly()
    ) {
        let tree = Tree::new().cpus(&[0, 1]).power_pmu(&["energy-pkg"], "0");
        let dir = "bus/event_source/devices/power";
        tree.write(&format!("{dir}/format/event"), &format);
        let _ = perf::rapl(&tree.roots(), &tree.topology());
        tree.write(&format!("{dir}/events/energy-pkg"), &event);
        let _ = Pmu::read(&tree.roots(), "power").and_then(|p| p.attr("energy-pkg"));
        tree.write(&format!("{dir}/events/energy-pkg.scale"), &scale);
        tree.write(&format!("{dir}/cpumask"), &mask);
        let _ = perf::rapl(&tree.roots(), &tree.topology());
    }

    #[test]
    fn zones_of_nearly_right_files_are_read_or_refused(
        name in nearly(), max in nearly(), online in nearly()
    ) {
        let tree = Tree::new().cpus(&[0]).zone("intel-rapl:0", "package-0", 5);
        tree.write("class/powercap/intel-rapl:0/name", &name);
        let _ = powercap::domains(&tree.roots(), &tree.topology());
        tree.write("class/powercap/intel-rapl:0/max_energy_range_uj", &max);
        let _ = powercap::domains(&tree.roots(), &tree.topology());
        tree.write("devices/system/cpu/online", &online);
        let _ = Topology::read(&tree.roots());
    }
}
