//! The network fails, and both ends live on. Afterwards the oracle compares every topic with the truth.
//!
//! | module | where |
//! |---|---|
//! | `broker` | between the daemon and Kafka |
//! | `database` | between the daemon and PostgreSQL; events go into the embedded stream, which has no network |
//! | `encrypted` | nowhere: the same over TLS |

use std::time::Duration;

use tailrace_tests::proxy::Armed;
use tailrace_tests::scenario::Scenario;
use tailrace_tests::servers::eventually;

mod broker;
mod database;
mod encrypted;

/// Nothing that is armed takes longer to come, unless it never comes.
const DEADLINE: Duration = Duration::from_secs(60);

/// Lets the workload go on until a fault has happened.
pub(crate) async fn meet(scenario: &Scenario, armed: Armed) {
    let outcome = eventually("the fault", DEADLINE, || async {
        if scenario.workload.is_idle() {
            scenario.workload.release(2);
        }
        Ok(armed.has_happened().then_some(()))
    });
    outcome
        .await
        .map_err(|error| scenario.daemon.with_status(scenario.database.name(), &error))
        .unwrap();
}
