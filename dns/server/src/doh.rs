//! DNS over HTTPS (RFC 8484), by HTTP/2 and HTTP/1.1.

use crate::{
    Responder, ServeLimits,
    accept::{accept_all, handshake},
    activity::Activity,
    doh_request::{Door, answer},
};
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    time::timeout,
};

/// Longest line and headers of HTTP/1.1, and longest headers of HTTP/2. A query in a URL takes four thirds of its length.
const HEADERS_MAX: usize = 16 * 1024;
/// What HTTP/2 lets a client send ahead, of one stream and of all: a query is small.
const STREAM_WINDOW: u32 = 16 * 1024;
const CONNECTION_WINDOW: u32 = 64 * 1024;
/// Bytes of replies held for one stream whose client does not read.
const SEND_BUFFER: usize = 64 * 1024;
/// How long a connection that has to end may take for it. Its place has been given away already.
const FAREWELL: Duration = Duration::from_millis(500);

pub(crate) async fn serve_doh(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    responder: Arc<Responder>,
    limits: ServeLimits,
) {
    accept_all(listener, limits, |stream, client, place| {
        let (responder, tls) = (responder.clone(), tls.clone());
        async move {
            let Some(stream) = handshake(stream, tls, limits, &place).await else { return };
            let by_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let door = Arc::new(Door { responder, client, whole_query: limits.whole_query });
            serve_http(stream, by_http2, door, limits, &Activity::new(place)).await;
        }
    })
    .await;
}

async fn serve_http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    by_http2: bool,
    door: Arc<Door>,
    limits: ServeLimits,
    activity: &Arc<Activity>,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let (door, at_work) = (door.clone(), activity.begin());
        async move {
            let response = answer(request, &door).await;
            drop(at_work);
            Ok::<Response<Full<Bytes>>, Infallible>(response)
        }
    });
    let stream = TokioIo::new(stream);
    if by_http2 {
        let connection = http2_settings(limits).serve_connection(stream, service);
        until_over(connection, http2::Connection::graceful_shutdown, activity).await;
    } else {
        let connection = http1_settings(limits).serve_connection(stream, service);
        until_over(connection, http1::Connection::graceful_shutdown, activity).await;
    }
}

/// A connection that has to end says so first: a request that crosses this is asked again and not lost.
async fn until_over<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    say_farewell: impl FnOnce(Pin<&mut C>),
    activity: &Activity,
) {
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                tracing::trace!(%error, "DNS over HTTPS connection ended");
            }
        }
        () = activity.is_over() => {
            say_farewell(connection.as_mut());
            // A client that does not take it has had its time.
            let _ = timeout(FAREWELL, connection).await;
        }
    }
}

fn http1_settings(limits: ServeLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.idle).max_buf_size(HEADERS_MAX);
    builder
}

fn http2_settings(limits: ServeLimits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(u32::try_from(limits.in_flight_max).unwrap_or(u32::MAX))
        .max_header_list_size(HEADERS_MAX as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER);
    builder
}
