//! TLS 1.3 both ways: who we are, whom we believe.

use crate::{certified::Certified, credentials::Credentials, key::sha256, seams::Clock};
use quinn::{TransportErrorCode, crypto::rustls::HandshakeData};
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, DistinguishedName, ServerConfig,
    SignatureScheme, WantsVersions,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring::default_provider},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    time_provider::TimeProvider,
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use taffeta_model::{Bug, ClusterId, NodeId, UnixMillis, VERSION_MIN, Versions, planted};
use thiserror::Error;

/// Names the protocol inside TLS; its version follows. Nodes that have no version in common do not connect. Those of data
/// format 1 offered `taffeta/1` and gave other numbers to commands: neither side may take the other for one of this family.
const PROTOCOL: &str = "taffeta/v";

/// The versions as TLS offers them (ALPN, RFC 7301), the newest first: the server takes the first of its own that the
/// client has, too, which is the newest that both speak.
fn offered(versions: Versions) -> Vec<Vec<u8>> {
    let min = if planted(Bug::SpeakNewest) { versions.max } else { versions.min };
    (min..=versions.max).rev().map(|version| format!("{PROTOCOL}{version}").into_bytes()).collect()
}

/// The version that the two ends of a connection have agreed on.
pub(crate) fn version_of(connection: &quinn::Connection) -> u32 {
    let data = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    let protocol = data.and_then(|data| data.protocol).and_then(|protocol| String::from_utf8(protocol).ok());
    protocol.and_then(|p| p.strip_prefix(PROTOCOL)?.parse().ok()).unwrap_or(VERSION_MIN)
}

/// Whether a handshake failed since the two have no version in common (no_application_protocol, RFC 7301).
pub(crate) fn is_other_version(error: &quinn::ConnectionError) -> bool {
    let code = TransportErrorCode::crypto(120);
    match error {
        quinn::ConnectionError::ConnectionClosed(close) => close.error_code == code,
        quinn::ConnectionError::TransportError(error) => error.code == code,
        quinn::ConnectionError::VersionMismatch
        | quinn::ConnectionError::ApplicationClosed(_)
        | quinn::ConnectionError::Reset
        | quinn::ConnectionError::TimedOut
        | quinn::ConnectionError::LocallyClosed
        | quinn::ConnectionError::CidsExhausted => false,
    }
}

/// Why TLS could not be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A certificate or key is not usable.
    #[error("the node's certificate or key is not usable")]
    Unusable(#[from] rustls::Error),
    /// The node's certificate cannot be read.
    #[error("the node's certificate cannot be read")]
    Certificate,
    /// A CA certificate cannot be read.
    #[error("the CA certificate is not usable")]
    Authority,
    /// No cipher suite for QUIC's first packets.
    #[error("the TLS library lacks a cipher suite that QUIC needs")]
    NoInitialCipherSuite(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

/// The date by which certificates are judged.
#[derive(Debug)]
struct Dates(Arc<dyn Clock>);

impl TimeProvider for Dates {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.date().0)))
    }
}

impl quinn::TimeSource for Dates {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.date().0)
    }
}

/// What TLS is made with: cipher suites, randomness and dates.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    provider: Arc<CryptoProvider>,
    dates: Arc<Dates>,
    versions: Versions,
}

impl Means {
    pub(crate) fn new(provider: Arc<CryptoProvider>, clock: Arc<dyn Clock>, versions: Versions) -> Self {
        Self { provider, dates: Arc::new(Dates(clock)), versions }
    }

    /// Versions of the protocol that are spoken here.
    pub(crate) fn versions(&self) -> Versions {
        self.versions
    }

    /// The dates of the endpoint's own tokens.
    pub(crate) fn dates(&self) -> Arc<dyn quinn::TimeSource> {
        Arc::clone(&self.dates) as _
    }

    pub(crate) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    /// The present date.
    pub(crate) fn date(&self) -> UnixMillis {
        self.dates.0.date()
    }

    /// The date by the machine's own clock, whatever others say.
    pub(crate) fn own_date(&self) -> UnixMillis {
        self.dates.0.own_date()
    }

    fn server(&self) -> ConfigBuilder<ServerConfig, WantsVersions> {
        ServerConfig::builder_with_details(Arc::clone(&self.provider), Arc::clone(&self.dates) as _)
    }

    fn client(&self) -> ConfigBuilder<ClientConfig, WantsVersions> {
        ClientConfig::builder_with_details(Arc::clone(&self.provider), Arc::clone(&self.dates) as _)
    }
}

/// The cipher suites and the randomness of a node: *ring*'s.
pub fn crypto() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

/// The DNS name in a node's certificate. Clients of encrypted DNS check it; nodes go by [`spiffe_id`].
pub fn server_name(cluster: ClusterId, node: NodeId) -> String {
    format!("{node}.node.{cluster}.taffeta.internal")
}

/// The URI in a node's certificate: what identifies it.
pub fn spiffe_id(cluster: ClusterId, node: NodeId) -> String {
    format!("spiffe://{cluster}/node/{node}")
}

