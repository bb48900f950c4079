use super::*;
use crate::tests::{LOCAL, question, responder, set, texts, zone};
use futures::FutureExt;
use hickory_proto::rr::RecordType;

const WEB: &str = "web.shop.fabric.internal.";

fn door() -> Door {
    Door { responder: responder(zone(3)), client: LOCAL, whole_query: Duration::from_secs(5) }
}

fn request(method: &str, uri: &str, media_type: Option<&str>, body: Vec<u8>) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(uri);
    if let Some(media_type) = media_type {
        request = request.header(CONTENT_TYPE, media_type);
    }
    request.body(Full::from(body)).unwrap()
}

fn ask(request: Request<Full<Bytes>>) -> Response<Full<Bytes>> {
    answer(request, &door()).now_or_never().expect("nothing to wait for")
}

fn get(name: &str, record_type: RecordType) -> Request<Full<Bytes>> {
    let encoded = URL_SAFE_NO_PAD.encode(question(name, record_type, None).to_vec().unwrap());
    request("GET", &format!("/dns-query?dns={encoded}"), None, Vec::new())
}

fn message(response: Response<Full<Bytes>>) -> Message {
    let body = response.into_body().collect().now_or_never().unwrap().unwrap().to_bytes();
    Message::from_vec(&body).unwrap()
}

#[tokio::test]
async fn get_and_post_are_answered_with_type_and_lifetime() {
    let post = question(WEB, RecordType::A, None).to_vec().unwrap();
    for request in [get(WEB, RecordType::A), request("POST", PATH, Some(MEDIA_TYPE), post)] {
        let response = ask(request);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], MEDIA_TYPE);
        assert_eq!(response.headers()[CACHE_CONTROL], "max-age=1");
        assert_eq!(texts(&message(response)), set(["10.1.0.1"]));
    }
}

#[tokio::test]
async fn lifetime_of_a_negative_answer_is_its_soas_and_of_a_failure_none() {
    let age = |request| ask(request).headers()[CACHE_CONTROL].to_str().unwrap().to_owned();
    assert_eq!(age(get("nope.shop.fabric.internal.", RecordType::A)), "max-age=1");
    assert_eq!(age(get(WEB, RecordType::CAA)), "max-age=1");
    assert_eq!(age(get("example.org.", RecordType::A)), "max-age=0");
}

#[tokio::test]
async fn answers_longer_than_datagrams_come_whole() {
    let long = Door { responder: responder(zone(90)), ..door() };
    let request = get("crowd.shop.fabric.internal.", RecordType::A);
    let reply = message(answer(request, &long).now_or_never().unwrap());
    assert!(!reply.metadata.truncation);
    assert_eq!(reply.answers.len(), 90);
}

#[tokio::test]
async fn status_says_what_is_wrong() {
    let query = || question(WEB, RecordType::A, None).to_vec().unwrap();
    let cases = [
        (request("GET", "/", None, vec![]), 404),
        (request("GET", PATH, None, vec![]), 400),
        (request("GET", "/dns-query?dns=!!", None, vec![]), 400),
        (request("GET", "/dns-query?dns=", None, vec![]), 400),
        (request("PUT", PATH, Some(MEDIA_TYPE), query()), 405),
        (request("POST", PATH, None, query()), 415),
        (request("POST", PATH, Some("application/json"), query()), 415),
        (request("POST", PATH, Some(MEDIA_TYPE), vec![0; 65536]), 413),
        (request("POST", PATH, Some(MEDIA_TYPE), vec![1, 2, 3]), 400),
    ];
    for (request, status) in cases {
        let what = format!("{request:?}");
        let response = ask(request);
        assert_eq!(response.status().as_u16(), status, "{what}");
        assert_eq!(response.headers().contains_key(ALLOW), status == 405);
    }
}

#[tokio::test]
async fn malformed_query_of_dns_is_a_reply_of_dns() {
    let mut cut = question(WEB, RecordType::A, None).to_vec().unwrap();
    cut.truncate(20);
    let response = ask(request("POST", PATH, Some(MEDIA_TYPE), cut));
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(u16::from(message(response).metadata.response_code), 1);
}

#[tokio::test]
async fn transfers_do_not_come_by_http() {
    let reply = message(ask(get("fabric.internal.", RecordType::AXFR)));
    assert_eq!(u16::from(reply.metadata.response_code), 5);
}
