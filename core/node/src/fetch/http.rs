//! GET of a file: HTTP/1.1, over TLS with the machine's own certificates, through a bounded number of redirections.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1,
    header::{ACCEPT_ENCODING, CONTENT_LENGTH, HOST, LOCATION, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use url::{Host, Position, Url};

/// As many as curl follows at most, unless it is told more.
const REDIRECTS_MAX: usize = 10;
/// How long a connection may take, with TLS; and how long the server may think.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// How long nothing may come before the server is given up.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A file that a server sends.
pub(super) struct Asked {
    body: Incoming,
    length: Option<u64>,
    _driver: Driver,
}

/// Drives the connection; dropping it closes the connection.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Asked {
    /// Asks for a file. The error is in words.
    pub(super) async fn get(url: &str) -> Result<Self, String> {
        let mut url = Url::parse(url).map_err(|e| format!("`{url}`: {e}"))?;
        for _ in 0..=REDIRECTS_MAX {
            let (answer, driver) = ask(&url).await.map_err(|why| format!("{}: {why}", origin(&url)))?;
            if answer.status().is_redirection() {
                let to = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok());
                let to = to.ok_or_else(|| format!("{}: a redirection to nowhere", origin(&url)))?;
                url = url.join(to).map_err(|e| format!("{}: a redirection to `{to}`: {e}", origin(&url)))?;
                continue;
            }
            if answer.status() != hyper::StatusCode::OK {
                return Err(format!("{}: HTTP {}", origin(&url), answer.status()));
            }
            let length = answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
            return Ok(Self { body: answer.into_body(), length, _driver: driver });
        }
        Err(format!("{}: more than {REDIRECTS_MAX} redirections", origin(&url)))
    }

    /// How many bytes it has, if the server says so.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let frame = timeout(SILENCE_MAX, self.body.frame()).await;
            let frame = frame.map_err(|_| format!("the server has sent nothing for {} s", SILENCE_MAX.as_secs()))?;
            match frame {
                None => return Ok(None),
                Some(Err(e)) => return Err(format!("the server broke off: {}", root_cause(&e))),
                // Trailers are of no use.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Ok(Some(data)),
                    Ok(_) | Err(_) => {}
                },
            }
        }
    }
}

/// Scheme, host and port, for people: the rest of an address may be long.
fn origin(url: &Url) -> &str {
    &url[..Position::BeforePath]
}

async fn ask(url: &Url) -> Result<(Response<Incoming>, Driver), String> {
    let host = url.host().ok_or("it has no host")?.to_owned();
    let port = url.port_or_known_default().ok_or("it has no port")?;
    let tls = match url.scheme() {
        "https" => Some(server_name(&host)?),
        "http" => None,
        other => return Err(format!("`{other}` is neither http nor https")),
    };
    let connected = async {
        let stream = match &host {
            Host::Domain(name) => TcpStream::connect((name.as_str(), port)).await,
            Host::Ipv4(ip) => TcpStream::connect((*ip, port)).await,
            Host::Ipv6(ip) => TcpStream::connect((*ip, port)).await,
        };
        let stream = stream.map_err(|e| e.to_string())?;
        match tls {
            Some(name) => {
                let connector = TlsConnector::from(client_config().await?);
                let stream = connector.connect(name, stream).await.map_err(|e| format!("TLS: {e}"))?;
                handshake(stream).await
            }
            None => handshake(stream).await,
        }
    };
    let late = |limit: Duration| format!("no answer within {} s", limit.as_secs());
    let connected = timeout(CONNECT_LIMIT, connected).await.map_err(|_| late(CONNECT_LIMIT))?;
    let (mut sender, driver) = connected?;
    let request = Request::get(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(USER_AGENT, concat!("taffeta/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT_ENCODING, "identity") // the digest is that of what is sent
        .body(Empty::new())
        .map_err(|e| e.to_string())?;
    let answer = timeout(ANSWER_LIMIT, sender.send_request(request)).await.map_err(|_| late(ANSWER_LIMIT))?;
    Ok((answer.map_err(|e| format!("the answer is not HTTP: {}", root_cause(&e)))?, driver))
}

type Sender = http1::SendRequest<Empty<Bytes>>;

async fn handshake(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<(Sender, Driver), String> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    // Its failures also reach whoever reads the answer.
    let driver = tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok((sender, Driver(driver)))
}

fn server_name(host: &Host<String>) -> Result<ServerName<'static>, String> {
    match host {
        Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|e| e.to_string()),
        Host::Ipv4(ip) => Ok(ServerName::from(std::net::IpAddr::from(*ip))),
        Host::Ipv6(ip) => Ok(ServerName::from(std::net::IpAddr::from(*ip))),
    }
}

/// Believes whom the machine believes. Read anew each time: the list changes while nodes run.
async fn client_config() -> Result<Arc<ClientConfig>, String> {
    let certificates = super::blocking(|| Ok(authorities())).await.map_err(|e| e.to_string())??;
    let mut roots = RootCertStore::empty();
    let (believed, _) = roots.add_parsable_certificates(certificates);
    if believed == 0 {
        return Err("none of the machine's CA certificates can be read".into());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|e| e.to_string())?.with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::new(config))
}

/// The machine's CA certificates, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
fn authorities() -> Result<Vec<CertificateDer<'static>>, String> {
    let found = rustls_native_certs::load_native_certs();
    match (found.certs.is_empty(), found.errors.first()) {
        (false, _) => Ok(found.certs),
        (true, Some(e)) => Err(format!("this machine's CA certificates cannot be read: {e}")),
        (true, None) => {
            Err("this machine has no CA certificates: install ca-certificates, or name a file by SSL_CERT_FILE".into())
        }
    }
}

/// The innermost cause: the outer ones say that there is one.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
