//! Which registry of schemas a connector publishes in, and a reader of what it published.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tailrace_codec::contract::{ContractRules, WrittenContracts};
use tailrace_codec::registry::{ConfluentRegistry, ConfluentRegistryConfig};
use tailrace_core::registry::SchemaRegistry;
use tailrace_core::{Error, Result};
use tailrace_state::StateStore;

use crate::config::plan::{ConnectorPlan, Plan, SinkPlan};

/// The registries of a daemon.
pub(crate) struct Registries {
    embedded: Arc<dyn SchemaRegistry>,
    named: BTreeMap<String, Arc<dyn SchemaRegistry>>,
}

// === impl Registries ===

impl Registries {
    /// Every registry of a plan, and the one in the state.
    pub(crate) fn connect(plan: &Plan, state: &StateStore) -> Result<Self> {
        let named = plan
            .registries
            .iter()
            .map(|(name, registry)| Ok((name.clone(), registry.connect()?)));
        Ok(Self {
            embedded: Arc::new(state.registry(Arc::new(ContractRules))),
            named: named.collect::<Result<_>>()?,
        })
    }

    /// Where a sink reads the schemas of its events.
    pub(crate) fn of_sink(&self, plan: &Plan, sink: &SinkPlan) -> Result<Arc<dyn SchemaRegistry>> {
        // Its own, else that of the connectors that publish to its stream.
        let name = match &sink.format.registry {
            Some(name) => Some(name.as_str()),
            None => published_in(plan, &sink.stream)?.flatten(),
        };
        let registry = match name {
            Some(name) => self.named.get(name).ok_or_else(|| registry_unknown(name))?,
            None => &self.embedded,
        };
        Ok(Arc::clone(registry))
    }

    /// Where a connector's schemas are published; `None` where it has none.
    pub(crate) fn of(&self, connector: &ConnectorPlan) -> Result<Option<Arc<dyn SchemaRegistry>>> {
        if !connector.format.has_registered_schemas() && connector.contracts.is_none() {
            return Ok(None);
        }
        let registry = match &connector.format.registry {
            Some(name) => self.named.get(name).ok_or_else(|| registry_unknown(name))?,
            None => &self.embedded,
        };
        Ok(Some(Arc::clone(registry)))
    }
}

/// The versions that a connector's schemas are compared with, where nothing is to be changed: those of its registry, and none
/// where it has none or its state is not there yet.
pub(crate) async fn to_compare_with(plan: &Plan, connector: &ConnectorPlan) -> Result<Arc<dyn SchemaRegistry>> {
    match &connector.format.registry {
        Some(name) => plan
            .registries
            .get(name)
            .ok_or_else(|| registry_unknown(name))?
            .connect(),
        None if plan.state_path.exists() => embedded(plan).await,
        None => Ok(Arc::new(WrittenContracts::new([]))),
    }
}

/// The registry that the events of a stream are read with: that of the connectors that publish to it. `None` where none of them
/// has schemas.
///
/// # Errors
/// Definite `registry_ambiguous` where they have several.
pub(crate) async fn of_stream(plan: &Plan, stream: &str) -> Result<Option<Arc<dyn SchemaRegistry>>> {
    match published_in(plan, stream)? {
        None => Ok(None),
        Some(None) => embedded(plan).await.map(Some),
        Some(Some(name)) => {
            let registry = plan.registries.get(name).ok_or_else(|| registry_unknown(name))?;
            registry.connect().map(Some)
        }
    }
}

/// The one registry that the connectors of a stream publish in, `None` within for the embedded one; `None` where none has schemas.
fn published_in<'a>(plan: &'a Plan, stream: &str) -> Result<Option<Option<&'a str>>> {
    let publishing = plan.connectors.iter().filter(|connector| connector.stream == stream);
    let used: BTreeSet<Option<&str>> = publishing
        .filter(|connector| connector.format.has_registered_schemas())
        .map(|connector| connector.format.registry.as_deref())
        .collect();
    let mut used = used.into_iter();
    match (used.next(), used.next()) {
        (one, None) => Ok(one),
        (_, Some(_)) => Err(Error::definite(
            "registry_ambiguous",
            format!(
                "connectors of stream `{stream}` publish their schemas in several registries; read it with a configuration that has only the connector of this topic"
            ),
        )),
    }
}

/// The embedded registry: in the state, or over HTTP where a daemon is running on it.
pub(crate) async fn embedded(plan: &Plan) -> Result<Arc<dyn SchemaRegistry>> {
    match StateStore::open(&plan.state_path).await {
        Ok(state) => Ok(Arc::new(state.registry(Arc::new(ContractRules)))),
        Err(error) if error.code() == "state_locked" => {
            let url = format!("http://{}", reachable(plan.admin_listen));
            let config: ConfluentRegistryConfig =
                serde_json::from_value(serde_json::json!({ "url": url })).map_err(|error| {
                    Error::definite("registry_invalid", "the admin endpoint's address is no URL").with_source(error)
                })?;
            Ok(Arc::new(ConfluentRegistry::new(&config)?))
        }
        Err(error) => Err(error),
    }
}

/// Where an endpoint that listens everywhere is reached from this machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn registry_unknown(name: &str) -> Error {
    Error::definite(
        "registry_unknown",
        format!("there is no registry `{name}`; add it under registries, or leave format.registry out"),
    )
}
