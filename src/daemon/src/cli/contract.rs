//! `tailrace contract`: the contracts of topics, and what a change of a table would do to their readers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use serde_json::Value;
use tailrace_codec::contract::{ContractReviewer, SubjectContract, TopicContract, WrittenContracts, compare};
use tailrace_core::registry::{Compatibility, SchemaRegistry, SchemaType};
use tailrace_core::schema::SharedSchema;
use tailrace_core::transform::Transform;
use tailrace_core::{Error, check::Finding};

use super::{Exit, Failure};
use crate::config::plan::{ConnectorPlan, Plan};
use crate::supervisor::carry::encoder_settings;
use crate::{registries, screen};

const LONG_ABOUT: &str = "\
Shows what readers of topics may rely on, and says whether a change of a table would break them.

In a pipeline, with no daemon and no registry: keep what `show --out contracts/` writes in the repository. Where a migration is \
proposed, apply it to an empty database, point the configuration's `url` there, and run `check --against contracts/`: it ends with \
3 and says which readers of which topic would break, at which column.";

/// How files with contracts end.
const EXTENSION: &str = "json";
/// How files with Avro schemas end.
const AVRO_EXTENSION: &str = "avsc";
/// What a change may keep, the strongest first.
const LEVELS: [Compatibility; 4] = [
    Compatibility::Full,
    Compatibility::Backward,
    Compatibility::Forward,
    Compatibility::None,
];

/// What to do with contracts.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG_ABOUT)]
pub(crate) struct ContractArguments {
    #[command(subcommand)]
    pub(crate) command: ContractCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContractCommand {
    /// Shows the contract of each topic, from the source's tables as they are now and from `contract` in the configuration.
    Show {
        /// The configuration.
        file: PathBuf,
        /// Only this topic.
        #[arg(long)]
        topic: Option<String>,
        /// One JSON document with the schemas in full.
        #[arg(long)]
        json: bool,
        /// Writes each contract into a file of this folder, `TOPIC.json`, instead.
        #[arg(long, value_name = "FOLDER", conflicts_with = "json")]
        out: Option<PathBuf>,
    },
    /// Compares two contracts or schemas in files, and says who could not read what. Connects to nothing.
    ///
    /// Ends with 3 where they are not compatible.
    Diff {
        /// A contract from `show --out`, an Avro schema (`.avsc`) or a JSON Schema.
        old: PathBuf,
        /// The one that would follow it.
        new: PathBuf,
        /// What they are held to. Default: what the new contract says, and otherwise `full`.
        #[arg(long, value_name = "LEVEL")]
        compatibility: Option<String>,
    },
    /// Checks the source's tables as they are now against the contracts: files, masks, and the versions before.
    ///
    /// Changes nothing. Ends with 3 where readers would break.
    Check {
        /// The configuration.
        file: PathBuf,
        /// Contracts to compare with, from `show --out`: a file or a folder. Without it, what the registry has.
        #[arg(long, value_name = "PATH")]
        against: Option<PathBuf>,
    },
}

/// A table as its events are made of it.
struct Publishing {
    schema: SharedSchema,
    /// The topic that a rule sends it to.
    route: Option<Arc<str>>,
}

// === show ===

/// Shows the contracts of a configuration.
pub(crate) async fn show(plan: &Plan, topic: Option<&str>, json: bool, out: Option<&Path>) -> Result<Exit, Failure> {
    let mut contracts = Vec::new();
    for connector in &plan.connectors {
        let reviewer = reviewer_of(connector)?;
        for table in publishing(connector, &tables_of(connector).await?)? {
            contracts.push(reviewer.describe(&table.schema, table.route.as_deref())?);
        }
    }
    contracts.retain(|contract| topic.is_none_or(|topic| contract.topic == topic));
    if let Some(folder) = out {
        write_all(folder, &contracts)?;
        return Ok(Exit::Ended);
    }
    screen::print(&if json {
        as_json(&contracts)
    } else {
        contracts.iter().map(as_text).collect()
    })?;
    Ok(Exit::Ended)
}

fn write_all(folder: &Path, contracts: &[TopicContract]) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, error))?;
    let mut written = String::new();
    for contract in contracts {
        let path = folder.join(format!("{}.{EXTENSION}", contract.topic));
        std::fs::write(&path, as_json(contract)).map_err(|error| unwritable(&path, error))?;
        written += &format!("{}\n", screen::escape(&path.display().to_string()));
    }
    screen::print(&written)?;
    Ok(())
}