impl Credentials {
    pub(crate) fn server_config(
        self: &Arc<Self>,
        means: &Means,
    ) -> Result<quinn::crypto::rustls::QuicServerConfig, TlsError> {
        let mut config = means
            .server()
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(NodeVerifier { credentials: Arc::clone(self), whom: Whom::Any }))
            .with_cert_resolver(Arc::clone(self) as _);
        config.alpn_protocols = offered(means.versions);
        config.max_early_data_size = 0; // early data can be replayed
        // A resumed session would show the certificate of the one before: an old one, or that of a node since removed.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config.try_into()?)
    }

    /// Client side of a dial to a node by its [`server_name`], or, where it is not known who is there, to any node.
    pub(crate) fn client_config(
        self: &Arc<Self>,
        whom: Whom,
        means: &Means,
    ) -> Result<quinn::crypto::rustls::QuicClientConfig, TlsError> {
        let mut config = means
            .client()
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous() // the name for rustls' own verifier traits; this one checks more, not less
            .with_custom_certificate_verifier(Arc::new(NodeVerifier { credentials: Arc::clone(self), whom }))
            .with_client_cert_resolver(Arc::clone(self) as _);
        config.alpn_protocols = offered(means.versions);
        config.resumption = Resumption::disabled();
        Ok(config.try_into()?)
    }
}

/// Client side of a join: no certificate of our own yet, the server's chain must lead to the pinned CA.
pub(crate) fn join_config(
    cluster: ClusterId,
    ca_hash: [u8; 32],
    grace: Duration,
    means: &Means,
) -> Result<quinn::crypto::rustls::QuicClientConfig, TlsError> {
    Ok(join_tls(cluster, ca_hash, grace, means)?.try_into()?)
}

/// The TLS of it.
pub(crate) fn join_tls(
    cluster: ClusterId,
    ca_hash: [u8; 32],
    grace: Duration,
    means: &Means,
) -> Result<ClientConfig, TlsError> {
    let verifier = Arc::new(PinnedAuthority { cluster, ca_hash, grace, provider: Arc::clone(&means.provider) });
    let mut config = means
        .client()
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous() // as above
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = offered(means.versions);
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// A chain of certificates as a peer has shown it; there is at least the one of its own key.
pub(crate) struct Chain(Vec<CertificateDer<'static>>);

impl Chain {
    /// What the other end has shown: a stranger shows nothing. TLS has seen that it holds the key of the first one; who came
    /// in with it is still to be judged, whom this node has dialled has been.
    pub(crate) fn of(connection: &quinn::Connection) -> Option<Self> {
        let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        (!chain.is_empty()).then_some(Self(*chain))
    }

    pub(crate) fn own(&self) -> &CertificateDer<'static> {
        &self.0[0]
    }

    pub(crate) fn others(&self) -> &[CertificateDer<'static>] {
        &self.0[1..]
    }
}

/// Whom a dial is to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// The node that is dialled by its name.
    Named,
    /// Any node of this cluster that was not removed.
    Any,
}

/// Believes nodes of this cluster: the chain by webpki, the identity by the SPIFFE URI.
#[derive(Debug)]
struct NodeVerifier {
    credentials: Arc<Credentials>,
    whom: Whom,
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certified = self.credentials.judge(end_entity, intermediates, millis(now))?;
        let expected = crate::server_name(self.credentials.cluster(), certified.node);
        match self.whom {
            Whom::Named if server_name.to_str() != expected => {
                let (expected, presented) = (server_name.to_owned(), vec![expected]);
                Err(CertificateError::NotValidForNameContext { expected, presented }.into())
            }
            Whom::Named | Whom::Any => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_signature(self.credentials.provider(), message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.credentials.provider().signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for NodeVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[] // the CAs may change, and a node has one certificate only
    }

    /// A stranger may connect without a certificate, and is then served the join lane and nothing else.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // The chain is judged as soon as there is a connection, on which its node can be told why it is refused.
        Certified::read(end_entity, self.credentials.cluster()).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_signature(self.credentials.provider(), message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.credentials.provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Believes a chain that leads to the CA whose hash the token pins, be it the present CA or one that is being replaced.
#[derive(Debug)]
struct PinnedAuthority {
    cluster: ClusterId,
    ca_hash: [u8; 32],
    /// A certificate that ended no longer ago is taken: the clock of a new machine may be ahead by days.
    grace: Duration,
    provider: Arc<CryptoProvider>,
}

/// Told to the joining machine when the cluster at the address is not the token's.
pub(crate) const FOREIGN_CA: &str = "another CA than the token pins";

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pinned = intermediates.iter().find(|ca| sha256(ca) == self.ca_hash);
        let pinned = pinned.ok_or_else(|| rustls::Error::General(FOREIGN_CA.into()))?;
        let anchor = webpki::anchor_from_trusted_cert(pinned).map_err(|_| CertificateError::BadEncoding)?;
        let now = millis(now);
        let (certified, _) =
            Certified::verify(end_entity, intermediates, &[anchor], &self.provider, self.cluster, now)?;
        if now > certified.ends + self.grace {
            return Err(CertificateError::Expired.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_signature(&self.provider, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn verify_signature(
    provider: &CryptoProvider,
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    rustls::crypto::verify_tls13_signature(message, cert, dss, &provider.signature_verification_algorithms)
}

fn no_tls12() -> rustls::Error {
    rustls::Error::General("TLS 1.2 is not spoken".into())
}

fn millis(time: UnixTime) -> UnixMillis {
    UnixMillis(time.as_secs().saturating_mul(1000))
}
