//! Why a change has no event, for people.

use tailrace_core::batch::{ChangeView, Refusal};

use crate::plan::{RowError, TablePlan};
use crate::values::Cause;

/// Code of an event whose schema was not registered before it.
pub(crate) const SCHEMA_NOT_REGISTERED: &str = "schema_not_registered";
/// Code of an event with a value that its format cannot hold.
const VALUE_NOT_ENCODABLE: &str = "value_not_encodable";
/// The remedy that all such values have in common.
const OTHERWISE: &str = ", or format.unrepresentable: as_string (or as_null, outside of the key)";

/// Why an event of a source cannot be encoded: what, where, remedy.
#[cold]
pub(crate) fn refusal(plan: &TablePlan, (identity, change): (&str, ChangeView<'_>), error: RowError) -> Refusal {
    let code = match error == RowError::not_registered() {
        true => SCHEMA_NOT_REGISTERED,
        false => VALUE_NOT_ENCODABLE,
    };
    let table = plan.publication.table.name.qualified();
    let column = error.column.and_then(|index| plan.publication.table.columns.get(index));
    let place = match column {
        Some(column) => format!("the value of column {} of table {table}", column.name),
        None => format!("a change of table {table}"),
    };
    let position = change.transaction().map_or("", |transaction| &*transaction.position);
    let event = format!("{identity}:{position}:{}", change.change().ordinal);
    let cell = error.cell;
    let otherwise = match cell.cause {
        Cause::Unrepresentable => OTHERWISE,
        Cause::Missing => "",
    };
    Refusal {
        code,
        reason: format!("{place} {} (event {event}); {}{otherwise}", cell.problem, cell.remedy),
    }
}