fn unwritable(path: &Path, error: std::io::Error) -> Error {
    let message = format!(
        "{} cannot be written; name a folder that you may write to",
        path.display()
    );
    Error::definite("contract_unwritable", message).with_source(error)
}

fn as_json<T: serde::Serialize + ?Sized>(contracts: &T) -> String {
    // Nothing in a contract can fail to be JSON: texts and schemas.
    let text = serde_json::to_string_pretty(contracts);
    text.map(|text| text + "\n").unwrap_or_default()
}

fn as_text(contract: &TopicContract) -> String {
    let mut text = String::new();
    let mut line = |content: String| {
        text.push_str(screen::escape(&content).trim_end());
        text.push('\n');
    };
    line(format!("{} (table {})", contract.topic, contract.table));
    let tags = (!contract.tags.is_empty()).then(|| contract.tags.join(", "));
    let said = [
        ("event", &contract.documentation),
        ("trigger", &contract.trigger),
        ("owner", &contract.owner),
        ("tags", &tags),
        ("held to", &Some(contract.compatibility.clone())),
    ];
    for (label, words) in said {
        if let Some(words) = words {
            line(format!("  {label:<8} {words}"));
        }
    }
    for subject in &contract.subjects {
        line(format!(
            "  subject  {} ({})",
            subject.subject,
            subject.schema_type.registry_name()
        ));
        for field in fields_of(&subject.schema) {
            let tags = contract.column_tags.get(&field.name).map(|tags| tags.join(", "));
            let tags = tags.map(|tags| format!(" [{tags}]")).unwrap_or_default();
            let documentation = field
                .documentation
                .map(|words| format!("  -- {words}"))
                .unwrap_or_default();
            line(format!(
                "           {:<24} {}{tags}{documentation}",
                field.name, field.of
            ));
        }
    }
    text.push('\n');
    text
}

/// One field, for people.
struct FieldLine {
    name: String,
    of: String,
    documentation: Option<String>,
}

/// The fields of a record or an object.
fn fields_of(schema: &Value) -> Vec<FieldLine> {
    let words = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).map(str::to_owned);
    if let Some(fields) = schema.get("fields").and_then(Value::as_array) {
        let line = |field: &Value| FieldLine {
            name: words(field, "name").unwrap_or_default(),
            of: field.get("type").map(avro_type).unwrap_or_default(),
            documentation: words(field, "doc"),
        };
        return fields.iter().map(line).collect();
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let line = |(name, property): (&String, &Value)| FieldLine {
        name: name.clone(),
        of: json_type(property),
        documentation: words(property, "description"),
    };
    let mut properties: Vec<(&String, &Value)> = properties.into_iter().flatten().collect();
    properties.sort_by_key(|(_, property)| property.get("connect.index").and_then(Value::as_u64));
    properties.into_iter().map(line).collect()
}

/// `decimal(10, 2) or null`, `long`, `enum NEW PAID`.
fn avro_type(of: &Value) -> String {
    let number = |key: &str| of.get(key).and_then(Value::as_u64).unwrap_or(0);
    match of {
        Value::String(name) => name.clone(),
        Value::Array(branches) => branches.iter().map(avro_type).collect::<Vec<_>>().join(" or "),
        Value::Object(object) => match (object.get("logicalType"), object.get("symbols")) {
            (Some(Value::String(name)), _) if name == "decimal" => {
                format!("decimal({}, {})", number("precision"), number("scale"))
            }
            (Some(Value::String(name)), _) => name.clone(),
            (_, Some(Value::Array(symbols))) => {
                let symbols: Vec<&str> = symbols.iter().filter_map(Value::as_str).collect();
                format!("enum {}", symbols.join(" "))
            }
            _ => match object.get("type") {
                Some(Value::String(name)) if name == "record" => object
                    .get("name")
                    .and_then(Value::as_str)
                    .unwrap_or("record")
                    .to_owned(),
                Some(inner) => avro_type(inner),
                None => String::new(),
            },
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => String::new(),
    }
}

fn json_type(property: &Value) -> String {
    if let Some(Value::Array(branches)) = property.get("oneOf") {
        return branches.iter().map(json_type).collect::<Vec<_>>().join(" or ");
    }
    match property.get("connect.type").or_else(|| property.get("type")) {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            names.join(" or ")
        }
        _ => "anything".to_owned(),
    }
}

