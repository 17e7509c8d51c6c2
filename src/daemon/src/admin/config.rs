//! Who may ask the HTTP endpoint for what: as written, and as meant.
//!
//! Whoever reaches it can stop the capture of a database, and sees names and rows of dead letters. So it listens where only this machine
//! reaches it, unless it speaks TLS and asks who is there.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tailrace_core::setting::LocalFile;

use crate::config::submitted::Rules;
use crate::config::tree::{Mark, Problem, Problems};

/// Only this machine. 8083 is where operators look for Kafka Connect.
pub(crate) const LISTEN: &str = "127.0.0.1:8083";

/// The HTTP endpoint: who may ask it for what.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdminConfig {
    /// Address and port, `127.0.0.1:8083` or `[::1]:8083`. Any address that other machines reach needs `tls`, and `tokens` or
    /// `client_certificates`. Port 0 takes any free port. Default: `127.0.0.1:8083`.
    #[serde(default = "listen")]
    pub(crate) listen: String,

    /// A second address that answers nothing but `/livez` and `/readyz`, without a name in the answer, to everybody: for the probes
    /// of Kubernetes, which come from another machine and know no token.
    #[serde(default)]
    pub(crate) probes_listen: Option<String>,

    /// Speaks TLS; the files are read again when they change.
    #[serde(default)]
    pub(crate) tls: Option<AdminTlsConfig>,

    /// Who has a token. Without tokens and without client certificates nobody is asked, which is for this machine alone.
    #[serde(default)]
    pub(crate) tokens: Vec<TokenConfig>,

    /// Who has a certificate that `tls.client_ca_file` answers for.
    #[serde(default)]
    pub(crate) client_certificates: Vec<ClientCertificateConfig>,

    /// Names under which clients find the endpoint, beside its address, `localhost` and `127.0.0.1`: `tailrace.example.com`, or with a port
    /// where it is another one. Requests for other hosts are refused.
    #[serde(default)]
    pub(crate) hosts: Vec<String>,

    /// What connectors that are created over HTTP may name of this machine. By default nothing.
    #[serde(default)]
    pub(crate) over_http: OverHttpConfig,
}

/// The certificate of the endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdminTlsConfig {
    /// The certificate and its chain, PEM.
    #[schemars(with = "LocalFile")]
    pub(crate) certificate_file: PathBuf,
    /// Its private key, PEM.
    #[schemars(with = "LocalFile")]
    pub(crate) key_file: PathBuf,
    /// Authorities that sign certificates of clients, PEM. With it, clients may prove who they are by a certificate.
    #[serde(default)]
    #[schemars(with = "Option<LocalFile>")]
    pub(crate) client_ca_file: Option<PathBuf>,
}

/// Somebody who has a token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenConfig {
    /// The name that the journal knows them by.
    pub(crate) name: String,
    /// What they may do.
    pub(crate) role: Role,
    /// File with the token: at least 32 characters, made at random (`openssl rand -hex 32`), readable by nobody else. A second
    /// line is a second token, for the time of a change. Read again when it changes.
    #[schemars(with = "LocalFile")]
    pub(crate) file: PathBuf,
}

/// Somebody who has a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientCertificateConfig {
    /// A DNS name of the certificate's subject alternative names; the journal knows them by it.
    pub(crate) name: String,
    /// What they may do.
    pub(crate) role: Role,
}

/// What somebody may do; each may do what the one before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Look at everything: state, configuration without secrets, dead letters, events.
    Read,
    /// Pause, resume, stop and restart connectors; replay dead letters; take snapshots; change what is logged.
    Operate,
    /// Create, change and delete connectors; change offsets; drop dead letters.
    Admin,
}

/// What connectors that are created over HTTP may name of this machine.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OverHttpConfig {
    /// Environment variables, by name. They may stand in secrets, such as `source.url`, and nowhere else.
    #[serde(default)]
    pub(crate) variables: Vec<String>,
    /// Folders: files in them may be named, and read with `${file:…}` into secrets.
    #[serde(default)]
    #[schemars(with = "Vec<LocalFile>")]
    pub(crate) folders: Vec<PathBuf>,
}

