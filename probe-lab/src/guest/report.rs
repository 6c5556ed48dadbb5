//! The lines that the host reads: one JSON object each, on the second serial port.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use rustix::termios::{OptionalActions, tcdrain, tcgetattr, tcsetattr};
use serde_json::{Value, json};

/// Figures and texts by name; order is by name, so that two equal runs are equal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// Numbers.
    pub figures: BTreeMap<String, f64>,
    /// Anything else.
    pub texts: BTreeMap<String, String>,
}

impl Findings {
    /// Adds a number.
    pub fn figure(&mut self, name: impl Into<String>, value: f64) {
        self.figures.insert(name.into(), value);
    }

    /// Adds a text.
    pub fn text(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.texts.insert(name.into(), value.into());
    }

    fn line(&self) -> Value {
        json!({ "figures": self.figures, "texts": self.texts })
    }
}

/// Where the lines go.
pub struct Report<W: Write> {
    out: W,
}

impl Report<File> {
    /// To a serial port, byte for byte.
    ///
    /// # Errors
    /// When it is not there.
    pub fn on_port(path: &Path) -> io::Result<Self> {
        let out = File::options().write(true).open(path)?;
        let mut attributes = tcgetattr(&out)?;
        attributes.make_raw();
        tcsetattr(&out, OptionalActions::Now, &attributes)?;
        Ok(Self { out })
    }

    /// Waits until everything is out.
    ///
    /// # Errors
    /// When the port fails.
    pub fn drain(&self) -> io::Result<()> {
        Ok(tcdrain(&self.out)?)
    }
}

impl<W: Write> Report<W> {
    /// The first line: this machine has come up.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(&mut self) -> io::Result<()> {
        self.line(&json!({ "begun": true }))
    }

    /// What was found.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn findings(&mut self, findings: &Findings) -> io::Result<()> {
        self.line(&findings.line())
    }

    /// A line of the verifier's counts.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn verify(&mut self, counts: &Value) -> io::Result<()> {
        self.line(&json!({ "verify": counts }))
    }

    /// Why the scenario could not be carried out.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn error(&mut self, text: &str) -> io::Result<()> {
        self.line(&json!({ "error": text }))
    }

    /// The last line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn done(&mut self) -> io::Result<()> {
        self.line(&json!({ "done": true }))
    }

    fn line(&mut self, value: &Value) -> io::Result<()> {
        self.out.write_all(format!("{value}\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_ordered_by_name_and_end_with_done() {
        let mut report = Report { out: Vec::new() };
        let mut findings = Findings::default();
        findings.figure("b", 1.5);
        findings.figure("a", 2.0);
        findings.text("t", "x\ny");
        report.findings(&findings).unwrap();
        report.verify(&json!({"insns": 5})).unwrap();
        report.error("no").unwrap();
        report.done().unwrap();
        let text = String::from_utf8(report.out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                r#"{"figures":{"a":2.0,"b":1.5},"texts":{"t":"x\ny"}}"#,
                r#"{"verify":{"insns":5}}"#,
                r#"{"error":"no"}"#,
                r#"{"done":true}"#,
            ]
        );
    }
}
