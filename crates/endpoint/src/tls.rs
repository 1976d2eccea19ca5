//! TLS over TCP, for `tls://` endpoints. rustls is named in this module alone.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    ServerConfig, SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::async_socket::AsyncSocket;
use crate::host::Host;
use crate::options::Options;
use crate::pin::Pin;

/// How long a client may take for the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A TLS connection over a socket.
pub type Tls = TlsStream<AsyncSocket>;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be used.
    #[error("'{path}' cannot be used as {what}: {why}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it was to be.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// One of the two is no use without the other.
    #[error("'cert' and 'key' belong together: one of them is missing")]
    HalfAnIdentity,
    /// The system has no certificates to trust.
    #[error("this system has no certificates of authorities: {0}")]
    NoRoots(String),
    /// The certificate and the key, or the configuration, do not go together.
    #[error("the TLS configuration is no good")]
    Configuration(#[source] Error),
    /// The peer did not prove who it is.
    #[error("the server is not who it should be")]
    Untrusted(#[source] io::Error),
    /// The server has another key than the one that counts.
    #[error("the server is not who it should be: its pin is {0}")]
    WrongPin(Pin),
    /// The handshake failed.
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
    /// The peer took too long.
    #[error("the TLS handshake took longer than {} s", HANDSHAKE.as_secs())]
    Timeout,
}

impl TlsError {
    /// What to do next.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        Some(match self {
            Self::File { .. } | Self::Configuration(_) => {
                "give a PEM file, as openssl writes it".to_owned()
            }
            Self::HalfAnIdentity => "give both, or neither for a key made on the spot".to_owned(),
            Self::NoRoots(_) => {
                "install the package ca-certificates, or say whom to trust: ?ca=FILE or ?pin=sha256:…"
                    .to_owned()
            }
            Self::WrongPin(_) => {
                "if that is what the server itself prints, its key is a new one: give it as ?pin=sha256:…".to_owned()
            }
            Self::Untrusted(_) => {
                "trust the authority that signed its certificate: ?ca=FILE, or the server by the pin that it prints: ?pin=sha256:…"
                    .to_owned()
            }
            Self::Handshake(error) if is_alert(error) => {
                "the other side turned it down: see what it says".to_owned()
            }
            Self::Handshake(_) | Self::Timeout => "see whether the other side speaks TLS".to_owned(),
        })
    }
}

/// What a client needs for its handshakes.
#[derive(Clone)]
pub(crate) struct Client {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Client {
    /// Trusts the pin, else the authorities in `ca`, else the system's.
    pub(crate) fn new(host: &Host, options: &Options) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Configuration)?;
        let mut config = if let Some(pin) = options.pin {
            let verifier = Arc::new(PinVerifier { pin, provider });
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
                .with_no_client_auth()
        } else {
            let roots = Arc::new(roots(options.ca.as_deref())?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| TlsError::NoRoots(error.to_string()))?;
            builder.with_webpki_verifier(verifier).with_no_client_auth()
        };
        config.resumption = rustls::client::Resumption::disabled();
        let name = match host.address() {
            Some(address) => ServerName::from(address),
            None => ServerName::try_from(host.to_string())
                .map_err(|_| TlsError::Configuration(Error::UnsupportedNameType))?,
        };
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Self { connector, name })
    }

    pub(crate) async fn handshake(&self, socket: AsyncSocket) -> Result<Tls, TlsError> {
        // Whoever connects has a limit for all of it.
        let handshake = self.connector.connect(self.name.clone(), socket).await;
        handshake.map(TlsStream::Client).map_err(failed)
    }
}

/// What a server needs for its handshakes.
#[derive(Clone)]
pub struct Server {
    acceptor: TlsAcceptor,
    pin: Pin,
}

impl Server {
    /// With the identity in `cert` and `key`, or with one made now that nobody knows yet.
    pub(crate) fn new(options: &Options) -> Result<Self, TlsError> {
        let (chain, key) = match (&options.cert, &options.key) {
            (Some(cert), Some(key)) => (certificates(cert, "a certificate")?, private_key(key)?),
            (None, None) => self_signed()?,
            _ => return Err(TlsError::HalfAnIdentity),
        };
        let leaf = chain.first().ok_or(TlsError::HalfAnIdentity)?;
        let parsed = ParsedCertificate::try_from(leaf).map_err(TlsError::Configuration)?;
        let pin = Pin::of_public_key(&parsed.subject_public_key_info());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Configuration)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(TlsError::Configuration)?;
        // A ticket that a client never reads makes the kernel reset the connection at close, and the
        // client loses what it had not received yet.
        config.send_tls13_tickets = 0;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { acceptor, pin })
    }

    /// What a client can know this server by.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.pin
    }

    pub(crate) async fn handshake(&self, socket: AsyncSocket) -> Result<Tls, TlsError> {
        in_time(self.acceptor.accept(socket))
            .await
            .map(TlsStream::Server)
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}

async fn in_time<T>(handshake: impl Future<Output = io::Result<T>>) -> Result<T, TlsError> {
    match tokio::time::timeout(HANDSHAKE, handshake).await {
        Ok(result) => result.map_err(failed),
        Err(_) => Err(TlsError::Timeout),
    }
}

fn failed(error: io::Error) -> TlsError {
    match tls_error(&error) {
        Some(Error::InvalidCertificate(CertificateError::Other(OtherError(other))))
            if let Some(WrongPin(found)) = other.downcast_ref() =>
        {
            TlsError::WrongPin(*found)
        }
        Some(Error::InvalidCertificate(_) | Error::NoCertificatesPresented) => {
            TlsError::Untrusted(error)
        }
        _ => TlsError::Handshake(error),
    }
}

fn is_alert(error: &io::Error) -> bool {
    matches!(tls_error(error), Some(Error::AlertReceived(_)))
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = ca {
        for certificate in certificates(ca, "certificates of authorities")? {
            roots
                .add(certificate)
                .map_err(|error| unusable(ca, "certificates of authorities", &error))?;
        }
        return Ok(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    // Systems carry certificates that are older than the rules: those are left out.
    let (good, _) = roots.add_parsable_certificates(found.certs);
    if good == 0 {
        let why = found
            .errors
            .first()
            .map_or_else(|| "none was found".into(), ToString::to_string);
        return Err(TlsError::NoRoots(why));
    }
    Ok(roots)
}

fn unusable(path: &Path, what: &'static str, why: &impl ToString) -> TlsError {
    TlsError::File {
        path: path.into(),
        what,
        why: why.to_string(),
    }
}

fn certificates(path: &Path, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(path, what, &error))?;
    match chain.is_empty() {
        true => Err(unusable(path, what, &"it holds no certificate")),
        false => Ok(chain),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| unusable(path, "a private key", &error))
}

/// A key pair and a certificate that it signs itself, for this run alone.
fn self_signed() -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    let failed = |error: rcgen::Error| TlsError::Configuration(Error::General(error.to_string()));
    let made = rcgen::generate_simple_self_signed(names).map_err(failed)?;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    Ok((vec![made.cert.der().clone()], key))
}

/// The key of a server that should have another.
#[derive(Debug, thiserror::Error)]
#[error("another key")]
struct WrongPin(Pin);

/// Trusts whoever holds the one key, whatever the certificate around it says.
#[derive(Debug)]
struct PinVerifier {
    pin: Pin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let spki = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        let found = Pin::of_public_key(&spki);
        match found == self.pin {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::Other(OtherError(Arc::new(WrongPin(found)))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
