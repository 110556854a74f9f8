//! A definition's SQL expression → a typed DataFusion expression over the table's columns, or a diagnostic where it
//! was written.
//!
//! Expressions are about one row and nothing else: no aggregates, no subqueries, no clock, and none of the lake's own
//! columns (`_known_until` would tell a decision what happened after it).

use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, SchemaError, TableReference};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, Volatility, cast, lit};

use crate::define::Diagnostic;
use crate::define::types;
use crate::define::types::type_name;
use crate::define::yaml::Origin;
use crate::engine::session::Session;

use super::comparison::mismatch;

/// Columns that a message lists at most.
const MOST_NAMED: usize = 24;

/// An expression and its type, which is one of the definition language's.
#[derive(Debug, Clone, PartialEq)]
pub struct Typed {
    pub expr: Expr,
    pub data_type: DataType,
}

/// Boxed, since a diagnostic is much larger than what it is returned beside.
pub type Checked<T> = Result<T, Box<Diagnostic>>;

/// What expressions of one definition may refer to.
pub struct Scope<'a> {
    session: &'a Session,
    /// What has the columns, for messages: "table payments".
    what: String,
    schema: DFSchema,
    origin: &'a Origin,
}

impl<'a> Scope<'a> {
    pub fn new(session: &'a Session, what: impl Into<String>, schema: &Schema, origin: &'a Origin) -> Checked<Self> {
        let what = what.into();
        let schema = DFSchema::try_from(schema.clone()).map_err(|e| {
            Box::new(origin.at("", format!("the columns of {what} cannot be told apart: {}", e.strip_backtrace())))
        })?;
        Ok(Scope::over(session, what, schema, origin))
    }

    /// Columns of several relations, told apart by their qualifiers.
    pub fn over(session: &'a Session, what: impl Into<String>, schema: DFSchema, origin: &'a Origin) -> Self {
        Scope { session, what: what.into(), schema, origin }
    }

    pub fn schema(&self) -> &DFSchema {
        &self.schema
    }

    /// An existing column by its exact name.
    pub fn column(&self, name: &str, path: &str) -> Checked<Typed> {
        match self.schema.field_with_unqualified_name(name) {
            Ok(field) if !name.starts_with('_') => {
                let expr = Expr::Column(Column::new_unqualified(name));
                self.typed(expr, field.data_type().clone(), name, path)
            }
            _ => Err(self.unknown_column(name, path)),
        }
    }

    pub fn compile(&self, sql: &str, path: &str) -> Checked<Typed> {
        self.compile_with(sql, path, |expr, _| Ok(Transformed::no(expr)))
    }

    /// As [`Self::compile`], with division between numbers in float64, null where the divisor is zero.
    pub fn compile_with_ratios(&self, sql: &str, path: &str) -> Checked<Typed> {
        self.compile_with(sql, path, ratio)
    }

    /// An expression that must be boolean.
    pub fn predicate(&self, sql: &str, path: &str) -> Checked<Expr> {
        let typed = self.compile(sql, path)?;
        if typed.data_type != DataType::Boolean {
            let d = self.origin.at(path, format!("`{sql}` is not a condition"));
            return Err(Box::new(d.found(type_name(&typed.data_type)).expected("bool")));
        }
        Ok(typed.expr)
    }

    fn compile_with(
        &self,
        sql: &str,
        path: &str,
        rewrite: impl Fn(Expr, &DFSchema) -> datafusion::error::Result<Transformed<Expr>>,
    ) -> Checked<Typed> {
        let planned = self.session.context().parse_sql_expr(sql, &self.schema);
        let expr = planned.map_err(|e| self.wrong(sql, path, &e))?.unalias();
        self.about_one_row(&expr, sql, path)?;
        if let Some(mismatch) = mismatch(&expr, &self.schema) {
            return Err(Box::new(self.origin.at(path, mismatch.message).found(sql).expected(mismatch.expected)));
        }
        let expr = expr.transform_up(|expr| rewrite(expr, &self.schema)).map_err(|e| self.wrong(sql, path, &e))?.data;
        let data_type = self
            .session
            .context()
            .create_physical_expr(expr.clone(), &self.schema)
            .and_then(|physical| physical.data_type(self.schema.as_arrow()))
            .map_err(|e| self.wrong(sql, path, &e))?;
        self.typed(expr, data_type, sql, path)
    }

    fn typed(&self, expr: Expr, found: DataType, text: &str, path: &str) -> Checked<Typed> {
        match plain(&found) {
            Some(data_type) if data_type == found => Ok(Typed { expr, data_type }),
            Some(data_type) => Ok(Typed { expr: cast(expr, data_type.clone()), data_type }),
            None => {
                let d = self.origin.at(path, format!("`{text}` has a type that features cannot have"));
                let expected = "string, int32, int64, float64, bool, date, timestamp or decimal(p,s)";
                Err(Box::new(d.found(found.to_string()).expected(expected)))
            }
        }
    }

