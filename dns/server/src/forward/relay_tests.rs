use super::script::{Does, Script, ask, ask_a, listed, listed_for, responder, scripted, upstream};
use crate::{
    tests::{FOREIGN, LOCAL, ede, question},
    *,
};
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType,
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, advance, sleep};

const NAME: &str = "www.example.com.";

#[tokio::test]
async fn other_names_are_relayed_without_authority_or_claims() {
    let (r, _) = scripted(&[Does::Answer]);
    let reply = ask_a(&r, NAME).await;
    assert_eq!(reply.answers[0].data.to_string(), "203.0.113.0");
    assert_eq!(reply.answers[0].ttl, 300);
    let flags = reply.metadata;
    assert!(flags.recursion_available && flags.recursion_desired);
    assert!(!flags.authoritative && !flags.authentic_data, "we verified nothing");
    let own = ask_a(&r, "web.shop.fabric.internal.").await;
    assert!(own.metadata.authoritative && own.metadata.recursion_available);
}

#[tokio::test]
async fn foreign_clients_are_refused_what_is_not_ours_also_from_the_cache() {
    let (r, script) = scripted(&[Does::Answer]);
    let query = question(NAME, RecordType::A, Some(1232)).to_vec().unwrap();
    let refused = async || {
        let reply = Message::from_vec(&r.respond(&query, FOREIGN, Transport::Udp).await.unwrap()).unwrap();
        assert_eq!((reply.metadata.response_code, ede(&reply)), (ResponseCode::Refused, Some(18)));
        assert!(!reply.metadata.recursion_available);
    };
    refused().await;
    assert!(script.asked().is_empty());
    ask_a(&r, NAME).await;
    refused().await;
    assert_eq!(r.try_cached(&r.snapshot(), Instant::now(), &query, FOREIGN, &mut [0; 1232]), None);
    let own = question("web.shop.fabric.internal.", RecordType::A, None).to_vec().unwrap();
    let own = Message::from_vec(&r.respond(&own, FOREIGN, Transport::Udp).await.unwrap()).unwrap();
    assert!(own.answers.len() == 1 && !own.metadata.recursion_available);
}

#[tokio::test]
async fn addresses_of_this_machine_are_local_clients() {
    let config = ForwardConfig { own_addresses: vec![FOREIGN], ..listed(&[upstream(0)]) };
    let r = responder(config, Script::new(&[Does::Answer]));
    let query = question(NAME, RecordType::A, None).to_vec().unwrap();
    for client in ["192.0.2.7", "::ffff:192.0.2.7", "127.8.8.8", "::1"] {
        let reply = r.respond(&query, client.parse().unwrap(), Transport::Udp).await.unwrap();
        assert_eq!(reply[3] & 0xf, 0, "{client}");
    }
}

