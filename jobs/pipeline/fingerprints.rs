//! What each column is computed by, in a word: kept in commits, so that a later reader knows whether a definition of
//! today is that of the rows. Documentation is no part of it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::features::definition::Definition;
use super::job::{digest, hex};
use crate::define::inputs::Input;
use crate::define::project::find_word;
use crate::define::{Attributes, FeatureGroup, Project, SqlFeatures};
use crate::error::Result;

/// By column.
pub type Fingerprints = BTreeMap<String, String>;

/// As commits hold them.
pub fn value(fingerprints: &Fingerprints) -> Value {
    json!(fingerprints)
}

pub fn definition(definition: Definition<'_>) -> Result<Fingerprints> {
    match definition {
        Definition::Group(found) => group(found),
        Definition::Sequence(found) => {
            let whole = (&found.history, &found.interleaved, found.length, found.window);
            found.fields.iter().map(|field| Ok((field.name.clone(), of(&(&whole, &field.value))?))).collect()
        }
    }
}

/// Of a query, every column has that of the whole.
pub fn query(features: &SqlFeatures) -> Result<Fingerprints> {
    let whole = of(&(&features.entity, &features.entities, &features.sql))?;
    Ok(features.columns.keys().map(|name| (name.clone(), whole.clone())).collect())
}

/// Of the features of a name; none where there are no such features, or they are a decision's own columns.
pub fn named(project: &Project, name: &str) -> Result<Fingerprints> {
    if let Some(found) = project.groups.get(name) {
        group(found)
    } else if let Some(found) = project.sql_features.get(name) {
        query(found)
    } else if let Some(found) = project.attributes.get(name) {
        attributes(found)
    } else {
        Ok(Fingerprints::new())
    }
}

/// One text for all inputs of a model.
pub fn together(project: &Project, inputs: &[Input]) -> Result<String> {
    let mut parts = Vec::new();
    for input in inputs {
        parts.push((input.name(), named(project, &input.group)?.remove(&input.feature)));
    }
    of(&parts)
}

fn group(group: &FeatureGroup) -> Result<Fingerprints> {
    let mut known = Fingerprints::new();
    for feature in &group.features {
        let by = (&group.history, &feature.function, &feature.of, &feature.filter, &feature.window);
        known.insert(feature.name.clone(), of(&by)?);
    }
    for derived in &group.derived {
        let from: Vec<&String> =
            known.iter().filter(|(name, _)| find_word(&derived.expression, name).is_some()).map(|(_, f)| f).collect();
        let by = of(&(&group.history, &derived.expression, from))?;
        known.insert(derived.name.clone(), by);
    }
    Ok(known)
}

fn attributes(attributes: &Attributes) -> Result<Fingerprints> {
    let whole = (&attributes.spine, &attributes.lookups);
    let of_each = attributes.features.iter().map(|f| Ok((f.name.clone(), of(&(&whole, &f.expression))?)));
    of_each.collect()
}

fn of<T: Serialize>(by: &T) -> Result<String> {
    Ok(hex(&digest(&[&serde_json::to_string(by)?])[..8]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::define::features::RawGroup;
    use crate::define::yaml;

    fn columns(text: &str) -> Fingerprints {
        let mut out = Vec::new();
        let head = "group: pays\nentity: user_id\nentities: people\ntable: payments\naggregations:\n";
        let (raw, origin) = yaml::parse::<RawGroup>("pays.yaml", &format!("{head}{text}"), &mut out).unwrap();
        let found = FeatureGroup::validate(raw, &origin, &mut out);
        assert!(out.is_empty(), "{out:#?}");
        group(&found).unwrap()
    }

    #[test]
    fn a_column_keeps_its_fingerprint_until_it_is_computed_otherwise() {
        let text = "- {of: amount, fn: sum, as: amount_sum, over: [1d, 30d]}\nderived: {half: amount_sum_30d / 2}\n";
        let before = columns(text);
        assert_eq!(before.len(), 3);
        let more = columns(&format!("- {{fn: count, as: n, over: [1d]}}\n{text}docs: {{half: One of two.}}\n"));
        assert!(before.iter().all(|(name, fingerprint)| more[name] == *fingerprint));
        let cents = columns(&text.replace("of: amount", "of: amount * 100"));
        assert!(before.iter().all(|(name, fingerprint)| cents[name] != *fingerprint), "half follows what it is of");
        let third = columns(&text.replace("/ 2", "/ 3"));
        assert_ne!(before["half"], third["half"]);
        assert_eq!(before["amount_sum_1d"], third["amount_sum_1d"]);
    }
}
