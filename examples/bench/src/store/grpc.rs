//! As much of gRPC over HTTP/2 as a benchmark needs: unary calls with a byte string in and one out. The messages are of
//! a few fields, so they are written by hand (protobuf's encoding: protobuf.dev/programming-guides/encoding).

use anyhow::{Context, Result, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{Request, header::CONTENT_TYPE};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Streams that may wait for a connection at once: no client waits for another's.
const WINDOW: u32 = 1 << 20;

/// A connection, shared by its clones.
#[derive(Clone)]
pub(crate) struct Channel {
    sender: SendRequest<Bytes>,
    server: SocketAddr,
}

impl Channel {
    /// Connects. Must be called inside of a tokio runtime, which drives the connection from then on.
    pub(crate) async fn connect(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let (sender, connection) = builder.handshake(stream).await?;
        tokio::spawn(async move {
            let _ = connection.await; // whoever calls over it hears of its end
        });
        Ok(Self { sender, server })
    }

    /// Calls a method, as `/etcdserverpb.KV/Put`.
    pub(crate) async fn call(&mut self, method: &str, message: &[u8]) -> Result<Bytes> {
        let request = Request::post(format!("http://{}{method}", self.server))
            .header(CONTENT_TYPE, "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut sender = self.sender.clone().ready().await?;
        let (reply, mut body) = sender.send_request(request, false)?;
        let mut frame = BytesMut::with_capacity(5 + message.len());
        frame.put_u8(0); // not compressed
        frame.put_u32(u32::try_from(message.len())?);
        frame.put_slice(message);
        body.send_data(frame.freeze(), true)?;
        let mut body = reply.await?.into_body();
        let mut received = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            received.extend_from_slice(&data);
        }
        let trailers = body.trailers().await?.context("a reply without a status")?;
        let status = trailers.get("grpc-status").context("a reply without a status")?;
        if status != "0" {
            bail!("gRPC status {status:?}: {:?}", trailers.get("grpc-message"));
        }
        ensure!(received.len() >= 5, "a reply without a message");
        Ok(received.split_off(5).freeze())
    }
}

/// Appends a field of bytes.
pub(crate) fn put_bytes(message: &mut Vec<u8>, field: u8, value: &[u8]) {
    message.push(field << 3 | 2);
    put_varint(message, value.len() as u64);
    message.extend_from_slice(value);
}

fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A whole number.
    Number(u64),
    /// Bytes, text or a message.
    Bytes(&'a [u8]),
}

/// The first value of a field, if the message has it and can be read up to there.
pub(crate) fn field(mut message: &[u8], wanted: u64) -> Option<Value<'_>> {
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        let value = match key & 7 {
            0 => Value::Number(take_varint(&mut message)?),
            2 => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                let (value, rest) = message.split_at_checked(length)?;
                message = rest;
                Value::Bytes(value)
            }
            _ => return None, // fixed-width numbers are in no message that is read here
        };
        if key >> 3 == wanted {
            return Some(value);
        }
    }
    None
}

fn take_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut message = vec![];
        put_bytes(&mut message, 1, b"key");
        put_bytes(&mut message, 2, &[7; 300]);
        assert_eq!(&message[..5], [0x0a, 3, b'k', b'e', b'y']);
        assert_eq!(field(&message, 2), Some(Value::Bytes(&[7; 300])));
        assert_eq!(field(&message, 3), None);
        assert_eq!(field(&[0x20, 0x96, 0x01], 4), Some(Value::Number(150)));
        assert_eq!(field(&message[..20], 2), None, "cut off");
    }
}