#[tokio::test(start_paused = true)]
async fn second_question_is_answered_from_the_cache_with_less_time_left() {
    let (r, script) = scripted(&[Does::Answer]);
    ask_a(&r, NAME).await;
    advance(Duration::from_millis(2500)).await;
    let reply = ask_a(&r, "WWW.Example.com.").await;
    assert_eq!(reply.answers[0].ttl, 298);
    assert_eq!(reply.queries[0].name().to_string(), "WWW.Example.com.");
    advance(Duration::from_millis(297_400)).await;
    assert_eq!(ask_a(&r, NAME).await.answers[0].ttl, 1);
    assert_eq!(script.asked(), [0]);
    advance(Duration::from_millis(100)).await;
    assert_eq!(ask_a(&r, NAME).await.answers[0].ttl, 300);
    assert_eq!(script.asked(), [0, 0]);
    let counts = r.forward_counts();
    assert_eq!((counts.hits, counts.misses, counts.entries), (2, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn denial_lives_as_long_as_its_proof_says_and_without_proof_not_at_all() {
    let (r, script) = scripted(&[Does::Deny]);
    let reply = ask_a(&r, NAME).await;
    assert_eq!((reply.metadata.response_code, reply.authorities[0].ttl), (ResponseCode::NXDomain, 60));
    advance(Duration::from_secs(59)).await;
    assert_eq!(ask_a(&r, NAME).await.authorities[0].ttl, 1);
    advance(Duration::from_secs(1)).await;
    ask_a(&r, NAME).await;
    assert_eq!(script.asked().len(), 2);
    script.becomes(0, Does::DenyWithoutProof);
    advance(Duration::from_secs(60)).await;
    ask_a(&r, NAME).await;
    ask_a(&r, NAME).await;
    assert_eq!(script.asked().len(), 4);
}

#[tokio::test]
async fn questions_that_differ_in_what_is_asked_do_not_share_an_answer() {
    let (r, script) = scripted(&[Does::Answer]);
    let mut queries = vec![question(NAME, RecordType::A, None), question(NAME, RecordType::ANY, None)];
    let mut checking_disabled = question(NAME, RecordType::A, None);
    checking_disabled.metadata.checking_disabled = true;
    let mut dnssec_ok = question(NAME, RecordType::A, Some(1232));
    dnssec_ok.edns.as_mut().unwrap().set_dnssec_ok(true);
    queries.extend([checking_disabled, dnssec_ok]);
    for query in &queries {
        let reply = ask(&r, query, Transport::Udp).await;
        assert_eq!(reply.metadata.checking_disabled, query.metadata.checking_disabled);
        assert_eq!(reply.edns.is_some(), query.edns.is_some());
        ask(&r, query, Transport::Udp).await;
    }
    assert_eq!(script.asked().len(), queries.len());
}

#[tokio::test(start_paused = true)]
async fn equal_questions_share_an_exchange() {
    let (r, script) = scripted(&[Does::AnswerAfter(Duration::from_millis(50))]);
    let all = futures::future::join_all((0..20).map(|_| ask_a(&r, NAME))).await;
    assert!(all.iter().all(|reply| reply.answers.len() == 1));
    assert_eq!(script.asked(), [0]);
    assert_eq!(r.forward_counts().shared, 19);
}

#[tokio::test(start_paused = true)]
async fn answer_is_kept_though_the_client_went_away() {
    let (r, script) = scripted(&[Does::AnswerAfter(Duration::from_millis(50))]);
    let gone = tokio::time::timeout(Duration::from_millis(10), ask_a(&r, NAME)).await;
    assert!(gone.is_err());
    sleep(Duration::from_millis(50)).await;
    assert_eq!(ask_a(&r, NAME).await.answers.len(), 1);
    assert_eq!(script.asked(), [0]);
}

#[tokio::test(start_paused = true)]
async fn bad_upstreams_are_passed_over_and_then_spared() {
    use Does::{AnswerAnother, Babble, Fail, NotExist, Nothing, Refuse};
    for bad in [Fail, Refuse, Nothing, NotExist, AnswerAnother, Babble] {
        let (r, script) = scripted(&[bad, Does::Answer]);
        let start = Instant::now();
        assert_eq!(ask_a(&r, NAME).await.answers[0].data.to_string(), "203.0.113.1", "{bad:?}");
        assert!(start.elapsed() <= Duration::from_millis(101), "{bad:?}");
        assert_eq!(script.asked(), [0, 1]);
        // By then it is known that it stays silent, and it is too early to try it again.
        advance(Duration::from_millis(if bad == Nothing { 1500 } else { 500 })).await;
        ask_a(&r, "other.example.com.").await;
        assert_eq!(script.asked(), [0, 1, 1], "{bad:?}: the one that answers is asked first from now on");
    }
}

#[tokio::test(start_paused = true)]
async fn flapping_upstreams_cost_time_but_no_answers() {
    let (r, script) = scripted(&[Does::Answer, Does::Answer]);
    for i in 0..200 {
        // Always one of them works, and never for long.
        script.becomes(u8::from(i % 8 < 4), Does::Nothing);
        script.becomes(u8::from(i % 8 >= 4), Does::Answer);
        let start = Instant::now();
        assert_eq!(ask_a(&r, &format!("n{i}.example.com.")).await.answers.len(), 1, "{i}");
        assert!(start.elapsed() <= Duration::from_millis(401), "{i}: {:?}", start.elapsed());
        sleep(Duration::from_millis(700)).await;
    }
    let counts = r.forward_counts();
    assert!(counts.failures == 0 && counts.hedges > 0 && counts.upstream_failures > 0, "{counts:?}");
}

#[tokio::test]
async fn change_of_resolv_conf_is_followed() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let system = Upstreams::System { resolv_conf: file.path().into(), behind_stub: "/nowhere/at/all".into() };
    let config = ForwardConfig { reread_after: Duration::ZERO, ..ForwardConfig::new(system, Vec::new()) };
    let script = Script::new(&[Does::Answer; 3]);
    let r = responder(config, script.clone());
    for at in [2, 1] {
        std::fs::write(file.path(), format!("nameserver {}\n", upstream(at).ip())).unwrap();
        ask_a(&r, &format!("n{at}.example.com.")).await;
    }
    assert_eq!(script.asked(), [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn denials_and_failed_signatures_are_final() {
    for (does, code) in [(Does::Deny, ResponseCode::NXDomain), (Does::FailAsBogus, ResponseCode::ServFail)] {
        let (r, script) = scripted(&[does, Does::Answer]);
        let reply = ask_a(&r, NAME).await;
        assert_eq!(reply.metadata.response_code, code);
        assert_eq!(ede(&reply), (does == Does::FailAsBogus).then_some(6), "what the upstream says of it is passed on");
        ask_a(&r, NAME).await;
        assert_eq!(script.asked(), [0], "both are remembered");
    }
}

#[tokio::test(start_paused = true)]
async fn refusal_of_all_is_relayed_after_one_round() {
    let (r, script) = scripted(&[Does::Fail, Does::Refuse]);
    assert_eq!(ask_a(&r, NAME).await.metadata.response_code, ResponseCode::Refused);
    assert_eq!(script.asked(), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn silence_of_all_is_servfail_within_the_budget() {
    for count in 1..=3 {
        let (r, script) = scripted(&[Does::Nothing; 3][..count]);
        let start = Instant::now();
        let reply = ask_a(&r, NAME).await;
        assert_eq!((reply.metadata.response_code, ede(&reply)), (ResponseCode::ServFail, Some(22)));
        assert!(start.elapsed() <= Duration::from_millis(2501), "{:?}", start.elapsed());
        assert_eq!(script.asked().len(), 2 * count, "each is asked twice, as packets get lost");
    }
    let (r, _) = scripted(&[Does::NotExist; 2]);
    let start = Instant::now();
    assert_eq!(ede(&ask_a(&r, NAME).await), Some(23));
    assert_eq!(start.elapsed(), Duration::ZERO, "nobody is waited for who cannot be reached");
}

#[tokio::test]
async fn upstream_without_edns_is_asked_without() {
    let (r, script) = scripted(&[Does::NotKnowEdns]);
    assert_eq!(ask_a(&r, NAME).await.answers.len(), 1);
    assert_eq!(ask_a(&r, "other.example.com.").await.answers.len(), 1);
    assert_eq!(script.asked().len(), 3, "that is remembered");
}

#[tokio::test]
async fn truncated_reply_goes_back_by_udp_and_is_fetched_whole_for_tcp() {
    let (r, script) = scripted(&[Does::Cut]);
    let query = question(NAME, RecordType::A, Some(1232));
    assert!(ask(&r, &query, Transport::Udp).await.metadata.truncation);
    let whole = ask(&r, &query, Transport::Tcp).await;
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 250);
    assert_eq!(script.asked_by(), [Transport::Udp, Transport::Udp, Transport::Tcp]);
    // Now the whole is known, also to who cannot take it.
    let cut = ask(&r, &query, Transport::Udp).await;
    assert!(cut.metadata.truncation && cut.answers.is_empty() && cut.edns.is_some());
    assert_eq!(ask(&r, &query, Transport::Tcp).await.answers.len(), 250);
    assert_eq!(script.asked().len(), 3);
}

#[tokio::test]
async fn case_is_restored_when_the_upstream_folds_it() {
    let (r, _) = scripted(&[Does::FoldCase]);
    let query = question("wWw.ExAmPlE.CoM.", RecordType::A, None).to_vec().unwrap();
    let reply = r.respond(&query, LOCAL, Transport::Udp).await.unwrap();
    assert_eq!(reply[12..query.len()], query[12..]);
}

#[tokio::test]
async fn without_recursion_desired_only_the_cache_answers() {
    let (r, script) = scripted(&[Does::Answer]);
    let mut query = question(NAME, RecordType::A, Some(1232));
    query.metadata.recursion_desired = false;
    let reply = ask(&r, &query, Transport::Udp).await;
    assert_eq!((reply.metadata.response_code, ede(&reply)), (ResponseCode::Refused, Some(20)));
    assert!(script.asked().is_empty());
    ask_a(&r, NAME).await;
    let reply = ask(&r, &query, Transport::Udp).await;
    assert!(reply.answers.len() == 1 && !reply.metadata.recursion_desired);
}

#[tokio::test]
async fn without_an_upstream_it_is_servfail_with_a_reason() {
    let (r, _) = scripted(&[]);
    let reply = ask_a(&r, NAME).await;
    assert_eq!((reply.metadata.response_code, ede(&reply)), (ResponseCode::ServFail, Some(22)));
}

#[tokio::test(start_paused = true)]
async fn questions_beyond_the_bounds_are_shed_at_once() {
    let silent = [Does::Nothing];
    for (in_flight_max, waiting_max) in [(2, 100), (100, 2)] {
        let config = ForwardConfig { in_flight_max, waiting_max, ..listed_for(&silent) };
        let r = responder(config, Script::new(&silent));
        let waiting: Vec<_> = (0..2)
            .map(|i| {
                let r = r.clone();
                tokio::spawn(async move { ask_a(&r, &format!("n{i}.example.com.")).await })
            })
            .collect();
        tokio::task::yield_now().await;
        let start = Instant::now();
        let shed = ask_a(&r, NAME).await;
        assert_eq!((shed.metadata.response_code, ede(&shed)), (ResponseCode::ServFail, Some(0)));
        assert_eq!(start.elapsed(), Duration::ZERO);
        for task in waiting {
            task.await.unwrap();
        }
        // Those that landed may still wait for stragglers.
        sleep(Duration::from_secs(2)).await;
        assert_eq!(ede(&ask_a(&r, NAME).await), Some(22), "places are given back");
        assert_eq!(r.forward_counts().shed, 1);
    }
}

#[tokio::test]
async fn own_names_never_come_from_the_cache() {
    let (r, script) = scripted(&[Does::Answer]);
    ask_a(&r, "web.shop.fabric.internal.").await;
    ask_a(&r, "nobody.fabric.internal.").await;
    assert!(script.asked().is_empty());
    assert_eq!(r.forward_counts().entries, 0);
}

#[tokio::test]
async fn fast_path_writes_what_the_full_path_says() {
    let (r, _) = scripted(&[Does::Answer]);
    let mut out = [0; 1232];
    for edns in [None, Some(512), Some(4096)] {
        let packet = question("wWw.example.com.", RecordType::A, edns).to_vec().unwrap();
        if edns.is_none() {
            assert_eq!(
                r.try_cached(&r.snapshot(), Instant::now(), &packet, LOCAL, &mut out),
                None,
                "not in the cache yet"
            );
        }
        r.respond(&packet, LOCAL, Transport::Udp).await.unwrap();
        let full = r.respond(&packet, LOCAL, Transport::Udp).await.unwrap();
        let len = r.try_cached(&r.snapshot(), Instant::now(), &packet, LOCAL, &mut out).expect("a hit");
        assert_eq!(out[..len], full);
        assert_eq!(r.try_cached(&r.snapshot(), Instant::now(), &packet, LOCAL, &mut [0; 20]), None, "no room");
    }
    let _: Arc<dyn Send + Sync> = r;
}
