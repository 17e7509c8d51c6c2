//! A private Kafka Connect worker (stand-alone, or a cluster of one) that runs Debezium's connectors for PostgreSQL and MySQL, as people run them: what
//! Tailrace is compared with, record by record and second by second.
//!
//! Connectors are made over the worker's REST endpoint and are as far as `RUNNING` when [`Connect::create`] returns; that
//! is before their snapshot is done. Their offsets live in the worker's folder.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::process::{Server, ServerCommand, ServerFolder, poll_until};
use super::{MySqlServer, Port, Postgres, Registry, Result, ServerError, installed};
use crate::http;

/// A JVM that loads eighty jars, on two cores that are compiling at the same time; alone it takes four to eight seconds.
const START_DEADLINE: Duration = Duration::from_secs(180);

/// A connector makes its slot and publication before it runs.
const CONNECTOR_DEADLINE: Duration = Duration::from_secs(120);

/// Connectors are given time to flush.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// Where a stand-alone worker keeps offsets.
const OFFSETS_FILE: &str = "offsets";

/// Readers of a log must not share a number, nor have a server's; Tailrace's are far above these.
static MYSQL_READER: AtomicU32 = AtomicU32::new(70_000);

/// How a worker is to be started.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Arguments of `java`. Small and quick to start unless said otherwise; the scripts that Kafka ships give 2 GB of heap.
    pub java_options: Vec<String>,
    /// Properties of the worker, after and above the usual ones.
    pub worker: BTreeMap<String, String>,
    /// A cluster of one worker, which keeps connectors and offsets in topics, and not in its folder.
    pub is_cluster: bool,
}

/// A running (or stopped) worker. Dropping it kills the worker and removes its folder.
pub struct Connect {
    port: Port,
    java_options: Vec<String>,
    is_cluster: bool,
    /// Before `folder`: fields are dropped in order, and the folder's watchdog would kill what still runs anyway.
    server: Server,
    folder: ServerFolder,
}

/// What Debezium's connector for PostgreSQL needs to be told of a database: captured by `pgoutput` with a slot and a
/// publication called `name`, published under topics that begin with `name`. To be added to, or changed.
#[must_use]
pub fn debezium_postgres(server: &Postgres, database: &str, name: &str) -> BTreeMap<String, String> {
    let port = server.port().to_string();
    let properties = [
        ("connector.class", "io.debezium.connector.postgresql.PostgresConnector"),
        ("tasks.max", "1"),
        ("database.hostname", "127.0.0.1"),
        ("database.port", &port),
        ("database.user", "postgres"),
        ("database.password", "postgres"),
        ("database.dbname", database),
        ("plugin.name", "pgoutput"),
        ("slot.name", name),
        ("publication.name", name),
        ("publication.autocreate.mode", "filtered"),
        ("topic.prefix", name),
        // The tests' brokers make no topic unasked.
        ("topic.creation.default.partitions", "1"),
        ("topic.creation.default.replication.factor", "1"),
    ];
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    properties.into_iter().map(owned).collect()
}

/// What Debezium's connector for MySQL needs to be told of a server, published under topics that begin with `name`. What it
/// knows of tables it forgets with the worker. To be added to, or changed.
#[must_use]
pub fn debezium_mysql(server: &MySqlServer, name: &str) -> BTreeMap<String, String> {
    let port = server.port().to_string();
    let reader = MYSQL_READER.fetch_add(1, Ordering::Relaxed).to_string();
    let properties = [
        ("connector.class", "io.debezium.connector.mysql.MySqlConnector"),
        ("tasks.max", "1"),
        ("database.hostname", "127.0.0.1"),
        ("database.port", &port),
        ("database.user", "root"),
        ("database.password", ""),
        ("database.server.id", &reader),
        ("topic.prefix", name),
        (
            "schema.history.internal",
            "io.debezium.relational.history.MemorySchemaHistory",
        ),
        ("include.schema.changes", "false"),
        // The tests' brokers make no topic unasked.
        ("topic.creation.default.partitions", "1"),
        ("topic.creation.default.replication.factor", "1"),
    ];
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    properties.into_iter().map(owned).collect()
}

/// The properties that have a connector publish keys and values as Avro, by Confluent's converter and a registry of schemas, with
/// names that Avro allows. To be added to a connector's.
#[must_use]
pub fn confluent_avro(registry: &Registry) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::new();
    for side in ["key", "value"] {
        let converter = "io.confluent.connect.avro.AvroConverter".to_owned();
        properties.insert(format!("{side}.converter"), converter);
        properties.insert(format!("{side}.converter.schema.registry.url"), registry.url());
    }
    for names in ["schema", "field"] {
        properties.insert(format!("{names}.name.adjustment.mode"), "avro".to_owned());
    }
    properties
}

