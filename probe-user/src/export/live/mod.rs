//! The live picture on a terminal: redrawn in place, then replaced by the final summary.
//!
//! Drawn when a snapshot arrives, which it asks for four times a second, at the size the terminal has
//! at that moment. The rest of the terminal's content comes back on every way out, see [`screen`].

pub mod frame;
pub mod screen;

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use self::screen::{Screen, Size, Taken};
use super::table::{self, KEEP, Recent, Table};
use super::{ExportError, STDOUT, Sink};
use crate::record::RequestRecord;
use crate::snapshot::Snapshot;

/// From one frame to the next.
const PERIOD: Duration = Duration::from_millis(250);

/// Frames over which present power is taken: two seconds.
const MEMORY: usize = 8;

/// Draws the live picture.
pub struct Live {
    screen: Screen,
    size: Box<dyn Fn() -> Size + Send>,
    recent: Recent,
    /// Drawn snapshots, oldest first.
    past: VecDeque<Arc<Snapshot>>,
    broken: bool,
}

impl Live {
    /// On `out`, whose present size `size` tells.
    pub fn new(out: impl Write + Send + 'static, size: impl Fn() -> Size + Send + 'static) -> Self {
        Self {
            screen: Screen::new(out),
            size: Box::new(size),
            recent: Recent::new(KEEP),
            past: VecDeque::new(),
            broken: false,
        }
    }

    /// Tells, from now on, whether the terminal is in its hands.
    #[must_use]
    pub fn taken(&self) -> Taken {
        self.screen.taken()
    }

    fn failed(&mut self, source: io::Error) -> ExportError {
        self.broken = true;
        ExportError::Write { place: "the terminal".into(), source }
    }
}

impl Sink for Live {
    fn period(&self) -> Option<Duration> {
        Some(PERIOD)
    }

    fn request(&mut self, record: &Arc<RequestRecord>) -> Result<(), ExportError> {
        self.recent.push(record);
        Ok(())
    }

    fn snapshot(&mut self, snapshot: &Arc<Snapshot>) -> Result<(), ExportError> {
        if self.broken {
            return Ok(());
        }
        let before = self.past.front().map(Arc::as_ref);
        let lines = frame::lines(&self.recent, before, snapshot, (self.size)());
        if self.past.len() == MEMORY {
            self.past.pop_front();
        }
        self.past.push_back(Arc::clone(snapshot));
        self.screen.draw(&lines).map_err(|e| self.failed(e))
    }

    fn finish(&mut self, summary: &Snapshot) -> Result<(), ExportError> {
        let width = usize::from((self.size)().columns);
        let text = table::report(&self.recent, summary, Some(width));
        self.screen.leave_with(&text).map_err(|e| self.failed(e))
    }
}

/// What people see of a run: the live picture where standard output is a terminal that can show it,
/// otherwise the plain table at the end. `term` is the environment's `TERM`. With it comes who tells
/// whether the terminal is taken.
#[must_use]
pub fn for_people(term: Option<&str>) -> (Box<dyn Sink>, Taken) {
    let out = io::stdout();
    if out.is_terminal() && term.is_some_and(|name| name != "dumb") {
        let live = Live::new(out, || screen::size(&io::stdout()));
        let taken = live.taken();
        (Box::new(live), taken)
    } else {
        (Box::new(Table::new(out, STDOUT)), Taken::default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::example;
    use super::screen::{ENTER, LEAVE};
    use super::*;

    #[derive(Clone, Default)]
    struct Terminal(Arc<Mutex<String>>, Arc<Mutex<Size>>);

    impl Terminal {
        fn live(&self) -> Live {
            let size = Arc::clone(&self.1);
            Live::new(self.clone(), move || *size.lock().unwrap())
        }
        fn text(&self) -> String {
            self.0.lock().unwrap().clone()
        }
        fn frames(&self) -> usize {
            self.text().matches("\x1b[H").count()
        }
    }

    impl Write for Terminal {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push_str(std::str::from_utf8(data).unwrap());
            Ok(data.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn at(seconds: f64) -> Arc<Snapshot> {
        Arc::new(example::snapshot(seconds))
    }

    #[test]
    fn it_asks_for_four_snapshots_a_second_and_draws_each() {
        let terminal = Terminal::default();
        let mut live = terminal.live();
        assert_eq!(live.period(), Some(Duration::from_millis(250)));
        for step in 0..20 {
            live.snapshot(&at(f64::from(step) / 4.0)).unwrap();
        }
        assert_eq!(terminal.frames(), 20);
    }

    #[test]
    fn a_new_size_holds_from_the_next_frame_on() {
        let terminal = Terminal::default();
        let mut live = terminal.live();
        for number in 1..=40 {
            live.request(&Arc::new(example::record(number))).unwrap();
        }
        for (step, (columns, rows)) in
            [(120, 40), (60, 20), (20, 5), (200, 60)].into_iter().enumerate()
        {
            *terminal.1.lock().unwrap() = Size { columns, rows };
            terminal.0.lock().unwrap().clear();
            live.snapshot(&at(1.0 + step as f64)).unwrap();
            let text = terminal.text();
            let shown =
                text.split("\x1b[H").nth(1).unwrap().replace("\x1b[K", "").replace("\x1b[J", "");
            let lines: Vec<&str> = shown.split("\r\n").collect();
            assert!(lines.len() <= usize::from(rows), "{} rows of {rows}", lines.len());
            let widest = lines.iter().map(|l| l.chars().count()).max().unwrap();
            assert!(widest <= usize::from(columns), "{widest} columns of {columns}");
        }
    }

    #[test]
    fn the_end_gives_the_terminal_back_and_prints_the_books() {
        let terminal = Terminal::default();
        let mut live = terminal.live();
        let taken = live.taken();
        assert_eq!(taken.undo(), "");
        live.snapshot(&at(1.0)).unwrap();
        assert_eq!(taken.undo(), LEAVE);
        live.finish(&example::snapshot(2.0)).unwrap();
        assert_eq!(taken.undo(), "");
        drop(live);
        let text = terminal.text();
        assert!(text.starts_with(ENTER));
        assert_eq!(text.matches(LEAVE).count(), 1, "once");
        let after = text.split(LEAVE).nth(1).unwrap();
        assert!(after.contains("Books close") && !after.contains('\x1b'), "{after}");
    }

    #[test]
    fn a_run_that_ends_by_a_panic_gives_the_terminal_back() {
        let terminal = Terminal::default();
        let inner = terminal.clone();
        let panicked = std::thread::spawn(move || {
            let mut live = inner.live();
            live.snapshot(&at(1.0)).unwrap();
            panic!("on purpose");
        });
        assert!(panicked.join().is_err());
        assert!(terminal.text().ends_with(LEAVE));
    }

    #[test]
    fn a_run_without_a_frame_leaves_no_escape_sequences() {
        let terminal = Terminal::default();
        terminal.live().finish(&example::snapshot(2.0)).unwrap();
        assert!(!terminal.text().contains('\x1b'));
    }

    #[test]
    fn a_terminal_that_went_away_is_said_once() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut live = Live::new(Gone, Size::default);
        assert!(live.snapshot(&at(1.0)).is_err());
        assert!(live.snapshot(&at(2.0)).is_ok());
    }
}
