//! What a node shows and whom it believes at the moment. Both change while connections are open: certificates are renewed,
//! CAs rotated, nodes removed. Each handshake takes what is in force when it begins.

use crate::{
    authority::{CROSSES_MAX, CertificateError, authority_key, signed_by_authority},
    certified::{Certified, ends},
    key::NodeKey,
    tls::{Chain, TlsError},
};
use arc_swap::ArcSwap;
use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, TrustAnchor},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{collections::BTreeSet, sync::Arc};
use taffeta_model::{ClusterId, NodeId, UnixMillis};

/// Certificates behind a node's own that are looked at: cross certificates, and two CAs.
const OTHERS_MAX: usize = CROSSES_MAX as usize + 2;

/// What a node shows to others, and what it believes. Its key is made on its machine and never leaves it: only the public
/// half and signatures are sent.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Its key.
    pub key: Arc<NodeKey>,
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// Certificates of the CAs that are believed, DER: one, and two while the CA is rotated.
    pub authorities: Vec<Vec<u8>>,
    /// The keys of CAs as signed by the CA before them, DER, shown to those who believe only that one.
    pub crosses: Vec<Vec<u8>>,
}

impl Identity {
    /// The node's id.
    pub fn id(&self) -> NodeId {
        self.key.public().node_id()
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        let all = [&self.certificate].into_iter().chain(&self.crosses).chain(&self.authorities);
        all.map(|der| der.clone().into()).collect()
    }
}

/// An [`Identity`] in use, which can be changed at any time.
#[derive(Debug)]
pub struct Credentials {
    cluster: ClusterId,
    id: NodeId,
    provider: Arc<CryptoProvider>,
    shown: ArcSwap<Shown>,
    /// Nodes that were removed from the cluster, whatever their certificates say; bounded by the replicated state.
    removed: ArcSwap<BTreeSet<NodeId>>,
}

#[derive(Debug)]
struct Shown {
    identity: Identity,
    certified: Arc<CertifiedKey>,
    anchors: Vec<TrustAnchor<'static>>,
    ends: UnixMillis,
}

impl Shown {
    fn new(identity: Identity, provider: &CryptoProvider) -> Result<Self, TlsError> {
        let certified = CertifiedKey::from_der(identity.chain(), identity.key.private_key(), provider)?;
        let anchor = |der: &Vec<u8>| {
            let der = CertificateDer::from(der.as_slice());
            webpki::anchor_from_trusted_cert(&der).map(|anchor| anchor.to_owned()).map_err(|_| TlsError::Authority)
        };
        let anchors = identity.authorities.iter().map(anchor).collect::<Result<_, _>>()?;
        let ends = ends(&identity.certificate).ok_or(TlsError::Certificate)?;
        Ok(Self { identity, certified: Arc::new(certified), anchors, ends })
    }
}

impl Credentials {
    /// Takes an identity in use. `provider` is what TLS is made with.
    pub fn new(identity: Identity, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let (cluster, id) = (identity.cluster, identity.id());
        let shown = ArcSwap::from_pointee(Shown::new(identity, &provider)?);
        Ok(Self { cluster, id, provider, shown, removed: ArcSwap::default() })
    }

    /// The node that they are of.
    pub fn id(&self) -> NodeId {
        self.id
    }

    pub(crate) fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// What is in force now.
    pub fn identity(&self) -> Identity {
        self.shown.load().identity.clone()
    }

    /// When the certificate ends that is shown now.
    pub fn ends(&self) -> UnixMillis {
        self.shown.load().ends
    }

    /// Shows another certificate of the same key, or believes other CAs, from the next handshake on. An error changes
    /// nothing.
    pub fn renew(
        &self,
        certificate: Vec<u8>,
        authorities: Vec<Vec<u8>>,
        crosses: Vec<Vec<u8>>,
    ) -> Result<(), TlsError> {
        let identity = Identity { certificate, authorities, crosses, ..self.identity() };
        self.shown.store(Arc::new(Shown::new(identity, &self.provider)?));
        Ok(())
    }

    /// Whether the certificate is this node's and leads to a CA that is believed now, if need be by these cross
    /// certificates; and whether these CAs may be believed from now on: those that are now, and the one that has signed it.
    /// Gives when it ends; looked at before it is shown.
    pub fn accepts(
        &self,
        certificate: &[u8],
        authorities: &[Vec<u8>],
        crosses: &[Vec<u8>],
        now: UnixMillis,
    ) -> Result<UnixMillis, CertificateError> {
        let shown = self.shown.load();
        let others: Vec<CertificateDer<'static>> = crosses.iter().map(|der| der.clone().into()).collect();
        let certificate = certificate.to_vec().into();
        let believed = &shown.anchors;
        let verified = Certified::verify(&certificate, &others, believed, &self.provider, self.cluster, now);
        let (certified, issuer) = verified.map_err(|_| CertificateError::Unusable)?;
        let known = |ca: &Vec<u8>| shown.identity.authorities.contains(ca) || authority_key(ca) == issuer;
        let usable = certified.node == self.id && certified.ends > now && issuer.is_some();
        if usable && !authorities.is_empty() && authorities.iter().all(known) {
            Ok(certified.ends)
        } else {
            Err(CertificateError::Unusable)
        }
    }

    /// Judges a chain that a peer shows.
    pub(crate) fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixMillis,
    ) -> Result<Certified, rustls::Error> {
        if others.len() > OTHERS_MAX {
            return Err(rustls::CertificateError::BadEncoding.into());
        }
        // Of whatever CA it is: the id follows from the key.
        if self.is_removed(Certified::read(certificate, self.cluster)?.node) {
            return Err(rustls::CertificateError::Revoked.into());
        }
        let shown = self.shown.load();
        let verified = Certified::verify(certificate, others, &shown.anchors, &self.provider, self.cluster, now);
        verified.map(|(certified, _)| certified)
    }

    /// Whether a CA has signed the message that is believed here, or by which the peer is believed that shows this chain.
    pub(crate) fn is_signed(&self, chain: &Chain, now: UnixMillis, message: &[u8], signature: &[u8]) -> bool {
        let shown = self.shown.load();
        let believed = |authority: &Vec<u8>| signed_by_authority(authority, message, signature);
        let by_peers = || {
            let (own, others) = (chain.own(), chain.others());
            let verified = Certified::verify(own, others, &shown.anchors, &self.provider, self.cluster, now);
            Some(verified.ok()?.1?.verify(message, signature))
        };
        shown.identity.authorities.iter().any(believed) || by_peers().unwrap_or(false)
    }

    pub(crate) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    pub(crate) fn is_removed(&self, node: NodeId) -> bool {
        self.removed.load().contains(&node)
    }

    /// Believes these nodes no more; gives those that were believed until now.
    pub(crate) fn remove(&self, nodes: BTreeSet<NodeId>) -> Vec<NodeId> {
        let before = self.removed.swap(Arc::new(nodes.clone()));
        nodes.into_iter().filter(|node| !before.contains(node)).collect()
    }
}

impl ResolvesServerCert for Credentials {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown.load().certified))
    }
}

impl ResolvesClientCert for Credentials {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown.load().certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
