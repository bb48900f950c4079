//! DNS over TCP (RFC 7766).

use crate::{Responder, ServeLimits, Transport, accept::accept_all, stream::serve_stream};
use std::sync::Arc;
use tokio::net::TcpListener;

pub(crate) async fn serve_tcp(listener: TcpListener, responder: Arc<Responder>, limits: ServeLimits) {
    accept_all(listener, limits, |stream, client, place| {
        let responder = responder.clone();
        async move { serve_stream(stream, client, Transport::Tcp, &responder, limits, &place).await }
    })
    .await;
}
