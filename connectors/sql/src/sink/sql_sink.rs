//! The sink of every SQL database: plans, folds, and gives the session its work.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tailrace_core::batch::Operation;
use tailrace_core::error::Kind;
use tailrace_core::ports::sink::{EventBatch, Sink, SinkContext, Taken, Targets};
use tailrace_core::record_batch::TopicPartition;
use tailrace_core::schema::{Column, SharedSchema, TableName, TableSchema};
use tailrace_core::{Error, Result, topic};

use super::config::WriteConfig;
use super::evolve;
use super::faults::table_unknown;
use super::fold::{Fold, Plans};
use super::name::TableNames;
use super::plan::{Plan, check_key, column_index, is_key_alone, is_reserved, soft_delete_column};
use super::session::Session;
use super::target::TargetTable;
use super::work::{Offset, Work};

/// Plans that are kept; a topic has few versions in use at a time.
const PLANS_KEPT: usize = 1024;

/// How a connector writes, the same for all its writers.
#[derive(Debug)]
pub struct SinkRules {
    config: WriteConfig,
    names: TableNames,
    /// The topic that each table was first written from.
    owners: Mutex<BTreeMap<TableName, Arc<str>>>,
}

/// A session and what is known of its tables.
pub struct SqlSink {
    session: Box<dyn Session>,
    rules: Arc<SinkRules>,
    context: SinkContext,
    epochs: HashMap<TopicPartition, i64>,
    /// Topics that the target has had something of.
    begun: BTreeSet<Arc<str>>,
    tables: BTreeMap<TableName, Arc<TargetTable>>,
    plans: Vec<Known>,
}

/// How the events of a topic's version are written.
struct Known {
    topic: Arc<str>,
    schema: SharedSchema,
    /// `None` where there is no table, and the events only delete.
    plan: Option<Arc<Plan>>,
}

// === impl SinkRules ===

impl SinkRules {
    /// The rules of a configuration.
    ///
    /// # Errors
    /// Definite, where it contradicts itself.
    pub fn new(config: WriteConfig) -> Result<Self> {
        config.check()?;
        Ok(Self {
            names: TableNames::new(&config)?,
            config,
            owners: Mutex::default(),
        })
    }

    /// As configured.
    pub fn config(&self) -> &WriteConfig {
        &self.config
    }

    /// The table of a topic by its name alone, as it would be written in the configuration.
    pub fn table_of_topic(&self, topic: &str) -> String {
        self.names.table(topic, &topic::table_of(topic))
    }

    /// The table of a topic's events, as it would be written in the configuration. `source` is the table that the events say they are of.
    pub fn table_of_events(&self, topic: &str, source: &TableName) -> String {
        self.names.table(topic, source)
    }

    /// The table that events of a topic are of, where they do not say it themselves.
    pub fn source_of_topic(topic: &str) -> TableName {
        topic::table_of(topic)
    }

    /// The table of a topic's events.
    fn table(&self, session: &dyn Session, topic: &Arc<str>, source: &TableName) -> TableName {
        session.definitions().table_name(&self.names.table(topic, source))
    }

    /// Two topics are written into one table only where that is said of both. `name` is the table's own, however it was written.
    fn check_owner(&self, topic: &Arc<str>, name: &TableName) -> Result<()> {
        let is_named = |topic: &str| self.config.tables.contains_key(topic);
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = owners.entry(name.clone()).or_insert_with(|| Arc::clone(topic));
        if owner == topic || (is_named(owner) && is_named(topic)) {
            return Ok(());
        }
        let message = format!(
            "the topics {owner} and {topic} would both be written into table {}; give each its own with `table` (`{{schema}}_{{table}}`, \
             say), or name the table of both under `tables` if that is meant",
            name.qualified()
        );
        Err(Error::definite("table_shared", message))
    }
}

/// Codes of what is refused because of a value.
const VALUE_CODES: [&str; 2] = ["value_unrepresentable", "value_refused"];

// === impl SqlSink ===

impl SqlSink {
    /// A sink that knows nothing of the tables yet.
    pub fn new(session: Box<dyn Session>, rules: Arc<SinkRules>, context: SinkContext) -> Self {
        Self {
            session,
            rules,
            context,
            epochs: HashMap::new(),
            begun: BTreeSet::new(),
            tables: BTreeMap::new(),
            plans: Vec::new(),
        }
    }

