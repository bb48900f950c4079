//! WebSockets (RFC 6455) on connections that HTTP has handed over: what both ends of a command share.

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{Stream, StreamExt};
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{Role, WebSocketConfig},
    },
};

/// Between two signs of life that each end gives: what is between them must not take a command that waits for a connection
/// that is forgotten.
pub(crate) const ALIVE_EVERY: Duration = Duration::from_secs(10);

/// Three missed ones mean that the other end, or the way to it, is gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Largest message: a piece of input or output, and room for what other clients send at once.
const MESSAGE_BYTES_MAX: usize = 256 << 10;

/// Makes the answer to a client's key: RFC 6455, section 1.3.
const SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The proof that a client's request was understood.
pub(crate) fn accept(key: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{SUFFIX}").as_bytes());
    STANDARD.encode(digest)
}

/// The node's end.
pub(crate) async fn server<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> WebSocketStream<S> {
    WebSocketStream::from_raw_socket(stream, Role::Server, Some(config())).await
}

/// The client's end.
pub(crate) async fn client<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> WebSocketStream<S> {
    WebSocketStream::from_raw_socket(stream, Role::Client, Some(config())).await
}

/// The next message of any kind, signs of life included; the error says in words why there will be none. Safe to cancel.
pub(crate) async fn hear<M>(messages: &mut M) -> Result<Message, String>
where
    M: Stream<Item = Result<Message, Error>> + Unpin,
{
    match timeout(SILENCE_MAX, messages.next()).await {
        Ok(Some(Ok(message))) => Ok(message),
        Ok(Some(Err(e))) => Err(e.to_string()),
        Ok(None) => Err("the connection ended".into()),
        Err(_) => Err(format!("no sign of life for {SILENCE_MAX:?}")),
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
        .read_buffer_size(16 << 10)
        .write_buffer_size(0) // what is said is sent at once
        .max_write_buffer_size(2 * MESSAGE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::{Message, accept, client, hear, server};
    use bytes::Bytes;
    use futures::SinkExt;

    #[test]
    fn the_proof_is_that_of_the_rfc() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_nothing_not_even_that_it_lives_is_gone() {
        let (near, far) = tokio::io::duplex(1 << 10);
        let (mut near, mut far) = (client(near).await, server(far).await);
        far.send(Message::Ping(Bytes::new())).await.unwrap();
        assert!(matches!(hear(&mut near).await, Ok(Message::Ping(_))));
        assert_eq!(hear(&mut near).await.unwrap_err(), "no sign of life for 30s");
        drop(far);
        assert_ne!(hear(&mut near).await.unwrap_err(), "no sign of life for 30s");
    }
}
