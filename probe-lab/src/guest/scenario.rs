//! A scenario: what happens in the machine, as data. The host adds fields of its own and judges `expect`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One scenario file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// Whose processor: `intel` or `amd`.
    #[serde(default)]
    pub cpu: String,
    /// Its processor is an emulated one: slow, and with a time of its own.
    #[serde(default)]
    pub emulated: bool,
    /// Parameters of modules by name.
    #[serde(default)]
    pub modules: BTreeMap<String, String>,
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// What the host will look at; here only for the flags whose absence has to be said.
    #[serde(default)]
    pub expect: Vec<Expect>,
}

/// One expectation, as far as the guest needs it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Expect {
    /// Name of the figure.
    pub figure: String,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Load the modules that the machine was given.
    Load,
    /// Set a sysctl, named with dots.
    Sysctl(String, String),
    /// Run the probe beside burners.
    Measure(Measure),
    /// Compare the simulated RAPL with itself.
    Model(Model),
    /// Pass on what `/bin/verify` prints.
    Verify,
    /// Run end-to-end tests.
    EndToEnd(EndToEnd),
    /// Time system calls with the probe and without it.
    Others(Others),
}

/// What others pay for the probe.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Others {
    /// Times each.
    pub rounds: usize,
    /// How long that may take; the host waits for it.
    pub seconds: u64,
}

/// End-to-end tests of the probe.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndToEnd {
    /// Prefix of its figures.
    pub name: String,
    /// Beginnings of the tests' names.
    pub tests: Vec<String>,
    /// Parts of the names of those that are left out.
    #[serde(default)]
    pub skip: Vec<String>,
    /// The boundary rung that the probe is to take.
    pub boundary: String,
    /// How long they may take; the host waits for it.
    pub seconds: u64,
}

/// A run of the probe.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// Prefix of its figures.
    pub name: String,
    /// `--source` options; none: the probe's own choice.
    #[serde(default)]
    pub sources: Vec<String>,
    /// How long the burners burn; the probe is attached before and ended after.
    pub burn_ms: u64,
    /// From the attachment to the burners' start.
    #[serde(default = "lead")]
    pub lead_ms: u64,
    /// The watched process.
    pub target: Load,
    /// Processes beside it.
    #[serde(default)]
    pub rivals: Vec<Load>,
    /// Events of the PMU `power` that `perf stat` counts meanwhile.
    #[serde(default)]
    pub perf: Vec<String>,
    /// What happens meanwhile, by time.
    #[serde(default)]
    pub actions: Vec<Action>,
}

fn lead() -> u64 {
    200
}

/// A group of equal burners.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// What each of their tasks draws.
    pub watts: u32,
    /// Processes.
    #[serde(default = "one")]
    pub count: u32,
    /// Threads that burn in each.
    #[serde(default = "one")]
    pub threads: u32,
    /// Short-lived children of each.
    #[serde(default)]
    pub children: u32,
    /// How long a child burns.
    #[serde(default = "child_ms")]
    pub child_ms: u64,
    /// Part of the time that a thread burns, percent.
    #[serde(default = "all")]
    pub duty_pct: u64,
    /// The CPU they are held to.
    #[serde(default)]
    pub pin: Option<usize>,
}

fn one() -> u32 {
    1
}

fn child_ms() -> u64 {
    3
}

fn all() -> u64 {
    100
}

/// Something that happens to the machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// From the burners' start.
    pub at_ms: u64,
    /// What.
    #[serde(rename = "do")]
    pub what: Deed,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// A parameter of simrapl and its new value.
    Set(String, String),
    /// A CPU goes.
    Offline(u32),
    /// A CPU comes back.
    Online(u32),
}

