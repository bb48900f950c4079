//! Taking connections in, under the bounds of a listener.

use crate::{
    ServeLimits,
    places::{Place, Places},
    serve::ERROR_PAUSE,
};
use rustls::ServerConfig;
use std::{net::IpAddr, sync::Arc};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Serves every connection that gets a place, each in a task of its own. Ends never; dropping it ends all of them.
pub(crate) async fn accept_all<F>(
    listener: TcpListener,
    limits: ServeLimits,
    serve: impl Fn(TcpStream, IpAddr, Place) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Places::new(limits);
    // Bounded by the places, but for those that are just closing.
    let mut connections = JoinSet::new();
    loop {
        let accepted = listener.accept().await;
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, client)) => {
                let Some(place) = places.enter(client.ip()) else { continue };
                // Replies are whole; waiting for more to send would only delay them.
                let _ = stream.set_nodelay(true);
                connections.spawn(serve(stream, client.ip(), place));
            }
            Err(error) => {
                tracing::debug!(%error, "DNS connection not accepted");
                sleep(ERROR_PAUSE).await;
            }
        }
    }
}

/// The handshake; `None` if it fails, takes too long, or somebody else gets the place meanwhile.
pub(crate) async fn handshake(
    stream: TcpStream,
    tls: Arc<ServerConfig>,
    limits: ServeLimits,
    place: &Place,
) -> Option<TlsStream<TcpStream>> {
    let handshake = timeout(limits.whole_query, TlsAcceptor::from(tls).accept(stream));
    tokio::select! {
        done = handshake => done.ok()?.ok(),
        () = place.is_taken_away() => None,
    }
}
