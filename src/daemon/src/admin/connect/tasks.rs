//! `/connectors/{name}/tasks`: the one task of a connector, whose state is the connector's.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;

use super::TAG;
use super::connectors::{find, flat_config};
use super::state::{TaskId, TaskStatus, status_of, task_ids};
use crate::admin::Shown;
use crate::admin::access::Caller;
use crate::admin::answer::{Answer, Refused, failed, json as answer, refuse};
use crate::admin::asked::Path;
use crate::admin::config::Role;
use crate::admin::operation::{Operation, get, post};
use crate::supervisor::Member;

/// A task and how it is configured.
#[derive(Serialize, JsonSchema)]
struct TaskInfo {
    id: TaskId,
    config: BTreeMap<String, String>,
}

/// The routes.
pub(super) fn operations() -> Vec<Operation> {
    let all = [
        get("/connectors/{name}/tasks", tasks)
            .says("The tasks of a connector", "There is one.")
            .role(Role::Read)
            .answers::<Vec<TaskInfo>>(200, "The tasks"),
        get("/connectors/{name}/tasks/{task}/status", task_status)
            .says("The state of a task", "")
            .role(Role::Read)
            .answers::<TaskStatus>(200, "The state"),
        post("/connectors/{name}/tasks/{task}/restart", restart_task)
            .says("Begins the connector anew", "")
            .role(Role::Operate)
            .does(204, "Begun anew"),
    ];
    let all = all
        .into_iter()
        .map(|operation| operation.tag(TAG).refuses(404, "There is no such connector or task"));
    all.collect()
}

async fn tasks(State(shown): State<Shown>, Path(name): Path<String>) -> Answer {
    let member = find(&shown, &name)?;
    let config = flat_config(&member);
    let tasks: Vec<TaskInfo> = task_ids(&member)
        .into_iter()
        .map(|id| TaskInfo {
            id,
            config: config.clone(),
        })
        .collect();
    Ok(answer(StatusCode::OK, &tasks))
}

async fn task_status(State(shown): State<Shown>, Path((name, task)): Path<(String, String)>) -> Answer {
    let member = find_task(&shown, &name, &task)?;
    let status = status_of(&shown, &member).tasks.into_iter().next();
    let status = status.ok_or_else(|| no_task(&name, &task))?;
    Ok(answer(StatusCode::OK, &status))
}

async fn restart_task(
    State(shown): State<Shown>,
    Path((name, task)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    let member = find_task(&shown, &name, &task)?;
    if task_ids(&member).is_empty() {
        return Err(no_task(&name, &task));
    }
    let restarted = shown.supervisor.restart(&name, &caller.name).await;
    restarted.map_err(|error| failed(&error))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn find_task(shown: &Shown, name: &str, task: &str) -> Result<Arc<Member>, Refused> {
    let member = find(shown, name)?;
    match task {
        "0" => Ok(member),
        other => Err(no_task(name, other)),
    }
}

fn no_task(name: &str, task: &str) -> Refused {
    refuse(404, "task_unknown", format!("No status found for task {name}-{task}"))
}
