//! Who comes in.

use super::super::access::Door;
use super::super::bind::HttpBindError;
use super::super::{HttpConfig, HttpServer};
use super::fake::{Fake, TOKEN};
use super::{loopback, raw, run, with_token};
use crate::api::ErrorCode;
use crate::client::{ApiClient, ApiTarget};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

#[tokio::test]
async fn without_the_right_token_nothing_but_health_is_answered() {
    let running = run(false);
    for line in ["GET /v1/status", "GET /metrics", "GET /v1/openapi.json", "GET /v1/nonsense", "DELETE /v1/apps/shop"] {
        let nothing = raw(running.addr, line, &[], b"").await;
        assert_eq!((nothing.status, nothing.code().as_str()), (401, "unauthorized"), "{line}");
        assert!(nothing.header("www-authenticate").is_some_and(|h| h.starts_with("Bearer")));
        for wrong in ["Bearer wrong", "Bearer", "Basic NGYxYzlh", TOKEN] {
            let answer = raw(running.addr, line, &[&format!("Authorization: {wrong}")], b"").await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{line} {wrong}");
        }
    }
    assert!(running.fake.take_calls().is_empty());
    assert_eq!(raw(running.addr, "GET /health", &["Host: anything.example"], b"").await.status, 200);
    assert_eq!(with_token(running.addr, "GET /v1/status", &[], b"").await.status, 200);
    assert_eq!(
        raw(running.addr, "GET /v1/status", &[&format!("authorization: bearer {TOKEN}")], b"").await.status,
        200
    );

    let target = || ApiTarget::Http(format!("http://{}", running.addr));
    let error = ApiClient::new(target(), None).unwrap().status().await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unauthorized);
    assert!(error.help.unwrap().contains("TAFFETA_TOKEN"));
    let error = ApiClient::new(target(), Some("wrong".into())).unwrap().status().await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unauthorized);
    // A token that was read from a file has the line's end with it.
    ApiClient::new(target(), Some(format!("{TOKEN}\n"))).unwrap().status().await.unwrap();
}

#[tokio::test]
async fn the_cookie_may_read_but_not_change() {
    let running = run(false);
    let right = format!("Cookie: other=1; taffeta_token={TOKEN}");
    assert_eq!(raw(running.addr, "GET /v1/status", &[&right], b"").await.status, 200);
    assert_eq!(raw(running.addr, "GET /", &[&right], b"").await.status, 200);
    running.fake.take_calls();
    for line in ["DELETE /v1/apps/shop", "POST /v1/tokens", "POST /v1/apps/shop/restart"] {
        let answer = raw(running.addr, line, &[&right], b"").await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{line}");
    }
    for wrong in ["Cookie: taffeta_token=wrong", "Cookie: taffeta_token=", &format!("Cookie: token={TOKEN}")] {
        assert_eq!(raw(running.addr, "GET /v1/status", &[wrong], b"").await.status, 401, "{wrong}");
    }
    // What a request says aloud counts before what comes along with it.
    let answer = raw(running.addr, "GET /v1/status", &[&right, "Authorization: Bearer wrong"], b"").await;
    assert_eq!(answer.status, 401);
    assert!(running.fake.take_calls().is_empty());
}

#[tokio::test]
async fn in_open_mode_no_token_is_needed() {
    let running = run(true);
    let target = ApiTarget::Http(format!("http://{}", running.addr));
    let client = ApiClient::new(target, None).unwrap();
    client.status().await.unwrap();
    client.stop("shop".parse().unwrap()).await.unwrap();
    assert_eq!(raw(running.addr, "GET /", &[], b"").await.status, 200);
}

