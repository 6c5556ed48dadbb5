//! Child processes that end with the test, whatever way it ends.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::clock;

/// A running child whose output goes to files.
pub(crate) struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// Starts it, output to `DIR/NAME.out` and `DIR/NAME.err`.
    pub(crate) fn start(command: &mut Command, dir: &Path, name: &str) -> Self {
        let (stdout, stderr) = (dir.join(format!("{name}.out")), dir.join(format!("{name}.err")));
        let create = |path: &Path| File::create(path).expect("the directory is ours");
        let child = command
            .stdin(Stdio::null())
            .stdout(create(&stdout))
            .stderr(create(&stderr))
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        Self { child, stdout, stderr }
    }

    /// Process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it wrote to standard output so far.
    pub(crate) fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// Everything it wrote to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // It may have ended already; what follows finds out.
        let _ = kill_process(pid.expect("a child has a pid"), signal);
    }

    /// Waits for its end, at most `patience`.
    pub(crate) fn end(&mut self, patience: Duration) -> Option<ExitStatus> {
        clock::wait_until(patience, || self.has_ended());
        self.child.try_wait().expect("it is our child")
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    /// Waits for the first complete line of its standard output with these words; what follows them. Not of standard
    /// error: an engine inside a server says there that it listens, too, on a port of its own.
    pub(crate) fn line(&mut self, words: &str, patience: Duration) -> String {
        self.line_of(Self::stdout, words, patience)
    }

    /// The same of another output.
    pub(crate) fn line_of(
        &mut self,
        output: fn(&Self) -> String,
        words: &str,
        patience: Duration,
    ) -> String {
        let mut found = None;
        clock::wait_until(patience, || {
            let ended = self.has_ended();
            found = after(&output(self), words);
            found.is_some() || ended
        });
        found.unwrap_or_else(|| {
            panic!("no line with {words:?}: {:?}\n{}{}", self.child, self.stdout(), self.stderr())
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let killed: io::Result<_> = self.child.kill().and_then(|()| self.child.wait());
        drop(killed);
    }
}

fn after(text: &str, words: &str) -> Option<String> {
    let (complete, _) = text.rsplit_once('\n')?;
    complete.lines().find_map(|l| l.split_once(words)).map(|(_, rest)| rest.trim().to_owned())
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
