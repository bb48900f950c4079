//! The same answers where nobody on the way can read them: DNS over TLS, over HTTPS and over QUIC.

use crate::{
    BindError, Responder, ServeLimits, doh::serve_doh, doq::listen_quic, doq::serve_doq, dot::serve_dot,
    serve::listen_tcp,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::ResolvesServerCert,
};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, task::JoinHandle};

/// Where to listen, and as whom.
#[derive(Clone, Debug)]
pub struct EncryptedConfig {
    /// DNS over TLS (RFC 7858); as a rule port 853.
    pub dot: Option<SocketAddr>,
    /// DNS over HTTPS (RFC 8484), HTTP/2 and HTTP/1.1, under `/dns-query`; as a rule port 443.
    pub doh: Option<SocketAddr>,
    /// DNS over QUIC (RFC 9250); as a rule UDP port 853.
    pub doq: Option<SocketAddr>,
    /// The certificate: [`Self::tls`], or a configuration whose resolver gives whatever is valid at the moment. Its ALPN
    /// protocols are replaced by each listener's own. QUIC needs TLS 1.3.
    pub tls: Arc<ServerConfig>,
    /// Bounds, for each listener by itself.
    pub limits: ServeLimits,
}

impl EncryptedConfig {
    /// Listens nowhere yet.
    pub fn new(tls: Arc<ServerConfig>) -> Self {
        Self { dot: None, doh: None, doq: None, tls, limits: ServeLimits::encrypted() }
    }

    /// TLS 1.3 and 1.2 with this certificate, its issuers after it, and its key. Clients need no certificate.
    pub fn tls(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
        Ok(Arc::new(builder.with_single_cert(chain, key)?))
    }

    /// The same with the certificate that the resolver gives at each handshake.
    pub fn tls_resolving(certificates: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
        Ok(Arc::new(builder.with_cert_resolver(certificates)))
    }

    fn tls_for(&self, protocols: &[&str]) -> Arc<ServerConfig> {
        let mut tls = ServerConfig::clone(&self.tls);
        tls.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        // A query in the first flight could be replayed to see whether its reply is cached (RFC 9250 section 7.1).
        tls.max_early_data_size = 0;
        Arc::new(tls)
    }
}

/// The encrypted listeners of a node. They serve until this is dropped or shut down.
#[derive(Debug)]
pub struct EncryptedServer {
    dot: Option<SocketAddr>,
    doh: Option<SocketAddr>,
    doq: Option<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
}

impl EncryptedServer {
    /// Listens and serves; must be called within a tokio runtime.
    pub fn bind(config: &EncryptedConfig, responder: &Arc<Responder>) -> Result<Self, BindError> {
        let limits = config.limits;
        responder.lets_idle(limits.idle);
        let mut server = Self { dot: None, doh: None, doq: None, tasks: Vec::new() };
        if let Some(address) = config.dot {
            let (listener, local) = listen("DNS over TLS", address)?;
            server.dot = Some(local);
            let tls = config.tls_for(&["dot"]);
            server.tasks.push(tokio::spawn(serve_dot(listener, tls, responder.clone(), limits)));
        }
        if let Some(address) = config.doh {
            let (listener, local) = listen("DNS over HTTPS", address)?;
            server.doh = Some(local);
            let tls = config.tls_for(&["h2", "http/1.1"]);
            server.tasks.push(tokio::spawn(serve_doh(listener, tls, responder.clone(), limits)));
        }
        if let Some(address) = config.doq {
            let failed = |source| BindError { protocol: "DNS over QUIC", address, source };
            let endpoint = listen_quic(address, config.tls_for(&["doq"]), limits).map_err(failed)?;
            server.doq = Some(endpoint.local_addr().map_err(failed)?);
            server.tasks.push(tokio::spawn(serve_doq(endpoint, responder.clone(), limits)));
        }
        Ok(server)
    }

    /// Where TLS is listened for.
    pub fn dot_addr(&self) -> Option<SocketAddr> {
        self.dot
    }

    /// Where HTTPS is listened for.
    pub fn doh_addr(&self) -> Option<SocketAddr> {
        self.doh
    }

    /// Where QUIC is listened for.
    pub fn doq_addr(&self) -> Option<SocketAddr> {
        self.doq
    }

    /// Stops serving; connections are cut.
    pub async fn shut_down(mut self) {
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            // Cancelled is what we asked for.
            let _ = task.await;
        }
    }
}

impl Drop for EncryptedServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn listen(protocol: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let listen = || -> io::Result<_> {
        let listener = listen_tcp(address)?;
        let local = listener.local_addr()?;
        Ok((listener, local))
    };
    listen().map_err(|source| BindError { protocol, address, source })
}
