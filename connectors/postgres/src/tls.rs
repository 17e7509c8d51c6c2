//! One TLS configuration for every connection to the server, those of the client library and the replication socket alike.
//!
//! There is one verifier for all modes. It differs from rustls's own in two points, both as in libpq: `verify_ca` does not compare
//! the host's name, and a certificate that stands itself in `ca_file` is trusted even where it is self-signed and marked
//! as an authority, which is how most private servers are set up.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tailrace_core::{Error, Result};
use tailrace_sql::log_config::{TlsFiles, TlsMode};

/// What is believed of a server.
#[derive(Debug)]
struct Verifier {
    mode: TlsMode,
    roots: RootCertStore,
    /// Certificates that are trusted as they are.
    pinned: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The TLS configuration for a mode other than `disable`. Reads the certificate files; every error is definite and names the file.
pub(crate) fn client_config(mode: TlsMode, files: &TlsFiles) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(verifier(mode, files, &provider)?);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::definite("tls_config", "TLS 1.2 and 1.3 are not available").with_source(error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match (&files.certificate_file, &files.key_file) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unreadable(certificate, error))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// The name that the server's certificate must be for.
pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).map_err(|error| {
        let message = format!(
            "`{host}` is neither a host name nor an address that a certificate could be for; correct the `url`"
        );
        Error::definite("config", message).with_source(error)
    })
}

fn verifier(mode: TlsMode, files: &TlsFiles, provider: &CryptoProvider) -> Result<Verifier> {
    let pinned = match &files.ca_file {
        Some(file) => certificates(file)?,
        None => Vec::new(),
    };
    let mut roots = RootCertStore::empty();
    if files.ca_file.is_some() {
        roots.add_parsable_certificates(pinned.iter().cloned());
    } else if mode != TlsMode::Require {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() && mode != TlsMode::Require {
        let message = match &files.ca_file {
            Some(file) => format!("no certificate of {} can be used as an authority", file.display()),
            None => "the system has no certificates of authorities; give `tls.ca_file`, or install ca-certificates"
                .to_owned(),
        };
        return Err(Error::definite("tls_config", message));
    }
    Ok(Verifier {
        mode,
        roots,
        pinned,
        algorithms: provider.signature_verification_algorithms,
    })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates: Vec<CertificateDer<'static>> = read.map_err(|error| unreadable(file, error))?;
    if certificates.is_empty() {
        let message = format!("{} holds no certificate; it must be PEM text", file.display());
        return Err(Error::definite("tls_config", message));
    }
    Ok(certificates)
}

fn unreadable(file: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let message = format!("cannot use {} for TLS", file.display());
    Error::definite("tls_config", message).with_source(error)
}

// === impl Verifier ===

impl Verifier {
    /// Expiry is refused before the chain is looked at, so that it counts for pinned certificates too.
    fn verify_chain(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let all = self.algorithms.all;
        let chain =
            rustls::client::verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, all);
        match chain {
            Ok(()) => Ok(()),
            Err(error) if is_out_of_time(&error) => Err(error),
            Err(_) if self.pinned.iter().any(|pinned| pinned == certificate) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn is_out_of_time(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(certificate) = error else {
        return false;
    };
    matches!(
        certificate,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    )
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if matches!(self.mode, TlsMode::VerifyCa | TlsMode::VerifyFull) {
            self.verify_chain(end_entity, intermediates, now)?;
        }
        if self.mode == TlsMode::VerifyFull {
            rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_file() {
        let files = TlsFiles {
            ca_file: Some("/nonexistent/ca.pem".into()),
            ..TlsFiles::default()
        };
        let error = client_config(TlsMode::VerifyFull, &files).unwrap_err();
        assert_eq!(error.code(), "tls_config");
        assert!(error.report().contains("/nonexistent/ca.pem"), "{}", error.report());
    }

    #[test]
    fn require_needs_no_authorities() {
        assert!(client_config(TlsMode::Require, &TlsFiles::default()).is_ok());
    }

    #[test]
    fn names_and_addresses_can_be_verified() {
        assert!(server_name("db.example").is_ok());
        assert!(server_name("::1").is_ok());
        assert!(server_name("not a name").is_err());
    }
}
