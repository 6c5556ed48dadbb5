//! Running other programs: one line that says what runs, an error that says what failed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, thread};

use anyhow::{Context, Result, bail, ensure};

/// A command line as a person would type it.
pub(crate) fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs it with this terminal; an exit status other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    eprintln!("+ {}", show(command));
    let status = command.status().with_context(|| format!("cannot start `{}`", show(command)))?;
    ensure!(status.success(), "`{}` ended with {status}", show(command));
    Ok(())
}

/// Runs it unseen and returns its standard output; on failure its last words are in the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", show(command)))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("");
        bail!("`{}` ended with {}: {last}", show(command), out.status);
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Runs it, passes each line of standard output on as it comes, and returns them all with whether
/// the exit status was 0.
pub(crate) fn tee(command: &mut Command) -> Result<(Vec<String>, bool)> {
    eprintln!("+ {}", show(command));
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", show(command)))?;
    let stdout = child.stdout.take().context("standard output is piped")?;
    let mut lines = Vec::new();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        lines.push(line);
    }
    Ok((lines, child.wait()?.success()))
}

/// The program's path, when it is on `PATH`.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// Asks a process to end as Ctrl-C does.
pub(crate) fn interrupt(child: &Child) -> Result<()> {
    output(Command::new("kill").args(["-INT", &child.id().to_string()])).map(drop)
}

/// A process that is ended when this is dropped, so that no error path leaves one behind.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// Polls until `find` returns something, the process ends or the time is over.
pub(crate) fn wait_for<T>(
    child: &mut Child,
    what: &str,
    patience: Duration,
    mut find: impl FnMut() -> Option<T>,
) -> Result<T> {
    const STEP: Duration = Duration::from_millis(50);
    for _ in 0..=patience.as_millis() / STEP.as_millis() {
        if let Some(found) = find() {
            return Ok(found);
        }
        if let Some(status) = child.try_wait()? {
            // What it wrote last may have come between the look and its end.
            return find().with_context(|| format!("ended with {status} before {what}"));
        }
        thread::sleep(STEP);
    }
    bail!("waited {} s for {what}", patience.as_secs())
}

/// The line of a file that starts with `prefix`, without the prefix.
pub(crate) fn line_after(file: &Path, prefix: &str) -> Option<String> {
    let text = std::fs::read(file).ok()?;
    let text = String::from_utf8_lossy(&text);
    let (complete, _) = text.rsplit_once('\n')?;
    complete.lines().find_map(|line| line.strip_prefix(prefix)).map(|rest| rest.trim().to_owned())
}
