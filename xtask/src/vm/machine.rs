//! One virtual machine: QEMU's command line, its run, what came out of its second serial port.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::expect::Figures;
use crate::process::{Running, show, wait_for};

/// What the processor is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub(super) enum Cpu {
    Intel,
    Amd,
}

/// Everything QEMU is told.
pub(super) struct Machine<'a> {
    pub(super) image: &'a Path,
    pub(super) cpu: Cpu,
    pub(super) cpus: u32,
    pub(super) sockets: u32,
    /// Threads of each core; they are among the CPUs.
    pub(super) threads: u32,
    pub(super) memory_mb: u32,
    pub(super) deterministic: bool,
    /// The processor's own virtualisation instead of emulation.
    pub(super) kvm: bool,
    /// It only takes what other processes leave.
    pub(super) modest: bool,
    pub(super) patience: Duration,
}

/// A machine that did not come to its end.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) words: String,
    /// It had to be ended.
    pub(super) hung: bool,
    /// It was the emulator's doing, which runs a kernel's instructions on one CPU while another patches them: the guest did
    /// not get as far as our first line, or its kernel fell over the trap that patching leaves for a moment.
    pub(super) emulator: bool,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// What the guest printed.
#[derive(Debug, Default)]
pub(super) struct Results {
    pub(super) figures: Figures,
    pub(super) texts: BTreeMap<String, String>,
    pub(super) verify: Vec<Value>,
    pub(super) errors: Vec<String>,
    /// All lines as they came.
    pub(super) bytes: Vec<u8>,
}

impl Cpu {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Intel => "intel",
            Self::Amd => "amd",
        }
    }

    fn model(self, sockets: u32) -> &'static str {
        match (self, sockets) {
            (Self::Intel, 1) => "Skylake-Client",
            (Self::Intel, _) => "Skylake-Server",
            (Self::Amd, 1) => "EPYC",
            (Self::Amd, _) => "EPYC-Milan",
        }
    }
}

impl Machine<'_> {
    /// Boots it with this initramfs and waits for its end; its files go to `dir`.
    pub(super) fn run(&self, initramfs: &Path, dir: &Path) -> Result<Results> {
        let (console, results) = (dir.join("console.log"), dir.join("results.jsonl"));
        let mut qemu = self.command(initramfs, &console, &results);
        let words = File::create(dir.join("qemu.log"))?;
        qemu.stdin(Stdio::null()).stdout(words.try_clone()?).stderr(words);
        let child = qemu.spawn().with_context(|| format!("cannot start `{}`", show(&qemu)))?;
        let mut child = Running(child);
        let ended = wait_for(&mut child.0, "its last line", self.patience, || None::<()>);
        let hung = matches!(child.0.try_wait(), Ok(None));
        drop(child);
        let bytes = fs::read(&results).unwrap_or_default();
        let emulator = emulators_doing(
            &String::from_utf8_lossy(&fs::read(&console).unwrap_or_default()),
            bytes.is_empty(),
        );
        parse(bytes).map_err(|error| {
            let how = ended.err().map(|e| format!("{e:#}")).unwrap_or_default();
            let words =
                format!("the machine {how}\n{}{}", tail(&dir.join("qemu.log")), tail(&console));
            error.context(Failed { words, hung, emulator })
        })
    }

    fn command(&self, initramfs: &Path, console: &Path, results: &Path) -> Command {
        // Of util-linux: where this program is killed, the machine does not outlive it.
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL"]);
        if self.modest {
            qemu.args(["nice", "-n", "19"]);
        }
        qemu.arg("qemu-system-x86_64");
        let (threads, each) = (self.threads, self.cpus / self.sockets / self.threads);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
            .args(["-accel", if self.kvm { "kvm" } else { "tcg" }])
            .args(["-cpu", self.cpu.model(self.sockets)])
            .arg("-smp")
            .arg(format!("{},sockets={},cores={each},threads={threads}", self.cpus, self.sockets))
            .args(["-m", &format!("{}M", self.memory_mb)])
            .arg("-kernel")
            .arg(self.image)
            .arg("-initrd")
            .arg(initramfs)
            .args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off cryptomgr.notests"]);
        for port in [console, results] {
            qemu.arg("-serial").arg(format!("file:{}", port.display()));
        }
        if self.deterministic {
            qemu.args(["-seed", "1", "-icount", "shift=2,sleep=off"])
                .args(["-rtc", "base=2026-01-01,clock=vm"]);
        }
        qemu
    }
}