// === check ===

/// Checks the tables of a configuration.
pub(crate) async fn check(plan: &Plan, against: Option<&Path>) -> Result<Exit, Failure> {
    let written = against.map(read_all).transpose()?;
    let mut text = String::new();
    let mut broken = false;
    let mut met = BTreeSet::new();
    for connector in &plan.connectors {
        let registry: Arc<dyn SchemaRegistry> = match &written {
            Some(written) => Arc::new(WrittenContracts::new(written)),
            None => registries::to_compare_with(plan, connector).await?,
        };
        let reviewer = reviewer_of(connector)?;
        for table in publishing(connector, &tables_of(connector).await?)? {
            let route = table.route.as_deref();
            let (topic, findings) = reviewer.review(&table.schema, route, &*registry).await?;
            broken |= !findings.is_empty();
            text += &verdict(&topic, &findings);
            met.insert(topic);
        }
    }
    let gone = written
        .iter()
        .flatten()
        .filter(|contract| !met.contains(&contract.topic));
    for contract in gone {
        broken = true;
        text += &format!(
            "BREAKS  {}: no table of the configuration is published there any more (it was {})\n",
            screen::escape(&contract.topic),
            screen::escape(&contract.table)
        );
    }
    screen::print(&text)?;
    Ok(if broken { Exit::Blocked } else { Exit::Ended })
}

fn verdict(topic: &str, findings: &[Finding]) -> String {
    let topic = screen::escape(topic);
    if findings.is_empty() {
        return format!("keeps   {topic}\n");
    }
    let line = |finding: &Finding| format!("BREAKS  {topic}: {}\n", screen::escape(&finding.problem));
    findings.iter().map(line).collect()
}