    /// The table that a name of the configuration means, as it is; `None` where it is not there.
    ///
    /// # Errors
    /// What the target answers.
    pub async fn named_table(&mut self, written: &str) -> Result<Option<Arc<TargetTable>>> {
        let name = self.session.definitions().table_name(written);
        self.table(&name).await
    }

    /// What a name of the configuration means, whether it is there or not.
    pub fn table_name(&self, written: &str) -> TableName {
        self.session.definitions().table_name(written)
    }

    /// Writes rows where partitions stand still: the offsets are those that the target has, and stay so. They are locked first, so that
    /// whoever writes the partitions waits until this is done.
    ///
    /// # Errors
    /// `Fenced` where a partition has moved on since, or was taken: nothing is written. Else as of every write.
    pub async fn write_at_rest(&mut self, batch: &EventBatch, offsets: &[Offset]) -> Result<()> {
        let plans = self.plans(batch).await?;
        let steps = Fold::steps(batch, &self.rules.config, &plans)?;
        let work = Work {
            offsets,
            can_go_back: false,
            steps,
        };
        self.session.write(&work).await
    }

    /// How far each partition is that the connector has ever taken, whether something of it is written or not. Creates nothing.
    ///
    /// # Errors
    /// What the target answers.
    pub async fn written(&mut self) -> Result<Vec<Offset>> {
        let mut written: Vec<Offset> = self.session.offsets().await?.into_iter().map(Offset::from).collect();
        written.sort_unstable_by(|one, other| one.partition.cmp(&other.partition));
        Ok(written)
    }

    /// As [`Self::written`], of one topic.
    ///
    /// # Errors
    /// What the target answers.
    pub async fn written_of(&mut self, topic: &str) -> Result<Vec<Offset>> {
        let mut written = self.written().await?;
        written.retain(|offset| &*offset.partition.topic == topic);
        Ok(written)
    }

    /// Has partitions that nobody writes go on from elsewhere, all of them or none: `None` as if nothing were written. Whoever still has
    /// one of them is fenced. Durable on return.
    ///
    /// # Errors
    /// `Fenced` where somebody takes one of them meanwhile. Else what the target answers.
    pub async fn move_to(&mut self, places: &[(TopicPartition, Option<i64>)]) -> Result<()> {
        let partitions: Vec<TopicPartition> = places.iter().map(|(partition, _)| partition.clone()).collect();
        let taken = self.session.take(&partitions).await?;
        let offsets = taken.into_iter().map(|taken| {
            let place = places.iter().find(|(partition, _)| *partition == taken.taken.partition);
            Offset {
                next_offset: place.and_then(|(_, next_offset)| *next_offset),
                // What stands before it is not known, and need not be what was written.
                last_record: None,
                ..Offset::from(taken)
            }
        });
        let work = Work {
            offsets: &offsets.collect::<Vec<_>>(),
            can_go_back: true,
            steps: Vec::new(),
        };
        self.session.write(&work).await
    }

    async fn table(&mut self, name: &TableName) -> Result<Option<Arc<TargetTable>>> {
        if let Some(known) = self.tables.get(name) {
            return Ok(Some(Arc::clone(known)));
        }
        let Some(table) = self.session.describe(name).await? else {
            return Ok(None);
        };
        let table = Arc::new(table);
        self.tables.insert(name.clone(), Arc::clone(&table));
        Ok(Some(table))
    }

    /// The plan of a version of a topic's events; `None` where there is nothing that a delete could delete.
    async fn plan(&mut self, topic: &Arc<str>, schema: &SharedSchema, deletes: bool) -> Result<Option<Arc<Plan>>> {
        let is_it = |known: &&Known| Arc::ptr_eq(&known.schema, schema) && known.topic == *topic;
        if let Some(known) = self.plans.iter().rev().find(is_it) {
            return Ok(known.plan.clone());
        }
        let plan = self.compile(topic, schema, deletes).await?.map(Arc::new);
        // Where there is no table, the next event may be one that makes it.
        if plan.is_some() {
            if self.plans.len() >= PLANS_KEPT {
                self.plans.clear();
            }
            self.plans.push(Known {
                topic: Arc::clone(topic),
                schema: Arc::clone(schema),
                plan: plan.clone(),
            });
        }
        Ok(plan)
    }

