//! The byte stream under a dump: TCP, a Unix socket, or TLS over TCP, with the options that queries use too.

use std::io;
use std::sync::Arc;

use mysql_async::{Error, IoError, Opts, SslOpts, TlsError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// Something to read from and write to.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// A connection that was not encrypted yet.
pub(super) enum Plain {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What is believed of a server, by the options of the client library.
#[derive(Debug)]
struct Verifier {
    accepts_all: bool,
    ignores_name: bool,
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

// === impl Plain ===

impl Plain {
    /// Connects where the options say.
    pub(super) async fn connect(options: &Opts) -> Result<Self, Error> {
        let connected = match options.socket() {
            Some(path) => UnixStream::connect(path).await.map(Self::Unix),
            None => connect_tcp(options).await.map(Self::Tcp),
        };
        connected.map_err(broken)
    }

    /// Nobody else on the machine can listen: a password may be sent as it is.
    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// As it is.
    pub(super) fn unencrypted(self) -> Box<dyn Transport> {
        match self {
            Self::Tcp(stream) => Box::new(stream),
            Self::Unix(stream) => Box::new(stream),
        }
    }

    /// Encrypted, after the server was asked for it.
    pub(super) async fn encrypted(self, options: &Opts, tls: &SslOpts) -> Result<Box<dyn Transport>, Error> {
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => return Ok(Box::new(stream)),
        };
        let name = ServerName::try_from(options.ip_or_hostname().to_owned())
            .map_err(|error| Error::Io(IoError::Tls(TlsError::InvalidDnsName(error))))?;
        let connector = TlsConnector::from(client_config(tls).await?);
        let encrypted = connector.connect(name, stream).await.map_err(broken)?;
        Ok(Box::new(encrypted))
    }
}

pub(super) fn broken(error: io::Error) -> Error {
    Error::Io(IoError::Io(error))
}

async fn connect_tcp(options: &Opts) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((options.ip_or_hostname(), options.tcp_port())).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn client_config(tls: &SslOpts) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier {
        accepts_all: tls.accept_invalid_certs(),
        ignores_name: tls.skip_domain_validation(),
        roots: roots(tls).await?,
        algorithms: provider.signature_verification_algorithms,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let Some(identity) = tls.client_identity() else {
        return Ok(Arc::new(builder.with_no_client_auth()));
    };
    let chain = certificates(&identity.cert_chain().read().await.map_err(broken)?)?;
    let key = identity.priv_key().read().await.map_err(broken)?.into_owned();
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| Error::Io(IoError::Tls(TlsError::Pem(error))))?;
    builder.with_client_auth_cert(chain, key).map(Arc::new).map_err(refused)
}

/// The authorities that the options name. The client library's own list is not used for a database.
async fn roots(tls: &SslOpts) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for file in tls.root_certs() {
        let certificates = certificates(&file.read().await.map_err(broken)?)?;
        roots.add_parsable_certificates(certificates);
    }
    Ok(roots)
}

/// PEM texts, or one certificate in its binary form.
fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let pem = pem.map_err(|error| Error::Io(IoError::Tls(TlsError::Pem(error))))?;
    if pem.is_empty() && !bytes.is_empty() {
        return Ok(vec![CertificateDer::from(bytes.to_vec())]);
    }
    Ok(pem)
}

fn refused(error: rustls::Error) -> Error {
    Error::Io(IoError::Tls(TlsError::Tls(error)))
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
        if self.accepts_all {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        if !self.ignores_name {
            rustls::client::verify_server_name(&certificate, server_name)?;
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
