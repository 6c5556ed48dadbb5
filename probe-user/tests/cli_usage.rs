//! Bad input through the real binary: one line that says what to do, and the documented exit status.

use std::process::{Command, Output};

fn wattprobe(line: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wattprobe")).args(line).output().expect("the binary runs")
}

/// Runs and checks status, that standard error is one line, and what it says.
#[track_caller]
fn refused(line: &[&str], status: i32, says: &[&str]) {
    let output = wattprobe(line);
    let text = String::from_utf8(output.stderr).expect("messages are text");
    assert_eq!(output.status.code(), Some(status), "{line:?}: {text}");
    assert_eq!(text.lines().count(), 1, "{line:?}: {text}");
    assert!(text.starts_with("wattprobe: error: "), "{line:?}: {text}");
    for part in says {
        assert!(text.contains(part), "{line:?}: {text}");
    }
    assert!(output.stdout.is_empty(), "{line:?}");
}

#[test]
fn attach_without_a_target_names_the_options() {
    refused(&["attach"], 2, &["--port", "--pid", "--unit", "--cgroup", "--container"]);
    refused(&["attach", "--name", "x"], 2, &["--port"]);
}

#[test]
fn targets_that_cannot_exist_are_usage_errors() {
    refused(&["attach", "--port", "0"], 2, &["1 to 65535", "unix socket"]);
    refused(&["attach", "--port", "65536"], 2, &["65535"]);
    refused(&["attach", "--port", "http"], 2, &["65535"]);
    refused(&["attach", "--pid", "-1"], 2, &["--pid"]);
    refused(&["attach", "--pid", "0"], 2, &["number of a process"]);
    refused(&["attach", "--unit", "a b"], 2, &["systemd unit"]);
    refused(&["attach", "--unit", "../x"], 2, &["systemd unit"]);
    refused(&["attach", "--cgroup", "/"], 2, &["control group"]);
    refused(&["attach", "--cgroup", "a/../.."], 2, &["control group"]);
    refused(&["attach", "--container", "a b"], 2, &["id of a container"]);
    refused(&["attach", "--container", "docker://"], 2, &["first digits"]);
    refused(&["attach", "--port", "1", "--name", "kernel"], 2, &["choose another"]);
    refused(&["attach", "--port", "1", "--name", "residual"], 2, &["choose another"]);
    refused(&["attach", "--port", "1", "--port", "1"], 2, &["given twice"]);
    refused(&["attach", "--pid", "1", "--pid", "2"], 2, &["--name after each"]);
}

#[test]
fn sources_that_do_not_exist_list_those_that_do() {
    let source = |spec| ["attach", "--port", "1", "--source", spec];
    refused(&source("rapl"), 2, &["unknown source \"rapl\"", "rapl-powercap", "perf:PMU/EVENT/"]);
    refused(&source("perf:msr"), 2, &["perf:power/energy-pkg/"]);
    refused(&source("perf:msr/tsc/,scale=0"), 2, &["positive number"]);
    refused(&source("perf:msr/tsc/,rate=1"), 2, &["scale=JOULES_PER_COUNT"]);
}

#[test]
fn what_comes_later_says_so_and_is_never_silently_accepted() {
    let with = |option, value| ["attach", "--port", "1", option, value];
    refused(&with("--weight", "watts"), 2, &["unknown policy; use time, cycles, smt"]);
    refused(&with("--share", "most"), 2, &["unknown policy; use equal"]);
    refused(&with("--idle", "odd"), 2, &["unknown policy; use none, even, proportional"]);
    for command in ["daemon", "top", "bench", "report"] {
        refused(&[command], 2, &[command, "not in this version"]);
    }
    refused(&["attatch"], 2, &["unrecognized subcommand", "attach"]);
}

