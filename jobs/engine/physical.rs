//! SQL expressions → something that can be evaluated on a batch, outside of any plan.
//!
//! DataFusion's own shortcut coerces types but does not simplify, and some functions (`coalesce`, `nvl`) exist only
//! until the simplifier has turned them into `case`.

use std::sync::Arc;

use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::prelude::SessionContext;

/// Coerces, simplifies and compiles an expression over the columns of `schema`.
pub fn compile(context: &SessionContext, expr: Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    let simplify = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
    let simplifier = ExprSimplifier::new(simplify);
    let expr = simplifier.simplify(simplifier.coerce(expr, schema)?)?;
    context.create_physical_expr(expr, schema)
}
