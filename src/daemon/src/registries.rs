//! Which registry of schemas a connector publishes in, and a reader of what it published.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tailrace_codec::contract::ContractRules;
use tailrace_codec::registry::{ConfluentRegistry, ConfluentRegistryConfig};
use tailrace_core::registry::SchemaRegistry;
use tailrace_core::{Error, Result};
use tailrace_state::StateStore;

use crate::admin::client::DaemonEndpoint;
use crate::config::plan::{ConnectorPlan, Plan, SinkPlan};

/// The registries of a daemon.
pub(crate) struct Registries {
    embedded: Arc<dyn SchemaRegistry>,
    named: BTreeMap<String, Arc<dyn SchemaRegistry>>,
    /// Who publishes in which stream, and with which registry: those that have schemas.
    publishing: Mutex<BTreeMap<String, Publishing>>,
}

/// Where a connector publishes, and with which registry; `None` for the embedded one.
struct Publishing {
    stream: String,
    registry: Option<String>,
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
            publishing: Mutex::default(),
        })
    }

    /// Where a sink reads the schemas of its events.
    pub(crate) fn of_sink(&self, sink: &SinkPlan) -> Result<Arc<dyn SchemaRegistry>> {
        let publishing = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let used = publishing.values().filter(|known| known.stream == sink.stream);
        // Its own, else that of the connectors that publish to its stream.
        let name = match &sink.format.registry {
            Some(name) => Some(name.as_str()),
            None => the_one(used.map(|known| known.registry.as_deref()), &sink.stream)?.flatten(),
        };
        let registry = match name {
            Some(name) => self.named.get(name).ok_or_else(|| registry_unknown(name))?,
            None => &self.embedded,
        };
        Ok(Arc::clone(registry))
    }

    /// Where a connector's schemas are published; `None` where it has none.
    pub(crate) fn of(&self, connector: &ConnectorPlan) -> Result<Option<Arc<dyn SchemaRegistry>>> {
        let mut publishing = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        publishing.remove(&connector.name);
        if connector.format.has_registered_schemas() {
            let known = Publishing {
                stream: connector.stream.clone(),
                registry: connector.format.registry.clone(),
            };
            publishing.insert(connector.name.clone(), known);
        }
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
        None => embedded(plan).await,
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
    let used = publishing
        .filter(|connector| connector.format.has_registered_schemas())
        .map(|connector| connector.format.registry.as_deref());
    the_one(used, stream)
}

/// The one registry of those that are used for a stream; `None` where there is none.
fn the_one<'a>(used: impl Iterator<Item = Option<&'a str>>, stream: &str) -> Result<Option<Option<&'a str>>> {
    let used: BTreeSet<Option<&str>> = used.collect();
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

/// The embedded registry, to be read: in the state, or over HTTP where a daemon is running on it. A state of an earlier release is not
/// brought to the layout of this one by somebody who only looks: whoever has not decided yet can go on with the earlier one.
pub(crate) async fn embedded(plan: &Plan) -> Result<Arc<dyn SchemaRegistry>> {
    match StateStore::looked_at(&plan.state_path).await {
        Ok(state) => Ok(Arc::new(state.registry(Arc::new(ContractRules)))),
        Err(error) if error.code() == "state_locked" => {
            let endpoint = DaemonEndpoint::of(&plan.admin);
            let mut config: ConfluentRegistryConfig =
                serde_json::from_value(serde_json::json!({ "url": endpoint.url })).map_err(|error| {
                    Error::definite("registry_invalid", "the admin endpoint's address is no URL").with_source(error)
                })?;
            (config.token, config.ca_file) = (endpoint.token, endpoint.ca_file);
            Ok(Arc::new(ConfluentRegistry::new(&config)?))
        }
        Err(error) => Err(error),
    }
}

fn registry_unknown(name: &str) -> Error {
    Error::definite(
        "registry_unknown",
        format!("there is no registry `{name}`; add it under registries, or leave format.registry out"),
    )
}
