//! Targets, failures and probes. The verbs are tested together with the server.

use super::{ApiClient, ApiTarget, http_probe, tcp_probe};
use crate::api::{ApiError, ErrorCode};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

const LIMIT: Duration = Duration::from_secs(20);

fn client(url: &str) -> Result<ApiClient, ApiError> {
    ApiClient::new(ApiTarget::Http(url.into()), None)
}

/// An address on which nobody listens: it was free a moment ago, and no other test binds a port of this host.
async fn silent_address() -> SocketAddr {
    TcpListener::bind("127.0.0.9:0").await.unwrap().local_addr().unwrap()
}

/// Answers one connection with `answer` once a request's head has come, and gives the head back.
async fn answering(answer: impl Into<Vec<u8>>) -> (SocketAddr, oneshot::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, receiver) = oneshot::channel();
    let answer = answer.into();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let _ = sender.send(String::from_utf8(head).unwrap());
        let _ = stream.write_all(&answer).await;
    });
    (addr, receiver)
}

#[test]
fn only_plain_http_urls_without_a_path_are_taken() {
    for url in ["http://127.0.0.1:7480", "http://localhost:7480/", "http://[::1]:7480", "http://node-1.example"] {
        client(url).unwrap_or_else(|e| panic!("{url}: {e}"));
    }
    let wrong = [
        "https://127.0.0.1:7480",
        "127.0.0.1:7480",
        "localhost",
        "ftp://127.0.0.1",
        "http://",
        "http://:7480",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:",
        "http://127.0.0.1:7480/v1",
        "http://user@127.0.0.1:7480",
        "http://a b",
        "",
    ];
    for url in wrong {
        let error = client(url).map(drop).expect_err(url);
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::Invalid, Some("api")), "{url}");
        assert!(error.message.contains(url) && error.help.is_some(), "{error}");
    }
    assert!(client("https://127.0.0.1").unwrap_err().message.contains("https"));
}

#[test]
fn a_token_with_odd_characters_is_refused_before_anything_is_sent() {
    for token in ["", " \n", "a b", "a\nb", "ü"] {
        let made = ApiClient::new(ApiTarget::Http("http://127.0.0.1:1".into()), Some(token.into()));
        assert_eq!(made.map(drop).expect_err(token).code, ErrorCode::Invalid);
    }
}

#[tokio::test]
async fn a_refused_connection_says_that_no_node_answers_there() {
    let url = format!("http://{}", silent_address().await);
    let error = client(&url).unwrap().status().await.unwrap_err();
    assert_eq!((error.code, error.message), (ErrorCode::Failed, format!("no node answers at {url}")));
    assert!(error.help.unwrap().contains("taffeta up"));
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_given_up_in_time() {
    // Accepted by the kernel, answered by nobody.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = client(&url).unwrap().time_limit(Duration::from_millis(50));
    let error = client.status().await.unwrap_err();
    assert_eq!((error.code, error.message), (ErrorCode::Timeout, format!("{url} did not answer within 50ms")));
    assert_eq!(client.events(None).await.err().unwrap().code, ErrorCode::Timeout);
}

#[tokio::test]
async fn an_answer_of_something_else_is_told_from_a_nodes() {
    let answers = [
        "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\noops",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\noops",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ];
    for answer in answers {
        let (addr, _head) = answering(answer).await;
        let error = client(&format!("http://{addr}")).unwrap().status().await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Failed, "{answer}");
        assert!(error.message.contains(&addr.to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_probe_passes_from_200_to_399() {
    for (status, passes) in
        [(200, true), (204, true), (301, true), (399, true), (400, false), (404, false), (503, false)]
    {
        let (addr, head) = answering(format!("HTTP/1.1 {status} Some Reason\r\nContent-Length: 0\r\n\r\n")).await;
        let result = http_probe(addr, "/health?deep=1", LIMIT).await;
        let expected = if passes { Ok(()) } else { Err(format!("HTTP {status}")) };
        assert_eq!(result, expected);
        let head = head.await.unwrap();
        assert!(head.starts_with("GET /health?deep=1 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nHost: {addr}\r\n")), "{head}");
    }
}

#[tokio::test]
async fn a_probe_says_in_short_what_is_wrong() {
    let silent = silent_address().await;
    assert_eq!(http_probe(silent, "/", LIMIT).await.unwrap_err(), "connection refused");
    assert_eq!(tcp_probe(silent, LIMIT).await.unwrap_err(), "connection refused");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = listener.local_addr().unwrap();
    let error = http_probe(mute, "/", Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error, "no answer within 50ms");
    assert_eq!(tcp_probe(mute, LIMIT).await, Ok(()));

    let (addr, _head) = answering("").await;
    assert_eq!(http_probe(addr, "/", LIMIT).await.unwrap_err(), "connection closed without an answer");
    for nonsense in ["SSH-2.0\r\n", "HTTP/1.1 2000 OK\r\n", "HTTP/1.1 +20 OK\r\n", "HTTP/1.1\r\n", "HTTP/1.1 20"] {
        let (addr, _head) = answering(nonsense).await;
        assert_eq!(http_probe(addr, "/", LIMIT).await.unwrap_err(), "the answer is not HTTP", "{nonsense:?}");
    }
    assert!(http_probe(silent, "health", LIMIT).await.unwrap_err().contains("not a path"));
    assert!(http_probe(silent, "/a\r\nX: y", LIMIT).await.unwrap_err().contains("not a path"));
}

#[tokio::test]
async fn an_answer_without_end_does_not_hold_a_probe_up() {
    // A first line that never ends, and a body that never does.
    let (addr, _head) = answering(vec![b'a'; 1 << 20]).await;
    assert_eq!(http_probe(addr, "/", LIMIT).await.unwrap_err(), "the answer is not HTTP");
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless.resize(8 << 20, b'a');
    let (addr, _head) = answering(endless).await;
    assert_eq!(http_probe(addr, "/", LIMIT).await, Ok(()));
}
