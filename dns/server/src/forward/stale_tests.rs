use super::script::{Does, ask, ask_a, scripted};
use crate::{
    tests::{ede, question},
    *,
};
use hickory_proto::{op::ResponseCode, rr::RecordType};
use std::time::Duration;
use tokio::time::{Instant, advance, sleep};

const NAME: &str = "www.example.com.";
const EXPIRED: Duration = Duration::from_secs(301);

#[tokio::test(start_paused = true)]
async fn stale_answer_is_given_when_upstreams_fail_and_says_so() {
    for bad in [Does::Nothing, Does::Fail, Does::NotExist] {
        let (r, script) = scripted(&[Does::Answer]);
        ask_a(&r, NAME).await;
        advance(EXPIRED).await;
        script.becomes(0, bad);
        let start = Instant::now();
        let reply = ask_a(&r, NAME).await;
        assert_eq!((ede(&reply), reply.answers[0].ttl, reply.answers.len()), (Some(3), 30, 1), "{bad:?}");
        assert!(start.elapsed() <= Duration::from_millis(1801), "{bad:?}: {:?}", start.elapsed());
        let plain = ask(&r, &question(NAME, RecordType::A, None), Transport::Udp).await;
        assert!(plain.edns.is_none() && plain.answers.len() == 1);
    }
}

#[tokio::test(start_paused = true)]
async fn second_client_does_not_wait_for_upstreams_that_failed() {
    let (r, script) = scripted(&[Does::Answer]);
    ask_a(&r, NAME).await;
    advance(EXPIRED).await;
    script.becomes(0, Does::Nothing);
    ask_a(&r, NAME).await;
    // Through the time in which the failure is remembered, and beyond it.
    for _ in 0..20 {
        sleep(Duration::from_millis(700)).await;
        let start = Instant::now();
        assert_eq!(ede(&ask_a(&r, NAME).await), Some(3));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
    let attempts = script.asked().len();
    assert!((5..=15).contains(&attempts), "asked again behind the clients' backs, and rarely: {attempts}");
    script.becomes(0, Does::Answer);
    sleep(Duration::from_secs(6)).await;
    ask_a(&r, NAME).await;
    sleep(Duration::from_millis(1)).await;
    let fresh = ask_a(&r, NAME).await;
    assert_eq!((ede(&fresh), fresh.answers[0].ttl), (None, 300), "fresh again soon after they are back");
}

#[tokio::test(start_paused = true)]
async fn stale_answer_ends_after_a_day_and_a_denial_with_its_time() {
    let (r, script) = scripted(&[Does::Answer]);
    ask_a(&r, NAME).await;
    script.becomes(0, Does::Deny);
    ask_a(&r, "no.example.com.").await;
    script.becomes(0, Does::NotExist);
    advance(EXPIRED).await;
    assert_eq!(ask_a(&r, "no.example.com.").await.metadata.response_code, ResponseCode::ServFail);
    advance(Duration::from_secs(86_390)).await;
    assert_eq!(ede(&ask_a(&r, NAME).await), Some(3));
    advance(Duration::from_secs(10)).await;
    assert_eq!(ask_a(&r, NAME).await.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test(start_paused = true)]
async fn answer_that_changed_replaces_the_stale_one() {
    let (r, script) = scripted(&[Does::Answer]);
    ask_a(&r, NAME).await;
    advance(EXPIRED).await;
    script.becomes(0, Does::Deny);
    assert_eq!(ask_a(&r, NAME).await.metadata.response_code, ResponseCode::NXDomain);
    script.becomes(0, Does::Nothing);
    advance(Duration::from_secs(61)).await;
    assert_eq!(ask_a(&r, NAME).await.metadata.response_code, ResponseCode::ServFail, "what was denied is not revived");
}

#[tokio::test(start_paused = true)]
async fn failure_is_remembered_for_seconds_and_longer_when_it_repeats() {
    let (r, script) = scripted(&[Does::Fail]);
    let mut asked = Vec::new();
    for _ in 0..20 {
        assert_eq!(ask_a(&r, NAME).await.metadata.response_code, ResponseCode::ServFail);
        asked.push(script.asked().len());
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(asked, [1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 6, 6, 6]);
    script.becomes(0, Does::Answer);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(ask_a(&r, NAME).await.answers.len(), 1);
}
