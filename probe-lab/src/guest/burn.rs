//! Burners: processes that draw the watts in their name (`burn-30-tgt`) while they compute.
//!
//! A burner is this very program under another name: the name that exec gives it is what the simulated
//! RAPL reads its watts from. It says `r` on standard output when it is ready, burns once when a byte
//! comes on standard input, says `d`, and lives until its standard input ends.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};

use super::scenario::Load;
use crate::clock::Monotonic;

/// Where the names are links to this program.
pub const NAMES: &str = "/run/lab";
/// How the watched processes' names end.
pub const TARGET: &str = "-tgt";
/// How the others' names end.
pub const RIVAL: &str = "-oth";
/// Children at the same time.
const AT_ONCE: u32 = 4;
/// One turn of burning and resting where a thread does not burn all the time.
const TURN: Duration = Duration::from_millis(10);

/// Why a burner could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BurnError {
    /// It could not be started.
    #[error("cannot start {}: {source}; is {NAMES} there and writable?", path.display())]
    Start {
        /// Its name.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It did not say what it should.
    #[error(
        "{name} was expected to say {expected:?}: {source}; see the console for its last words"
    )]
    Silent {
        /// Its name.
        name: String,
        /// `r` or `d`.
        expected: char,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A running burner, seen by the one who started it.
#[derive(Debug)]
pub struct Burner {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl Burner {
    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be started or ends before.
    pub fn start(load: &Load, ending: &str, burn: Duration) -> Result<Self, BurnError> {
        let name = format!("burn-{}{ending}", load.watts);
        let path = named(&name)
            .map_err(|source| BurnError::Start { path: name.clone().into(), source })?;
        let mut command = Command::new(&path);
        command.args(Job::of(load, burn).words());
        Self::ready(command, &name)
    }

    /// Starts any program that keeps to the protocol.
    ///
    /// # Errors
    /// When it cannot be started or ends before.
    pub fn ready(mut command: Command, name: &str) -> Result<Self, BurnError> {
        let failed = |source| BurnError::Start { path: name.into(), source };
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe.into()).map_err(failed)?;
        let input = child.stdin.take();
        let mut burner = Self { name: name.to_owned(), child, input, output };
        burner.hear('r')?;
        Ok(burner)
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it burn.
    ///
    /// # Errors
    /// When it is gone.
    pub fn go(&mut self) -> Result<(), BurnError> {
        let sent = match &mut self.input {
            Some(input) => input.write_all(b"g"),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        sent.map_err(|source| BurnError::Silent { name: self.name.clone(), expected: 'd', source })
    }

    /// Waits until it has burnt.
    ///
    /// # Errors
    /// When it is gone.
    pub fn done(&mut self) -> Result<(), BurnError> {
        self.hear('d')
    }

    /// Lets it end, and waits for that.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn end(mut self) -> io::Result<()> {
        drop(self.input.take());
        self.child.wait().map(drop)
    }

    fn hear(&mut self, expected: char) -> Result<(), BurnError> {
        let mut byte = [0];
        let heard = self.output.read_exact(&mut byte).and_then(|()| {
            let right = char::from(byte[0]) == expected;
            if right { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
        });
        heard.map_err(|source| BurnError::Silent { name: self.name.clone(), expected, source })
    }
}

/// This program under a name.
///
/// # Errors
/// When the link cannot be made.
pub fn named(name: &str) -> io::Result<PathBuf> {
    let path = Path::new(NAMES).join(name);
    match symlink(fs::read_link("/proc/self/exe")?, &path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(path),
    }
}

/// What a burner does when it is told to, as it is passed on its command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Job {
    burn_ms: u64,
    threads: u64,
    children: u64,
    child_ms: u64,
    duty_pct: u64,
    /// 1 + the CPU; 0 for any.
    pin: u64,
}

impl Job {
    fn of(load: &Load, burn: Duration) -> Self {
        Self {
            burn_ms: u64::try_from(burn.as_millis()).unwrap_or(u64::MAX),
            threads: load.threads.into(),
            children: load.children.into(),
            child_ms: load.child_ms,
            duty_pct: load.duty_pct,
            pin: load.pin.map_or(0, |cpu| cpu as u64 + 1),
        }
    }

    fn words(self) -> [String; 6] {
        [self.burn_ms, self.threads, self.children, self.child_ms, self.duty_pct, self.pin]
            .map(|n| n.to_string())
    }

    /// Reads a command line; what is missing is 0.
    fn parse(words: impl Iterator<Item = String>) -> Self {
        let mut numbers = words.map(|w| w.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self {
            burn_ms: next(),
            threads: next(),
            children: next(),
            child_ms: next(),
            duty_pct: next(),
            pin: next(),
        }
    }
}

/// The life of a burner; `path` and `words` are its command line.
///
/// # Errors
/// When it cannot speak or start children.
pub fn main(path: &str, words: impl Iterator<Item = String>) -> io::Result<()> {
    let job = Job::parse(words);
    if let Some(cpu) = job.pin.checked_sub(1).and_then(|c| usize::try_from(c).ok()) {
        let mut set = CpuSet::new();
        set.set(cpu);
        sched_setaffinity(None, &set)?;
    }
    if job.threads == 0 {
        // A child: it burns at once and is gone.
        spin(Duration::from_millis(job.burn_ms), 100);
        return Ok(());
    }
    say(b"r")?;
    let mut byte = [0];
    while io::stdin().read(&mut byte)? == 1 {
        work(path, job)?;
        say(b"d")?;
    }
    Ok(())
}

fn say(word: &[u8]) -> io::Result<()> {
    io::stdout().write_all(word)?;
    io::stdout().flush()
}

fn work(path: &str, job: Job) -> io::Result<()> {
    let burn = Duration::from_millis(job.burn_ms);
    thread::scope(|scope| {
        for _ in 0..job.threads {
            scope.spawn(|| spin(burn, job.duty_pct));
        }
        let mut left = job.children;
        while left > 0 {
            let now = left.min(AT_ONCE.into());
            let started: Vec<_> = (0..now)
                .map(|_| {
                    Command::new(path).arg(job.child_ms.to_string()).stdin(Stdio::null()).spawn()
                })
                .collect();
            for child in started {
                child?.wait()?;
            }
            left -= now;
        }
        Ok(())
    })
}

/// Computes for so long, or for its part of each turn.
fn spin(burn: Duration, duty_pct: u64) {
    let start = Monotonic::now();
    let active = TURN.mul_f64(f64::from(u8::try_from(duty_pct.min(100)).unwrap_or(100)) / 100.0);
    while start.elapsed() < burn {
        let turn = Monotonic::now();
        while turn.elapsed() < active && start.elapsed() < burn {
            std::hint::spin_loop();
        }
        if active < TURN {
            thread::sleep(TURN.saturating_sub(turn.elapsed()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_survives_the_command_line() {
        let load = Load {
            watts: 30,
            count: 1,
            threads: 2,
            children: 100,
            child_ms: 3,
            duty_pct: 50,
            pin: Some(0),
        };
        let job = Job::of(&load, Duration::from_millis(1500));
        assert_eq!(Job::parse(job.words().into_iter()), job);
        assert_eq!((job.burn_ms, job.pin), (1500, 1));
    }

    #[test]
    fn a_child_is_a_job_without_threads() {
        let job = Job::parse(["5".to_owned()].into_iter());
        assert_eq!(job, Job { burn_ms: 5, ..Job::default() });
    }

    #[test]
    fn burning_lasts_as_long_as_asked_for() {
        let start = Monotonic::now();
        spin(Duration::from_millis(30), 20);
        assert!(start.elapsed() >= Duration::from_millis(30));
    }
}
