//! SQL over JSON text: `payload->>'amount'`, `json_get_int(payload, 'items', 0, 'n')`, `json_get_array(payload)`.
//!
//! Raw events come nested; a source keeps what is nested as JSON text, and tables take it apart with these functions.
//! They belong to every session, and to the planner that type-checks queries without one.

use datafusion::common::Result;
use datafusion::execution::SessionState;

/// Adds the functions and operators.
///
/// # Errors
/// None that is known: a session takes whatever function it is given.
pub fn register(state: &mut SessionState) -> Result<()> {
    datafusion_functions_json::register_all(state)
}
