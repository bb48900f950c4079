//! DNS over TLS (RFC 7858): what TCP does, after a handshake.

use crate::{
    Responder, ServeLimits, Transport,
    accept::{accept_all, handshake},
    stream::serve_stream,
};
use rustls::ServerConfig;
use std::sync::Arc;
use tokio::net::TcpListener;

pub(crate) async fn serve_dot(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    responder: Arc<Responder>,
    limits: ServeLimits,
) {
    accept_all(listener, limits, |stream, client, place| {
        let (responder, tls) = (responder.clone(), tls.clone());
        async move {
            let Some(stream) = handshake(stream, tls, limits, &place).await else { return };
            serve_stream(stream, client, Transport::Tls, &responder, limits, &place).await;
        }
    })
    .await;
}
