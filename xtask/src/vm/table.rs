//! Text in columns.

use super::expect::{Judged, Verdict};

/// The head of the table of figures.
pub(super) fn head() -> Vec<String> {
    let names = [
        "scenario", "kernel", "cpu", "sockets", "mode", "figure", "value", "truth", "error",
        "bound", "",
    ];
    names.map(str::to_owned).to_vec()
}

/// One line of it; `run` is its first five cells.
pub(super) fn row(run: &[String], judged: &Judged) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or_else(|| "missing".into(), figure);
    let verdict = match judged.verdict {
        Verdict::Ok => "ok",
        Verdict::Failed => "FAIL",
        Verdict::Printed => "printed",
    };
    let mut row = run.to_vec();
    row.extend([
        judged.figure.clone(),
        number(judged.value),
        judged.truth.map_or_else(String::new, figure),
        judged.error.map_or_else(String::new, |e| format!("{:+.3} %", e * 100.0)),
        judged.bound.clone(),
        verdict.to_owned(),
    ]);
    row
}

fn figure(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.4}") }
}

/// All rows, each column as wide as its widest cell.
pub(super) fn text(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "bcd", "e"], ["ff", "g", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(text(&rows), "a   bcd  e\nff  g\n");
    }
}
