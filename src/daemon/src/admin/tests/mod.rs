//! The endpoint as those see it who ask it, friends and others.

mod access;
mod bounds;
mod changes;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tailrace_codec::contract::ContractRules;
use tailrace_core::telemetry::Life;

use super::access::Access;
use super::{Admin, Heartbeat, Listeners, Parts, Shown, listen};
use crate::config::expand::Surroundings;
use crate::config::understand;
use crate::supervisor::Supervisor;

/// An endpoint whose connectors only pose.
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    _admin: Admin,
    _runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

/// A connector that is in a state, and stays there.
pub(super) fn connector(life: Life) -> (&'static str, Life) {
    ("orders", life)
}

pub(super) fn endpoint(connectors: Vec<(&'static str, Life)>, heartbeat: Arc<Heartbeat>) -> Endpoint {
    endpoint_with("{}", connectors, heartbeat)
}

/// One with settings under `admin`.
pub(super) fn endpoint_with(admin: &str, connectors: Vec<(&'static str, Life)>, heartbeat: Arc<Heartbeat>) -> Endpoint {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "version: 1\nadmin: {admin}\nstreams:\n  events: {{type: file, path: \"{}\"}}\n",
        folder.path().join("events").display()
    );
    let plan = understand("x.yaml", text.as_bytes(), &Surroundings::of(&[])).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (supervisor, state) = runtime.block_on(async {
        let supervisor = Supervisor::in_folder(folder.path(), &plan).await;
        let state = supervisor.assembly().state.clone();
        for (name, life) in connectors {
            supervisor.pose(name, life).await;
        }
        (supervisor, state)
    });
    let (listener, address) = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let shown = Shown::new(Parts {
        supervisor,
        heartbeat,
        registry: state.registry(Arc::new(ContractRules)),
        spans: None,
        address,
        hosts: plan.admin.hosts.clone(),
        access: Access::open(&plan.admin).unwrap(),
    });
    let listeners = Listeners {
        main: listener,
        probes: None,
        tls: None,
    };
    Endpoint {
        address,
        _admin: Admin::start(listeners, shown).unwrap(),
        _runtime: runtime,
        _folder: folder,
    }
}

/// A path with something in the place of names.
pub(super) fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| match part {
        "{name}" => "orders",
        "{id}" | "{task}" => "0",
        "{plugin}" => "tailrace.source.postgres",
        "{logger}" => "root",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

impl Endpoint {
    /// What is answered to these bytes.
    pub(super) fn raw(&self, request: &[u8]) -> String {
        let mut socket = std::net::TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // Who is refused early may not have taken all of it.
        drop(socket.write_all(request));
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        // A refused request may be closed with a reset after its answer.
        while let Ok(read @ 1..) = socket.read(&mut buffer) {
            answer.extend_from_slice(&buffer[..read]);
        }
        String::from_utf8(answer).unwrap()
    }

    pub(super) fn get(&self, path: &str) -> (u16, String) {
        let answer = self.raw(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address).as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (status_of(head), body.to_owned())
    }

    pub(super) fn json(&self, path: &str) -> serde_json::Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    pub(super) fn put(&self, path: &str, headers: &str, body: &[u8]) -> u16 {
        self.send("PUT", path, headers, body)
    }

    pub(super) fn post(&self, path: &str, headers: &str, body: &[u8]) -> u16 {
        self.send("POST", path, headers, body)
    }

    pub(super) fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> u16 {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.address);
        status_of(&self.raw(&[head.as_bytes(), body].concat()))
    }

    pub(super) fn status(&self, request: &str) -> u16 {
        status_of(&self.raw(request.as_bytes()))
    }

    /// What is wanted of a connector.
    pub(super) fn wanted(&self, connector: &str) -> String {
        let status: serde_json::Value = serde_json::from_str(&self.get("/status").1).unwrap();
        let connectors = status["connectors"].as_array().unwrap().iter();
        let found = connectors.clone().find(|known| known["connector"] == connector);
        found.unwrap()["wanted"].as_str().unwrap().to_owned()
    }
}

pub(super) fn status_of(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}
