//! Everything put together: streams, state, the HTTP endpoint, connectors, progress; until a signal.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tailrace_codec::contract::ContractRules;
use tailrace_core::pipeline::source::{DeadLetters, Limits};
use tailrace_core::ports::EventStream;
use tailrace_core::schema_change::SchemaChangeListener;
use tailrace_core::snapshot::SnapshotDesk;
use tailrace_core::task::spawn_named;
use tailrace_core::telemetry::{Telemetry, now_us};
use tailrace_core::{Error, Result, failpoint};
use tailrace_state::StateStore;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use crate::admin::{self, Admin, Heartbeat, Shown};
use crate::config::plan::{ConnectorPlan, Plan, SinkPlan};
use crate::letters::LetterDesk;
use crate::registries::Registries;
use crate::supervisor::carry::ConnectorRun;
use crate::supervisor::write::SinkRun;
use crate::supervisor::{Carrier, Outcome, Supervisor};
use crate::webhook::Webhook;
use crate::{progress, screen};

/// What to do where the endpoint's port is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PortTaken {
    /// Say so and end: whoever looks at that port would see somebody else.
    Refuse,
    /// Take any free port.
    TakeAnother,
}

/// A configuration that runs.
pub(crate) struct Daemon {
    /// Where the endpoint listens.
    pub(crate) admin_address: SocketAddr,
    /// The streams by name.
    pub(crate) streams: BTreeMap<String, Arc<dyn EventStream>>,
    supervisor: Supervisor,
    state: StateStore,
    side_tasks: Vec<JoinHandle<()>>,
    _admin: Admin,
}

/// SIGINT and SIGTERM, which mean the same.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// The connectors, put together and not started.
struct Assembly<'a> {
    plan: &'a Plan,
    streams: &'a BTreeMap<String, Arc<dyn EventStream>>,
    state: &'a StateStore,
    registries: &'a Registries,
    carriers: Vec<(Arc<Telemetry>, Arc<dyn Carrier>)>,
    letters: Vec<LetterDesk>,
    snapshots: Vec<(String, Arc<SnapshotDesk>)>,
    side_tasks: Vec<JoinHandle<()>>,
}

// === impl Assembly ===

impl Assembly<'_> {
    fn stream(&self, name: &str, connector: &str) -> Result<Arc<dyn EventStream>> {
        self.streams
            .get(name)
            .map(Arc::clone)
            .ok_or_else(|| stream_unknown(connector))
    }

    /// A connector that reads a database.
    fn reads(&mut self, connector: &Arc<ConnectorPlan>) -> Result<()> {
        let telemetry = Arc::new(Telemetry::new(&connector.name));
        let snapshots: Arc<SnapshotDesk> = Arc::default();
        self.snapshots.push((connector.name.clone(), Arc::clone(&snapshots)));
        let run = ConnectorRun {
            plan: Arc::clone(connector),
            source: connector.source_connector()?,
            stream: self.stream(&connector.stream, &connector.name)?,
            state: self.state.clone(),
            snapshots,
            registry: self.registries.of(connector)?,
            listener: webhook(connector, &telemetry, &mut self.side_tasks),
            limits: Limits {
                drain_timeout: self.plan.shutdown_timeout,
                ..Limits::default()
            },
        };
        self.add(&connector.dead_letters, telemetry, Arc::new(run));
        Ok(())
    }

    /// A connector that writes one.
    fn writes(&mut self, sink: &Arc<SinkPlan>) -> Result<()> {
        let run = SinkRun {
            plan: Arc::clone(sink),
            stream: self.stream(&sink.stream, &sink.name)?,
            target: sink.sink.connect()?,
            registry: self.registries.of_sink(self.plan, sink)?,
            state: self.state.clone(),
        };
        self.add(&sink.dead_letters, Arc::new(Telemetry::new(&sink.name)), Arc::new(run));
        Ok(())
    }

    fn add(&mut self, letters: &DeadLetters, telemetry: Arc<Telemetry>, carrier: Arc<dyn Carrier>) {
        self.letters.push(LetterDesk {
            rules: letters.clone(),
            state: self.state.clone(),
            telemetry: Some(Arc::clone(&telemetry)),
        });
        self.carriers.push((telemetry, carrier));
    }
}

// === impl Daemon ===