/// The endpoint as meant.
#[derive(Debug, Clone)]
pub(crate) struct AdminPlan {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// Where it answers probes.
    pub(crate) probes_listen: Option<SocketAddr>,
    pub(crate) tls: Option<AdminTlsConfig>,
    pub(crate) tokens: Vec<TokenConfig>,
    pub(crate) client_certificates: Vec<ClientCertificateConfig>,
    pub(crate) hosts: Vec<String>,
    /// What connectors that come over HTTP may name.
    pub(crate) rules: Rules,
}

fn listen() -> String {
    LISTEN.to_owned()
}

// === impl Role ===

impl Role {
    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

// === impl AdminConfig ===

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            listen: listen(),
            probes_listen: None,
            tls: None,
            tokens: Vec::new(),
            client_certificates: Vec::new(),
            hosts: Vec::new(),
            over_http: OverHttpConfig::default(),
        }
    }
}

// === impl AdminPlan ===

impl AdminPlan {
    /// How the endpoint is asked from this machine, where it listens at this address.
    pub(crate) fn url_at(&self, address: SocketAddr) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let address = match address.ip().is_unspecified() {
            true => format!("localhost:{}", address.port()),
            false => address.to_string(),
        };
        format!("{scheme}://{address}")
    }

    /// What is meant; what cannot be is refused, at the place of the address.
    pub(crate) fn of(config: AdminConfig, at: Mark, problems: &mut Problems) -> Option<Self> {
        let before = problems.len();
        let mut refuse = |key: &str, sentence: String| problems.push(Problem::at(at, format!("admin.{key}"), sentence));
        let listen = address(&config.listen).map_err(|sentence| refuse("listen", sentence));
        let probes_listen = config.probes_listen.as_deref().map(address).transpose();
        let probes_listen = probes_listen.map_err(|sentence| refuse("probes_listen", sentence));
        for (key, sentence) in config.contradictions() {
            refuse(key, sentence);
        }
        if let Ok(listen) = &listen
            && !listen.ip().is_loopback()
            && !config.is_guarded()
        {
            refuse("listen", unguarded(*listen));
        }
        let (Ok(listen), Ok(probes_listen)) = (listen, probes_listen) else {
            return None;
        };
        let is_right = problems.len() == before;
        is_right.then_some(Self {
            listen,
            probes_listen,
            tls: config.tls,
            tokens: config.tokens,
            client_certificates: config.client_certificates,
            hosts: config.hosts,
            rules: Rules {
                variables: config.over_http.variables,
                folders: config.over_http.folders,
            },
        })
    }

    /// Whether anybody is asked who they are.
    pub(crate) fn asks_who(&self) -> bool {
        !self.tokens.is_empty() || !self.client_certificates.is_empty()
    }
}

impl AdminConfig {
    /// Nobody reads along, and everybody is asked who they are.
    fn is_guarded(&self) -> bool {
        self.tls.is_some() && !(self.tokens.is_empty() && self.client_certificates.is_empty())
    }

    fn contradictions(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let has_client_ca = self.tls.as_ref().is_some_and(|tls| tls.client_ca_file.is_some());
        if has_client_ca == self.client_certificates.is_empty() {
            let sentence = "`tls.client_ca_file` and `client_certificates` go together: the one says whose certificates are believed, \
                the other what their holders may do";
            found.push(("client_certificates", sentence.to_owned()));
        }
        let names = self.tokens.iter().map(|token| &token.name);
        let names: Vec<&String> = names
            .chain(self.client_certificates.iter().map(|holder| &holder.name))
            .collect();
        for (index, name) in names.iter().enumerate() {
            if names.iter().take(index).any(|other| other == name) {
                found.push(("tokens", format!("`{name}` is there twice; give each their own name")));
            }
            if name.is_empty() || name.chars().any(char::is_control) {
                found.push(("tokens", "somebody has no name; the journal shows it".to_owned()));
            }
        }
        found
    }
}

fn address(written: &str) -> Result<SocketAddr, String> {
    written.parse().map_err(|_| {
        format!("expects an address and a port, such as `127.0.0.1:8083` or `[::1]:8083`, found `{written}`")
    })
}

fn unguarded(listen: SocketAddr) -> String {
    format!(
        "`{listen}` can be reached from other machines, and the endpoint would ask nobody who they are, or let others read along; \
         listen on `127.0.0.1:{}`, or set `admin.tls` and `admin.tokens`",
        listen.port()
    )
}