    fn about_one_row(&self, expr: &Expr, sql: &str, path: &str) -> Checked<()> {
        let mut wrong = None;
        let walked = expr.apply(|e| {
            let d = |message: String, expected: &str| {
                Some(Box::new(self.origin.at(path, message).found(sql).expected(expected)))
            };
            wrong = match e {
                Expr::ScalarFunction(f) if f.func.signature().volatility != Volatility::Immutable => {
                    let message = format!("`{}()` gives another answer on another day", f.func.name());
                    d(message, "functions of the row's columns only")
                }
                Expr::AggregateFunction(_) | Expr::WindowFunction(_) => {
                    d("the expression aggregates rows".into(), "an expression over one row; `fn` and `over` aggregate")
                }
                Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => {
                    d("the expression holds a subquery".into(), "an expression over one row; join in a table's SQL")
                }
                Expr::Column(column) if column.name.starts_with('_') => Some(self.unknown_column(&column.name, path)),
                _ => None,
            };
            Ok(if wrong.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        });
        match (walked, wrong) {
            (_, Some(diagnostic)) => Err(diagnostic),
            (Err(error), None) => Err(self.wrong(sql, path, &error)),
            (Ok(_), None) => Ok(()),
        }
    }

    fn unknown_column(&self, found: &str, path: &str) -> Box<Diagnostic> {
        let visible = self.schema.iter().filter(|(_, field)| !field.name().starts_with('_'));
        let name = |relation: Option<&TableReference>, name: &str| match relation {
            Some(relation) if found.contains('.') => format!("{relation}.{name}"),
            _ => name.to_string(),
        };
        let names: Vec<String> = visible.map(|(relation, field)| name(relation, field.name())).collect();
        let d = self.origin.at(path, format!("{} has no column `{found}`", self.what));
        Box::new(d.expected_one_of(found, names.iter().map(String::as_str)))
    }

    fn wrong(&self, sql: &str, path: &str, error: &DataFusionError) -> Box<Diagnostic> {
        if let DataFusionError::SchemaError(schema_error, _) = error.find_root()
            && let SchemaError::FieldNotFound { field, .. } = schema_error.as_ref()
        {
            return self.unknown_column(&field.flat_name(), path);
        }
        if let DataFusionError::SchemaError(schema_error, _) = error.find_root()
            && let SchemaError::AmbiguousReference { field } = schema_error.as_ref()
        {
            let d = self.origin.at(path, format!("more than one relation has a column `{}`", field.name));
            return Box::new(d.found(sql).expected(format!("whose it is: <relation>.{}", field.name)));
        }
        let d = self.origin.at(path, format!("not an expression over the columns of {}", self.what));
        let said = error.strip_backtrace();
        let said = said.lines().next().unwrap_or_default();
        let said = said.trim_start_matches("Error during planning: ").trim_start_matches("SQL error: ParserError(\"");
        Box::new(d.found(sql).expected(self.columns()).help(said.trim_end_matches("\")")))
    }

    /// The columns in reach and their types, for messages.
    fn columns(&self) -> String {
        let fields = self.schema.fields().iter().filter(|field| !field.name().starts_with('_'));
        let columns: Vec<String> = fields.map(|f| format!("{} {}", f.name(), type_name(f.data_type()))).collect();
        let more = if columns.len() > MOST_NAMED { ", …" } else { "" };
        format!("SQL over {}{more}", columns[..columns.len().min(MOST_NAMED)].join(", "))
    }
}

/// `a / b` between numbers as `cast(a) / nullif(cast(b), 0)` in float64.
fn ratio(expr: Expr, schema: &DFSchema) -> datafusion::error::Result<Transformed<Expr>> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right }) = expr else {
        return Ok(Transformed::no(expr));
    };
    if !left.get_type(schema)?.is_numeric() || !right.get_type(schema)?.is_numeric() {
        return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right })));
    }
    // Zeros of both signs: DataFusion tells them apart.
    let divisor = [0.0_f64, -0.0].into_iter().fold(cast(*right, DataType::Float64), |divisor, zero| {
        datafusion::functions::expr_fn::nullif(divisor, lit(zero))
    });
    let dividend = Box::new(cast(*left, DataType::Float64));
    let quotient = Expr::BinaryExpr(BinaryExpr { left: dividend, op: Operator::Divide, right: Box::new(divisor) });
    Ok(Transformed::yes(quotient))
}

/// The definition language's type that values of an Arrow type are kept as; `None` if there is none.
pub fn plain(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Boolean => DataType::Boolean,
        DataType::Date32 | DataType::Date64 => DataType::Date32,
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => data_type.clone(),
        DataType::Timestamp(..) => types::timestamp(),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) if *s >= 0 => {
            DataType::Decimal128(*p, *s)
        }
        DataType::Dictionary(_, value) => plain(value)?,
        _ => return None,
    })
}