/// The simulated RAPL against itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Prefix of its figures.
    pub name: String,
    /// How long the burners burn.
    pub burn_ms: u64,
    /// The burners.
    pub loads: Vec<Load>,
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Whether memory has energy registers here: Intel's has, unless simrapl is told otherwise (bit 1 of `domains`).
    #[must_use]
    pub fn has_memory(&self) -> bool {
        let params = self.modules.get("simrapl").map_or("", String::as_str);
        let mask = params.split_whitespace().find_map(|p| p.strip_prefix("domains="));
        let number = |text: &str| match text.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        };
        self.cpu == "intel" && mask.is_none_or(|mask| number(mask).is_some_and(|m| m & 2 != 0))
    }

    /// The flags that `expect` asks about under a prefix: `perf.flag:counter-stuck` is `counter-stuck`.
    pub fn flags_of<'a>(&'a self, prefix: &str) -> impl Iterator<Item = &'a str> {
        let head = format!("{prefix}.flag:");
        self.expect.iter().filter_map(move |e| e.figure.strip_prefix(&head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_with_every_kind_of_step_is_read() {
        let text = r#"{
            "name": "all", "about": "x", "cpus": 2, "memory_mb": 512, "cpu": "intel", "kernel": "6.1",
            "modules": {"simrapl": "idle_mw=0"},
            "steps": ["load", "verify",
                {"measure": {"name": "perf", "sources": ["rapl-perf"], "burn_ms": 1500,
                    "target": {"watts": 10, "children": 100},
                    "rivals": [{"watts": 5, "count": 3}],
                    "actions": [{"at_ms": 5, "do": {"set": ["stuck", "1"]}}, {"at_ms": 6, "do": {"offline": 1}}]}},
                {"model": {"name": "m", "burn_ms": 10, "loads": []}}],
            "expect": [{"figure": "perf.flag:late", "equals": 0}, {"figure": "perf.target_j", "at_least": 1}]
        }"#;
        let scenario = Scenario::parse(text).unwrap();
        assert_eq!(scenario.steps.len(), 4);
        let Step::Measure(measure) = &scenario.steps[2] else { panic!("a measure") };
        assert_eq!(
            (measure.lead_ms, measure.target.threads, measure.target.children),
            (200, 1, 100)
        );
        assert_eq!(measure.rivals[0].count, 3);
        assert_eq!(measure.actions[0].what, Deed::Set("stuck".into(), "1".into()));
        assert_eq!(measure.actions[1].what, Deed::Offline(1));
        assert_eq!(scenario.flags_of("perf").collect::<Vec<_>>(), ["late"]);
        assert_eq!(scenario.flags_of("other").count(), 0);
        assert!(scenario.has_memory());
    }

    #[test]
    fn memory_has_registers_where_the_processor_and_the_module_give_them() {
        let has = |cpu: &str, params: &str| {
            let modules = [("simrapl".to_owned(), params.to_owned())].into();
            let (name, cpu) = (String::new(), cpu.to_owned());
            Scenario { name, cpu, emulated: true, modules, steps: vec![], expect: vec![] }
                .has_memory()
        };
        assert!(has("intel", "idle_mw=0") && has("intel", "domains=3 esu=21"));
        assert!(has("intel", "domains=0x1f") && !has("intel", "domains=0x1d"));
        assert!(!has("intel", "domains=1") && !has("amd", "domains=3"));
    }

    #[test]
    fn a_misspelt_field_of_a_step_is_refused() {
        let text =
            r#"{"name": "x", "steps": [{"model": {"name": "m", "burnms": 1, "loads": []}}]}"#;
        let error = Scenario::parse(text).unwrap_err().to_string();
        assert!(error.contains("burnms"), "{error}");
    }

    #[test]
    fn every_scenario_of_the_project_is_readable() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
        let mut read = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let scenario = Scenario::parse(&std::fs::read_to_string(&path).unwrap())
                .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert_eq!(Some(scenario.name.as_str()), path.file_stem().and_then(|s| s.to_str()));
            read += 1;
        }
        assert!(read >= 8, "{read}");
    }
}
