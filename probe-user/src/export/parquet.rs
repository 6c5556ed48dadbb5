//! Request records as a Parquet file: one row a record, one column a field, under the record's own names.
//!
//! What was not measured is null, never 0; a field that every record has is required. `start` is a timestamp in UTC,
//! `sources` and `flags` are lists. Rows are written in groups, so that memory does not grow with their number.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use crate::record::RequestRecord as Record;

/// Rows of a group.
const GROUP: usize = 8192;

/// How a column is taken from a record.
enum Field {
    Count(fn(&Record) -> Option<u64>),
    Number(fn(&Record) -> Option<f64>),
    Truth(fn(&Record) -> Option<bool>),
    Text(fn(&Record) -> Option<&str>),
    Time(fn(&Record) -> Option<i64>),
    List(fn(&Record) -> &[String]),
}

use Field::{Count, List, Number, Text, Time, Truth};

/// Name, whether every record has it, and how it is taken, in the order of the record.
const COLUMNS: [(&str, bool, Field); 49] = [
    ("schema", true, Count(|r| Some(r.schema.into()))),
    ("request", true, Count(|r| Some(r.request))),
    ("target", true, Text(|r| Some(&r.target))),
    ("pid", true, Count(|r| Some(r.pid.into()))),
    ("path", false, Text(|r| r.path.as_deref())),
    ("kind", true, Text(|r| Some(r.kind.as_str()))),
    ("status", false, Count(|r| r.status.map(u64::from))),
    ("model", false, Text(|r| r.model.as_deref())),
    ("stream", false, Truth(|r| r.stream)),
    ("unread_s", false, Number(|r| r.unread_s)),
    ("start", false, Time(start)),
    ("duration_s", true, Number(|r| Some(r.duration_s))),
    ("ttft_s", false, Number(|r| r.ttft_s)),
    ("queue_s", false, Number(|r| r.queue_s)),
    ("prefill_s", false, Number(|r| r.prefill_s)),
    ("decode_s", false, Number(|r| r.decode_s)),
    ("itl_p50_s", false, Number(|r| r.itl_p50_s)),
    ("itl_p99_s", false, Number(|r| r.itl_p99_s)),
    ("end", true, Text(|r| Some(r.end.as_str()))),
    ("prompt_tokens", false, Count(|r| r.prompt_tokens)),
    ("cached_tokens", false, Count(|r| r.cached_tokens)),
    ("completion_tokens", false, Count(|r| r.completion_tokens)),
    ("token_source", true, Text(|r| Some(r.token_source.as_str()))),
    ("joules", false, Number(|r| r.joules)),
    ("joules_low", false, Number(|r| r.joules_low)),
    ("joules_high", false, Number(|r| r.joules_high)),
    ("error_edges_j", false, Number(|r| r.error_edges_j)),
    ("error_quantum_j", false, Number(|r| r.error_quantum_j)),
    ("error_idle_j", false, Number(|r| r.error_idle_j)),
    ("error_weight_j", false, Number(|r| r.error_weight_j)),
    ("error_class_j", false, Number(|r| r.error_class_j)),
    ("error_policy_j", false, Number(|r| r.error_policy_j)),
    ("error_gap_j", false, Number(|r| r.error_gap_j)),
    ("error_split_j", false, Number(|r| r.error_split_j)),
    ("cpu_j", false, Number(|r| r.cpu_j)),
    ("dram_j", false, Number(|r| r.dram_j)),
    ("gpu_j", false, Number(|r| r.gpu_j)),
    ("idle_j", false, Number(|r| r.idle_j)),
    ("prefill_j", false, Number(|r| r.prefill_j)),
    ("decode_j", false, Number(|r| r.decode_j)),
    ("cpu_s", false, Number(|r| r.cpu_s)),
    ("mean_residents", false, Number(|r| r.mean_residents)),
    ("quality", true, Text(|r| Some(r.quality.as_str()))),
    ("sources", true, List(|r| &r.sources)),
    ("weight", true, Text(|r| Some(&r.weight))),
    ("share", true, Text(|r| Some(&r.share))),
    ("idle", true, Text(|r| Some(&r.idle))),
    ("flags", true, List(|r| &r.flags)),
    ("external_id", false, Text(|r| r.external_id.as_deref())),
];

