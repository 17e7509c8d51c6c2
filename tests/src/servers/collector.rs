//! A private collector of traces, which reads what it is sent with OpenTelemetry's own classes.

use std::time::Duration;

use serde_json::Value;

use super::process::{Server, ServerCommand, ServerFolder};
use super::{Port, Result, ServerError, installed};
use crate::http;

const START_DEADLINE: Duration = Duration::from_secs(60);
const PROGRAM: &str = include_str!("../../clients/collect_traces.py");
/// Within its folder.
const PROGRAM_FILE: &str = "collect_traces.py";
const SPANS_FILE: &str = "spans";

/// A running collector. Dropping it ends it and removes its folder.
pub struct Collector {
    port: Port,
    /// Ends before its folder goes.
    _server: Server,
    folder: ServerFolder,
}

// === impl Collector ===

impl Collector {
    /// Starts it and waits until it answers. So many requests are refused first, as by one that is being started.
    ///
    /// # Errors
    /// When it is not installed or does not start; the error carries the end of its log.
    pub fn start(setbacks: usize) -> Result<Collector> {
        let (port, server) = (Port::claim()?, Server::new("a collector of traces"));
        let folder = ServerFolder::create("collector", None)?;
        folder.write(PROGRAM_FILE, PROGRAM.as_bytes())?;
        folder.write(SPANS_FILE, b"")?;
        let arguments = [
            folder.path().join(PROGRAM_FILE).into(),
            port.number().to_string().into(),
            folder.path().join(SPANS_FILE).into(),
            setbacks.to_string().into(),
        ];
        let command = ServerCommand {
            program: "python3".into(),
            arguments: arguments.to_vec(),
            environment: vec![("PYTHONPATH".into(), installed("traces/python")?.into())],
        };
        server.start(&folder, command, START_DEADLINE, |_| {
            http::request(port.number(), "GET", "/", "").is_ok_and(|(status, _)| status == 200)
        })?;
        Ok(Collector {
            port,
            _server: server,
            folder,
        })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// Every span that it was sent, as the program has them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn spans(&self) -> Result<Vec<Value>> {
        let path = self.folder.path().join(SPANS_FILE);
        let lines = std::fs::read_to_string(path).map_err(ServerError::doing("reading spans"))?;
        // The last line may be half written.
        let whole = lines.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let read = whole.lines().map(serde_json::from_str);
        read.collect::<std::result::Result<_, _>>()
            .map_err(ServerError::doing("reading a span"))
    }
}
