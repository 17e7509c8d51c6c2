//! Everything put together: streams, state, the HTTP endpoint, connectors, progress; until a signal.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tailrace_codec::contract::ContractRules;
use tailrace_core::ports::EventStream;
use tailrace_core::task::spawn_named;
use tailrace_core::telemetry::now_us;
use tailrace_core::{Error, Result, failpoint};
use tailrace_state::StateStore;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use crate::admin::access::Access;
use crate::admin::tls::Tls;
use crate::admin::{Admin, Heartbeat, Listeners, Parts, Shown};
use crate::config::plan::Plan;
use crate::journal::Journal;
use crate::registries::Registries;
use crate::standing_by::{self, Taken, unlistenable};
use crate::supervisor::assembly::Assembly;
use crate::supervisor::{Outcome, Supervisor, away};
use crate::traces::Exporter;
use crate::{progress, sampling, screen};

/// A configuration that runs.
pub(crate) struct Daemon {
    /// Where the endpoint listens.
    pub(crate) admin_address: SocketAddr,
    supervisor: Arc<Supervisor>,
    state: StateStore,
    side_tasks: Vec<JoinHandle<()>>,
    exporter: Option<Exporter>,
    journal: Journal,
    journal_writer: JoinHandle<()>,
    _admin: Admin,
}

/// SIGINT and SIGTERM, which mean the same.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

// === impl Daemon ===

impl Daemon {
    /// Opens what must be there from the start (port, state) and starts every connector; those open their own sides
    /// themselves, and try again where that fails.
    pub(crate) async fn start(plan: &Plan, taken: Taken) -> Result<Self> {
        #[cfg(debug_assertions)]
        failpoint::arm_from_environment()?;
        failpoint!(AfterConfig);
        let (listeners, admin_address) = listen(plan, taken).await?;
        let state = standing_by::open_state(&plan.state_path, taken).await?;
        let exporter = plan
            .traces
            .as_ref()
            .map(|collector| Exporter::start(Arc::clone(collector)));
        let assembly = Assembly {
            streams: connect_streams(plan)?,
            stream_kinds: plan
                .streams
                .iter()
                .map(|(name, stream)| (name.clone(), stream.kind()))
                .collect(),
            registries: Registries::connect(plan, &state)?,
            state: state.clone(),
            shutdown_timeout: plan.shutdown_timeout,
            tracer: exporter.as_ref().map(Exporter::tracer).unwrap_or_default(),
        };
        let access = Access::open(&plan.admin)?;
        let (journal, writer) = Journal::new(state.clone());
        let journal_writer = writer.start();
        let supervisor = Supervisor::start(plan, assembly, journal.clone()).await?;
        let heartbeat = Heartbeat::new();
        let shown = Shown::new(Parts {
            supervisor: Arc::clone(&supervisor),
            heartbeat: Arc::clone(&heartbeat),
            registry: state.registry(Arc::new(ContractRules)),
            address: admin_address,
            hosts: plan.admin.hosts.clone(),
            access,
            spans: exporter.as_ref().map(Exporter::counts),
        });
        let admin = Admin::start(listeners, shown).map_err(|error| unlistenable(admin_address, error))?;
        let sampled = Arc::clone(&supervisor);
        let side_tasks = vec![
            spawn_named("heartbeat", heartbeat.beat()),
            spawn_named("history", sampling::sample(move || sampled.telemetry())),
            spawn_named("progress", progress::show(Arc::clone(&supervisor))),
            spawn_named("away", away::mark(Arc::clone(&supervisor))),
        ];
        Ok(Self {
            admin_address,
            supervisor,
            state,
            side_tasks,
            exporter,
            journal,
            journal_writer,
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

    /// A stream by its name.
    pub(crate) fn stream(&self, name: &str) -> Option<Arc<dyn EventStream>> {
        self.supervisor.assembly().streams.get(name).map(Arc::clone)
    }

    /// Until everything there was to do is done, or a signal asks for an end. A connector that was halted waits for a
    /// person, who needs the endpoint to see why.
    pub(crate) async fn run_until_stopped(self) -> Result<Outcome> {
        let mut signals = Signals::listen()?;
        tokio::select! {
            biased;
            () = signals.next() => tracing::info!("stopping: what was read is made durable; a second signal ends at once"),
            () = self.supervisor.finished() => {}
        }
        let outcome = tokio::select! {
            biased;
            () = signals.next() => exit_at_once(),
            outcome = self.supervisor.stop() => outcome,
        };
        self.close(outcome).await
    }

    async fn close(self, outcome: Outcome) -> Result<Outcome> {
        for task in self.side_tasks {
            task.abort();
        }
        if let Some(exporter) = self.exporter {
            exporter.finish().await;
        }
        screen::draw_foot(Vec::new());
        self.journal.close(self.journal_writer).await;
        self.state.close().await?;
        Ok(outcome)
    }
}

fn exit_at_once() -> Outcome {
    tracing::warn!("ended at once; what was not durable will be read again");
    std::process::exit(i32::from(crate::cli::Exit::Interrupted.code()));
}

/// Everything that the endpoint listens on, and its own address.
async fn listen(plan: &Plan, taken: Taken) -> Result<(Listeners, SocketAddr)> {
    let (main, address) = standing_by::listen(plan.admin.listen, taken).await?;
    let probes = match (plan.admin.probes_listen, taken) {
        (None, _) => None,
        (Some(address), Taken::TakeAnotherPort) => Some(standing_by::listen(address, Taken::Refuse).await?.0),
        (Some(address), Taken::Refuse | Taken::StandBy) => Some(standing_by::listen(address, taken).await?.0),
    };
    let tls = plan.admin.tls.as_ref().map(Tls::open).transpose()?.map(Arc::new);
    Ok((Listeners { main, probes, tls }, address))
}

fn connect_streams(plan: &Plan) -> Result<BTreeMap<String, Arc<dyn EventStream>>> {
    let connected = plan
        .streams
        .iter()
        .map(|(name, stream)| Ok((name.clone(), stream.connect()?)));
    connected.collect()
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