fn read_all(path: &Path) -> Result<Vec<TopicContract>, Error> {
    if !path.is_dir() {
        return Ok(vec![read_contract(path)?]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| unreadable(path, &error.to_string()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
    paths.sort();
    if paths.is_empty() {
        return Err(unreadable(path, "there is no contract in it"));
    }
    paths.iter().map(|path| read_contract(path)).collect()
}

fn read_contract(path: &Path) -> Result<TopicContract, Error> {
    let text = read(path)?;
    serde_json::from_str(&text).map_err(|error| unreadable(path, &error.to_string()))
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|error| unreadable(path, &error.to_string()))
}

fn unreadable(path: &Path, why: &str) -> Error {
    let message = format!(
        "{} is no contract: {why}; name a file or folder that `tailrace contract show --out` wrote",
        path.display()
    );
    Error::definite("contract_unreadable", message)
}

fn reviewer_of(connector: &ConnectorPlan) -> Result<ContractReviewer, Error> {
    let source = connector.source_connector()?;
    ContractReviewer::new(encoder_settings(connector, source.kind()))
}

/// The tables whose rows are not events already.
async fn tables_of(connector: &ConnectorPlan) -> Result<Vec<SharedSchema>, Error> {
    let mut tables = connector.source_connector()?.describe().await?;
    let is_outbox = |table: &SharedSchema| connector.outbox.as_ref().is_some_and(|outbox| outbox.selects(table));
    tables.retain(|table| !is_outbox(table));
    Ok(tables)
}

/// What is published of tables after the rules.
fn publishing(connector: &ConnectorPlan, tables: &[SharedSchema]) -> Result<Vec<Publishing>, Error> {
    let mut transform = Transform::new(&connector.transforms, connector.updated_at_column.clone())?;
    let mut found = Vec::new();
    for table in tables {
        if let Some(schema) = transform.describe(table)? {
            let route = transform.route(table)?;
            found.push(Publishing { schema, route });
        }
    }
    Ok(found)
}

/// Whether a connector's events are held to anything: without contracts they are by their codec alone.
pub(crate) fn is_held(connector: &ConnectorPlan) -> bool {
    connector.contracts.is_some() || connector.format.has_registered_schemas()
}

/// What a preflight says of the contracts of a connector that is held to any.
pub(crate) async fn findings(
    registry: Result<Arc<dyn SchemaRegistry>, Error>,
    connector: &ConnectorPlan,
    tables: &[SharedSchema],
) -> Vec<Finding> {
    match review(registry, connector, tables).await {
        Ok(findings) => findings,
        Err(error) => vec![Finding::from(&error)],
    }
}

async fn review(
    registry: Result<Arc<dyn SchemaRegistry>, Error>,
    connector: &ConnectorPlan,
    tables: &[SharedSchema],
) -> Result<Vec<Finding>, Error> {
    let registry = registry?;
    let reviewer = reviewer_of(connector)?;
    let mut findings = Vec::new();
    let mut met = BTreeSet::new();
    for table in publishing(connector, tables)? {
        let route = table.route.as_deref();
        let (topic, found) = reviewer.review(&table.schema, route, &*registry).await?;
        findings.extend(found);
        met.insert(topic);
    }
    let contracts = connector.contracts.iter();
    let unmet = contracts
        .flat_map(|contracts| contracts.topics())
        .filter(|topic| !met.contains(*topic));
    findings.extend(unmet.map(|topic| {
        Finding::warning(
            "contract_unused",
            format!("`contract.topics` names `{topic}`, where no table is published now"),
            "correct the name, or leave it where the table is still to come",
        )
    }));
    Ok(findings)
}

// === diff ===

/// Compares two files.
pub(crate) fn diff(old: &Path, new: &Path, level: Option<&str>) -> Result<Exit, Failure> {
    let (before, after) = (read_any(old)?, read_any(new)?);
    let written = level.map(level_of).transpose()?;
    let level = written.or(after.level).unwrap_or_default();
    let mut text = String::new();
    let mut broken = false;
    for subject in &before.subjects {
        let Some(next) = after.subjects.iter().find(|next| next.subject == subject.subject) else {
            broken = true;
            text += &format!("{}: is gone\n", screen::escape(&subject.subject));
            continue;
        };
        let (earlier, later) = (subject.schema(), next.schema());
        let found = compare(level, &earlier, &later);
        broken |= !found.is_empty();
        let name = screen::escape(&subject.subject);
        for found in &found {
            text += &format!("{name}: {}\n", screen::escape(&found.to_string()));
        }
        let is_kept = |level: &Compatibility| compare(*level, &earlier, &later).is_empty();
        let strongest = LEVELS.into_iter().find(is_kept).map_or("none", Compatibility::name);
        let same = if subject.schema == next.schema {
            ", the same"
        } else {
            ""
        };
        text += &format!("{name}: {strongest}{same}\n");
    }
    let added = after
        .subjects
        .iter()
        .filter(|next| before.subjects.iter().all(|known| known.subject != next.subject));
    for next in added {
        text += &format!("{}: is new\n", screen::escape(&next.subject));
    }
    screen::print(&text)?;
    Ok(if broken { Exit::Blocked } else { Exit::Ended })
}

fn level_of(written: &str) -> Result<Compatibility, Failure> {
    serde_json::from_value(Value::from(written)).map_err(|_| {
        Failure::Usage(format!(
            "there is no compatibility `{written}`; it is none, backward, forward or full, each but none also with _transitive"
        ))
    })
}

/// What a file has to compare.
struct Compared {
    subjects: Vec<SubjectContract>,
    level: Option<Compatibility>,
}

/// A contract, or a schema by itself.
fn read_any(path: &Path) -> Result<Compared, Failure> {
    let text = read(path)?;
    if let Ok(contract) = serde_json::from_str::<TopicContract>(&text) {
        return Ok(Compared {
            level: Some(level_of(&contract.compatibility)?),
            subjects: contract.subjects,
        });
    }
    let schema = serde_json::from_str(&text).map_err(|error| unreadable(path, &error.to_string()))?;
    let is_avro = path.extension().is_some_and(|extension| extension == AVRO_EXTENSION);
    Ok(Compared {
        level: None,
        subjects: vec![SubjectContract {
            subject: "schema".to_owned(),
            schema_type: if is_avro { SchemaType::Avro } else { SchemaType::Json },
            schema,
        }],
    })
}