    async fn compile(&mut self, topic: &Arc<str>, schema: &SharedSchema, deletes: bool) -> Result<Option<Plan>> {
        check_names(topic, schema, &self.rules.config)?;
        let name = self.rules.table(&*self.session, topic, &schema.name);
        let mut table = self.table(&name).await?;
        if table.is_none() && deletes {
            return if self.is_of_another(topic, schema) {
                Err(table_unknown(topic, &name))
            } else {
                Ok(None)
            };
        }
        let definitions = self.session.definitions();
        let config = &self.rules.config;
        // Before anything is changed for events that cannot be written.
        check_key(config, &name, schema)?;
        if deletes && let Some(table) = &table {
            check_told(topic, schema, table)?;
        }
        let statements = evolve::statements(definitions, config, &name, table.as_deref(), schema)?;
        for statement in &statements {
            let connector = self.context.connector.as_str();
            tracing::info!(connector, topic = &**topic, "changing the target: {statement}");
            // It is not the events that are at fault where their table cannot be made or changed.
            let defined = self.session.define(statement).await;
            defined.map_err(|error| match error.kind() {
                Kind::Poison => {
                    Error::definite("evolve_refused", format!("{}; it refused: {statement}", error.report()))
                }
                Kind::Transient | Kind::Definite | Kind::Fenced => error,
            })?;
        }
        if !statements.is_empty() {
            // Plans hold the table as it was, which is a part of what it is now.
            self.tables.remove(&name);
            table = self.table(&name).await?;
        }
        let table = table.ok_or_else(|| {
            let message = format!(
                "table {} is not there, although it was just made; is another process dropping it?",
                name.qualified()
            );
            Error::transient("table_missing", message)
        })?;
        self.rules.check_owner(topic, table.name())?;
        let plan = Plan::new(schema, table, &self.rules.config)?;
        plan.check_unique(&self.rules.config, definitions)?;
        Ok(Some(plan))
    }

    /// Whether deletes that have nothing but a key may well be of another table than the topic is named after: it has none, and was
    /// written before. Rows of Debezium's name their table, tombstones do not.
    fn is_of_another(&self, topic: &Arc<str>, schema: &TableSchema) -> bool {
        let is_by_topic = schema.name == topic::table_of(topic) && !self.rules.config.tables.contains_key(&**topic);
        is_key_alone(schema) && is_by_topic && self.begun.contains(topic)
    }

    async fn plans(&mut self, batch: &EventBatch) -> Result<Plans> {
        let mut plans = Plans::default();
        let mut names: Vec<TableName> = Vec::new();
        let mut last: Option<(usize, Arc<str>, Option<usize>)> = None;
        for change in &batch.changes.changes {
            let origin = usize::try_from(change.ordinal)
                .ok()
                .and_then(|index| batch.origins.get(index));
            let partition = origin.and_then(|origin| batch.partitions.get(origin.partition));
            let (Some(partition), Some(schema)) = (partition, batch.changes.tables.get(change.table)) else {
                return Err(Error::definite(
                    "batch_malformed",
                    "an event comes from nowhere, which is a defect in Tailrace; report it",
                ));
            };
            if self.rules.config.ignores(change.operation) {
                plans.of_changes.push(None);
                continue;
            }
            // Events come in runs of one kind.
            if let Some((table, topic, plan)) = &last
                && *table == change.table
                && *topic == partition.topic
            {
                plans.of_changes.push(*plan);
                continue;
            }
            let deletes = matches!(
                change.operation,
                Operation::Delete | Operation::Truncate | Operation::Message
            );
            let plan = self.plan(&partition.topic, schema, deletes).await?;
            let number = plan.map(|plan| number_of(&mut plans, &mut names, plan));
            plans.of_changes.push(number);
            // Whether there is a table may be another thing for the next event, which may make it.
            last = number.map(|number| (change.table, Arc::clone(&partition.topic), Some(number)));
        }
        plans.ranks = ranks(&names, &plans);
        Ok(plans)
    }

    /// A value that does not fit may be one that a wider column would hold.
    fn with_widening(&self, error: Error, plan: &Plan) -> Error {
        let columns = plan.columns.iter().map(|column| &column.source);
        let widening = evolve::widening(self.session.definitions(), &plan.table, columns);
        match widening.filter(|_| VALUE_CODES.contains(&error.code())) {
            Some(remedy) => error.with_remedy(&remedy),
            None => error,
        }
    }

    fn offsets(&self, batch: &EventBatch) -> Result<Vec<Offset>> {
        let offset = |advance: &tailrace_core::ports::sink::Advance| {
            let epoch = self.epochs.get(&advance.partition).copied().ok_or_else(|| {
                let message = format!("{} is written and was not taken", advance.partition);
                Error::fenced("partition_taken", message)
            })?;
            Ok(Offset {
                partition: advance.partition.clone(),
                next_offset: Some(advance.next_offset),
                last_record: advance.last_record,
                epoch,
            })
        };
        batch.advances.iter().map(offset).collect()
    }
}

