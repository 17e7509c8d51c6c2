//! Repairs, in steps that are tried again where the sink was faster.

use std::collections::{BTreeMap, BTreeSet};

use tailrace_core::error::Kind;
use tailrace_core::{Error, Result};
use tailrace_sql::sink::SqlSink;
use tailrace_sql::verify::pairing::Key;
use tailrace_sql::verify::repair::Place;
use tailrace_sql::verify::table::{Difference, TableComparison};

use super::offsets::Offsets;

/// Keys of one transaction: few, because the sink waits meanwhile.
const KEYS_AT_A_TIME: usize = 200;
/// A sink under load writes every few milliseconds; between two of its transactions there is room for one of ours, now and then.
const ATTEMPTS: usize = 100;

/// Repairs keys; gives what was repaired, and how it differed.
///
/// # Errors
/// Transient `repair_outrun` where the sink was faster every time; as of every write.
pub(super) async fn repair(
    comparison: &mut TableComparison,
    session: &mut SqlSink,
    place: &Place,
    (offsets, keys): (&mut Offsets, BTreeSet<Key>),
) -> Result<BTreeMap<Key, Difference>> {
    let mut repaired = BTreeMap::new();
    let keys: Vec<Key> = keys.into_iter().collect();
    for keys in keys.chunks(KEYS_AT_A_TIME) {
        let keys: BTreeSet<Key> = keys.iter().cloned().collect();
        let mut attempts = 0;
        loop {
            let at_rest = offsets.of_topic(&place.topic).await?;
            match comparison.repair(session, place, &at_rest, &keys).await {
                Ok(done) => {
                    repaired.extend(done);
                    break;
                }
                Err(error) if error.kind() == Kind::Fenced && attempts < ATTEMPTS => attempts += 1,
                Err(error) if error.kind() == Kind::Fenced => {
                    let message = format!(
                        "the sink wrote something of {} each time that a row was about to be repaired; repair when there is less to do, or \
                         while the sink is stopped",
                        place.topic
                    );
                    return Err(Error::transient("repair_outrun", message).with_source(error));
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(repaired)
}
