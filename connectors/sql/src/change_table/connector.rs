//! A database whose change tables are read, as a source like any other.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tailrace_core::batch::ChangeBatch;
use tailrace_core::check::{Finding, Severity};
use tailrace_core::grants::Script;
use tailrace_core::ports::{Budget, Source, SourceConnector, SourceContext};
use tailrace_core::position::Position;
use tailrace_core::schema::{SharedSchema, TableName};
use tailrace_core::task::spawn_named;
use tailrace_core::telemetry::Telemetry;
use tailrace_core::{Error, Result};
use tokio::task::JoinHandle;

use super::compare::{Comparison, Installed};
use super::config::ChangeTableConfig;
use super::database::{Reading, Survey, TriggerDatabase};
use super::interpret::Interpretation;
use super::source::{CapturedTables, CapturedVersion, ChangeTableSource};
use super::{Design, findings};
use crate::plan::blocking_error;

/// A disabled trigger loses changes from then on: a minute of them is what is lost at most before somebody is told.
const WATCH_INTERVAL: Duration = Duration::from_secs(60);

/// A database whose tables are captured by triggers.
#[derive(Clone)]
pub struct ChangeTableConnector {
    database: Arc<dyn TriggerDatabase>,
    config: Arc<ChangeTableConfig>,
    kind: &'static str,
}

/// Captured tables with what they should have and what they have.
pub struct Captured {
    /// What is there.
    pub survey: Survey,
    /// What should be there, table by table.
    pub designs: Vec<Design>,
}

/// A source, and who looks after its triggers meanwhile.
struct WatchedSource {
    source: ChangeTableSource,
    watch: JoinHandle<()>,
}

// === impl Captured ===

impl Captured {
    /// Each table with what is there for it.
    pub fn comparisons(&self) -> impl Iterator<Item = (&Design, Comparison)> {
        let designs = self.designs.iter();
        designs.map(|design| (design, Comparison::of(design, &Installed::of(design, &self.survey))))
    }

    fn schema(&self, captured: &TableName) -> Option<SharedSchema> {
        let table = self.survey.tables.iter().find(|table| table.schema.name == *captured)?;
        Some(Arc::clone(&table.schema))
    }

    /// The captured tables by the qualified names of their change tables.
    fn by_change_table(&self) -> CapturedTables {
        let tables = self.designs.iter();
        tables
            .filter_map(|design| {
                let version = CapturedVersion {
                    schema: self.schema(&design.captured)?,
                    version: design.fingerprint.to_string(),
                };
                Some((design.change_table.qualified(), version))
            })
            .collect()
    }
}

// === impl ChangeTableConnector ===

impl ChangeTableConnector {
    /// Nothing is connected. `kind` is what the source without change tables calls itself.
    pub fn new(database: Arc<dyn TriggerDatabase>, config: ChangeTableConfig, kind: &'static str) -> Self {
        Self {
            database,
            config: Arc::new(config),
            kind,
        }
    }

    /// The captured tables as they are now, with what is there for each; columns named in `without` are left out.
    ///
    /// # Errors
    /// What the database says; a definite error where columns are named that there are not.
    pub async fn captured(&self, without: &[String]) -> Result<Captured> {
        let survey = self.database.survey().await?;
        let engine = self.database.engine();
        if let Some(unknown) = without.iter().find(|column| !has_column(&survey, column)) {
            let message =
                format!("no captured table has the column {unknown} that is to be left out; write it as table.column");
            return Err(Error::definite("column_missing", message));
        }
        let designs: Result<Vec<_>, Finding> = survey
            .tables
            .iter()
            .map(|table| Design::new(engine, table, &self.config, without))
            .collect();
        let designs = designs.map_err(|finding| blocking_error(&finding))?;
        Ok(Captured { survey, designs })
    }

    /// Runs statements.
    ///
    /// # Errors
    /// What the database says.
    pub async fn apply(&self, statements: &[String]) -> Result<()> {
        self.database.apply(statements).await
    }

    fn reader(&self, captured: &Captured) -> Result<Arc<dyn SourceConnector>> {
        let readings: Vec<Reading> = captured.designs.iter().map(reading).collect();
        self.database.reader(&readings)
    }

    /// What differs, as findings. The remedy prints what mends it.
    fn findings(captured: &Captured, connector: &str) -> Vec<Finding> {
        let remedy = format!("tailrace triggers diff <the configuration> {connector} --apply");
        captured
            .comparisons()
            .flat_map(|(design, comparison)| {
                let missing = captured.is_missing(design);
                let table = design.captured.qualified();
                if missing {
                    let problem = format!(
                        "the table {table} has no change table {}",
                        design.change_table.qualified()
                    );
                    let remedy =
                        format!("tailrace triggers install <the configuration> {connector} --backfill --apply");
                    return vec![Finding::blocks("change_table_missing", problem, remedy)];
                }
                findings::of_comparison(&table, &comparison, &remedy)
            })
            .collect()
    }

