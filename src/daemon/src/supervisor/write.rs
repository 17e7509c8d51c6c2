//! One attempt of a connector that writes: state, stream, decoders and transforms are opened and put into a pipeline; sessions of the target
//! are opened by its writers.

use std::sync::Arc;

use async_trait::async_trait;
use tailrace_core::Result;
use tailrace_core::pipeline::sink::{SinkLetters, SinkPipeline, WriterParts};
use tailrace_core::pipeline::{Desired, Ended};
use tailrace_core::ports::EventStream;
use tailrace_core::ports::sink::SinkConnector;
use tailrace_core::registry::SchemaRegistry;
use tailrace_core::telemetry::Telemetry;
use tailrace_core::transform::Transform;
use tailrace_state::StateStore;
use tokio::sync::watch;

use super::away;
use super::life::Carrier;
use crate::config::plan::SinkPlan;

/// A connector that writes, with both its sides, ready to be opened any number of times.
pub(crate) struct SinkRun {
    pub(crate) plan: Arc<SinkPlan>,
    pub(crate) stream: Arc<dyn EventStream>,
    pub(crate) target: Arc<dyn SinkConnector>,
    /// Where the schemas of events are looked up that name theirs by a number.
    pub(crate) registry: Arc<dyn SchemaRegistry>,
    pub(crate) state: StateStore,
}

// === impl SinkRun ===

impl SinkRun {
    async fn open(&self, telemetry: &Arc<Telemetry>) -> Result<SinkPipeline> {
        let plan = &self.plan;
        let store = self.state.connector(&plan.name).await?;
        let writers = (0..plan.writers).map(|_| {
            Ok(WriterParts {
                decoder: Box::new(plan.decoder(Some(Arc::clone(&self.registry)))?),
                transform: Transform::new(&plan.transforms, None)?,
                letters: SinkLetters::new(
                    plan.dead_letters.clone(),
                    Arc::clone(&store) as _,
                    Arc::clone(&self.stream),
                ),
            })
        });
        let subscription = self.stream.subscribe(plan.subscription.clone()).await?;
        away::begins(&self.state, telemetry, None).await?;
        Ok(SinkPipeline {
            connector: plan.name.clone(),
            writers: writers.collect::<Result<_>>()?,
            subscription,
            target: Arc::clone(&self.target),
            start: plan.start,
            telemetry: Arc::clone(telemetry),
            limits: plan.limits,
        })
    }
}

#[async_trait]
impl Carrier for SinkRun {
    async fn carry(&self, telemetry: &Arc<Telemetry>, desired: watch::Receiver<Desired>) -> Result<Ended> {
        let mut stop = desired.clone();
        let pipeline = tokio::select! {
            biased;
            asked = stop.wait_for(|desired| *desired == Desired::Stopped) => {
                drop(asked);
                return Ok(Ended::Drained);
            }
            opened = self.open(telemetry) => opened?,
        };
        let ended = pipeline.run(desired).await;
        away::ends(&self.state, telemetry).await;
        ended
    }
}
