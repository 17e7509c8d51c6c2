//! TLS to others: their certificates and host names are always verified.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tailrace_core::{Error, Result};

/// What certificates must be signed by: `ca_file`, else the system's authorities.
///
/// # Errors
/// Definite `tls_config`.
pub(crate) fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let certificates = match ca_file {
        Some(file) => read(file)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        let message = match ca_file {
            Some(file) => format!(
                "{} holds no certificate of an authority; it must be PEM text",
                file.display()
            ),
            None => {
                "the system has no certificates of authorities; give `ca_file`, or install ca-certificates".to_owned()
            }
        };
        return Err(Error::definite("tls_config", message));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::definite("tls_config", "TLS 1.2 and 1.3 are not available").with_source(error))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.map_err(|error| {
        let message = format!("cannot read {} for TLS; check `ca_file` and its rights", file.display());
        Error::definite("tls_config", message).with_source(error)
    })
}