/// A topic in which a cluster keeps something.
fn storage_topic(port: u16, what: &str) -> String {
    format!("connect-{port}-{what}s")
}

// === impl ConnectOptions ===

impl Default for ConnectOptions {
    fn default() -> ConnectOptions {
        let java_options = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
        ConnectOptions {
            java_options: java_options.map(str::to_owned).to_vec(),
            worker: BTreeMap::new(),
            is_cluster: false,
        }
    }
}

impl ConnectOptions {
    /// One more property of the worker.
    #[must_use]
    pub fn property(mut self, key: &str, value: &str) -> ConnectOptions {
        self.worker.insert(key.to_owned(), value.to_owned());
        self
    }

    /// A cluster of one worker.
    #[must_use]
    pub fn cluster(mut self) -> ConnectOptions {
        self.is_cluster = true;
        self
    }

    /// Where offsets are kept, and what else is.
    fn storage(&self, port: u16, offsets: &str) -> Vec<(String, String)> {
        if !self.is_cluster {
            return vec![("offset.storage.file.filename".to_owned(), offsets.to_owned())];
        }
        let mut lines = vec![("group.id".to_owned(), format!("connect-{port}"))];
        for what in ["config", "offset", "status"] {
            lines.push((format!("{what}.storage.topic"), storage_topic(port, what)));
            lines.push((format!("{what}.storage.replication.factor"), "1".to_owned()));
        }
        lines.push(("offset.storage.partitions".to_owned(), "5".to_owned()));
        lines
    }