/// Nanoseconds since the epoch.
fn start(record: &Record) -> Option<i64> {
    let start: jiff::Timestamp = record.start.parse().ok()?;
    i64::try_from(start.as_nanosecond()).ok()
}

/// Writes records.
pub struct Parquet<W: Write + Send> {
    file: SerializedFileWriter<W>,
    rows: Vec<Record>,
}

impl<W: Write + Send> Parquet<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(out: W) -> io::Result<Self> {
        let schema = parse_message_type(&schema()).map_err(told)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::LZ4_RAW)
            .set_created_by(format!("wattprobe {}", env!("CARGO_PKG_VERSION")))
            .build();
        let file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties));
        Ok(Self { file: file.map_err(told)?, rows: Vec::new() })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// A full group cannot be written.
    pub fn record(&mut self, record: &Record) -> io::Result<()> {
        self.rows.push(record.clone());
        if self.rows.len() >= GROUP { self.group().map_err(told) } else { Ok(()) }
    }

    /// Writes what waits and the file's end; before that it is no Parquet file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.group().and_then(|()| self.file.into_inner()).map_err(told)
    }

    fn group(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        for (_, required, field) in &COLUMNS {
            column(&mut group, &self.rows, *required, field)?;
        }
        group.close()?;
        self.rows.clear();
        Ok(())
    }
}

fn schema() -> String {
    let columns = COLUMNS.iter().map(|(name, required, field)| {
        let need = if *required { "REQUIRED" } else { "OPTIONAL" };
        match field {
            Count(_) => format!("{need} INT64 {name} (INTEGER(64,false));"),
            Number(_) => format!("{need} DOUBLE {name};"),
            Truth(_) => format!("{need} BOOLEAN {name};"),
            Text(_) => format!("{need} BYTE_ARRAY {name} (STRING);"),
            Time(_) => format!("{need} INT64 {name} (TIMESTAMP(NANOS,true));"),
            List(_) => format!(
                "{need} GROUP {name} (LIST) {{ REPEATED GROUP list {{ REQUIRED BYTE_ARRAY element (STRING); }} }}"
            ),
        }
    });
    format!("message request {{ {} }}", columns.collect::<Vec<_>>().join(" "))
}

fn column<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: &[Record],
    required: bool,
    field: &Field,
) -> Result<()> {
    let bytes = |text: &str| ByteArray::from(text.as_bytes().to_vec());
    match field {
        Count(get) => {
            let cells = rows.iter().map(|row| get(row).map(u64::cast_signed));
            cells_of::<Int64Type, W>(group, cells, required)
        }
        Time(get) => cells_of::<Int64Type, W>(group, rows.iter().map(get), required),
        Number(get) => cells_of::<DoubleType, W>(group, rows.iter().map(get), required),
        Truth(get) => cells_of::<BoolType, W>(group, rows.iter().map(get), required),
        Text(get) => {
            let cells = rows.iter().map(|row| get(row).map(bytes));
            cells_of::<ByteArrayType, W>(group, cells, required)
        }
        List(get) => {
            // An empty list is defined to 0; an element to 1, and repeats from the second on.
            let (mut values, mut defined, mut repeats) = (vec![], vec![], vec![]);
            for list in rows.iter().map(get) {
                values.extend(list.iter().map(|text| bytes(text)));
                defined.extend(std::iter::repeat_n(i16::from(!list.is_empty()), list.len().max(1)));
                repeats.push(0);
                repeats.extend(std::iter::repeat_n(1, list.len().saturating_sub(1)));
            }
            write::<ByteArrayType, W>(group, &values, Some(&defined), Some(&repeats))
        }
    }
}

fn cells_of<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    cells: impl Iterator<Item = Option<T::T>>,
    required: bool,
) -> Result<()> {
    let (mut values, mut defined) = (Vec::new(), Vec::new());
    for cell in cells {
        defined.push(i16::from(cell.is_some()));
        values.extend(cell);
    }
    write::<T, W>(group, &values, Some(&defined[..]).filter(|_| !required), None)
}

