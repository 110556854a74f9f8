//! Which data file it is whose pages cannot be decoded.
//!
//! A file that is gone, cut or without a footer is named by whoever opens it ([`super::reader`]). Pages are decoded
//! later, by a stream that knows no names: its error says what is wrong with the bytes and not where they are. So the
//! files are decoded once more, one after the other, until one fails.

use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use super::reader::Named;
use super::root::Lake;
use super::snapshot::Snapshot;
use crate::error::{Error, Result};

impl Lake {
    /// The same error, with the table and the name of the file where it is one of a file of the newest versions that
    /// cannot be decoded.
    pub async fn naming(&self, error: Error) -> Error {
        if !error.is_unreadable_parquet() {
            return error;
        }
        match self.undecodable().await {
            Ok(Some(named)) => named,
            // Of a version that is not the newest, or readable by now.
            Ok(None) | Err(_) => error,
        }
    }

    async fn undecodable(&self) -> Result<Option<Error>> {
        for table in self.tables().await? {
            let Some(snapshot) = self.snapshot(&table).await? else { continue };
            for file in snapshot.data_files() {
                let path = Snapshot::path_of(self, &table, &file.path)?;
                let named = Named::new(&table, path, file.bytes, self.store());
                if let Err(error) = decode(named.bytes().await?) {
                    return Ok(Some(Error::from(named.explain(error).await)));
                }
            }
        }
        Ok(None)
    }
}

fn decode(file: Bytes) -> Result<(), ParquetError> {
    for rows in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
        rows.map_err(|error| ParquetError::General(error.to_string()))?;
    }
    Ok(())
}
