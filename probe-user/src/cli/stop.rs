//! Ctrl-C and SIGTERM: the first asks the run to end, the second ends the process.
//!
//! The second must not leave the terminal in the live view's screen. A handler may do next to nothing,
//! so a thread waits for it at the end of a pipe; it writes past the lock of standard output, which a
//! view that hangs would hold.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use super::exit::ExitStatus;
use crate::export::live::screen::Taken;
use crate::privilege;

/// Set by the first signal. At the second the terminal is given back and the process ends with
/// [`ExitStatus::Failed`].
pub(super) fn on_signals(screen: Taken) -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    // A byte a signal, so that none is taken for the one before it, however fast they come.
    let (mut came, comes) = io::pipe()?;
    for signal in [SIGINT, SIGTERM] {
        // In the handler itself: the system call that it interrupts is followed by a look at the flag.
        flag::register(signal, Arc::clone(&stop))?;
        low_level::pipe::register(signal, comes.try_clone()?)?;
    }
    let wait = move || {
        // One that cannot is no worse than none.
        let _ = privilege::renounce();
        if came.read_exact(&mut [0; 2]).is_ok() {
            // Nobody is left to tell when the terminal is gone.
            let _ = rustix::io::write(io::stdout(), screen.undo().as_bytes());
            low_level::exit(ExitStatus::Failed.code().into());
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait)?;
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Child, Command, Stdio};
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;
    use crate::export::live::screen::{LEAVE, Screen};

    const CHILD: &str = "WATTPROBE_TEST_STOP";

    /// What the copy of this test does: a screen is taken, and the first signal is not obeyed.
    fn hang(frame: bool) {
        let mut screen = Screen::new(io::stdout());
        let stop = on_signals(screen.taken()).unwrap();
        if frame {
            screen.draw(&[]).unwrap();
        }
        let say = |text: &str| {
            let mut out = io::stdout();
            out.write_all(text.as_bytes()).and_then(|()| out.flush()).unwrap();
        };
        say("<ready>");
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        say("<asked>");
        std::thread::sleep(Duration::from_secs(60));
    }

    fn read_to(child: &mut Child, mark: &str) -> String {
        let out = child.stdout.as_mut().unwrap();
        let (mut text, mut byte) = (String::new(), [0]);
        while !text.ends_with(mark) && out.read(&mut byte).unwrap() == 1 {
            text.push(char::from(byte[0]));
        }
        assert!(text.ends_with(mark), "{text:?}");
        text
    }

    fn two_signals(frame: bool, signals: [Signal; 2]) -> (String, Option<i32>) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cli::stop::tests::the_second_signal_gives_the_terminal_back"])
            .arg("--nocapture")
            .env(CHILD, frame.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        read_to(&mut child, "<ready>");
        kill_process(pid, signals[0]).unwrap();
        read_to(&mut child, "<asked>");
        kill_process(pid, signals[1]).unwrap();
        let mut rest = String::new();
        child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        (rest, child.wait().unwrap().code())
    }

    #[test]
    fn the_second_signal_gives_the_terminal_back() {
        if let Ok(frame) = std::env::var(CHILD) {
            return hang(frame == "true");
        }
        let ended = two_signals(true, [Signal::INT, Signal::INT]);
        assert_eq!(ended, (LEAVE.to_owned(), Some(1)));
        let ended = two_signals(true, [Signal::INT, Signal::TERM]);
        assert_eq!(ended, (LEAVE.to_owned(), Some(1)), "of either kind");
        let ended = two_signals(false, [Signal::TERM, Signal::INT]);
        assert_eq!(ended, (String::new(), Some(1)), "nothing was taken");
    }
}