#[test]
fn values_that_cannot_be_read_say_what_to_write() {
    let with = |option, value| ["attach", "--port", "1", option, value];
    for value in ["10", "10 s", "-1s", "0s", "1d", "soon", "99999999999999999999h"] {
        let option = format!("--for={value}");
        refused(&["attach", "--port", "1", &option], 2, &["--for"]);
    }
    refused(&with("--for", "10"), 2, &["500ms, 10s, 2m or 1h"]);
    refused(&with("--count", "0"), 2, &["--count"]);
    refused(&with("--metrics", "here"), 2, &["127.0.0.1:9847"]);
    refused(&with("--metrics", "127.0.0.1:99999"), 2, &["127.0.0.1:9847"]);
    refused(&with("--format", "xml"), 2, &["table", "json"]);
    refused(&with("--log-format", "xml"), 2, &["text", "json"]);
    refused(&["attach", "--port", "1", "--summary", "a", "--slices", "a"], 2, &["its own file"]);
    let both = ["attach", "--port", "1", "--requests", "-", "--summary", "-"];
    refused(&both, 2, &["two options write to -;"]);
    refused(&["completions", "dos"], 2, &["bash", "zsh"]);
    refused(&["attach", "--prot", "1"], 2, &["--port"]);
}

#[test]
fn a_source_this_machine_lacks_is_a_missing_feature() {
    let source = |spec| ["attach", "--port", "1", "--source", spec];
    refused(&source("perf:nosuchpmu/x/"), 4, &["nosuchpmu", "it has: "]);
}

#[test]
fn an_unreadable_sysfs_names_the_file_and_the_option() {
    let line = ["attach", "--port", "1", "--sysfs-root", "/nonexistent"];
    refused(&line, 1, &["/nonexistent/devices/system/cpu/online", "--sysfs-root"]);
}

#[test]
fn with_the_json_log_an_error_is_one_object_with_its_exit_status() {
    let line = ["--log-format", "json", "attach", "--pid", "1", "--sysfs-root", "/nonexistent"];
    let output = wattprobe(&line);
    let value: serde_json::Value = serde_json::from_slice(&output.stderr).expect("one object");
    assert_eq!(value["level"], "error");
    assert_eq!(value["exit"], 1);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn help_and_version_are_results() {
    for line in [
        &["--help"][..],
        &["attach", "--help"],
        &["tape", "verify", "--help"],
        &["doctor", "-h"],
        &["--version"],
    ] {
        let output = wattprobe(line);
        assert_eq!(output.status.code(), Some(0), "{line:?}");
        assert!(output.stderr.is_empty() && !output.stdout.is_empty(), "{line:?}");
    }
    assert_eq!(wattprobe(&[]).status.code(), Some(2));
    let help = String::from_utf8(wattprobe(&["attach", "--help"]).stdout).expect("text");
    for option in ["--port", "--requests", "--slices", "--metrics", "--for", "--source", "--idle"] {
        assert!(help.contains(option), "{option}");
    }
    assert!(help.contains("[default: 127.0.0.1:9847]") && help.contains("--tape"));
    let said = |option: &str| {
        let (_, rest) = help.split_once(option).expect("it is there");
        rest.split("--").next().expect("a text").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for policy in ["time", "smt", "cycles"] {
        assert!(said("--weight <POLICY>").contains(policy), "{policy}");
    }
    for policy in ["equal", "tokens", "work"] {
        assert!(said("--share <POLICY>").contains(policy), "{policy}");
    }
    let all = String::from_utf8(wattprobe(&["--help"]).stdout).expect("text");
    let all = all.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(all.contains("3 the measurement is invalid, or an audit failed;"), "{all}");
}

#[test]
fn completions_and_manual_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let output = wattprobe(&["completions", shell]);
        let script = String::from_utf8(output.stdout).expect("text");
        assert_eq!(output.status.code(), Some(0));
        assert!(["doctor", "attach", "completions", "man"].iter().all(|c| script.contains(c)));
    }
    let output = wattprobe(&["man"]);
    let pages = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0));
    for page in ["wattprobe", "wattprobe-attach", "wattprobe-doctor", "wattprobe-completions"] {
        assert!(pages.contains(&format!(".TH {page} ")), "{page}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wattprobe"))
        .arg("man")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