/// The lines of the second port; an error when the guest did not come to its last one.
fn parse(bytes: Vec<u8>) -> Result<Results> {
    let mut results = Results::default();
    let mut done = false;
    for line in String::from_utf8_lossy(&bytes).lines().filter(|line| !line.trim().is_empty()) {
        let mut line: Value = serde_json::from_str(line.trim())
            .with_context(|| format!("the guest printed what is no JSON: {line}"))?;
        for (name, value) in line["figures"].as_object().into_iter().flatten() {
            results.figures.extend(value.as_f64().map(|value| (name.clone(), value)));
        }
        for (name, text) in line["texts"].as_object().into_iter().flatten() {
            results.texts.extend(text.as_str().map(|text| (name.clone(), text.to_owned())));
        }
        results.errors.extend(line["error"].as_str().map(str::to_owned));
        done |= line["done"] == true;
        let verify = line["verify"].take();
        results.verify.extend((!verify.is_null()).then_some(verify));
    }
    if !done {
        bail!("the guest did not finish");
    }
    results.bytes = bytes;
    Ok(results)
}

/// Its last lines.
fn tail(file: &Path) -> String {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).replace(['\r', '\u{1b}'], "");
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(25)..];
    last.iter().map(|line| format!("    {line}\n")).collect()
}

/// Whether a guest that failed did not get to our program, or met an `int3` in its kernel, which only patching puts there.
fn emulators_doing(console: &str, silent: bool) -> bool {
    (silent && !console.contains("lab-guest")) || console.contains("Oops: int3")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_kind_are_read_and_the_last_is_needed() {
        let text = "{\"verify\":{\"program\":\"tick\"}}\r\n{\"figures\":{\"a\":1.5,\"b\":\"x\"},\"texts\":{\"t\":\"u\"}}\n\
                    {\"error\":\"no\"}\n{\"done\":true}\n";
        let results = parse(text.as_bytes().to_vec()).unwrap();
        assert_eq!(results.figures, BTreeMap::from([("a".to_owned(), 1.5)]));
        assert_eq!(results.texts["t"], "u");
        assert_eq!(results.verify[0]["program"], "tick");
        assert_eq!(results.errors, ["no"]);
        let cut = text.replace("{\"done\":true}\n", "");
        assert!(parse(cut.into_bytes()).unwrap_err().to_string().contains("did not finish"));
        assert!(parse(b"{\"figures\"".to_vec()).is_err());
    }

    #[test]
    fn nothing_is_left_to_chance_in_a_deterministic_machine() {
        let machine = Machine {
            image: Path::new("k"),
            cpu: Cpu::Intel,
            cpus: 4,
            sockets: 2,
            threads: 2,
            memory_mb: 256,
            deterministic: true,
            kvm: false,
            modest: true,
            patience: Duration::ZERO,
        };
        let line = show(&machine.command(Path::new("i"), Path::new("c"), Path::new("r")));
        for part in [
            "setpriv --pdeathsig KILL nice -n 19 qemu-system-x86_64 ",
            "-accel tcg",
            "-seed 1",
            "-icount shift=2,sleep=off",
            "clock=vm",
            "4,sockets=2,cores=1,threads=2",
            "Skylake-Server",
            "-serial file:c -serial file:r",
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }

    #[test]
    fn a_kernel_that_fell_over_its_own_patching_is_told_from_one_that_we_broke() {
        assert!(emulators_doing("[ 1.0] Booting", true));
        assert!(emulators_doing("lab-guest: begun\n[10.5] Oops: int3: 0000 [#1] SMP", false));
        assert!(!emulators_doing("lab-guest: begun\n[10.5] Oops: general protection fault", false));
        assert!(!emulators_doing("lab-guest: begun", true));
    }
}
