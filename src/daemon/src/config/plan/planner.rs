//! Connectors of either direction, one after the other: those of the file, and those that come over HTTP later.

use std::sync::Arc;
use std::time::Duration;

use tailrace_core::pipeline::source::DeadLetters;

use super::sinks::plan_sink;
use super::{ConnectorPlan, Places, SinkPlan, Taken, plan_connector};
use crate::config::spec::{AnyConnectorSpec, CONNECTORS, check_name};
use crate::config::tree::{Entry, Located, Problem, Problems};

/// A connector of either direction that can be run.
#[derive(Debug, Clone)]
pub(crate) enum AnyPlan {
    Reads(Arc<ConnectorPlan>),
    Writes(Arc<SinkPlan>),
}

/// Decides what a connector means, for the file and for what comes later.
#[derive(Debug, Clone)]
pub(crate) struct Planner {
    pub(super) places: Places,
    pub(super) taken: Taken,
    pub(super) shutdown_timeout: Duration,
}

// === impl Planner ===

impl Planner {
    /// What a connector means; it has then what only one may have. `None` where problems were noted.
    pub(crate) fn plan(&mut self, spec: AnyConnectorSpec, problems: &mut Problems) -> Option<AnyPlan> {
        let (places, taken) = (&self.places, &mut self.taken);
        match spec {
            AnyConnectorSpec::Reads(spec) => plan_connector(*spec, places, taken, problems)
                .map(Arc::new)
                .map(AnyPlan::Reads),
            AnyConnectorSpec::Writes(spec) => plan_sink(*spec, places, taken, self.shutdown_timeout, problems)
                .map(Arc::new)
                .map(AnyPlan::Writes),
        }
    }

    /// The same for a connector that stands nowhere yet, or in place of the one of its name: what was right before stays taken where
    /// this one is not right.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn plan_anew(&mut self, name: &str, value: Located) -> Result<AnyPlan, Problems> {
        let before = self.taken.clone();
        self.release(name);
        let mut problems = Problems::new("");
        let entry = Entry {
            key: name.to_owned(),
            key_at: value.at,
            value,
        };
        check_name(&entry, CONNECTORS, &mut problems);
        let planned = AnyConnectorSpec::read(&entry, &mut problems).and_then(|spec| self.plan(spec, &mut problems));
        match (planned, problems.into_result()) {
            (Some(planned), Ok(())) => Ok(planned),
            (_, refused) => {
                self.taken = before;
                let nothing = Problem::whole_file("the connector cannot be understood");
                Err(refused.err().unwrap_or_else(|| Problems::one("", nothing)))
            }
        }
    }

    /// Gives back what a connector has.
    pub(crate) fn release(&mut self, name: &str) {
        self.taken.release(&owner(name));
    }
}

/// A connector, as others are told of it.
pub(super) fn owner(name: &str) -> String {
    format!("connector `{name}`")
}

// === impl AnyPlan ===

impl AnyPlan {
    /// The connector's name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Reads(plan) => &plan.name,
            Self::Writes(plan) => &plan.name,
        }
    }

    /// The name of its stream.
    pub(crate) fn stream(&self) -> &str {
        match self {
            Self::Reads(plan) => &plan.stream,
            Self::Writes(plan) => &plan.stream,
        }
    }

    /// The whole, as it was written.
    pub(crate) fn written(&self) -> &Located {
        match self {
            Self::Reads(plan) => &plan.written.0,
            Self::Writes(plan) => &plan.written.0,
        }
    }

    /// What is done with its dead letters.
    pub(crate) fn dead_letters(&self) -> &DeadLetters {
        match self {
            Self::Reads(plan) => &plan.dead_letters,
            Self::Writes(plan) => &plan.dead_letters,
        }
    }
}
