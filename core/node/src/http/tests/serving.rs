//! The life of the server and of what is quiet in it.

use super::super::events::Feed;
use super::super::server::Shared;
use super::fake::Fake;
use super::{DEADLINE, raw, run, with_token};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::join;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

#[tokio::test(start_paused = true)]
async fn a_quiet_event_stream_gives_a_sign_of_life_each_ten_seconds() {
    let fake = Arc::new(Fake::new());
    fake.recent.lock().unwrap().clear();
    let (_ending, ending_watched) = watch::channel(false);
    let shared = Arc::new(Shared { backend: fake.clone(), metrics: None, open: false, ending: ending_watched });
    let mut feed = Feed::new(shared, None, true, false);
    assert_eq!(feed.next_piece().await.as_deref(), Some(": hello\n\n"));
    let begun = tokio::time::Instant::now();
    assert_eq!(feed.next_piece().await.as_deref(), Some(": alive\n\n"));
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn a_dropped_server_frees_its_address() {
    let running = run(false);
    assert_eq!(raw(running.addr, "GET /health", &[], b"").await.status, 200);
    drop(running.server);
    let freed = async {
        while std::net::TcpListener::bind(running.addr).is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, freed).await.expect("a free address");
}

#[tokio::test]
async fn shutdown_does_not_wait_for_idle_connections() {
    let running = run(false);
    let mut idle = TcpStream::connect(running.addr).await.unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    timeout(Duration::from_millis(1900), running.server.shutdown()).await.expect("no wait");
}

/// On one thread, so that tokio hears of the client only after the server was told to end.
#[tokio::test]
async fn a_client_that_connected_before_the_end_is_answered() {
    for _ in 0..20 {
        let running = run(false);
        assert_eq!(raw(running.addr, "GET /health", &[], b"").await.status, 200, "it accepts");
        let client = std::net::TcpStream::connect(running.addr).unwrap();
        client.set_nonblocking(true).unwrap();
        let asks = async {
            sleep(Duration::from_millis(100)).await; // a busy machine lets a client wait as well
            let mut client = TcpStream::from_std(client)?;
            client.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.map(|_| answer)
        };
        let ((), answer) = timeout(DEADLINE, async { join!(running.server.shutdown(), asks) }).await.unwrap();
        assert!(std::net::TcpStream::connect(running.addr).is_err(), "nobody is let in after the end");
        let answer = answer.expect("not cut off");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    }
}

#[tokio::test]
async fn answers_may_not_be_stored_or_taken_for_something_else() {
    let running = run(false);
    for line in ["GET /v1/status", "GET /", "GET /v1/nonsense", "GET /v1/logs/shop/web.1"] {
        let answer = with_token(running.addr, line, &[], b"").await;
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{line}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{line}");
    }
}
