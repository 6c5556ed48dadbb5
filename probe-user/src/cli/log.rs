//! Messages on standard error, as text or as one JSON object a line.
//!
//! A value that is passed along, not a global: whoever has none says nothing.

use std::io::{self, Write};

use serde::Serialize;

use super::exit::ExitStatus;

/// How messages look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line of text.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Where messages go: standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    verbosity: u8,
    format: LogFormat,
}

#[derive(Serialize)]
struct Line<'a> {
    level: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<u8>,
}

impl Log {
    /// A log that shows notices; from verbosity 1 on also what was decided.
    #[must_use]
    pub fn new(verbosity: u8, format: LogFormat) -> Self {
        Self { verbosity, format }
    }

    /// Why the run ends.
    pub fn error(&self, message: &str, exit: ExitStatus) {
        self.write("error", message, Some(exit.code()));
    }

    /// Something the user should know, always shown.
    pub fn warn(&self, message: &str) {
        self.write("warning", message, None);
    }

    /// A line of the contract, such as `attached: …`, always shown and without prefix.
    pub fn notice(&self, message: &str) {
        self.write("notice", message, None);
    }

    /// What was decided and why; from `-v` on.
    pub fn info(&self, message: &str) {
        if self.verbosity >= 1 {
            self.write("info", message, None);
        }
    }

    fn write(self, level: &str, message: &str, exit: Option<u8>) {
        // Nobody is left to tell when standard error is closed.
        let _ = writeln!(io::stderr().lock(), "{}", self.line(level, message, exit));
    }

    fn line(self, level: &str, message: &str, exit: Option<u8>) -> String {
        let message = message.replace(['\n', '\r'], " ");
        match self.format {
            LogFormat::Text if level == "notice" => message,
            LogFormat::Text => format!("wattprobe: {level}: {message}"),
            LogFormat::Json => {
                serde_json::to_string(&Line { level, message: &message, exit }).unwrap_or(message)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_in_both_formats() {
        let text = Log::new(0, LogFormat::Text);
        assert_eq!(text.line("warning", "a\nb", None), "wattprobe: warning: a b");
        assert_eq!(text.line("notice", "attached: x", None), "attached: x");
        let json = Log::new(0, LogFormat::Json);
        assert_eq!(
            json.line("error", "a \"b\"", Some(4)),
            r#"{"level":"error","message":"a \"b\"","exit":4}"#
        );
    }
}
