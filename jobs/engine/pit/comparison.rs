//! Comparisons of text with something else, which SQL settles by converting one side row by row: `amount = 'ten'` would
//! pass every check and fail in the night that meets the first row. Here it is said when the definition is read.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};

use crate::define::types::type_name;

/// What cannot be compared, and with what it could.
#[derive(Debug)]
pub struct Mismatch {
    pub message: String,
    pub expected: String,
}

/// The first comparison in an expression that would fail, or depend on what a text looks like.
pub fn mismatch(expr: &Expr, schema: &DFSchema) -> Option<Mismatch> {
    let mut found = None;
    let walked = expr.apply(|e| {
        let mut pairs = pairs(e).into_iter();
        found = pairs.find_map(|(a, b)| text_against(a, b, schema).or_else(|| text_against(b, a, schema)));
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.ok().and(found)
}

/// What an expression compares with one another.
fn pairs(expr: &Expr) -> Vec<(&Expr, &Expr)> {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    let compares = |op| matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom);
    match expr {
        Expr::BinaryExpr(binary) if compares(binary.op) => vec![(&binary.left, &binary.right)],
        Expr::InList(list) => list.list.iter().map(|item| (list.expr.as_ref(), item)).collect(),
        Expr::Between(between) => vec![(&between.expr, &between.low), (&between.expr, &between.high)],
        _ => Vec::new(),
    }
}

fn text_against(text: &Expr, other: &Expr, schema: &DFSchema) -> Option<Mismatch> {
    let (text_type, other_type) = (text.get_type(schema).ok()?, other.get_type(schema).ok()?);
    let is_text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    if !is_text(&text_type) || is_text(&other_type) || other_type == DataType::Null {
        return None;
    }
    let (other_text, other_type_name) = (other.human_display().to_string(), type_name(&other_type));
    match text {
        Expr::Literal(value, _) if value.cast_to(&other_type).is_ok() => None,
        Expr::Literal(value, _) => Some(Mismatch {
            message: format!("`{other_text}` is compared with '{value}'"),
            expected: format!("a value of type {other_type_name}"),
        }),
        _ => Some(Mismatch {
            message: format!("`{}` is a string, but is compared with {other_type_name}", text.human_display()),
            expected: "two values of one type: put the value in quotes, or cast".into(),
        }),
    }
}
