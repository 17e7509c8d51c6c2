//! Puts connectors together: streams, registries and state are there, plans become carriers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tailrace_core::pipeline::source::Limits;
use tailrace_core::pipeline::{Desired, Ended};
use tailrace_core::ports::EventStream;
use tailrace_core::schema_change::SchemaChangeListener;
use tailrace_core::snapshot::SnapshotDesk;
use tailrace_core::telemetry::Telemetry;
use tailrace_core::trace::Tracer;
use tailrace_core::{Error, Result};
use tailrace_state::StateStore;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::carry::ConnectorRun;
use super::life::Carrier;
use super::write::SinkRun;
use super::{Member, Origin};
use crate::config::plan::{AnyPlan, ConnectorPlan, SinkPlan};
use crate::letters::LetterDesk;
use crate::registries::Registries;
use crate::webhook::Webhook;

/// What connectors are put together with.
pub(crate) struct Assembly {
    /// The streams by name.
    pub(crate) streams: BTreeMap<String, Arc<dyn EventStream>>,
    /// Their types, by the same names.
    pub(crate) stream_kinds: BTreeMap<String, &'static str>,
    pub(crate) registries: Registries,
    pub(crate) state: StateStore,
    /// How long a stop waits for what is in flight.
    pub(crate) shutdown_timeout: Duration,
    /// Where spans go.
    pub(crate) tracer: Tracer,
}

/// What goes on beside a connector.
type SideTask = Option<JoinHandle<()>>;

/// Stands for a connector that cannot be understood: it halts.
struct Refused {
    code: &'static str,
    sentence: String,
}

#[async_trait]
impl Carrier for Refused {
    async fn carry(&self, _: &Arc<Telemetry>, _: watch::Receiver<Desired>) -> Result<Ended> {
        Err(Error::definite(self.code, self.sentence.clone()))
    }
}

// === impl Assembly ===

impl Assembly {
    /// A connector that can be started any number of times.
    ///
    /// # Errors
    /// Where a side of it cannot be made from its configuration.
    pub(crate) fn member(&self, plan: AnyPlan, origin: Origin) -> Result<Member> {
        let telemetry = Arc::new(Telemetry::new(plan.name()).traced_by(self.tracer.clone()));
        let snapshots: Arc<SnapshotDesk> = Arc::default();
        let (carrier, side_task) = match &plan {
            AnyPlan::Reads(plan) => self.reads(plan, &telemetry, &snapshots)?,
            AnyPlan::Writes(plan) => (self.writes(plan)?, None),
        };
        let letters = LetterDesk {
            rules: plan.dead_letters().clone(),
            state: self.state.clone(),
            telemetry: Some(Arc::clone(&telemetry)),
        };
        let name = plan.name().to_owned();
        let mut member = Member::new(&name, Some(plan), origin, (telemetry, carrier));
        member.snapshots = snapshots;
        member.letters = Some(letters);
        member.side_task = side_task;
        Ok(member)
    }

    /// Stands for a connector that cannot be understood.
    pub(super) fn halted(&self, name: &str, origin: Origin, error: Error) -> Member {
        let carrier = Refused {
            code: error.code(),
            sentence: error.report(),
        };
        let telemetry = Arc::new(Telemetry::new(name));
        Member::new(name, None, origin, (telemetry, Arc::new(carrier)))
    }

    /// A stream by its name.
    ///
    /// # Errors
    /// Definite `stream_unknown`.
    pub(crate) fn stream(&self, name: &str, connector: &str) -> Result<Arc<dyn EventStream>> {
        self.streams.get(name).map(Arc::clone).ok_or_else(|| {
            let message = format!("connector `{connector}` names a stream that there is not");
            Error::definite("stream_unknown", message)
        })
    }

    /// A connector that reads a database, and the task of whoever is told of changes of its tables.
    fn reads(
        &self,
        plan: &Arc<ConnectorPlan>,
        telemetry: &Arc<Telemetry>,
        snapshots: &Arc<SnapshotDesk>,
    ) -> Result<(Arc<dyn Carrier>, SideTask)> {
        let (listener, side_task) = webhook(plan, telemetry).unzip();
        let run = ConnectorRun {
            plan: Arc::clone(plan),
            source: plan.source_connector()?,
            stream: self.stream(&plan.stream, &plan.name)?,
            state: self.state.clone(),
            snapshots: Arc::clone(snapshots),
            registry: self.registries.of(plan)?,
            listener,
            limits: Limits {
                drain_timeout: self.shutdown_timeout,
                ..Limits::default()
            },
        };
        Ok((Arc::new(run), side_task))
    }

    /// A connector that writes one.
    fn writes(&self, plan: &Arc<SinkPlan>) -> Result<Arc<dyn Carrier>> {
        Ok(Arc::new(SinkRun {
            plan: Arc::clone(plan),
            stream: self.stream(&plan.stream, &plan.name)?,
            target: plan.sink.connect()?,
            registry: self.registries.of_sink(plan)?,
            state: self.state.clone(),
        }))
    }
}

/// Who is told of changes of a connector's tables beside the stream, and the task that tells it.
fn webhook(
    plan: &ConnectorPlan,
    telemetry: &Arc<Telemetry>,
) -> Option<(Arc<dyn SchemaChangeListener>, JoinHandle<()>)> {
    let receiver = Arc::clone(plan.webhook.as_ref()?);
    let (webhook, task) = Webhook::start(receiver, Arc::clone(telemetry));
    Some((webhook as Arc<dyn SchemaChangeListener>, task))
}
