//! A small document of a task.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

/// The body that `GET path` at `addr` is answered with, if the status is a success, the body is no larger than
/// `bytes_max`, and all of it comes within `limit`. The error is a short reason.
pub async fn http_read(addr: SocketAddr, path: &str, bytes_max: usize, limit: Duration) -> Result<Vec<u8>, String> {
    let mut driver = JoinSet::new(); // closes the connection when it is dropped
    let asked = async {
        let stream = TcpStream::connect(addr).await.map_err(|e| e.to_string())?;
        let broken = |e: hyper::Error| format!("the answer is not HTTP: {e}");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        driver.spawn(connection);
        let request = Request::get(path).header("host", addr.to_string()).header("user-agent", "taffeta-autoscale");
        let request = request.body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        if !answer.status().is_success() {
            return Err(format!("HTTP {}", answer.status().as_u16()));
        }
        let body = Limited::new(answer.into_body(), bytes_max).collect().await.map_err(|e| e.to_string())?;
        Ok(body.to_bytes().to_vec())
    };
    timeout(limit, asked).await.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
}

#[cfg(test)]
mod tests {
    use super::http_read;
    use std::time::Duration;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    #[tokio::test]
    async fn a_body_in_chunks_is_read_and_one_that_is_too_large_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await;
                let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let limit = Duration::from_secs(5);
        assert_eq!(http_read(at, "/metrics", 5, limit).await.unwrap(), b"abcde");
        http_read(at, "/metrics", 4, limit).await.unwrap_err();
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let late = http_read(silent.local_addr().unwrap(), "/", 9, Duration::from_millis(50)).await;
        assert_eq!(late.unwrap_err(), "no answer within 50ms");
    }
}
