//! The `query` job: SQL over the lake, which it only reads.
//!
//! `payment` is the current rows of `tables/payment` without our bookkeeping; `tables.payment` is everything stored,
//! closed versions too. `features.payments`, `sequences.…`, `scores.credit`, `quarantine.…`, `training_sets.…`,
//! `experiments.…`, `searches.…`, `runs`, `manifest` and `registry` are the Delta tables of these names. Only what a
//! query names is opened, and each query sees the lake as it is when it begins.
//!
//! What would change anything is refused twice: by what the statement is, so that the message can name it, and by
//! DataFusion, which knows the plan.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use datafusion::common::{Column, TableReference};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::{Expr, col};
use datafusion::prelude::DataFrame;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::Statement as Sql;
use futures::StreamExt;

use self::tables::{Found, find, names, unknown};
use super::open;
use super::rotation;
use crate::define::profile::Profile;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::lake::Lake;

pub mod tables;

/// Asks one lake. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    profile: Arc<Profile>,
    lake: Lake,
}

/// The rows of a query as they come.
pub struct Answer {
    pub schema: SchemaRef,
    rows: SendableRecordBatchStream,
    lake: Lake,
}

impl Answer {
    /// The next rows; `None` after the last.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        match self.rows.next().await? {
            Ok(batch) => Some(Ok(batch)),
            Err(error) => Some(Err(self.lake.naming(Error::from(error)).await)),
        }
    }
}

impl Reader {
    pub fn open(profile: &Profile) -> Result<Reader> {
        Ok(Reader { lake: open::lake(profile)?, profile: Arc::new(profile.clone()) })
    }

    pub fn lake(&self) -> &Lake {
        &self.lake
    }

    /// Plans one query, and begins it.
    ///
    /// # Errors
    /// `Definition` for what is no query, or names what is not there.
    pub async fn ask(&self, sql: &str) -> Result<Answer> {
        rotation::refuse(&self.lake).await?;
        let statement = one(sql)?;
        if let Some(words) = change(&statement) {
            return Err(changes_something(&words));
        }
        let session = open::session(&self.profile)?;
        if let Statement::Statement(sql) = &statement
            && matches!(**sql, Sql::ShowTables { .. })
        {
            let listed = session.context().read_batch(listed(&names(&self.lake).await?)?)?;
            return self.answer(listed).await;
        }
        let (tables, _) = resolve_table_references(&statement, true).map_err(wrong)?;
        for table in tables {
            register(&self.lake, &session, &table).await?;
        }
        let only_queries = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        self.answer(session.context().sql_with_options(sql, only_queries).await.map_err(wrong)?).await
    }

    /// A session with every table there is, by the names that `query` knows them by.
    #[cfg(feature = "flight-sql")]
    pub async fn everything(&self) -> Result<Session> {
        rotation::refuse(&self.lake).await?;
        let session = open::session(&self.profile)?;
        for name in names(&self.lake).await? {
            let table = TableReference::parse_str(&name);
            register(&self.lake, &session, &table).await?;
        }
        Ok(session)
    }

    async fn answer(&self, frame: DataFrame) -> Result<Answer> {
        let schema = Arc::new(frame.schema().as_arrow().clone());
        Ok(Answer { schema, rows: frame.execute_stream().await?, lake: self.lake.clone() })
    }
}

/// The one statement of a text.
fn one(sql: &str) -> Result<Statement> {
    let mut statements = DFParser::parse_sql(sql).map_err(wrong)?;
    match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (None, _) => Err(Error::definition("there is no query\n  expected: one SQL statement")),
        _ => Err(Error::definition("there are several statements\n  expected: one SQL statement")),
    }
}

/// The first words of a statement that is no question.
fn change(statement: &Statement) -> Option<String> {
    let asks = match statement {
        Statement::Explain(explain) => return change(&explain.statement),
        Statement::Statement(sql) => match sql.as_ref() {
            Sql::Explain { statement, .. } => return change(&Statement::Statement(statement.clone())),
            sql => matches!(
                sql,
                Sql::Query(_)
                    | Sql::ExplainTable { .. }
                    | Sql::ShowTables { .. }
                    | Sql::ShowColumns { .. }
                    | Sql::ShowVariable { .. }
            ),
        },
        _ => false,
    };
    let text = statement.to_string();
    let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_uppercase());
    let words: Vec<&str> = text.split_whitespace().take_while(is_word).take(2).collect();
    (!asks).then(|| words.join(" "))
}

