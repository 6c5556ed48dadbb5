//! Columns of text: aligned, two spaces apart, dropped by rank where the terminal is narrow.

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::export::units::Scale;

/// A column: heading and cells, one a row.
#[derive(Debug)]
pub struct Column {
    heading: String,
    cells: Vec<String>,
    right: bool,
    rank: u8,
}

impl Column {
    /// Numbers, set flush right. Of the columns, those with the highest `rank` go first when space
    /// is short; rank 0 stays.
    pub fn right(heading: impl Into<String>, rank: u8, cells: Vec<String>) -> Self {
        Self { heading: heading.into(), cells, right: true, rank }
    }

    /// Numbers at one scale that shows so many digits of the largest, its unit in the heading.
    pub fn scaled(
        heading: &str,
        unit: &str,
        rank: u8,
        digits: usize,
        values: &[Option<f64>],
    ) -> Self {
        let scale = Scale::fitting(values.iter().copied().flatten(), digits);
        let cells = values.iter().map(|value| scale.show_maybe(*value)).collect();
        Self::right(format!("{heading} [{}{unit}]", scale.prefix()), rank, cells)
    }

    /// Words, set flush left.
    pub fn left(heading: impl Into<String>, rank: u8, cells: Vec<String>) -> Self {
        Self { heading: heading.into(), cells, right: false, rank }
    }

    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|cell| cell.chars().count());
        cells.chain([self.heading.chars().count()]).max().unwrap_or(0)
    }
}

const GAP: u16 = 2;

fn total_width(columns: &[Column]) -> usize {
    let gap = usize::from(GAP);
    columns.iter().map(|c| c.width() + gap).sum::<usize>().saturating_sub(gap)
}

/// The table as lines without trailing spaces; empty without rows. Rows that are still too wide are
/// cut at `width`.
#[must_use]
pub fn render(mut columns: Vec<Column>, width: Option<usize>) -> String {
    let rows = columns.iter().map(|c| c.cells.len()).max().unwrap_or(0);
    if rows == 0 {
        return String::new();
    }
    let limit = width.unwrap_or(usize::MAX);
    while total_width(&columns) > limit {
        let rank = columns.iter().map(|c| c.rank).max().unwrap_or(0);
        let Some(at) = columns.iter().rposition(|c| c.rank == rank && rank > 0) else { break };
        columns.remove(at);
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(columns.iter().map(|c| Cell::new(&c.heading)));
    for row in 0..rows {
        table.add_row(columns.iter().map(|c| c.cells.get(row).map_or("", String::as_str)));
    }
    for (column, wanted) in table.column_iter_mut().zip(&columns) {
        let side = if wanted.right { CellAlignment::Right } else { CellAlignment::Left };
        column.set_cell_alignment(side);
        column.set_padding((0, GAP));
    }
    let lines = table.lines().map(|line| cut(&line, limit));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first `width` characters of a line, without trailing spaces.
#[must_use]
pub fn cut(line: &str, width: usize) -> String {
    let kept: String = line.chars().take(width).collect();
    kept.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|t| (*t).to_owned()).collect()
    }

    fn sample() -> Vec<Column> {
        vec![
            Column::left("name", 0, cells(&["a", "long name"])),
            Column::right("joules", 0, cells(&["1.25", "–"])),
            Column::right("extra", 2, cells(&["1", "2"])),
            Column::right("more", 1, cells(&["3", "4"])),
        ]
    }

    #[test]
    fn numbers_are_flush_right_and_words_flush_left() {
        let expected = "name       joules  extra  more\n\
                        a            1.25      1     3\n\
                        long name       –      2     4";
        assert_eq!(render(sample(), None), expected);
    }

    #[test]
    fn the_highest_rank_goes_first_and_rank_zero_stays() {
        let text = render(sample(), Some(24));
        assert_eq!(text.lines().next().unwrap(), "name       joules  more");
        let text = render(sample(), Some(10));
        assert_eq!(text.lines().next().unwrap(), "name");
        assert!(text.lines().all(|line| line.chars().count() <= 10));
    }

    #[test]
    fn no_rows_no_table() {
        assert_eq!(render(vec![Column::left("name", 0, Vec::new())], None), "");
    }
}