#[async_trait]
impl Targets for SqlSink {
    async fn target(&mut self, topic: &Arc<str>, source: &TableName) -> Result<Option<SharedSchema>> {
        let name = self.rules.table(&*self.session, topic, source);
        Ok(self.table(&name).await?.map(|table| Arc::clone(&table.schema)))
    }
}

#[async_trait]
impl Sink for SqlSink {
    async fn take(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Taken>> {
        let taken = self.session.take(partitions).await?;
        let remembered = taken.into_iter().map(|partition| {
            self.epochs.insert(partition.taken.partition.clone(), partition.epoch);
            if partition.taken.next_offset.is_some() {
                self.begun.insert(Arc::clone(&partition.taken.partition.topic));
            }
            partition.taken
        });
        Ok(remembered.collect())
    }

    async fn write(&mut self, batch: &EventBatch) -> Result<()> {
        let offsets = self.offsets(batch)?;
        let plans = self.plans(batch).await?;
        let steps = Fold::steps(batch, &self.rules.config, &plans)?;
        let work = Work {
            offsets: &offsets,
            can_go_back: false,
            steps,
        };
        let written = self.session.write(&work).await;
        // Of one event it is known whose columns it is about.
        written.map_err(|error| match (error.kind(), &*plans.plans) {
            (Kind::Poison, [plan]) if batch.changes.changes.len() == 1 => self.with_widening(error, plan),
            _ => error,
        })
    }
}

/// What columns of events may not be called.
fn check_names(topic: &str, schema: &TableSchema, config: &WriteConfig) -> Result<()> {
    let is_mark = |name: &str| soft_delete_column(config).is_some_and(|mark| mark.eq_ignore_ascii_case(name));
    let taken = |column: &&Column| is_reserved(&column.name) || is_mark(&column.name);
    let Some(Column { name, .. }) = schema.columns.iter().find(taken) else {
        return Ok(());
    };
    let whose = match is_reserved(name) {
        true => "a name of Tailrace's own",
        false => "what `soft_delete_column` names, which is written besides",
    };
    let message = format!(
        "the events of {topic} have a column {name}, which is {whose}; give it another with `transforms: [{{ rename: {{ {name}: … }} }}]`"
    );
    Err(Error::definite("column_reserved", message))
}

/// A delete by nothing but a key is of no table that does not have its columns: none is added for it.
fn check_told(topic: &str, schema: &TableSchema, table: &TargetTable) -> Result<()> {
    let unknown = |column: &&Column| column_index(table, &column.name).is_none();
    let Some(column) = schema.columns.iter().find(unknown).filter(|_| is_key_alone(schema)) else {
        return Ok(());
    };
    let message = format!(
        "a record of topic {topic} deletes by {}, which table {} does not have; name the columns of its key with `key`",
        column.name,
        table.name().qualified()
    );
    Err(Error::poison("key_missing", message))
}

/// The number of a plan in a batch, and of its table.
fn number_of(plans: &mut Plans, names: &mut Vec<TableName>, plan: Arc<Plan>) -> usize {
    if let Some(known) = plans.plans.iter().position(|known| Arc::ptr_eq(known, &plan)) {
        return known;
    }
    let name = plan.table.name();
    let table = names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.clone());
        names.len() - 1
    });
    plans.tables.push(table);
    plans.plans.push(plan);
    plans.plans.len() - 1
}

/// How far each table is from those that refer to none of the batch; in a circle of references every one is as far as the longest way.
fn ranks(names: &[TableName], plans: &Plans) -> Vec<usize> {
    let mut ranks = vec![0; names.len()];
    // Each round carries a rank one reference further; a way has no more references than there are tables.
    for _ in 0..names.len() {
        for (plan, table) in plans.plans.iter().zip(&plans.tables) {
            let referred = plan
                .table
                .references
                .iter()
                .filter_map(|name| names.iter().position(|known| known == name));
            let above = referred.filter_map(|index| ranks.get(index)).max().map(|rank| rank + 1);
            if let Some(rank) = ranks.get_mut(*table) {
                *rank = (*rank).max(above.unwrap_or_default()).min(names.len());
            }
        }
    }
    ranks
}
