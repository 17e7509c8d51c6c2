//! Maxwell's daemon, which reads a MySQL 5.6 and writes its events into a file.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::process::{Server, ServerCommand, ServerFolder};
use super::{MySqlServer, Result, ServerError, installed};

/// A JVM on two cores that are compiling at the same time; alone it takes three seconds.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// It ends with a last heartbeat.
const STOP_DEADLINE: Duration = Duration::from_secs(60);
/// It does without none.
const PASSWORD: &str = "maxwell";
const EVENTS_FILE: &str = "events";
/// A table of any database that it leaves out.
const NOT_CAPTURED: &str = "customers";
/// What it logs when it reads.
const CONNECTED: &str = "Binlog connected";
/// Far from every other reader's.
const READER: &str = "69999";

/// A running (or stopped) Maxwell. Dropping it kills it and removes its folder.
pub struct Maxwell {
    /// Before `folder`: fields are dropped in order, and the folder's watchdog would kill what still runs anyway.
    server: Server,
    folder: ServerFolder,
}

// === impl Maxwell ===

impl Maxwell {
    /// Makes it a user, and starts it; waits until it reads the log.
    ///
    /// # Errors
    /// When it is not installed or does not start; the error carries the end of its log.
    pub async fn start(mysql: &MySqlServer, client_id: &str) -> Result<Maxwell> {
        let users =
            ["localhost", "%"].map(|host| format!("grant all on *.* to 'maxwell'@'{host}' identified by '{PASSWORD}'"));
        mysql.execute(&users.join("; ")).await?;
        let maxwell = Maxwell {
            server: Server::new("Maxwell"),
            folder: ServerFolder::create("maxwell", None)?,
        };
        maxwell.folder.write(EVENTS_FILE, b"")?;
        let command = maxwell.command(mysql.port(), client_id)?;
        maxwell.server.start(&maxwell.folder, command, START_DEADLINE, |_| {
            maxwell.folder.log().contains(CONNECTED)
        })?;
        Ok(maxwell)
    }

    /// SIGTERM, and its end.
    ///
    /// # Errors
    /// When it is still there after the deadline.
    pub fn stop(&self) -> Result<()> {
        self.server.stop("TERM", STOP_DEADLINE)
    }

    /// The events that it has written.
    ///
    /// # Errors
    /// When one of them is no JSON.
    pub fn events(&self) -> Result<Vec<Value>> {
        let path = self.folder.path().join(EVENTS_FILE);
        let text = fs::read_to_string(path).map_err(ServerError::doing("reading Maxwell's events"))?;
        // The last line may not be whole yet.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let events = whole.lines().map(serde_json::from_str);
        events
            .collect::<Result<_, _>>()
            .map_err(ServerError::doing("reading Maxwell's events"))
    }

    /// Everything that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.folder.log()
    }

    fn command(&self, port: u16, client_id: &str) -> Result<ServerCommand> {
        let (jars, classes) = (installed("maxwell/libs")?.join("*"), installed("maxwell/classes")?);
        let events = self.folder.path().join(EVENTS_FILE);
        let arguments = [
            "-Xmx256m".to_owned(),
            "-cp".to_owned(),
            format!("{}:{}", jars.display(), classes.display()),
            "com.zendesk.maxwell.Maxwell".to_owned(),
            "--host=127.0.0.1".to_owned(),
            format!("--port={port}"),
            "--user=maxwell".to_owned(),
            format!("--password={PASSWORD}"),
            format!("--client_id={client_id}"),
            format!("--replica_server_id={READER}"),
            "--producer=file".to_owned(),
            format!("--filter=exclude: *.{NOT_CAPTURED}"),
            format!("--output_file={}", events.display()),
        ];
        Ok(ServerCommand {
            program: "java".into(),
            arguments: arguments.map(Into::into).to_vec(),
            environment: Vec::new(),
        })
    }
}