    fn properties(&self, bootstrap: &str, port: u16, offsets: &str) -> String {
        let listener = format!("http://127.0.0.1:{port}");
        let usual = [
            ("bootstrap.servers", bootstrap),
            ("listeners", &listener),
            ("offset.flush.interval.ms", "1000"),
            ("key.converter", "org.apache.kafka.connect.json.JsonConverter"),
            ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
            // Scanning every class of every jar takes longer than everything else.
            ("plugin.discovery", "service_load"),
            ("connector.client.config.override.policy", "All"),
        ];
        let storage = self.storage(port, offsets);
        let mut lines: BTreeMap<&str, &str> = usual.into_iter().collect();
        lines.extend(storage.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        lines.extend(self.worker.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        let lines = lines.iter().map(|(key, value)| format!("{key}={value}\n"));
        lines.collect()
    }
}

// === impl Connect ===

impl Connect {
    /// Starts a worker without connectors and waits until it answers.
    ///
    /// # Errors
    /// When it is not installed or does not start; the error carries the end of its log.
    pub fn start(bootstrap: &str, options: &ConnectOptions) -> Result<Connect> {
        let folder = ServerFolder::create("connect", None)?;
        let port = Port::claim()?;
        let offsets = folder.path().join(OFFSETS_FILE).display().to_string();
        let properties = options.properties(bootstrap, port.number(), &offsets);
        folder.write("worker.properties", properties.as_bytes())?;
        let connect = Connect {
            port,
            java_options: options.java_options.clone(),
            is_cluster: options.is_cluster,
            server: Server::new("Kafka Connect"),
            folder,
        };
        connect.restart()?;
        Ok(connect)
    }

    /// Starts the worker again, after `stop` or `kill9`; a running one is stopped first. It has forgotten its connectors
    /// and remembers how far each of them was.
    ///
    /// # Errors
    /// As [`Connect::start`].
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.server.start(&self.folder, self.command()?, START_DEADLINE, |_| {
            let answer = self.request("GET", "/connectors", "");
            answer.is_ok_and(|(status, _)| status == 200)
        })
    }

    /// Makes a connector of these properties, or changes the one of that name, and waits until it and its task run.
    ///
    /// # Errors
    /// When the worker refuses, or the task fails; with its trace and the end of the worker's log.
    pub fn create(&self, name: &str, properties: &BTreeMap<String, String>) -> Result<()> {
        let path = format!("/connectors/{name}/config");
        // A cluster that is putting itself in order says so.
        let made = poll_until(&format!("making connector {name}"), CONNECTOR_DEADLINE, || {
            match self.request("PUT", &path, &json!(properties).to_string())? {
                (409, _) => Ok(None),
                (status, answer) => Ok(Some((status, answer))),
            }
        });
        match made? {
            (status, _) if status < 300 => self.wait_until_running(name),
            (status, answer) => Err(ServerError::new(format!(
                "PUT {path} was refused with {status}: {answer}"
            ))),
        }
    }

    /// Ends a connector's task, which stores how far it is, and keeps the connector.
    ///
    /// # Errors
    /// When the worker refuses, or it does not end.
    pub fn stop_connector(&self, name: &str) -> Result<()> {
        self.expect("PUT", &format!("/connectors/{name}/stop"), &Value::Null)?;
        poll_until(&format!("connector {name} stopped"), CONNECTOR_DEADLINE, || {
            let (_, answer) = self.request("GET", &format!("/connectors/{name}/status"), "")?;
            let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
            let is_stopped = answer
                .pointer("/connector/state")
                .is_some_and(|state| state == "STOPPED");
            let has_tasks = answer
                .get("tasks")
                .and_then(Value::as_array)
                .is_some_and(|tasks| !tasks.is_empty());
            Ok((is_stopped && !has_tasks).then_some(()))
        })
    }

    /// Lets a connector that was stopped go on, with these properties: from a place, which is a partition and an offset of it, or as if
    /// it had never run.
    ///
    /// # Errors
    /// As [`Connect::create`].
    pub fn resume_at(
        &self,
        name: &str,
        properties: &BTreeMap<String, String>,
        place: Option<(Value, Value)>,
    ) -> Result<()> {
        self.expect("PUT", &format!("/connectors/{name}/config"), &json!(properties))?;
        let path = format!("/connectors/{name}/offsets");
        self.expect("DELETE", &path, &Value::Null)?;
        if let Some((partition, offset)) = place {
            let offsets = json!({ "offsets": [{ "partition": partition, "offset": offset }] });
            self.expect("PATCH", &path, &offsets)?;
        }
        self.expect("PUT", &format!("/connectors/{name}/resume"), &Value::Null)?;
        self.wait_until_running(name)
    }

    /// What `GET /connectors/{name}/offsets` answers.
    ///
    /// # Errors
    /// When the worker does not answer.
    pub fn offsets(&self, name: &str) -> Result<String> {
        self.request("GET", &format!("/connectors/{name}/offsets"), "")
            .map(|(_, answer)| answer)
    }

    /// Where a stand-alone worker keeps offsets.
    #[must_use]
    pub fn offsets_file(&self) -> PathBuf {
        self.folder.path().join(OFFSETS_FILE)
    }

    /// Where a cluster keeps offsets.
    #[must_use]
    pub fn offsets_topic(&self) -> String {
        storage_topic(self.port.number(), "offset")
    }

    /// As [`Connect::create`]; the connector begins at a place, which is a partition and an offset of it in the connector's
    /// own terms.
    ///
    /// # Errors
    /// As [`Connect::create`].
    pub fn create_at(
        &self,
        name: &str,
        properties: &BTreeMap<String, String>,
        (partition, offset): (Value, Value),
    ) -> Result<()> {
        let connector = json!({ "name": name, "config": properties, "initial_state": "STOPPED" });
        self.expect("POST", "/connectors", &connector)?;
        let offsets = json!({ "offsets": [{ "partition": partition, "offset": offset }] });
        self.expect("PATCH", &format!("/connectors/{name}/offsets"), &offsets)?;
        self.expect("PUT", &format!("/connectors/{name}/resume"), &Value::Null)?;
        self.wait_until_running(name)
    }

    fn expect(&self, method: &str, path: &str, body: &Value) -> Result<()> {
        let (status, answer) = self.request(method, path, &body.to_string())?;
        if status < 300 {
            return Ok(());
        }
        Err(ServerError::new(format!(
            "{method} {path} of Kafka Connect was refused with {status}: {answer}"
        )))
    }

    fn wait_until_running(&self, name: &str) -> Result<()> {
        let outcome = poll_until(&format!("connector {name} running"), CONNECTOR_DEADLINE, || {
            self.is_running(name).map(|running| running.then_some(()))
        });
        outcome.map_err(|error| ServerError::new(format!("{error}; its log:\n{}", self.log())))
    }

    /// Whether a connector and all its tasks run.
    ///
    /// # Errors
    /// When one of them has failed, with its trace, or when the worker does not answer.
    pub fn is_running(&self, name: &str) -> Result<bool> {
        let (status, answer) = self.request("GET", &format!("/connectors/{name}/status"), "")?;
        if status != 200 {
            return Ok(false);
        }
        let answer: Value =
            serde_json::from_str(&answer).map_err(ServerError::doing("reading a connector's status"))?;
        let tasks = answer
            .get("tasks")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let parts: Vec<&Value> = answer.get("connector").into_iter().chain(&tasks).collect();
        let state = |part: &Value| part.get("state").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(failed) = parts.iter().find(|part| state(part) == "FAILED") {
            let trace = failed.get("trace").and_then(Value::as_str).unwrap_or_default();
            return Err(ServerError::new(format!("connector {name} has failed: {trace}")));
        }
        Ok(!tasks.is_empty() && parts.iter().all(|part| state(part) == "RUNNING"))
    }

    /// Stops a connector and forgets it; its offsets stay.
    ///
    /// # Errors
    /// When the worker refuses.
    pub fn delete(&self, name: &str) -> Result<()> {
        match self.request("DELETE", &format!("/connectors/{name}"), "")? {
            (204, _) => Ok(()),
            (status, answer) => Err(ServerError::new(format!(
                "deleting connector {name}: {status} {answer}"
            ))),
        }
    }

    /// SIGTERM, and its end. No effect on a stopped worker.
    ///
    /// # Errors
    /// When it is still there after the deadline.
    pub fn stop(&self) -> Result<()> {
        self.server.stop("TERM", STOP_DEADLINE)
    }

    /// SIGKILL. No effect on a stopped worker.
    ///
    /// # Errors
    /// When the process is still there after the deadline.
    pub fn kill9(&self) -> Result<()> {
        self.server.kill()
    }

    /// The JVM's process id, for its memory and CPU time under `/proc`; none while it is stopped.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.server.process_id()
    }

