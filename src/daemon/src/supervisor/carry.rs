//! One attempt of a connector: state, source, stream, encoder and transform are opened and put into a pipeline.

use std::sync::Arc;

use async_trait::async_trait;
use tailrace_codec::{EncoderSettings, EventEncoder};
use tailrace_core::pipeline::source::{Limits, SourcePipeline};
use tailrace_core::pipeline::{Desired, Ended};
use tailrace_core::ports::{EventStream, SourceConnector, SourceContext};
use tailrace_core::position::{Checkpoint, Position};
use tailrace_core::registry::SchemaRegistry;
use tailrace_core::schema_change::{SchemaChangeListener, SchemaChangePublisher};
use tailrace_core::snapshot::{Resume, SnapshotDesk, log_position};
use tailrace_core::telemetry::Telemetry;
use tailrace_core::transform::Transform;
use tailrace_core::{Result, failpoint};
use tailrace_sql::outbox::OutboxSource;
use tailrace_state::StateStore;
use tokio::sync::watch;

use super::away;
use super::life::Carrier;
use crate::config::plan::ConnectorPlan;

/// A connector with both its sides, ready to be opened any number of times.
pub(crate) struct ConnectorRun {
    pub(crate) plan: Arc<ConnectorPlan>,
    pub(crate) source: Arc<dyn SourceConnector>,
    pub(crate) stream: Arc<dyn EventStream>,
    /// Where the schemas of its events are published, where they have any.
    pub(crate) registry: Option<Arc<dyn SchemaRegistry>>,
    /// Who is told of changes of tables beside the stream.
    pub(crate) listener: Option<Arc<dyn SchemaChangeListener>>,
    pub(crate) state: StateStore,
    /// Where people ask for snapshots, over all attempts.
    pub(crate) snapshots: Arc<SnapshotDesk>,
    pub(crate) limits: Limits,
}

/// What the encoder of a connector is made with; its registry, and who is told of its topics, come from elsewhere.
pub(crate) fn encoder_settings(plan: &ConnectorPlan, source_kind: &str) -> EncoderSettings {
    EncoderSettings {
        connector: plan.name.clone(),
        prefix: plan.prefix.clone(),
        source_kind: source_kind.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        format: plan.format.clone(),
        template: plan.topic.clone(),
        registry: None,
        contracts: plan.contracts.clone(),
        telemetry: None,
    }
}

// === impl ConnectorRun ===

impl ConnectorRun {
    async fn open(&self, telemetry: &Arc<Telemetry>) -> Result<(SourcePipeline, Option<Checkpoint>)> {
        let plan = &self.plan;
        let encoder = EventEncoder::new(EncoderSettings {
            registry: self.registry.clone(),
            telemetry: Some(Arc::clone(telemetry)),
            ..encoder_settings(plan, self.source.kind())
        })?;
        let transform = Transform::new(&plan.transforms, plan.updated_at_column.clone())?;
        // Opening the state fences whoever had this connector before, so it comes before the source is read.
        let store = self.state.connector(&plan.name).await?;
        let saved = store.load().await?;
        failpoint!(try BeforeSource);
        let producer = self.stream.producer().await?;
        let context = SourceContext {
            connector: plan.name.clone(),
            resume: saved.as_ref().map(|checkpoint| checkpoint.progress.clone()),
            store: Arc::clone(&store),
            telemetry: Arc::clone(telemetry),
            updated_at_column: plan.updated_at_column.clone(),
            snapshots: Arc::clone(&self.snapshots),
        };
        if let Some(checkpoint) = &saved {
            telemetry.set_position(log_position(&checkpoint.progress.position)?.as_str());
        }
        let mut source = self.source.open(context).await?;
        let from = match Resume::from_progress(saved.as_ref().map(|checkpoint| &checkpoint.progress))? {
            Resume::Log(progress) => Some(progress.position),
            Resume::Snapshot(snapshot) if snapshot.complete => Some(snapshot.log_start),
            // How far a snapshot is, is no place in the log.
            Resume::Bootstrap | Resume::Snapshot(_) => None,
        };
        away::begins(&self.state, telemetry, from.as_ref().map(Position::as_str)).await?;
        if let Some(outbox) = &plan.outbox {
            source = Box::new(OutboxSource::new(source, Arc::clone(outbox), Arc::clone(telemetry))?);
        }
        let pipeline = SourcePipeline {
            source,
            transform,
            encoder: Box::new(encoder),
            stream: Arc::clone(&self.stream),
            producer,
            store,
            schema_changes: SchemaChangePublisher {
                connector: plan.name.clone(),
                topic: plan.schema_change_topic.clone(),
                listener: self.listener.clone(),
            },
            telemetry: Arc::clone(telemetry),
            limits: self.limits,
            dead_letters: plan.dead_letters.clone(),
        };
        Ok((pipeline, saved))
    }
}

#[async_trait]
impl Carrier for ConnectorRun {
    async fn carry(&self, telemetry: &Arc<Telemetry>, desired: watch::Receiver<Desired>) -> Result<Ended> {
        let mut stop = desired.clone();
        let (pipeline, saved) = tokio::select! {
            biased;
            asked = stop.wait_for(|desired| *desired == Desired::Stopped) => {
                drop(asked);
                return Ok(Ended::Drained);
            }
            opened = self.open(telemetry) => opened?,
        };
        let ended = pipeline.run(saved.as_ref(), desired).await;
        away::ends(&self.state, telemetry).await;
        ended
    }
}