    /// Tells of differences while the source is open.
    async fn watch(self, telemetry: Arc<Telemetry>, connector: String) {
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            let sentence = match self.captured(&[]).await {
                Ok(captured) => {
                    let findings = Self::findings(&captured, &connector);
                    let told = findings.iter().filter(|finding| finding.severity > Severity::Note);
                    let told: Vec<_> = told
                        .map(|finding| format!("{}; {}", finding.problem, finding.remedy))
                        .collect();
                    (!told.is_empty()).then(|| told.join("; "))
                }
                Err(error) => Some(format!(
                    "whether the triggers are in order is not known: {}",
                    error.report()
                )),
            };
            telemetry.set_notice("triggers_differ", sentence);
        }
    }
}

impl Captured {
    fn is_missing(&self, design: &Design) -> bool {
        Installed::of(design, &self.survey).table.is_none()
    }
}

fn reading(design: &Design) -> Reading {
    let columns = design.columns.iter();
    Reading {
        captured: design.captured.clone(),
        change_table: design.change_table.clone(),
        columns: columns
            .map(|column| (column.captured.clone(), column.before.clone(), column.after.clone()))
            .collect(),
    }
}

#[async_trait]
impl SourceConnector for ChangeTableConnector {
    async fn check(&self, connector: &str) -> Vec<Finding> {
        let captured = match self.captured(&[]).await {
            Ok(captured) => captured,
            Err(error) => return vec![Finding::from(&error)],
        };
        let mut findings = Self::findings(&captured, connector);
        let tables: Vec<_> = captured
            .designs
            .iter()
            .map(|design| design.captured.qualified())
            .collect();
        findings.extend(findings::unseen(self.database.engine(), &tables.join(", ")));
        findings.extend(captured.survey.findings.iter().cloned());
        // Of change tables that are not there nothing more can be said.
        if captured.designs.iter().any(|design| captured.is_missing(design)) {
            return findings;
        }
        match self.reader(&captured) {
            Ok(reader) => findings.extend(reader.check(connector).await),
            Err(error) => findings.push(Finding::from(&error)),
        }
        findings
    }

    fn grants(&self, connector: &str) -> Result<Script> {
        self.database.grants(connector)
    }

    async fn describe(&self) -> Result<Vec<SharedSchema>> {
        let captured = self.captured(&[]).await?;
        refuse_missing(&captured, "<connector>")?;
        let by_change_table = captured.by_change_table();
        let mut schemas = Vec::new();
        for change_table in self.reader(&captured)?.describe().await? {
            if let Some(table) = by_change_table.get(&change_table.name.qualified()) {
                let interpretation = Interpretation::new(&change_table, &table.schema)?;
                schemas.push(Arc::clone(interpretation.schema()));
            }
        }
        Ok(schemas)
    }

    async fn open(&self, context: SourceContext) -> Result<Box<dyn Source>> {
        let captured = self.captured(&[]).await?;
        let findings = Self::findings(&captured, &context.connector);
        if let Some(finding) = findings.iter().find(|finding| finding.severity == Severity::Blocks) {
            return Err(blocking_error(finding));
        }
        let watch = self
            .clone()
            .watch(Arc::clone(&context.telemetry), context.connector.clone());
        let name = format!("triggers of {}", context.connector);
        // The captured tables' own column is not one of a change table.
        let context = SourceContext {
            updated_at_column: None,
            ..context
        };
        let rows = self.reader(&captured)?.open(context).await?;
        let connector = self.clone();
        let describe = Box::new(move || {
            let connector = connector.clone();
            let described = async move { Ok(connector.captured(&[]).await?.by_change_table()) };
            Box::pin(described) as futures_util::future::BoxFuture<'static, _>
        });
        Ok(Box::new(WatchedSource {
            source: ChangeTableSource::new(rows, captured.by_change_table(), describe),
            watch: spawn_named(&name, watch),
        }))
    }

    fn kind(&self) -> &'static str {
        self.kind
    }
}

fn has_column(survey: &Survey, column: &str) -> bool {
    survey.tables.iter().any(|table| {
        let schema = &table.schema;
        let mut columns = schema.columns.iter();
        columns.any(|known| format!("{}.{}", schema.name.qualified(), known.name) == column)
    })
}

fn refuse_missing(captured: &Captured, connector: &str) -> Result<()> {
    let missing = |finding: &&Finding| finding.code == "change_table_missing";
    let findings = ChangeTableConnector::findings(captured, connector);
    match findings.iter().find(missing) {
        Some(finding) => Err(blocking_error(finding)),
        None => Ok(()),
    }
}

// === impl WatchedSource ===

#[async_trait]
impl Source for WatchedSource {
    async fn next_batch(&mut self, budget: Budget) -> Result<ChangeBatch> {
        self.source.next_batch(budget).await
    }

    async fn confirm(&mut self, durable: &Position) -> Result<()> {
        self.source.confirm(durable).await
    }
}

impl Drop for WatchedSource {
    fn drop(&mut self) {
        self.watch.abort();
    }
}
