//! HTTP requests, as the Chaos Toolkit makes them: HTTP/1.1, over TLS with the machine's own certificates.

use crate::format::HttpCall;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use serde_json::{Map, Value as Json, json};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use url::{Position, Url};

/// Most bytes of a reply.
const BODY_MAX: usize = 4 << 20;

/// The reply as `{status, headers, body}`. An error names the server, and not what it is asked: that may be a secret.
pub(super) async fn call(call: &HttpCall) -> Result<Json, String> {
    let mut url = call.url.clone();
    let (mut body, mut kind) = (Bytes::new(), None);
    let wants_json = call
        .headers
        .iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("content-type") && value.starts_with("application/json"));
    match &call.arguments {
        Json::Null => {}
        Json::Object(arguments) if call.method == "GET" => {
            url.query_pairs_mut().extend_pairs(arguments.iter().map(|(key, value)| (key, plain(value))));
        }
        arguments if wants_json => body = arguments.to_string().into(),
        Json::Object(arguments) => {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.extend_pairs(arguments.iter().map(|(key, value)| (key, plain(value))));
            (body, kind) = (form.finish().into(), Some("application/x-www-form-urlencoded"));
        }
        text => body = plain(text).into(), // a foreign enum: text, or what is written like it
    }
    let mut request =
        Request::builder().method(call.method.as_str()).uri(&url[Position::BeforePath..Position::AfterQuery]);
    request = request.header(HOST, &url[Position::BeforeHost..Position::AfterPort]).header(USER_AGENT, "taffeta-chaos");
    if let Some(kind) = kind {
        request = request.header(CONTENT_TYPE, kind);
    }
    for (name, value) in &call.headers {
        let name = HeaderName::try_from(name).map_err(|_| format!("`{name}` is no name of a header"))?;
        let value = HeaderValue::try_from(value).map_err(|_| format!("the value of the header `{name}` is none"))?;
        request = request.header(name, value);
    }
    let server = format!("{}://{}", url.scheme(), &url[Position::BeforeHost..Position::AfterPort]);
    let request = request.body(Full::new(body)).map_err(|e| format!("{server}: {e}"))?;
    let asked = timeout(call.timeout, ask(&url, request, call.verify_tls)).await;
    asked
        .unwrap_or_else(|_| Err(format!("no answer within {:?}", call.timeout)))
        .map_err(|why| format!("{server}: {why}"))
}

/// Status of a plain `GET` of a path, within a limit; the error is a short reason.
pub(crate) async fn get(server: SocketAddr, path: &str, limit: Duration) -> Result<u16, String> {
    let asked = async {
        let stream = TcpStream::connect(server).await.map_err(|e| e.to_string())?;
        let request = Request::get(path).header(HOST, server.to_string()).header(USER_AGENT, "taffeta-chaos");
        let request = request.body(Full::new(Bytes::new())).map_err(|e| e.to_string())?;
        exchange(stream, request).await.map(|reply| reply.0)
    };
    timeout(limit, asked).await.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

async fn ask(url: &Url, request: Request<Full<Bytes>>, verify: bool) -> Result<Json, String> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|e| e.to_string())?;
    let (status, headers, body) = if url.scheme() == "https" {
        let name = ServerName::try_from(host).map_err(|e| e.to_string())?;
        let connector = TlsConnector::from(Arc::new(tls(verify)?));
        exchange(connector.connect(name, stream).await.map_err(|e| e.to_string())?, request).await?
    } else {
        exchange(stream, request).await?
    };
    let text = String::from_utf8_lossy(&body).into_owned();
    let is_json = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let body = if is_json { serde_json::from_str(&text).unwrap_or(Json::String(text)) } else { Json::String(text) };
    let pair = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.to_string(), Json::from(String::from_utf8_lossy(value.as_bytes())))
    };
    let headers: Map<String, Json> = headers.iter().map(pair).collect();
    Ok(json!({"status": status, "headers": headers, "body": body}))
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(u16, HeaderMap, Bytes), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |e: hyper::Error| format!("no reply in HTTP: {e}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let mut driver = tokio::task::JoinSet::new(); // closes the connection when it is dropped
    driver.spawn(connection);
    let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
    let body = Limited::new(body, BODY_MAX).collect().await.map_err(|e| e.to_string())?;
    Ok((head.status.as_u16(), head.headers, body.to_bytes()))
}

fn tls(verify: bool) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
    if !verify {
        let anything = Arc::new(Anything(provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(anything).with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Takes every certificate, since the experiment says `verify_tls: false`; signatures are checked all the same.
#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
