//! The state of a connector and of its task, in Kafka Connect's words.

use schemars::JsonSchema;
use serde::Serialize;
use tailrace_core::telemetry::Life;

use super::connectors::kind_of;
use crate::admin::Shown;
use crate::supervisor::Member;

/// One of its tasks.
#[derive(Serialize, JsonSchema)]
pub(super) struct TaskId {
    connector: String,
    task: u32,
}

/// The state of a connector and of its tasks.
#[derive(Serialize, JsonSchema)]
pub(super) struct ConnectorStatus {
    name: String,
    connector: StateInWords,
    pub(super) tasks: Vec<TaskStatus>,
    r#type: &'static str,
}

/// A state in Kafka Connect's words.
#[derive(Serialize, JsonSchema)]
struct StateInWords {
    /// RUNNING, RESTARTING, PAUSED, STOPPED or FAILED.
    state: &'static str,
    /// Where it runs.
    worker_id: String,
    /// Why it is not running.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
}

/// The state of a task.
#[derive(Serialize, JsonSchema)]
pub(super) struct TaskStatus {
    id: u32,
    state: &'static str,
    worker_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
}

pub(super) fn task_ids(member: &Member) -> Vec<TaskId> {
    let id = TaskId {
        connector: member.name().to_owned(),
        task: 0,
    };
    // Where it is stopped, there is none.
    Some(id).filter(|_| !member.is_stopped()).into_iter().collect()
}

pub(super) fn status_of(shown: &Shown, member: &Member) -> ConnectorStatus {
    let (life, reason) = member.telemetry.life_and_reason();
    let worker_id = shown.address.to_string();
    let state = state_of(&life, member);
    let trace = matches!(state, "FAILED" | "RESTARTING").then_some(reason);
    let tasks = task_ids(member).into_iter().map(|id| TaskStatus {
        id: id.task,
        state,
        worker_id: worker_id.clone(),
        trace: trace.clone(),
    });
    ConnectorStatus {
        name: member.name().to_owned(),
        tasks: tasks.collect(),
        connector: StateInWords {
            // The connector itself is where it should be; what failed is its task.
            state: if matches!(state, "PAUSED" | "STOPPED") {
                state
            } else {
                "RUNNING"
            },
            worker_id,
            trace: None,
        },
        r#type: kind_of(member),
    }
}

fn state_of(life: &Life, member: &Member) -> &'static str {
    match life {
        _ if member.is_stopped() => "STOPPED",
        _ if member.has_given_up() => "FAILED",
        Life::Starting | Life::Snapshotting | Life::Streaming => "RUNNING",
        Life::Degraded(_) => "RESTARTING",
        Life::Paused => "PAUSED",
        Life::Halted(_) => "FAILED",
        // It is closing.
        Life::Stopped if member.is_alive() => "RUNNING",
        Life::Stopped => "STOPPED",
    }
}

/// It is not where it should be, and trying anew may help.
pub(super) fn has_failed(member: &Member) -> bool {
    matches!(state_of(&member.telemetry.life(), member), "FAILED" | "RESTARTING")
}