impl Daemon {
    /// Opens what must be there from the start (port, state) and starts every connector; those open their own sides
    /// themselves, and try again where that fails.
    pub(crate) async fn start(plan: &Plan, port_taken: PortTaken) -> Result<Self> {
        #[cfg(debug_assertions)]
        failpoint::arm_from_environment()?;
        failpoint!(AfterConfig);
        let (listener, admin_address) = listen(plan.admin_listen, port_taken)?;
        let streams = connect_streams(plan)?;
        let state = StateStore::open(&plan.state_path).await?;
        let registries = Registries::connect(plan, &state)?;
        let mut assembly = Assembly {
            plan,
            streams: &streams,
            state: &state,
            registries: &registries,
            carriers: Vec::new(),
            letters: Vec::new(),
            snapshots: Vec::new(),
            side_tasks: Vec::new(),
        };
        plan.connectors
            .iter()
            .try_for_each(|connector| assembly.reads(connector))?;
        plan.sinks.iter().try_for_each(|sink| assembly.writes(sink))?;
        let Assembly {
            carriers,
            letters,
            snapshots,
            mut side_tasks,
            ..
        } = assembly;
        let connectors: Vec<_> = carriers.iter().map(|(telemetry, _)| Arc::clone(telemetry)).collect();
        let heartbeat = Heartbeat::new();
        let shown = Shown {
            connectors: connectors.clone(),
            letters: letters.into(),
            snapshots: snapshots.into(),
            heartbeat: Arc::clone(&heartbeat),
            started: Instant::now(),
            registry: state.registry(Arc::new(ContractRules)),
            address: admin_address,
        };
        let admin = Admin::start(listener, shown).map_err(|error| unlistenable(admin_address, error))?;
        side_tasks.push(spawn_named("heartbeat", heartbeat.beat()));
        side_tasks.push(spawn_named("progress", progress::show(connectors)));
        Ok(Self {
            admin_address,
            streams,
            supervisor: Supervisor::start(carriers, plan.shutdown_timeout),
            state,
            side_tasks,
            _admin: admin,
        })
    }

    /// Where the connectors were when the state was opened, in words; `None` where nothing was saved before.
    pub(crate) async fn saved(&self) -> Result<Option<String>> {
        let known = self.state.connectors().await?;
        let newest = known
            .iter()
            .filter(|connector| connector.checkpoint.is_some())
            .filter_map(|connector| connector.saved_at_ms)
            .max();
        Ok(newest.map(|saved_at_ms| {
            let ago_s = (now_us() / 1000).saturating_sub(saved_at_ms) / 1000;
            format!("from the checkpoint that was saved {ago_s} s ago")
        }))
    }

    /// Until everything there was to do is done, or a signal asks for an end. A connector that was halted waits for a
    /// person, who needs the endpoint to see why.
    pub(crate) async fn run_until_stopped(mut self) -> Result<Outcome> {
        let mut signals = Signals::listen()?;
        let ended = tokio::select! {
            biased;
            () = signals.next() => None,
            outcome = self.supervisor.ended() => Some(outcome),
        };
        match ended {
            Some(Outcome::Ended) => return self.close(Outcome::Ended).await,
            Some(_) => signals.next().await,
            None => {}
        }
        tracing::info!("stopping: what was read is made durable; a second signal ends at once");
        self.supervisor.stop();
        let outcome = tokio::select! {
            biased;
            () = signals.next() => exit_at_once(),
            outcome = self.supervisor.ended() => outcome,
        };
        self.close(outcome).await
    }

    async fn close(self, outcome: Outcome) -> Result<Outcome> {
        for task in self.side_tasks {
            task.abort();
        }
        screen::draw_foot(Vec::new());
        self.state.close().await?;
        Ok(outcome)
    }
}

/// Who is told of changes of a connector's tables beside the stream; the task that tells it is one of those at the side.
fn webhook(
    connector: &ConnectorPlan,
    telemetry: &Arc<Telemetry>,
    side_tasks: &mut Vec<JoinHandle<()>>,
) -> Option<Arc<dyn SchemaChangeListener>> {
    let receiver = Arc::clone(connector.webhook.as_ref()?);
    let (webhook, task) = Webhook::start(receiver, Arc::clone(telemetry));
    side_tasks.push(task);
    Some(webhook)
}

fn exit_at_once() -> Outcome {
    tracing::warn!("ended at once; what was not durable will be read again");
    std::process::exit(i32::from(crate::cli::Exit::Interrupted.code()));
}

fn connect_streams(plan: &Plan) -> Result<BTreeMap<String, Arc<dyn EventStream>>> {
    let connected = plan
        .streams
        .iter()
        .map(|(name, stream)| Ok((name.clone(), stream.connect()?)));
    connected.collect()
}

fn listen(address: SocketAddr, port_taken: PortTaken) -> Result<(std::net::TcpListener, SocketAddr)> {
    match admin::listen(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && port_taken == PortTaken::TakeAnother => {
            let any_port = SocketAddr::new(address.ip(), 0);
            admin::listen(any_port).map_err(|error| unlistenable(any_port, error))
        }
        result => result.map_err(|error| unlistenable(address, error)),
    }
}

fn unlistenable(address: SocketAddr, error: io::Error) -> Error {
    let sentence =
        format!("the HTTP endpoint cannot listen on {address}; choose another address with `admin: {{listen: …}}`");
    Error::definite("admin_unlistenable", sentence).with_source(error)
}

fn stream_unknown(connector: &str) -> Error {
    Error::definite(
        "stream_unknown",
        format!("connector `{connector}` names a stream that there is not"),
    )
}

// === impl Signals ===

impl Signals {
    /// From now on signals are not deadly any more.
    pub(crate) fn listen() -> Result<Self> {
        let failed = |error: io::Error| Error::definite("signals", "signals cannot be received").with_source(error);
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