    /// Everything that the worker has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.folder.log()
    }

    fn command(&self) -> Result<ServerCommand> {
        let logging = installed("connect/log4j2.properties")?;
        // The worker's own first: some libraries are in both.
        let folders =
            ["connect/libs", "confluent/converter"].map(|folder| installed(folder).map(|path| path.join("*")));
        let [own, converter] = folders;
        let mut jars = own?.into_os_string();
        jars.push(":");
        jars.push(converter?);
        let main_class = match self.is_cluster {
            true => "org.apache.kafka.connect.cli.ConnectDistributed",
            false => "org.apache.kafka.connect.cli.ConnectStandalone",
        };
        let mut arguments: Vec<_> = self.java_options.iter().map(Into::into).collect();
        arguments.extend([
            format!("-Dlog4j2.configurationFile={}", logging.display()).into(),
            "-cp".into(),
            jars,
            main_class.into(),
            self.folder.path().join("worker.properties").into(),
        ]);
        Ok(ServerCommand {
            program: "java".into(),
            arguments,
            environment: Vec::new(),
        })
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        http::request(self.port.number(), method, path, body)
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Kafka Connect in {}", self.folder.path().display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::{PostgresOptions, poll_until, shared_kafka};

    #[tokio::test]
    async fn debezium_publishes_what_is_there_and_what_comes_and_goes_on_after_a_restart() {
        let kafka = shared_kafka().unwrap();
        let postgres = Postgres::start(PostgresOptions::default()).unwrap();
        let table = "create table t (id int primary key); insert into t values (1)";
        postgres.execute(table).await.unwrap();
        let connect = Connect::start(&kafka.bootstrap(), &ConnectOptions::default()).unwrap();
        let properties = debezium_postgres(&postgres, "postgres", "beside");
        connect.create("beside", &properties).unwrap();
        let published = |count: usize| {
            poll_until("published by Debezium", CONNECTOR_DEADLINE, || {
                connect.is_running("beside")?;
                let records = kafka.records("beside.public.t").unwrap_or_default();
                Ok((records.len() >= count).then_some(records))
            })
            .unwrap()
        };
        published(1);
        postgres.execute("insert into t values (2)").await.unwrap();
        published(2);
        connect.stop().unwrap();
        postgres.execute("insert into t values (3)").await.unwrap();
        connect.restart().unwrap();
        connect.create("beside", &properties).unwrap();
        assert!(connect.process_id().is_some());
        let records = published(3);
        let text = String::from_utf8_lossy(records[2].value.as_deref().unwrap()).into_owned();
        assert!(text.contains(r#""after":{"id":3}"#), "{text}");
        connect.delete("beside").unwrap();
        assert!(connect.create("wrong", &BTreeMap::new()).is_err());
    }
}
