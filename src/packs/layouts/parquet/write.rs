//! Tables of texts as Parquet.

use std::io::{self, Write};
use std::sync::Arc;

use ::parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use ::parquet::data_type::{ByteArray, ByteArrayType};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::types::Type;

/// Rows that are written together.
const ROWS: usize = 10_000;

/// Writes a table whose columns all hold texts, or nothing.
pub struct TableWriter<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: Vec<Vec<Option<String>>>,
}

impl<W: Write + Send> std::fmt::Debug for TableWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TableWriter({} columns)", self.columns.len())
    }
}

fn failed(error: ::parquet::errors::ParquetError) -> io::Error {
    io::Error::other(error)
}

impl<W: Write + Send> TableWriter<W> {
    /// With columns of these names.
    ///
    /// # Errors
    /// If two have the same name, or nothing can be written.
    pub fn new(to: W, names: &[&str]) -> io::Result<Self> {
        for (at, name) in names.iter().enumerate() {
            if names[..at].contains(name) {
                return Err(io::Error::other(format!("two columns are called {name:?}")));
            }
        }
        let column = |name: &&str| {
            Type::primitive_type_builder(name, Physical::BYTE_ARRAY)
                .with_repetition(Repetition::OPTIONAL)
                .with_logical_type(Some(LogicalType::String))
                .build()
                .map(Arc::new)
        };
        let columns = names.iter().map(column).collect::<Result<_, _>>().map_err(failed)?;
        let schema = Type::group_type_builder("records").with_fields(columns).build().map_err(failed)?;
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let writer = SerializedFileWriter::new(to, Arc::new(schema), Arc::new(properties)).map_err(failed)?;
        Ok(Self { writer, columns: names.iter().map(|_| Vec::new()).collect() })
    }

    /// The next row: a value, or nothing, for each column.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn push(&mut self, row: Vec<Option<String>>) -> io::Result<()> {
        for (column, value) in self.columns.iter_mut().zip(row) {
            column.push(value);
        }
        if self.columns.first().is_some_and(|column| column.len() >= ROWS) { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.columns.first().is_none_or(Vec::is_empty) {
            return Ok(());
        }
        let mut group = self.writer.next_row_group().map_err(failed)?;
        for column in &mut self.columns {
            let column = std::mem::take(column);
            let levels: Vec<i16> = column.iter().map(|value| i16::from(value.is_some())).collect();
            let values: Vec<ByteArray> = column.into_iter().flatten().map(|text| text.into_bytes().into()).collect();
            let Some(mut writer) = group.next_column().map_err(failed)? else { break };
            writer.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).map_err(failed)?;
            writer.close().map_err(failed)?;
        }
        group.close().map(drop).map_err(failed)
    }

    /// Ends the table.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.writer.close().map(drop).map_err(failed)
    }
}
