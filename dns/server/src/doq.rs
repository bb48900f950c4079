//! DNS over QUIC (RFC 9250): each query on a stream of its own.

use crate::{
    Responder, ServeLimits, Transport,
    activity::Activity,
    places::Places,
    query::{asks_transfer, has_keepalive},
};
use quinn::{
    Connection, Endpoint, EndpointConfig, IdleTimeout, Incoming, RecvStream, SendStream, TokioRuntime, TransportConfig,
    VarInt, WriteError, crypto::rustls::QuicServerConfig,
};
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use tokio::{task::JoinSet, time::timeout};

/// Error codes (RFC 9250 section 4.3).
const NO_ERROR: VarInt = VarInt::from_u32(0);
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);

/// Longest message and its length.
const FRAME_MAX: usize = 2 + 65535;
/// Bytes that a client may send ahead on all streams: some long queries, as most are short.
const RECEIVE_WINDOW: u32 = 256 * 1024;
/// Bytes of replies held for a client that does not read.
const SEND_WINDOW: u64 = 256 * 1024;
/// Connections that have begun and not been looked at, and the bytes held for them.
const INCOMING_MAX: usize = 256;
const INCOMING_BYTES: u64 = 1 << 20;

/// Opens the socket. Port 0 takes a free one.
pub(crate) fn listen_quic(address: SocketAddr, tls: Arc<ServerConfig>, limits: ServeLimits) -> io::Result<Endpoint> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let crypto = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport(limits)));
    config.max_incoming(INCOMING_MAX).incoming_buffer_size_total(INCOMING_BYTES);
    Endpoint::new(EndpointConfig::default(), Some(config), socket.into(), Arc::new(TokioRuntime))
}

fn transport(limits: ServeLimits) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let streams = u32::try_from(limits.in_flight_max).unwrap_or(u32::MAX);
    transport
        .max_concurrent_bidi_streams(streams.into())
        .max_concurrent_uni_streams(0_u32.into())
        .stream_receive_window((FRAME_MAX as u32).into())
        .receive_window(RECEIVE_WINDOW.into())
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        // Longer ones than QUIC can say are as good as none.
        .max_idle_timeout(IdleTimeout::try_from(limits.idle).ok());
    transport
}

pub(crate) async fn serve_doq(endpoint: Endpoint, responder: Arc<Responder>, limits: ServeLimits) {
    let _closes = CloseOnDrop(endpoint.clone());
    let places = Places::new(limits);
    // Bounded by the places, but for those that are just closing.
    let mut connections = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        while connections.try_join_next().is_some() {}
        // Whoever only pretends to have an address cannot take places from others.
        if !incoming.remote_address_validated() && places.is_half_taken() {
            // It fails only for one that has been validated.
            let _ = incoming.retry();
            continue;
        }
        let client = incoming.remote_address().ip();
        match places.enter(client) {
            Some(place) => {
                drop(connections.spawn(serve_incoming(incoming, responder.clone(), limits, Activity::new(place))));
            }
            None => incoming.refuse(),
        }
    }
}

struct CloseOnDrop(Endpoint);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close(NO_ERROR, b"");
    }
}

async fn serve_incoming(incoming: Incoming, responder: Arc<Responder>, limits: ServeLimits, activity: Arc<Activity>) {
    let handshake = async { timeout(limits.whole_query, incoming.accept().ok()?).await.ok()?.ok() };
    let connection = tokio::select! {
        done = handshake => done,
        () = activity.is_over() => None,
    };
    let Some(connection) = connection else { return };
    tokio::select! {
        () = serve_connection(&connection, &responder, limits, &activity) => {}
        () = activity.is_over() => connection.close(NO_ERROR, b"idle"),
    }
}

async fn serve_connection(
    connection: &Connection,
    responder: &Arc<Responder>,
    limits: ServeLimits,
    activity: &Arc<Activity>,
) {
    // Bounded by the streams that a client may have.
    let mut queries = JoinSet::new();
    while let Ok((send, receive)) = connection.accept_bi().await {
        while queries.try_join_next().is_some() {}
        let at_work = activity.begin();
        let (connection, responder) = (connection.clone(), responder.clone());
        let client = connection.remote_address().ip();
        queries.spawn(async move {
            let query = timeout(limits.whole_query, read(receive)).await;
            let answered = match query {
                Ok(Ok(query)) => timeout(limits.idle, answer(send, &query, client, &responder)).await,
                Ok(Err(broken)) => Ok(Err(broken)),
                Err(late) => Err(late),
            };
            if let Ok(Err(Broken)) = answered {
                connection.close(PROTOCOL_ERROR, b"not a query of DNS over QUIC");
            }
            drop(at_work);
        });
    }
}

/// The client does what RFC 9250 section 4.3.3 forbids.
struct Broken;

/// One query: a length, a message with id 0 and without keepalive, and no more.
async fn read(mut receive: RecvStream) -> Result<Vec<u8>, Broken> {
    let mut frame = receive.read_to_end(FRAME_MAX).await.map_err(|_| Broken)?;
    let (len, query) = frame.split_first_chunk().ok_or(Broken)?;
    let is_whole = usize::from(u16::from_be_bytes(*len)) == query.len();
    if !is_whole || !query.starts_with(&[0, 0]) || has_keepalive(query) {
        return Err(Broken);
    }
    Ok(frame.split_off(len.len()))
}

/// A client that does not want the reply any more is its own affair.
async fn answer(mut send: SendStream, query: &[u8], client: IpAddr, responder: &Responder) -> Result<(), Broken> {
    let transfer = asks_transfer(query).then(|| responder.transfer(query, client, Transport::Quic)).flatten();
    match transfer {
        Some(transfer) => {
            for message in transfer.messages() {
                if write(&mut send, &message).await.is_err() {
                    return Ok(());
                }
            }
        }
        None => {
            let reply = responder.respond(query, client, Transport::Quic).await.ok_or(Broken)?;
            let _ = write(&mut send, &reply).await;
        }
    }
    let _ = send.finish();
    Ok(())
}

async fn write(send: &mut SendStream, message: &[u8]) -> Result<(), WriteError> {
    // No message is longer than its length can say.
    let len = (message.len() as u16).to_be_bytes();
    send.write_all(&[&len, message].concat()).await
}
