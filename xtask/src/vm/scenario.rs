//! Scenario files: what the host needs of them, and what it writes into the guest's copy.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::expect::Expect;
use super::machine::Cpu;

/// One scenario.
pub(super) struct Scenario {
    /// Its name, which is the file's too.
    pub(super) name: String,
    pub(super) about: String,
    pub(super) cpus: u32,
    pub(super) memory_mb: u32,
    pub(super) expect: Vec<Expect>,
    pub(super) on: On,
    whole: Map<String, Value>,
}

/// The machines a scenario is run on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct On {
    /// Makes of processor; the first is the one of short runs.
    pub(super) cpu: Vec<Cpu>,
    /// Numbers of packages, of `cpus` CPUs each; the first is the one of short runs.
    pub(super) sockets: Vec<u32>,
    /// Threads of each core, among the `cpus`; in deterministic mode 1.
    pub(super) threads: u32,
    /// The oldest kernel that has what it needs: `6.14`.
    pub(super) from: Option<String>,
    /// The full matrix also runs it twice in deterministic mode.
    pub(super) deterministic: bool,
    /// `cargo xtask test` runs it.
    pub(super) short: bool,
    /// An emulated processor is too slow for it, or its times mean nothing.
    pub(super) kvm: bool,
}

impl Default for On {
    fn default() -> Self {
        let (cpu, sockets) = (vec![Cpu::Intel], vec![1]);
        let (deterministic, short, kvm) = (false, false, false);
        Self { cpu, sockets, threads: 1, from: None, deterministic, short, kvm }
    }
}

#[derive(Deserialize)]
struct Fields {
    name: String,
    about: String,
    cpus: u32,
    memory_mb: u32,
    expect: Vec<Expect>,
    #[serde(default)]
    on: On,
}

/// What the host adds to the guest's copy.
#[derive(Clone, Copy)]
pub(super) struct Resolved<'a> {
    pub(super) kernel: &'a str,
    pub(super) cpu: &'a str,
    pub(super) cpus: u32,
    pub(super) sockets: u32,
    pub(super) deterministic: bool,
    pub(super) emulated: bool,
}

impl Scenario {
    /// All of a folder, by name.
    pub(super) fn all(folder: &Path) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        let entries =
            fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "json") {
                let read = || Self::parse(&fs::read_to_string(&path)?);
                all.push(read().with_context(|| format!("cannot read {}", path.display()))?);
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let whole: Map<String, Value> = serde_json::from_str(text)?;
        let Fields { name, about, cpus, memory_mb, expect, on } = serde_json::from_str(text)?;
        expect.iter().try_for_each(Expect::check)?;
        Ok(Self { name, about, cpus, memory_mb, expect, on, whole })
    }

    /// The guest's copy.
    pub(super) fn resolve(&self, with: Resolved<'_>) -> Result<Vec<u8>> {
        let mut whole = self.whole.clone();
        whole.insert("kernel".into(), with.kernel.into());
        whole.insert("cpu".into(), with.cpu.into());
        whole.insert("cpus".into(), with.cpus.into());
        whole.insert("sockets".into(), with.sockets.into());
        whole.insert("deterministic".into(), with.deterministic.into());
        whole.insert("emulated".into(), with.emulated.into());
        Ok(serde_json::to_vec(&whole)?)
    }

    /// Whether a step has this key: a kind of step, or a part of one.
    fn has(&self, key: &str) -> bool {
        !self.all_of(key).is_empty()
    }

    /// The object is loaded.
    pub(super) fn needs_object(&self) -> bool {
        ["measure", "tests", "others"].into_iter().any(|key| self.has(key))
            || self.has_step("verify")
    }

    /// It looks at what the verifier says.
    pub(super) fn verifies(&self) -> bool {
        self.has_step("verify")
    }

    /// It wants the simulated RAPL.
    pub(super) fn needs_module(&self) -> bool {
        self.has_step("load")
    }

    /// It runs `perf`.
    pub(super) fn needs_perf(&self) -> bool {
        self.has("perf")
    }

    /// The end-to-end tests that it runs, by the beginnings of their names.
    pub(super) fn tests(&self) -> Vec<String> {
        let lists = self.all_of("tests").into_iter().filter_map(Value::as_array).flatten();
        lists.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// How long its burners burn and its tests may take, one step after another.
    pub(super) fn lasts(&self) -> Duration {
        let sum = |key| self.all_of(key).into_iter().filter_map(Value::as_u64).sum();
        Duration::from_millis(sum("burn_ms")) + Duration::from_secs(sum("seconds"))
    }

    /// Every value of this key in its steps.
    fn all_of(&self, key: &str) -> Vec<&Value> {
        self.whole.get("steps").map(|steps| values(steps, key)).unwrap_or_default()
    }

    /// The fewest CPUs it makes sense with: one that is taken away must not be the last.
    pub(super) fn fewest_cpus(&self) -> u64 {
        self.all_of("offline").into_iter().filter_map(Value::as_u64).max().map_or(1, |cpu| cpu + 1)
    }

    fn has_step(&self, name: &str) -> bool {
        let steps = self.whole.get("steps").and_then(Value::as_array);
        steps.is_some_and(|steps| steps.iter().any(|step| step == name))
    }
}

