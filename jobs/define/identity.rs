//! Which columns say who somebody is, or lead to it: those have no statistics in any table, neither in its files nor in
//! its log. The least and the greatest value of a column are two people's, and they would stand where nobody who
//! erases looks. Nothing reads less for it: rows are skipped by their times.

use std::collections::BTreeSet;

use arrow::datatypes::Schema;

use super::project::Project;

impl Project {
    /// The columns of whom features describe, sequences follow and models decide on.
    pub fn entities(&self) -> BTreeSet<&str> {
        let groups = self.groups.values().map(|group| &group.history.entity);
        let sequences = self.sequences.values().map(|sequence| &sequence.history.entity);
        let sql = self.sql_features.values().map(|features| &features.entity);
        let models = self.models.values().map(|model| &model.entity);
        groups.chain(sequences).chain(sql).chain(models).flatten().map(String::as_str).collect()
    }

    /// The columns of a dataset (`tables/…`, `features/…`) that get no statistics: entities, identifiers, what is
    /// declared personal, and a table's key but for its times, by which files are skipped.
    pub fn identifying(&self, dataset: &str, schema: &Schema) -> Vec<String> {
        let entities = self.entities();
        let key = dataset.strip_prefix("tables/").map_or(&[][..], |table| self.key(table));
        let personal = self.personal.get(dataset);
        let fields = schema.fields().iter().filter(|field| {
            let name = field.name();
            let is_key = key.contains(name) && !field.data_type().is_temporal();
            let is_personal = personal.is_some_and(|declared| declared.classes.contains_key(name));
            entities.contains(name.as_str()) || is_identifier(name) || is_key || is_personal
        });
        fields.map(|field| field.name().clone()).collect()
    }
}

/// By its name.
pub fn is_identifier(column: &str) -> bool {
    column == "id" || column.ends_with("_id")
}
