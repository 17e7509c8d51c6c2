//! Connectors that write, as meant.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tailrace_codec::{DecoderSettings, EventDecoder};
use tailrace_core::Error;
use tailrace_core::pipeline::sink::SinkLimits;
use tailrace_core::pipeline::source::DeadLetters;
use tailrace_core::ports::StartOffset;
use tailrace_core::ports::sink::SubscriptionSpec;
use tailrace_core::registry::{Schema, SchemaRegistry, SchemaType};
use tailrace_core::transform::TransformConfig;

use super::{
    Places, Taken, blocks, in_one_sentence, owner, plan_dead_letters, plan_transforms, read_contract_file,
    unknown_stream,
};
use crate::catalog::{Claim, SinkSpec};
use crate::config::spec::{
    CONNECTORS, ReadFormatConfig, SINK, SinkConnectorConfig, SinkConnectorSpec, StartConfig, place,
};
use crate::config::tree::{Problem, Problems, Written};

/// Each is a session of the database; beyond this many the database, not we, is the bound.
const WRITERS_MAXIMUM: usize = 64;

/// A connector that writes and can be run.
#[derive(Debug)]
pub(crate) struct SinkPlan {
    /// Name.
    pub(crate) name: String,
    /// The database side.
    pub(crate) sink: Box<dyn SinkSpec>,
    /// Name of the stream side.
    pub(crate) stream: String,
    /// Topics by name or pattern, and the group that reads them.
    pub(crate) subscription: SubscriptionSpec,
    /// Where partitions begin that the target knows nothing of.
    pub(crate) start: StartOffset,
    /// What the events look like, as far as they do not say so.
    pub(crate) format: ReadFormatConfig,
    /// The schema of events that bring none.
    pub(crate) contract: Option<Schema>,
    /// Bounds.
    pub(crate) limits: SinkLimits,
    /// Sessions that write side by side.
    pub(crate) writers: usize,
    /// What is done with events that cannot be written.
    pub(crate) dead_letters: DeadLetters,
    /// What happens to rows.
    pub(crate) transforms: TransformConfig,
    /// The whole, as it was written.
    pub(crate) written: Written,
}

// === impl SinkPlan ===

impl SinkPlan {
    /// What turns the records into rows.
    ///
    /// # Errors
    /// As [`EventDecoder::new`].
    pub(crate) fn decoder(&self, registry: Option<Arc<dyn SchemaRegistry>>) -> Result<EventDecoder, Error> {
        EventDecoder::new(DecoderSettings {
            connector: self.name.clone(),
            envelope: self.format.envelope,
            format: self.format.as_written(),
            registry,
            contract: self.contract.clone(),
            key_columns: self.sink.key_columns().to_vec(),
        })
    }
}

/// Checks what was written of a connector that writes, and decides what it means.
pub(super) fn plan_sink(
    spec: SinkConnectorSpec,
    places: &Places,
    taken: &mut Taken,
    drain_timeout: Duration,
    problems: &mut Problems,
) -> Option<SinkPlan> {
    let before = problems.len();
    let SinkConnectorSpec {
        name,
        config,
        sink,
        value,
    } = spec;
    let mut refuse = |keys: &[&str], sentence: String| {
        let path = [&[CONNECTORS, &name], keys].concat().join(".");
        problems.push(Problem::at(place(&value, keys), path, sentence));
    };
    check_sink(&config, &*sink, places, &mut refuse);
    let contract = config.contract.as_deref().map(read_event_schema).transpose();
    let contract = contract
        .map_err(|error| refuse(&["contract"], error.report()))
        .ok()
        .flatten();
    let dead_letters = plan_dead_letters(&name, config.dead_letters, &name, |sentence| {
        refuse(&["dead_letters"], sentence)
    });
    let transforms = plan_transforms(config.transforms, None, |sentence| refuse(&["transforms"], sentence));
    let group = config.group.unwrap_or_else(|| name.clone());
    // Where it cannot be connected, that is among the problems already.
    let offsets_table = sink.connect().map(|sink| sink.offsets_table()).unwrap_or_default();
    let claim = Claim::named(format!("the group `{group}` of stream `{}`", config.stream));
    for sentence in taken.claim_all(vec![claim], &owner(&name), value.at) {
        refuse(&["group"], sentence);
    }
    let plan = SinkPlan {
        sink,
        stream: config.stream,
        subscription: SubscriptionSpec {
            topics: config.topics,
            group,
            connector: name.clone(),
            offsets_table,
        },
        start: match config.start {
            StartConfig::Earliest => StartOffset::Earliest,
            StartConfig::Latest => StartOffset::Latest,
        },
        format: config.format,
        contract,
        limits: SinkLimits {
            batch_rows: config.batch.rows,
            batch_bytes: config.batch.bytes,
            batch_wait: Duration::from_millis(config.batch.wait_ms),
            drain_timeout,
            ..SinkLimits::default()
        },
        writers: config.writers,
        dead_letters,
        transforms,
        written: Written(value.clone()),
        name: name.clone(),
    };
    if let Err(error) = plan.decoder(None) {
        refuse(&["contract"], error.report());
    }
    (problems.len() == before).then_some(plan)
}

/// Refuses what a connector that writes cannot be told, beside what is read from it.
fn check_sink(
    config: &SinkConnectorConfig,
    sink: &dyn SinkSpec,
    places: &Places,
    mut refuse: impl FnMut(&[&str], String),
) {
    if !places.streams.contains_key(&config.stream) {
        refuse(&["stream"], unknown_stream(&config.stream, &places.streams));
    }
    if config.topics.iter().all(String::is_empty) {
        refuse(
            &["topics"],
            "names no topic; write the names of topics, or patterns such as `legacy.*`".to_owned(),
        );
    }
    if let Some(sentence) = places.unknown_registry(config.format.registry.as_deref()) {
        refuse(&["format", "registry"], sentence);
    }
    if config.transforms.iter().any(|rule| rule.route.is_some()) {
        refuse(
            &["transforms"],
            "a sink sends events to no topic, so that `route` does nothing; name the table with `table` or `tables`"
                .to_owned(),
        );
    }
    if config.writers == 0 || config.writers > WRITERS_MAXIMUM {
        refuse(&["writers"], format!("expects a number from 1 to {WRITERS_MAXIMUM}"));
    }
    if config.batch.rows == 0 || config.batch.bytes == 0 {
        refuse(
            &["batch"],
            "a batch of nothing writes nothing; set `rows` and `bytes` to 1 or more".to_owned(),
        );
    }
    for finding in sink.problems().iter().filter(|finding| blocks(finding)) {
        refuse(&[SINK], in_one_sentence(finding));
    }
}

/// The schema of events that bring none, from a file.
fn read_event_schema(path: &Path) -> Result<Schema, Error> {
    let is_avro = path.extension().is_some_and(|extension| extension == "avsc");
    Ok(Schema {
        schema_type: if is_avro { SchemaType::Avro } else { SchemaType::Json },
        text: read_contract_file(path)?.into(),
        properties: BTreeMap::new(),
        tags: BTreeMap::new(),
    })
}
