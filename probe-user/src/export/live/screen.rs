//! The terminal's second screen: taken at the first frame, given back when dropped.
//!
//! Standard escape sequences (ECMA-48, xterm's private modes 7, 25 and 1049). No raw mode: keys and
//! signals work as ever, so that after SIGKILL, too, `reset` is all a terminal may need.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Second screen, no cursor, no wrapping.
pub const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// Undoes [`ENTER`].
pub const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Character cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Across.
    pub columns: u16,
    /// Down.
    pub rows: u16,
}

impl Default for Size {
    fn default() -> Self {
        Self { columns: 80, rows: 24 }
    }
}

/// The present size of a terminal; 80 × 24 where it does not say.
#[must_use]
pub fn size(terminal: &impl AsFd) -> Size {
    match rustix::termios::tcgetwinsize(terminal) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            Size { columns: size.ws_col, rows: size.ws_row }
        }
        _ => Size::default(),
    }
}

/// Whether the second screen is taken, for those who end the process without dropping its sinks.
#[derive(Clone, Debug, Default)]
pub struct Taken(Arc<AtomicBool>);

impl Taken {
    /// What gives the terminal back at this moment: [`LEAVE`], or nothing.
    #[must_use]
    pub fn undo(&self) -> &'static str {
        if self.0.load(Ordering::Relaxed) { LEAVE } else { "" }
    }
}

/// The second screen of a terminal.
pub struct Screen {
    out: Box<dyn Write + Send>,
    taken: Taken,
}

impl Screen {
    /// Nothing is written before the first frame.
    pub fn new(out: impl Write + Send + 'static) -> Self {
        Self { out: Box::new(out), taken: Taken::default() }
    }

    /// Tells, from now on, whether it is taken.
    #[must_use]
    pub fn taken(&self) -> Taken {
        self.taken.clone()
    }

    /// Draws a frame over the last one, in one write so that it does not flicker.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut text = String::new();
        if !self.taken.0.swap(true, Ordering::Relaxed) {
            text.push_str(ENTER);
        }
        text.push_str("\x1b[H");
        for (row, line) in lines.iter().enumerate() {
            if row > 0 {
                text.push_str("\r\n");
            }
            text.push_str(line);
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Gives the terminal back and leaves `text` on it.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn leave_with(&mut self, text: &str) -> io::Result<()> {
        self.leave()?;
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    fn leave(&mut self) -> io::Result<()> {
        if self.taken.0.swap(false, Ordering::Relaxed) {
            self.out.write_all(LEAVE.as_bytes())?;
            self.out.flush()?;
        }
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.leave();
    }
}