fn write<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    defined: Option<&[i16]>,
    repeats: Option<&[i16]>,
) -> Result<()> {
    let none = || ParquetError::General("more columns than the schema has".to_owned());
    let mut column = group.next_column()?.ok_or_else(none)?;
    column.typed::<T>().write_batch(values, defined, repeats)?;
    column.close()
}

fn told(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field as Cell;
    use serde_json::{Value, json};

    use super::*;
    use crate::export::example;

    fn as_json(cell: &Cell) -> Value {
        match cell {
            Cell::Null => Value::Null,
            Cell::Bool(truth) => json!(truth),
            Cell::ULong(count) => json!(count),
            Cell::Long(ns) => json!(ns),
            Cell::Double(number) => json!(number),
            Cell::Str(text) => json!(text),
            Cell::ListInternal(list) => list.elements().iter().map(as_json).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// The rows that are read back, as objects.
    fn rows(records: &[Record]) -> (Vec<Value>, usize) {
        let mut out = Parquet::begin(Vec::new()).unwrap();
        records.iter().for_each(|record| out.record(record).unwrap());
        let file = SerializedFileReader::new(Bytes::from(out.finish().unwrap())).unwrap();
        let row = |row: parquet::record::Row| {
            row.get_column_iter().map(|(name, cell)| (name.clone(), as_json(cell))).collect()
        };
        let read = file.get_row_iter(None).unwrap().map(|found| row(found.unwrap())).collect();
        (read, file.num_row_groups())
    }

    /// What the row of a record must be, from the record's JSON.
    fn expected(record: &Record) -> Value {
        let mut value = serde_json::to_value(record).unwrap();
        let ns = record.start.parse::<jiff::Timestamp>().unwrap().as_nanosecond();
        value["start"] = json!(i64::try_from(ns).unwrap());
        value
    }

    fn records() -> Vec<Record> {
        let whole = example::record(3);
        let bare = Record {
            path: None,
            status: None,
            model: None,
            stream: None,
            unread_s: None,
            ttft_s: None,
            queue_s: None,
            prefill_s: None,
            decode_s: None,
            itl_p50_s: None,
            itl_p99_s: None,
            prompt_tokens: None,
            cached_tokens: None,
            completion_tokens: None,
            joules: None,
            joules_low: None,
            joules_high: None,
            error_edges_j: None,
            error_quantum_j: None,
            error_idle_j: None,
            error_weight_j: None,
            error_class_j: None,
            error_policy_j: None,
            error_gap_j: None,
            error_split_j: None,
            cpu_j: None,
            dram_j: None,
            gpu_j: None,
            idle_j: None,
            prefill_j: None,
            decode_j: None,
            cpu_s: None,
            mean_residents: None,
            external_id: None,
            sources: <_>::default(),
            flags: vec![],
            ..whole.clone()
        };
        let flags = vec!["gap".to_owned(), "idle-unknown".to_owned(), "ünïcode".to_owned()];
        let zero = Record { joules: Some(0.0), request: u64::MAX, flags, ..whole.clone() };
        vec![whole, bare, zero]
    }

    #[test]
    fn every_field_of_every_record_is_read_back_and_what_is_missing_is_null() {
        let records = records();
        let (read, groups) = rows(&records);
        assert_eq!(groups, 1);
        assert_eq!(read, records.iter().map(expected).collect::<Vec<_>>());
        assert_eq!((&read[1]["joules"], &read[2]["joules"]), (&Value::Null, &json!(0.0)));
    }

    #[test]
    fn rows_come_in_groups_and_none_is_lost_between_them() {
        let one = records().remove(0);
        let many = (0..GROUP as u64 * 2 + 5).map(|request| Record { request, ..one.clone() });
        let (read, groups) = rows(&many.collect::<Vec<_>>());
        assert_eq!(groups, 3);
        assert!(read.iter().enumerate().all(|(i, row)| row["request"] == i));
        assert_eq!(read.len(), GROUP * 2 + 5);
    }

    #[test]
    fn no_records_are_a_file_without_rows() {
        assert_eq!(rows(&[]), (vec![], 0));
    }
}
