//! TLS 1.3 both ways: who we are, whom we believe.

use crate::{
    key::{NodeKey, PublicKey, sha256},
    peer::Peer,
    seams::Clock,
};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme, WantsVersions,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring::default_provider},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::WebPkiClientVerifier,
    time_provider::TimeProvider,
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use taffeta_model::{ClusterId, NodeId};
use thiserror::Error;

/// Life of a node's certificate. A year, until renewal on the way is there.
pub(crate) const CERTIFICATE_LIFE: Duration = Duration::from_secs(365 * 86_400);

/// Names the protocol and its version inside TLS: nodes that do not speak it do not connect.
const ALPN: &[u8] = b"taffeta/1";

/// What a node shows to others, and what it believes.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Its key.
    pub key: Arc<NodeKey>,
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// The CA's certificate, DER.
    pub authority: Vec<u8>,
}

/// Why TLS could not be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A certificate or key is not usable.
    #[error("the node's certificate or key is not usable")]
    Unusable(#[from] rustls::Error),
    /// The verifier could not be built.
    #[error("the CA certificate is not usable")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
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
}

impl Means {
    pub(crate) fn new(provider: Arc<CryptoProvider>, clock: Arc<dyn Clock>) -> Self {
        Self { provider, dates: Arc::new(Dates(clock)) }
    }

    /// The dates of the endpoint's own tokens.
    pub(crate) fn dates(&self) -> Arc<dyn quinn::TimeSource> {
        Arc::clone(&self.dates) as _
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

/// The name in a node's certificate: dialling it by this name makes the library check whom we reached.
pub fn server_name(cluster: ClusterId, node: NodeId) -> String {
    format!("{node}.node.{cluster}.taffeta.internal")
}

impl Identity {
    /// The node's id.
    pub fn id(&self) -> NodeId {
        self.key.public().node_id()
    }

    pub(crate) fn server_config(&self, means: &Means) -> Result<quinn::crypto::rustls::QuicServerConfig, TlsError> {
        // A stranger may connect without a certificate, and is then served the join lane and nothing else.
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots()?, Arc::clone(&means.provider))
            .allow_unauthenticated()
            .build()?;
        let mut config = means
            .server()
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain(), self.key.private_key())?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.max_early_data_size = 0; // early data can be replayed
        Ok(config.try_into()?)
    }

    pub(crate) fn client_config(&self, means: &Means) -> Result<quinn::crypto::rustls::QuicClientConfig, TlsError> {
        let mut config = means
            .client()
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(self.roots()?)
            .with_client_auth_cert(self.chain(), self.key.private_key())?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config.try_into()?)
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone().into(), self.authority.clone().into()]
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone().into())?;
        Ok(Arc::new(roots))
    }
}

/// Client side of a dial to an address of which it is not known which node is there: its chain must lead to our CA.
pub(crate) fn meet_config(
    identity: &Identity,
    means: &Means,
) -> Result<quinn::crypto::rustls::QuicClientConfig, TlsError> {
    let ca_hash = sha256(&identity.authority);
    let verifier = Arc::new(PinnedAuthority { ca_hash, provider: Arc::clone(&means.provider) });
    let mut config = means
        .client()
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous() // as for a join
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(identity.chain(), identity.key.private_key())?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config.try_into()?)
}

/// Client side of a join: no certificate of our own yet, the server's chain must lead to the pinned CA.
pub(crate) fn join_config(
    ca_hash: [u8; 32],
    means: &Means,
) -> Result<quinn::crypto::rustls::QuicClientConfig, TlsError> {
    let verifier = Arc::new(PinnedAuthority { ca_hash, provider: Arc::clone(&means.provider) });
    let mut config = means
        .client()
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous() // the name for rustls' own verifier traits; this one checks more, not less
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config.try_into()?)
}

/// Who is at the other end, by the certificate that TLS has already verified against the CA.
pub(crate) fn peer_of(connection: &quinn::Connection, cluster: ClusterId) -> Option<Peer> {
    let Some(identity) = connection.peer_identity() else { return Some(Peer::Stranger) };
    let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    let certificate = webpki::EndEntityCert::try_from(chain.first()?).ok()?;
    let key = PublicKey::from_spki(&certificate.subject_public_key_info())?;
    let expected = server_name(cluster, key.node_id());
    let named = certificate.valid_dns_names().any(|name| name == expected);
    named.then(|| Peer::Node(key.node_id()))
}

/// Believes a chain whose CA has the hash that the token pins.
#[derive(Debug)]
struct PinnedAuthority {
    ca_hash: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl PinnedAuthority {
    fn inner(&self, ca: &CertificateDer<'_>) -> Result<Arc<WebPkiServerVerifier>, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|e| rustls::Error::General(e.to_string()))
    }
}

/// Told to the joining machine when the cluster at the address is not the token's.
pub(crate) const FOREIGN_CA: &str = "another CA than the token pins";

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pinned = intermediates.iter().find(|ca| sha256(ca) == self.ca_hash);
        let ca = pinned.ok_or_else(|| rustls::Error::General(FOREIGN_CA.into()))?;
        // The address was all we knew, so the name to check is the one that the certificate itself gives.
        let certificate = webpki::EndEntityCert::try_from(end_entity)
            .map_err(|_| rustls::Error::InvalidCertificate(rustls::CertificateError::BadEncoding))?;
        let name = certificate.valid_dns_names().next().and_then(|n| ServerName::try_from(n).ok());
        let name = name.ok_or(rustls::Error::InvalidCertificate(rustls::CertificateError::NotValidForName))?;
        self.inner(ca)?.verify_server_cert(end_entity, &[], &name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}
