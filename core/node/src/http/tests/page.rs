//! The web page.

use super::fake::TOKEN;
use super::{Answer, raw, run, with_token};
use crate::api::{ApiError, ErrorCode};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

fn assert_has(answer: &Answer, parts: &[&str]) {
    for part in parts {
        assert!(answer.body.contains(part), "`{part}` is missing in {}", answer.body);
    }
}

#[tokio::test]
async fn the_page_shows_machines_apps_tasks_and_events() {
    let running = run(false);
    let page = with_token(running.addr, "GET /", &[], b"").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_has(&page, &["<!DOCTYPE html>", "<svg", "n1", "n2", "0123456789abcdef0123456789abcdef", "♛"]);
    assert_has(&page, &["shop", "shop/web.1", "http 31022", "web 1/3", "event number 3", "memory is not limited here"]);
    assert_has(&page, &["2 faults are on on purpose", "No fault may be brought about on purpose"]);
    assert_has(&page, &["circle class=\"dot good\"", "circle class=\"dot bad\"", "circle class=\"voter\""]);
    assert_eq!(page.body.matches("circle class=\"voter\"").count(), 2);
    assert_eq!(page.body.matches("class=\"crown\"").count(), 1);
}

#[tokio::test]
async fn what_comes_from_the_cluster_is_escaped() {
    let running = run(false);
    for path in ["/", "/?fragment=1"] {
        let page = with_token(running.addr, &format!("GET {path}"), &[], b"").await;
        assert!(!page.body.contains("<script>alert"), "{}", page.body);
        assert!(!page.body.contains("n3<script>"), "{}", page.body);
        assert_has(&page, &["&lt;script&gt;alert(&quot;reason&quot;)", "n3&lt;script&gt;"]);
    }
}

#[tokio::test]
async fn the_fragment_is_what_is_inside_of_main() {
    let running = run(false);
    let page = with_token(running.addr, "GET /", &[], b"").await;
    let fragment = with_token(running.addr, "GET /?fragment=1", &[], b"").await;
    let inside = page.body.split_once("<main>").unwrap().1.split_once("</main>").unwrap().0;
    assert_eq!(inside, fragment.body);
}

#[tokio::test]
async fn the_browser_is_told_to_run_the_pages_own_script_only() {
    let running = run(false);
    let page = with_token(running.addr, "GET /", &[], b"").await;
    let policy = page.header("content-security-policy").unwrap();
    for (tag, directive) in [("script", "script-src"), ("style", "style-src")] {
        let text = page.body.split_once(&format!("<{tag}>")).unwrap().1.split_once(&format!("</{tag}>")).unwrap().0;
        let hash = BASE64_STANDARD.encode(taffeta_net::sha256(text.as_bytes()));
        assert!(policy.contains(&format!("{directive} 'sha256-{hash}'")), "{policy}");
    }
    assert!(policy.contains("default-src 'none'") && !page.body.contains(" style=\""));
    // Nothing is loaded from elsewhere.
    assert!(!page.body.contains("src=") && !page.body.contains("://"), "{}", page.body);
}

#[tokio::test]
async fn what_cannot_be_asked_leaves_the_rest_standing() {
    let running = run(false);
    *running.fake.failure.lock().unwrap() = Some(ApiError::new(ErrorCode::NoQuorum, "no leader <b>").help("wait"));
    let page = with_token(running.addr, "GET /", &[], b"").await;
    assert_eq!(page.status, 200);
    assert_has(&page, &["no leader &lt;b&gt;", "wait", "event number 3"]);
}

#[tokio::test]
async fn a_login_gives_a_cookie_that_opens_the_page() {
    let running = run(false);
    let form = raw(running.addr, "GET /", &[], b"").await;
    assert_eq!(form.status, 401);
    assert_has(&form, &["<form", "name=\"token\"", "action=\"/login\""]);
    assert!(!form.body.contains("shop"));

    let wrong = raw(running.addr, "POST /login", &[FORM], b"token=wrong").await;
    assert_eq!((wrong.status, wrong.header("set-cookie")), (401, None));
    assert_has(&wrong, &["not the administrator", "<form"]);

    let escaped = format!("x=1&token={}", TOKEN.replace('-', "%2D"));
    let right = raw(running.addr, "POST /login", &[FORM], escaped.as_bytes()).await;
    assert_eq!((right.status, right.header("location")), (303, Some("/")));
    let cookie = right.header("set-cookie").unwrap();
    assert!(cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Strict"), "{cookie}");
    let cookie = format!("Cookie: {}", cookie.split(';').next().unwrap());
    let page = raw(running.addr, "GET /", &[&cookie], b"").await;
    assert_eq!(page.status, 200);
    assert_has(&page, &["shop/web.1"]);
}
