//! What a table is: Arrow schema, documentation, partition column ⇄ Delta's protocol and metadata actions.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use deltalake::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use deltalake::kernel::{Metadata, MetadataExt, StructType, new_metadata};

use crate::error::{Error, Result};

/// The key of a field's documentation in its Arrow metadata, and of a column's comment in Delta.
pub const COMMENT: &str = "comment";

/// A field with its documentation.
pub fn documented(name: &str, data_type: DataType, nullable: bool, doc: &str) -> Field {
    Field::new(name, data_type, nullable).with_metadata([(COMMENT.to_string(), doc.to_string())].into())
}

/// How long files and log entries that a later version no longer needs are kept, so that a decision can be replayed.
const RETENTION: &str = "interval 400 days";

/// The properties that say so. Set when a table is created, and by `maintain`.
pub(super) const RETENTION_KEYS: [&str; 2] = ["delta.logRetentionDuration", "delta.deletedFileRetentionDuration"];

/// A table to be written.
#[derive(Debug, Clone)]
pub struct TableSpec {
    /// Below the lake's root: `tables/payment`.
    pub name: String,
    pub description: String,
    /// All columns, the partition column among them; a field's metadata [`COMMENT`] documents it.
    pub schema: SchemaRef,
    /// One column of type date, string or integer.
    pub partition_by: Option<String>,
    /// Columns without statistics, in the files and in the log: entity keys, which are personal data.
    pub no_statistics: Vec<String>,
}

impl TableSpec {
    /// The schema as Delta gives it back: string views become strings, list items get Delta's names.
    ///
    /// # Errors
    /// A type that Delta does not have, or a partition column that the schema does not have.
    pub(super) fn canonical(&self) -> Result<SchemaRef> {
        if let Some(column) = &self.partition_by
            && self.schema.field_with_name(column).is_err()
        {
            return Err(Error::internal(format!("table {} has no column {column} to partition by", self.name)));
        }
        arrow_schema(&self.kernel()?)
    }

    fn kernel(&self) -> Result<StructType> {
        let plain = Schema::new(self.schema.fields().iter().map(|f| comment_only(f)).collect::<Vec<_>>());
        (&plain).try_into_kernel().map_err(|e: arrow::error::ArrowError| {
            Error::internal(format!("the schema of table {} has a type that Delta does not have", self.name))
                .caused_by(e)
        })
    }

    /// The metadata action of a new table.
    pub(super) fn metadata(&self) -> Result<Metadata> {
        let metadata = new_metadata(&self.kernel()?, self.partition_by.iter(), self.properties())?
            .with_name(self.name.clone())?
            .with_description(self.description.clone())?;
        Ok(metadata)
    }

    /// The metadata action that turns `old` into this table, or `None` if it is this table already.
    pub(super) fn metadata_change(&self, old: &Metadata) -> Result<Option<Metadata>> {
        let mut new = old
            .clone()
            .with_name(self.name.clone())?
            .with_description(self.description.clone())?
            .with_schema(&self.kernel()?)?;
        let kept = |key: &str| RETENTION_KEYS.contains(&key) && old.configuration().contains_key(key);
        for (key, value) in self.properties().into_iter().filter(|(key, _)| !kept(key)) {
            new = new.add_config_key(key, value)?;
        }
        let same = serde_json::to_value(&new)? == serde_json::to_value(old)?;
        Ok((!same).then_some(new))
    }

    /// History stays for as long as decisions are replayed, and nothing is cleaned up behind a reader's back.
    fn properties(&self) -> HashMap<String, String> {
        let mut properties = HashMap::from([
            (RETENTION_KEYS[0].to_string(), RETENTION.to_string()),
            (RETENTION_KEYS[1].to_string(), RETENTION.to_string()),
            ("delta.enableExpiredLogCleanup".to_string(), "false".to_string()),
            ("delta.checkpointInterval".to_string(), "20".to_string()),
        ]);
        let counted: Vec<&str> =
            self.schema.fields().iter().filter(|f| self.has_statistics(f)).map(|f| f.name().as_str()).collect();
        if !counted.is_empty() {
            properties.insert("delta.dataSkippingStatsColumns".to_string(), counted.join(","));
        }
        properties
    }

    /// Columns that statistics help to skip files by: flat, and nobody's identity.
    pub(super) fn has_statistics(&self, field: &Field) -> bool {
        !field.data_type().is_nested()
            && *field.data_type() != DataType::Binary
            && self.partition_by.as_deref() != Some(field.name().as_str())
            && !self.no_statistics.contains(field.name())
    }
}

/// The Arrow schema of a Delta schema, comments in the fields' metadata.
pub(super) fn arrow_schema(schema: &StructType) -> Result<SchemaRef> {
    let schema: Schema = schema.try_into_arrow()?;
    Ok(Arc::new(schema))
}

/// The columns of a data file: all but the partition column, which the log has.
pub(super) fn file_schema(schema: &Schema, partition_by: Option<&str>) -> SchemaRef {
    let stored = schema.fields().iter().filter(|f| Some(f.name().as_str()) != partition_by);
    Arc::new(Schema::new(stored.map(|f| f.as_ref().clone().with_metadata(HashMap::new())).collect::<Vec<_>>()))
}

/// Whether the rows of a table can stay when it gets another schema: columns keep their types, may become nullable,
/// and what is new is nullable, hence null in the rows that are there.
pub(super) fn extends(new: &Schema, old: &Schema) -> bool {
    let kept = old.fields().iter().all(|old| {
        let new = new.field_with_name(old.name());
        new.is_ok_and(|new| new.data_type() == old.data_type() && new.is_nullable() >= old.is_nullable())
    });
    kept && new.fields().iter().all(|new| new.is_nullable() || old.field_with_name(new.name()).is_ok())
}

fn comment_only(field: &Field) -> Field {
    let comment = field.metadata().get(COMMENT).filter(|text| !text.is_empty());
    let metadata = comment.map(|text| (COMMENT.to_string(), text.clone())).into_iter().collect();
    field.clone().with_metadata(metadata)
}
