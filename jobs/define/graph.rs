//! The order in which tables are built: inputs before what reads them.

use super::diagnostic::Diagnostic;
use super::map::Map;
use super::table::Table;

/// Sorts the tables topologically (by name where free); a cycle is a diagnostic.
pub fn order(tables: &mut Map<Table>, out: &mut Vec<Diagnostic>) {
    tables.sort_keys();
    let mut sorted: Vec<String> = Vec::new();
    for name in tables.keys() {
        let mut path = Vec::new();
        if let Err(cycle) = visit(name, tables, &mut path, &mut sorted) {
            let origin = &tables[&cycle[0]].origin;
            let d = origin.at("", format!("tables read each other in a cycle: {}", cycle.join(" → ")));
            if !out.iter().any(|other| other.message.starts_with("tables read each other")) {
                out.push(d.help("break it: let one of them read what the other reads"));
            }
            return;
        }
    }
    let mut rest = std::mem::take(tables);
    for name in sorted {
        if let Some(table) = rest.shift_remove(&name) {
            tables.insert(name, table);
        }
    }
}

fn visit(name: &str, tables: &Map<Table>, path: &mut Vec<String>, sorted: &mut Vec<String>) -> Result<(), Vec<String>> {
    if sorted.iter().any(|done| done == name) {
        return Ok(());
    }
    if let Some(start) = path.iter().position(|on| on == name) {
        let mut cycle = path[start..].to_vec();
        cycle.push(name.to_string());
        return Err(cycle);
    }
    let Some(table) = tables.get(name) else { return Ok(()) };
    path.push(name.to_string());
    for input in table.inputs.iter().chain(&table.audited_against()) {
        visit(input, tables, path, sorted)?;
    }
    path.pop();
    sorted.push(name.to_string());
    Ok(())
}
