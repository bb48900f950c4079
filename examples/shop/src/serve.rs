//! Serves one router on one listener, with every resource bounded, until told to stop.

use crate::reply::refuse;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::StatusCode,
    middleware::{self, Next},
    response::Response,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

/// Most connections at once: with [`BUFFER_BYTES_MAX`] it keeps buffers below 4 MiB. More wait in the listen queue.
const CONNECTIONS_MAX: usize = 256;
/// Longest request head.
const BUFFER_BYTES_MAX: usize = 16 * 1024;
/// Longest request body: one order is some dozen bytes.
const BODY_BYTES_MAX: usize = 4 * 1024;
/// Time for a request's head to arrive, waiting on a kept-alive connection included: a silent client must not hold one
/// of [`CONNECTIONS_MAX`] for ever.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a request to be read and answered; above what `web` spends on its slowest failing dependency.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(6);
/// Time for requests in flight after the end was asked for: the process is gone within 2 s, whatever a client does.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(1500);
/// Pause after a failed accept, most likely for want of file descriptors: they come back when connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `stop` is ready, then lets requests in flight finish, for [`DRAIN_TIMEOUT`] at most.
pub(crate) async fn serve(listener: TcpListener, app: Router, stop: impl Future<Output = ()>) {
    let connections = GracefulShutdown::new();
    let app = with_limits(app);
    tokio::select! {
        () = accept(listener, app, &connections) => {}
        () = stop => {}
    }
    // The listener is closed by now: a new client is refused at once, and tries another instance.
    let _ = timeout(DRAIN_TIMEOUT, connections.shutdown()).await;
}

async fn accept(listener: TcpListener, app: Router, connections: &GracefulShutdown) {
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = free.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let connection = connections.watch(connection(stream, app.clone()));
        tokio::spawn(async move {
            let _ = connection.await; // a client that breaks off is its own affair
            drop(permit);
        });
    }
}

fn connection(stream: TcpStream, app: Router) -> http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>> {
    let _ = stream.set_nodelay(true);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app))
}

fn with_limits(app: Router) -> Router {
    app.fallback(async || refuse(StatusCode::NOT_FOUND, "not_found", "there is nothing here", "try /health", None))
        .method_not_allowed_fallback(async || {
            refuse(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "not with this method", "try GET", None)
        })
        .layer(middleware::from_fn(in_time))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

async fn in_time(request: Request, next: Next) -> Response {
    match timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => refuse(StatusCode::REQUEST_TIMEOUT, "timeout", "the request took too long", "try again", None),
    }
}
