//! A model's `inputs` patterns → the features they name, in a fixed order.

use super::diagnostic::Diagnostic;
use super::model::Model;
use super::project::{Project, find_word};

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

fn candidates(project: &Project, model: &Model) -> Vec<Input> {
    let attributes = model.attributes().iter().map(|a| Input { group: "spine".into(), feature: a.clone() });
    let features = project
        .groups
        .values()
        .filter(|group| group.history.entity == model.entity)
        .flat_map(|group| group.names().map(|name| Input { group: group.name.clone(), feature: name.to_string() }));
    let sql = project
        .sql_features
        .values()
        .filter(|features| features.entity == model.entity)
        .flat_map(|f| f.columns.keys().map(|name| Input { group: f.name.clone(), feature: name.clone() }));
    attributes.chain(features).chain(sql).collect()
}

fn unknown(project: &Project, model: &Model, path: &str, pattern: &str, all: &[Input]) -> Diagnostic {
    let message = format!("model {} names an unknown feature `{pattern}`", model.name);
    let diagnostic = model.origin.at(path, message);
    let Some((group, _)) = pattern.split_once('.') else {
        return diagnostic.found(pattern).expected("group.feature, such as payments.amount_sum_30d or payments.*");
    };
    let groups = project.groups.keys().chain(project.sql_features.keys()).map(String::as_str).chain(["spine"]);
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
