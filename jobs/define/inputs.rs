//! A model's `inputs` patterns → the features they name, in a fixed order.

use super::diagnostic::Diagnostic;
use super::model::{Model, Scoring, SpineKind};
use super::project::{Project, find_word};
use super::sql_features::SPINE;

/// One input of a model: a feature of a group, or an attribute of the spine (`group` is then `spine`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    pub group: String,
    pub feature: String,
}

impl Input {
    /// `group.feature`: its name in matrices, artifacts and reports.
    pub fn name(&self) -> String {
        format!("{}.{}", self.group, self.feature)
    }
}

/// The inputs in the order of patterns and definitions; a pattern that names nothing is a diagnostic.
pub fn resolve(project: &Project, model: &Model) -> Result<Vec<Input>, Vec<Diagnostic>> {
    let all: Vec<Input> = candidates(project, model);
    let mut out = Vec::new();
    let mut chosen: Vec<Input> = Vec::new();
    for (index, pattern) in model.inputs.iter().enumerate() {
        let before = chosen.len();
        for input in all.iter().filter(|input| glob(pattern, &input.name())) {
            if !chosen.contains(input) {
                chosen.push(input.clone());
            }
        }
        let names_any = chosen.len() > before || all.iter().any(|input| glob(pattern, &input.name()));
        if !names_any {
            out.push(unknown(project, model, &format!("inputs.{index}"), pattern, &all));
        }
    }
    for (index, pattern) in model.exclude.iter().enumerate() {
        if !all.iter().any(|input| glob(pattern, &input.name())) {
            out.push(unknown(project, model, &format!("exclude.{index}"), pattern, &all));
        }
        chosen.retain(|input| !glob(pattern, &input.name()));
    }
    if chosen.is_empty() && out.is_empty() {
        out.push(
            model.origin.at("inputs", format!("model {} has no inputs", model.name)).expected("at least one feature"),
        );
    }
    if out.is_empty() { Ok(chosen) } else { Err(out) }
}

/// Features mentioned as `group.feature` in an expression, such as a segment's.
pub fn mentioned(project: &Project, model: &Model, expression: &str) -> Vec<Input> {
    let named = |input: &Input| find_word(expression, &input.name()).is_some();
    candidates(project, model).into_iter().filter(named).collect()
}

/// Everything that the model could take: attributes of its spine, features of entities that its decisions name.
pub fn candidates(project: &Project, model: &Model) -> Vec<Input> {
    let mut all: Vec<Input> = Vec::new();
    let mut add = |group: &str, feature: &str| all.push(Input { group: group.into(), feature: feature.into() });
    model.attributes().iter().for_each(|attribute| add(SPINE, attribute));
    let columns = spine_columns(project, model);
    let named = |entity: &[String]| entity.iter().all(|column| columns.contains(&column.as_str()));
    for group in project.groups.values().filter(|group| named(&group.history.entity)) {
        group.names().for_each(|name| add(&group.name, name));
    }
    for features in project.sql_features.values().filter(|features| named(&features.entity)) {
        features.columns.keys().for_each(|name| add(&features.name, name));
    }
    for attributes in project.attributes.values().filter(|a| decides_on(model).is_some_and(|table| a.spine == table)) {
        attributes.features.iter().for_each(|feature| add(&attributes.name, &feature.name));
    }
    all
}

/// Columns of every row that the model trains on and scores: a decision has those of its table, a member of a
/// population names the entity and nothing else.
pub fn spine_columns<'a>(project: &'a Project, model: &'a Model) -> Vec<&'a str> {
    let own = decides_on(model).map(|table| project.columns(table)).unwrap_or_default();
    model.entity.iter().map(String::as_str).chain(own).collect()
}

/// The table whose rows the model both trains on and scores.
fn decides_on(model: &Model) -> Option<&str> {
    match (&model.spine.kind, &model.scoring) {
        (SpineKind::Events { table, .. }, Scoring::Applications(_)) => Some(table),
        _ => None,
    }
}

fn unknown(project: &Project, model: &Model, path: &str, pattern: &str, all: &[Input]) -> Diagnostic {
    let message = format!("model {} names an unknown feature `{pattern}`", model.name);
    let diagnostic = model.origin.at(path, message);
    let Some((group, _)) = pattern.split_once('.') else {
        return diagnostic.found(pattern).expected("group.feature, such as payments.amount_sum_30d or payments.*");
    };
    let columns = spine_columns(project, model);
    if let Some(missing) =
        project.entity(group).and_then(|entity| entity.iter().find(|column| !columns.contains(&column.as_str())))
    {
        let message = format!("{group} is about a `{missing}`, which no decision of model {} names", model.name);
        return model.origin.at(path, message).expected_one_of(missing, columns);
    }
    if let Some(attributes) = project.attributes.get(group).filter(|a| decides_on(model) != Some(a.spine.as_str())) {
        let message =
            format!("{group} are attributes of {}, which model {} does not score", attributes.spine, model.name);
        let expected = format!("`spine: {{table: {}}}` and `scoring: {{applications: …}}`", attributes.spine);
        return model.origin.at(path, message).expected(expected);
    }
    let definitions = project.groups.keys().chain(project.sql_features.keys()).chain(project.attributes.keys());
    let groups = definitions.map(String::as_str).chain([SPINE]);
    if !group.contains('*') && !groups.clone().any(|known| known == group) {
        return diagnostic.expected_one_of(group, groups);
    }
    let names: Vec<String> = all.iter().filter(|i| i.group == group).map(Input::name).collect();
    diagnostic.expected_one_of(pattern, names.iter().map(String::as_str))
}

/// `*` matches any run of characters.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_any_run() {
        assert!(glob("payments.*", "payments.amount_sum_7d"));
        assert!(glob("*.amount_*_7d", "payments.amount_sum_7d"));
        assert!(glob("payments.count", "payments.count"));
        assert!(!glob("payments.count", "payments.count_7d"));
        assert!(!glob("payments.*_30d", "payments.amount_sum_7d"));
        assert!(!glob("a*a", "a"));
    }
}
