//! Every test that this machine can run, and the names of those it cannot.
//!
//! What is compiled, and with which features, is the same for all of them, for the demo and for the guests of [`vm`]
//! ([`crate::built`]): nothing is built twice.
//!
//! Tests that need nothing run first, in parallel. Tests that load kernel programs or measure real
//! servers are marked `#[ignore]`, so that a bare `cargo test` reports them as ignored rather than
//! failing; here they run one at a time, because the probe refuses a second instance and because they
//! measure CPU time. An end-to-end test whose name starts with `llamacpp::`, `upstream::`, `uvicorn::`,
//! `node::` or `prometheus::` needs that part; one that starts with `speed::` is a measurement for release builds.
//! Last come the virtual machines of [`vm`], one test each.

mod tally;

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::built;
use crate::paths::Paths;
use crate::process::{self, is_root, tee};
use crate::provision::{self, Provisioned};
use crate::vm;
use tally::Tally;

/// Prefix of a test's name, and the parts it needs.
pub(crate) const NEEDS: [(&str, &[&str]); 5] = [
    ("llamacpp::", &["python", "model"]),
    ("upstream::", &["llama_server", "model"]),
    ("uvicorn::", &["python", "model"]),
    ("node::", &["node", "node_modules", "model"]),
    ("prometheus::", &["prometheus"]),
];

/// Which tests.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only tests that need neither root nor a real server.
    #[arg(long)]
    quick: bool,
    /// Only end-to-end tests whose name contains this.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// A virtual machine that cannot run is a failure.
    #[arg(long, conflicts_with_all = ["quick", "only"])]
    require_vm: bool,
    /// The full form of those that have a short one: 200 requests to each server instead of 50, 200 kills of a
    /// running probe instead of 8.
    #[arg(long, conflicts_with = "quick")]
    long: bool,
}

/// Runs the tests; the last line printed holds the real counts.
pub(crate) fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let Args { quick, ref only, require_vm, long } = *args;
    let only = only.as_deref();
    let mut total = Tally::default();
    if only.is_none() {
        total.add(&tallied(&mut cargo(paths))?);
        total.add(&tallied(&mut built::lab_tests(paths))?);
    }
    let marked = list_marked(paths, only)?;
    let mut not_run = BTreeMap::new();
    if quick {
        not_run.extend(marked.into_iter().map(|name| (name, "--quick was given".to_owned())));
    } else {
        let have = provision::tests(paths)?;
        have.print();
        let (runnable, cannot) = split(marked, &have, is_root());
        not_run = cannot;
        if !runnable.is_empty() {
            built::programs(paths)?;
            total.add(&run_marked(paths, only, &not_run, long)?);
        }
    }
    if only.is_none() && !quick {
        not_run.extend(book(vm::short(paths), require_vm, &mut total));
    }
    Ok(close(&total, &not_run))
}

/// Adds the virtual machines; returns those that are merely not run. That they could not be built must not
/// lose what the other tests came to.
fn book(
    machines: Result<vm::Outcome>,
    required: bool,
    total: &mut Tally,
) -> BTreeMap<String, String> {
    let machines = match machines {
        Ok(machines) => machines,
        Err(error) => {
            total.failed.push(format!("vm::build: {error:#}"));
            return BTreeMap::new();
        }
    };
    machines.print_tables();
    total.passed += machines.passed;
    total.failed.extend(machines.failed);
    if !required {
        return machines.not_run;
    }
    let failed = |(name, why)| format!("{name}: it must run here, but {why}");
    total.failed.extend(machines.not_run.into_iter().map(failed));
    BTreeMap::new()
}

/// Names of the tests that are marked `#[ignore]`.
fn list_marked(paths: &Paths, only: Option<&str>) -> Result<Vec<String>> {
    let mut list = cargo(paths);
    list.args(["--quiet", "--tests", "--", "--ignored", "--list"]).args(only);
    let listed = process::output(&mut list)?;
    Ok(listed.lines().filter_map(|l| l.strip_suffix(": test")).map(str::to_owned).collect())
}