#[tokio::test]
async fn in_open_mode_a_strangers_web_page_is_refused() {
    let running = run(true);
    let port = running.addr.port();
    for host in [
        "evil.example",
        &format!("evil.example:{port}"),
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "[::1",
        "",
    ] {
        let answer = raw(running.addr, "GET /v1/status", &[&format!("Host: {host}")], b"").await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{host}");
    }
    let absolute = "GET http://evil.example/v1/status";
    assert_eq!(raw(running.addr, absolute, &[], b"").await.status, 403);
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}"), "LOCALHOST".into()]
    {
        let answer = raw(running.addr, "GET /v1/status", &[&format!("Host: {host}")], b"").await;
        assert_eq!(answer.status, 200, "{host}");
    }
    running.fake.take_calls();
    for origin in
        ["http://evil.example", "null", "https://127.0.0.1", &format!("https://127.0.0.1:{port}"), "http://127.0.0.1:1"]
    {
        let answer = raw(running.addr, "POST /v1/tokens", &[&format!("Origin: {origin}")], b"").await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{origin}");
    }
    assert!(running.fake.take_calls().is_empty());
    let own = format!("Origin: http://127.0.0.1:{port}");
    assert_eq!(raw(running.addr, "POST /v1/tokens", &[&own], b"").await.status, 200);
}

#[tokio::test]
async fn open_mode_is_refused_beyond_loopback() {
    for address in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
        let config = HttpConfig { listen: Some(address.parse().unwrap()), open: true, ..HttpConfig::default() };
        let Err(error) = HttpServer::bind(config, Arc::new(Fake::new())) else { panic!("{address} was opened") };
        assert!(matches!(error, HttpBindError::OpenBeyondLoopback(_)), "{error}");
        assert!(error.to_string().contains(address) && error.help().contains("--api-open"), "{error}");
    }
}

async fn check_socket(path: &Path) {
    let fake = Arc::new(Fake::new());
    let config = HttpConfig { unix_socket: Some(path.into()), ..HttpConfig::default() };
    let server = HttpServer::bind(config, fake.clone()).unwrap();
    assert_eq!(server.local_addr(), None);
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    let client = ApiClient::new(ApiTarget::Unix(path.into()), None).unwrap();
    client.status().await.unwrap();
    client.stop("shop".parse().unwrap()).await.unwrap();
    assert_eq!(fake.take_calls(), ["status", "stop shop"]);
    server.shutdown().await;
    assert!(!path.exists());
    let error = client.status().await.unwrap_err();
    assert_eq!((error.code, error.message), (ErrorCode::Failed, format!("no node answers at {}", path.display())));
}

#[tokio::test]
async fn the_socket_file_needs_no_token() {
    let folder = tempfile::tempdir().unwrap();
    check_socket(&folder.path().join("api.sock")).await;
}

#[tokio::test]
async fn the_socket_files_path_may_be_longer_than_an_address_holds() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("d".repeat(100)).join("e".repeat(100));
    std::fs::create_dir_all(&deep).unwrap();
    check_socket(&deep.join("api.sock")).await;
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.sock");
    // A killed process leaves its file behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let config = || HttpConfig { unix_socket: Some(path.clone()), ..HttpConfig::default() };
    let first = HttpServer::bind(config(), Arc::new(Fake::new())).unwrap();
    let Err(error) = HttpServer::bind(config(), Arc::new(Fake::new())) else { panic!("two servers on one socket") };
    assert!(matches!(error, HttpBindError::SocketInUse(_)), "{error}");
    ApiClient::new(ApiTarget::Unix(path.clone()), None).unwrap().status().await.unwrap();
    first.shutdown().await;

    std::fs::write(&path, "precious").unwrap();
    let Err(error) = HttpServer::bind(config(), Arc::new(Fake::new())) else { panic!("a file was replaced") };
    assert!(matches!(error, HttpBindError::NotASocket(_)), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn only_the_owner_and_root_are_let_in_by_the_socket_file() {
    assert_eq!(Door::of_user(1000, 1000), Door::Owner);
    assert_eq!(Door::of_user(0, 1000), Door::Owner);
    assert_eq!(Door::of_user(1001, 1000), Door::Stranger);
    assert_eq!(Door::of_user(1000, 0), Door::Stranger);
}

#[tokio::test]
async fn an_address_in_use_is_named_with_what_to_do() {
    let taken = std::net::TcpListener::bind(loopback()).unwrap();
    let address = taken.local_addr().unwrap();
    let config = HttpConfig { listen: Some(address), ..HttpConfig::default() };
    let Err(error) = HttpServer::bind(config, Arc::new(Fake::new())) else { panic!("bound twice") };
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert!(error.help().contains("--http"), "{}", error.help());
}