fn changes_something(what: &str) -> Error {
    Error::definition(format!(
        "{what} is refused: `query` only reads, and what is in the lake is written by the jobs\n  expected: SELECT, WITH, \
         VALUES, EXPLAIN, DESCRIBE or SHOW TABLES"
    ))
}

/// What DataFusion said of a statement; a change that hides in a query (`select … into`) is told as any other.
fn wrong(error: DataFusionError) -> Error {
    let text = error.strip_backtrace();
    let plan = text.strip_prefix("Error during planning: ").unwrap_or(&text);
    match plan.split_once(" not supported: ") {
        Some(("DDL" | "DML" | "Statement", what)) => changes_something(what),
        _ => Error::definition(text),
    }
}

fn listed(names: &[String]) -> Result<RecordBatch> {
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(names));
    Ok(RecordBatch::try_from_iter([("table_name", names)])?)
}

async fn register(lake: &Lake, session: &Session, table: &TableReference) -> Result<()> {
    let context = session.context();
    match find(lake, table.schema(), table.table()).await? {
        Some(Found::Stored(snapshot)) => {
            if let Some(folder) = table.schema() {
                schema(session, folder)?;
            }
            context.register_table(table.clone(), snapshot.provider()?)?;
        }
        Some(Found::Current(snapshot)) => {
            let frame = current(context.read_table(snapshot.provider()?)?)?;
            context.register_table(table.clone(), frame.into_view())?;
        }
        None => return Err(unknown(lake, &table.to_string()).await?),
    }
    Ok(())
}

/// Open versions, without bookkeeping.
fn current(frame: DataFrame) -> Result<DataFrame> {
    let has = |name: &str| frame.schema().has_column_with_unqualified_name(name);
    let open = if has("_known_until") { frame.clone().filter(col("_known_until").is_null())? } else { frame.clone() };
    let fields = frame.schema().fields();
    let kept = fields.iter().map(|f| f.name()).filter(|name| !tables::is_bookkeeping(name));
    let columns: Vec<Expr> = kept.map(|name| Expr::from(Column::from_name(name))).collect();
    Ok(open.select(columns)?)
}

fn schema(session: &Session, folder: &str) -> Result<()> {
    let context = session.context();
    let catalog = context.catalog("datafusion").ok_or_else(|| Error::internal("no default catalog"))?;
    if catalog.schema(folder).is_none() {
        let provider: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
        catalog.register_schema(folder, provider)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn questions_are_told_from_changes() {
        for question in [
            "select 1",
            "with a as (select 1) select * from a;",
            "values (1)",
            "explain select 1",
            "explain analyze select 1",
            "describe pay",
            "show tables",
        ] {
            assert_eq!(change(&one(question).unwrap()), None, "{question}");
        }
        for (statement, words) in [
            ("drop table pay", "DROP TABLE"),
            ("create table a as select 1", "CREATE TABLE"),
            ("create external table a stored as csv location '/etc/passwd'", "CREATE EXTERNAL"),
            ("insert into pay values (1)", "INSERT INTO"),
            ("update pay set amount = 1", "UPDATE"),
            ("delete from pay", "DELETE FROM"),
            ("copy pay to 'x.csv'", "COPY"),
            ("explain analyze insert into pay values (1)", "INSERT INTO"),
            ("set datafusion.execution.batch_size = 1", "SET"),
            ("begin", "BEGIN"),
        ] {
            assert_eq!(change(&one(statement).unwrap()).as_deref(), Some(words), "{statement}");
        }
    }

    #[test]
    fn one_statement_is_wanted() {
        for (sql, what) in [("", "no query"), (" -- nothing\n", "no query"), ("select 1; select 2", "several")] {
            let error = one(sql).unwrap_err();
            assert!(error.kind() == Kind::Definition && error.to_string().contains(what), "{sql}: {error}");
        }
        assert!(one("select 1;").is_ok());
    }
}