/// Every value of this key, however deep.
fn values<'a>(within: &'a Value, key: &str) -> Vec<&'a Value> {
    match within {
        Value::Array(all) => all.iter().flat_map(|one| values(one, key)).collect(),
        Value::Object(all) => {
            all.get(key).into_iter().chain(all.values().flat_map(|one| values(one, key))).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"name": "x", "about": "y", "cpus": 2, "memory_mb": 64, "steps": ["load",
        {"measure": {"perf": ["energy-pkg"], "burn_ms": 1500, "actions": [{"at_ms": 1, "do": {"offline": 1}}]}}], "expect": []}"#;

    #[test]
    fn what_a_scenario_needs_is_read_from_its_steps() {
        let scenario = Scenario::parse(TEXT).unwrap();
        assert!(scenario.needs_module() && scenario.needs_object() && scenario.needs_perf());
        assert!(!scenario.verifies());
        assert_eq!(scenario.fewest_cpus(), 2);
        assert_eq!(scenario.lasts(), Duration::from_millis(1500));
    }

    #[test]
    fn a_scenario_runs_on_one_package_of_intel_unless_it_says_otherwise() {
        assert_eq!(Scenario::parse(TEXT).unwrap().on, On::default());
        let on: On = serde_json::from_str(r#"{"cpu": ["amd"], "from": "6.14"}"#).unwrap();
        assert_eq!((on.cpu, on.sockets, on.from), (vec![Cpu::Amd], vec![1], Some("6.14".into())));
        assert!(serde_json::from_str::<On>(r#"{"socket": [2]}"#).is_err());
    }

    #[test]
    fn the_guests_copy_says_what_the_machine_is() {
        let with = Resolved {
            kernel: "6.1",
            cpu: "amd",
            cpus: 1,
            sockets: 1,
            deterministic: true,
            emulated: true,
        };
        let copy = Scenario::parse(TEXT).unwrap().resolve(with).unwrap();
        let copy: Value = serde_json::from_slice(&copy).unwrap();
        assert_eq!((&copy["kernel"], &copy["cpu"]), (&"6.1".into(), &"amd".into()));
        assert_eq!((&copy["cpus"], &copy["deterministic"]), (&1.into(), &true.into()));
        assert_eq!(copy["steps"][0], "load");
    }

    #[test]
    fn every_scenario_of_the_project_can_be_judged() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../probe-lab/scenarios");
        let all = Scenario::all(Path::new(folder)).unwrap();
        assert!(all.iter().any(Scenario::verifies));
        assert!(all.iter().all(|s| s.verifies() || !s.expect.is_empty()), "one expects nothing");
    }
}