/// Which of them can run here, and why the others cannot.
fn split(
    marked: Vec<String>,
    have: &Provisioned,
    root: bool,
) -> (Vec<String>, BTreeMap<String, String>) {
    let (mut runnable, mut cannot) = (Vec::new(), BTreeMap::new());
    for name in marked {
        match obstacle(&name, have, root) {
            Some(why) => drop(cannot.insert(name, why)),
            None => runnable.push(name),
        }
    }
    (runnable, cannot)
}

fn obstacle(name: &str, have: &Provisioned, root: bool) -> Option<String> {
    if !root {
        return Some("not root: loading kernel programs needs CAP_BPF and CAP_PERFMON".into());
    }
    if name.starts_with("speed::") {
        return Some(
            "its bound is for optimised builds: cargo test --release -- --ignored speed::".into(),
        );
    }
    let needs = NEEDS.iter().filter(|(prefix, _)| name.starts_with(prefix));
    needs
        .flat_map(|(_, parts)| *parts)
        .find_map(|part| have.missing.get(part).map(|why| format!("{part} is missing: {why}")))
}

fn run_marked(
    paths: &Paths,
    only: Option<&str>,
    not_run: &BTreeMap<String, String>,
    long: bool,
) -> Result<Tally> {
    let mut arguments = vec!["--tests", "--", "--ignored", "--test-threads=1"];
    arguments.extend(only);
    for name in not_run.keys() {
        arguments.extend(["--skip", name]);
    }
    let mut cargo = cargo(paths);
    if long {
        cargo.env("WATTPROBE_LONG", "1");
    }
    tallied(cargo.args(arguments))
}

fn tallied(cargo: &mut Command) -> Result<Tally> {
    let (lines, success) = tee(cargo)?;
    let tally = Tally::of(&lines);
    if !success && tally.failed.is_empty() {
        bail!("the tests did not run to their end: see above");
    }
    Ok(tally)
}

fn cargo(paths: &Paths) -> Command {
    let mut cargo = built::tests(paths);
    cargo.env("WATTPROBE_CACHE", &paths.cache).arg("--no-fail-fast");
    cargo
}

fn close(total: &Tally, not_run: &BTreeMap<String, String>) -> ExitCode {
    println!();
    for (name, why) in not_run {
        println!("not run: {name}, because {why}");
    }
    for name in &total.failed {
        println!("failed: {name}");
    }
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed.len(), not_run.len());
    ExitCode::from(u8::from(!total.failed.is_empty() || total.passed == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_whose_part_is_missing_is_named_and_not_run() {
        let mut have = Provisioned::default();
        have.missing.insert("node", "npm said no".to_owned());
        let marked = ["node::sees_all".to_owned(), "lab::sees_all".to_owned()].to_vec();
        let (runnable, cannot) = split(marked, &have, true);
        assert_eq!(runnable, ["lab::sees_all"]);
        assert_eq!(cannot["node::sees_all"], "node is missing: npm said no");
    }

    #[test]
    fn machines_that_did_not_build_are_one_failure_among_the_counts() {
        let mut total = Tally { passed: 7, failed: Vec::new() };
        assert!(book(Err(anyhow::anyhow!("no linker")), false, &mut total).is_empty());
        assert_eq!(total, Tally { passed: 7, failed: vec!["vm::build: no linker".to_owned()] });
    }

    #[test]
    fn a_machine_that_did_not_run_fails_where_it_must_run() {
        let machines = || {
            let mut machines = vm::Outcome::default();
            machines.passed = 2;
            machines.not_run.insert("vm::x".to_owned(), "no QEMU".to_owned());
            machines
        };
        let mut total = Tally::default();
        assert_eq!(book(Ok(machines()), false, &mut total)["vm::x"], "no QEMU");
        assert_eq!(total, Tally { passed: 2, failed: Vec::new() });
        assert!(book(Ok(machines()), true, &mut total).is_empty());
        assert_eq!(total.failed, ["vm::x: it must run here, but no QEMU"]);
    }

    #[test]
    fn without_root_no_marked_test_runs() {
        let marked = vec!["lab::sees_all".to_owned()];
        let (runnable, cannot) = split(marked, &Provisioned::default(), false);
        assert!(runnable.is_empty());
        assert!(cannot["lab::sees_all"].starts_with("not root"));
    }
}
