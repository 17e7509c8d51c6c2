//! TLS of the endpoint: certificate and key from files, which are read again when they change, and certificates of clients.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tailrace_core::{Error, Result};
use tokio_rustls::TlsAcceptor;

use super::config::AdminTlsConfig;

/// How long a changed certificate goes unnoticed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Code of everything that is wrong with the files.
const UNUSABLE: &str = "admin_tls_unusable";

/// The endpoint's side of TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    config: AdminTlsConfig,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    server: Arc<ServerConfig>,
    changed: [Option<SystemTime>; 3],
    looked_at: Instant,
}

// === impl Tls ===

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Definite `admin_tls_unusable`.
    pub(crate) fn open(config: &AdminTlsConfig) -> Result<Self> {
        let current = Current {
            changed: changed(config),
            server: server(config)?,
            looked_at: Instant::now(),
        };
        Ok(Self {
            config: config.clone(),
            current: Mutex::new(current),
        })
    }

    /// What the next connection is answered with. Files that changed and cannot be used leave it as it was.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked_at.elapsed() >= LOOK_INTERVAL {
            current.looked_at = Instant::now();
            let now = changed(&self.config);
            if now != current.changed {
                current.changed = now;
                match server(&self.config) {
                    Ok(server) => {
                        current.server = server;
                        tracing::info!("the endpoint's certificate was read again");
                    }
                    Err(error) => tracing::error!(
                        code = error.code(),
                        "the endpoint goes on with the certificate that it has: {}",
                        error.report()
                    ),
                }
            }
        }
        TlsAcceptor::from(Arc::clone(&current.server))
    }
}

/// Those of these names that a verified certificate is for: DNS names of its subject alternative names.
pub(super) fn names_of<'n>(certificate: &CertificateDer<'_>, names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let Ok(parsed) = ParsedCertificate::try_from(certificate) else {
        return Vec::new();
    };
    let is_for = |name: &&str| ServerName::try_from(*name).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok());
    names.filter(is_for).map(str::to_owned).collect()
}

fn changed(config: &AdminTlsConfig) -> [Option<SystemTime>; 3] {
    let of = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    [
        of(&config.certificate_file),
        of(&config.key_file),
        config.client_ca_file.as_deref().and_then(of),
    ]
}

/// TLS 1.2 and 1.3, HTTP/1.1.
fn server(config: &AdminTlsConfig) -> Result<Arc<ServerConfig>> {
    let unusable = |error: rustls::Error| {
        let message = format!(
            "the endpoint cannot speak TLS with certificate {} and key {}",
            config.certificate_file.display(),
            config.key_file.display()
        );
        Error::definite(UNUSABLE, message).with_source(error)
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(unusable)?;
    let builder = match &config.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates(file)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                // Who has a token needs no certificate.
                .allow_unauthenticated()
                .build();
            let verifier = verifier.map_err(|error| unreadable(file, &io::Error::other(error)))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::from_pem_file(&config.key_file)
        .map_err(|error| unreadable(&config.key_file, &io::Error::other(error)))?;
    let chain = certificates(&config.certificate_file)?;
    let mut server = builder.with_single_cert(chain, key).map_err(unusable)?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    let read = read.map_err(|error| unreadable(file, &io::Error::other(error)))?;
    match read.is_empty() {
        true => Err(unreadable(file, &io::Error::other("it holds no certificate"))),
        false => Ok(read),
    }
}

/// What a file holds is not told, only that it is not what it should be.
fn unreadable(file: &Path, error: &io::Error) -> Error {
    let message = format!(
        "the endpoint's file {} cannot be used: {error}; it must be PEM, and readable for Tailrace",
        file.display()
    );
    Error::definite(UNUSABLE, message)
}
