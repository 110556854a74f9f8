//! What a query reads, from its text alone. Types and columns need a plan and are the engine's to check.

use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::Statement as Ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;

use super::diagnostic::Diagnostic;

/// Sources and tables that a query reads, sorted. The error points into the SQL file.
pub fn inputs(file: &str, text: &str) -> Result<Vec<String>, Box<Diagnostic>> {
    let dialect = PostgreSqlDialect {};
    let statements = DFParserBuilder::new(text)
        .with_dialect(&dialect)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| Box::new(syntax_error(file, &error.strip_backtrace())))?;
    let statement = match (statements.len(), statements.front()) {
        (1, Some(Statement::Statement(statement))) if matches!(statement.as_ref(), Ast::Query(_)) => &statements[0],
        (count, _) => {
            let found = if count == 1 { "another kind of statement".into() } else { format!("{count} statements") };
            let diagnostic = Diagnostic::new(file, (1, 1), "a table is one query").found(found).expected("one SELECT");
            return Err(Box::new(diagnostic));
        }
    };
    let (tables, _) = resolve_table_references(statement, true)
        .map_err(|error| Box::new(syntax_error(file, &error.strip_backtrace())))?;
    let mut inputs: Vec<String> = tables.iter().map(|table| table.table().to_string()).collect();
    inputs.sort();
    inputs.dedup();
    Ok(inputs)
}

/// A parser's message, placed where it says `at Line: 3, Column: 7`.
pub fn syntax_error(file: &str, message: &str) -> Diagnostic {
    let number = |label: &str| {
        let digits: String =
            message.split(label).nth(1).unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<usize>().ok()
    };
    let position = (number("Line: ").unwrap_or(1), number("Column: ").unwrap_or(1));
    let text = message.split(" at Line:").next().unwrap_or(message);
    let text = text.trim_start_matches("SQL error: ParserError(\"").trim_end_matches("\")");
    let diagnostic = Diagnostic::new(file, position, format!("SQL that does not parse: {text}"));
    match text.split_once(", found: ") {
        Some((expected, found)) => {
            let expected = expected.split("Expected: ").nth(1).unwrap_or(expected);
            Diagnostic { message: "SQL that does not parse".into(), ..diagnostic }.found(found).expected(expected)
        }
        None => diagnostic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_relations_and_not_common_table_expressions() {
        let text = "with a as (select * from payment) select * from a left join purchase_order o using (purchase_id)";
        assert_eq!(inputs("x.sql", text).unwrap(), ["payment", "purchase_order"]);
    }

    #[test]
    fn a_syntax_error_has_its_line() {
        let error = inputs("x.sql", "select a\nfrom payment\nwhere a = )").unwrap_err();
        assert_eq!(error.line, 3, "{error}");
    }

    #[test]
    fn only_one_query_is_a_table() {
        assert!(inputs("x.sql", "select 1; select 2").is_err());
        assert!(inputs("x.sql", "drop table payment").is_err());
    }
}
