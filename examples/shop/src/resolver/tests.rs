use super::{ResolveError, Resolver, Target};
use crate::{
    fake_dns::{FakeDns, Via, a, add_target, failure, name, reply_to},
    order::Dice,
};
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType,
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
};

const NAME: &str = "_http._tcp.orders.shop.fabric.internal";
const HOST: &str = "1.orders.shop.fabric.internal.";
const IP: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

async fn targets(dns: &FakeDns) -> Result<Vec<Target>, ResolveError> {
    Resolver::new(dns.address).targets(NAME, 3, &Dice::new(1)).await
}

/// One target, its address in the additional section.
fn whole(query: &Message) -> Message {
    let mut reply = reply_to(query);
    add_target(&mut reply, 0, 0, 31022, HOST);
    reply.add_additional(a(HOST, IP));
    reply
}

fn one() -> Vec<Target> {
    vec![Target { host: HOST.trim_end_matches('.').into(), address: SocketAddr::new(IP.into(), 31022) }]
}

#[tokio::test]
async fn addresses_come_from_the_additional_section() {
    let dns = FakeDns::start(|query, _| vec![whole(query)]).await;
    assert_eq!(targets(&dns).await.unwrap(), one());
    assert_eq!(dns.asked(), 1);
}

#[tokio::test]
async fn the_question_is_the_service_in_the_zone() {
    let dns = FakeDns::start(|query, _| {
        let expected = query.queries.len() == 1
            && *query.queries[0].name() == name(&format!("{NAME}."))
            && query.queries[0].query_type() == RecordType::SRV
            && query.max_payload() == 1232;
        vec![if expected { whole(query) } else { failure(query, ResponseCode::FormErr) }]
    })
    .await;
    assert_eq!(targets(&dns).await.unwrap(), one());
}

#[tokio::test]
async fn an_address_that_is_not_there_is_asked_for() {
    let dns = FakeDns::start(|query, _| {
        let mut reply = reply_to(query);
        if query.queries[0].query_type() == RecordType::SRV {
            add_target(&mut reply, 0, 0, 31022, HOST);
            reply.add_additional(a("another.example.", Ipv4Addr::LOCALHOST));
        } else {
            reply.add_answer(a(HOST, IP));
        }
        vec![reply]
    })
    .await;
    assert_eq!(targets(&dns).await.unwrap(), one());
    assert_eq!(dns.asked(), 2);
}

#[tokio::test]
async fn a_target_without_an_address_is_passed_over() {
    let dns = FakeDns::start(|query, _| {
        if query.queries[0].query_type() != RecordType::SRV {
            return vec![failure(query, ResponseCode::NXDomain)];
        }
        let mut reply = whole(query);
        add_target(&mut reply, 0, 0, 31023, "gone.example.");
        vec![reply]
    })
    .await;
    assert_eq!(targets(&dns).await.unwrap(), one());
}

#[tokio::test]
async fn no_more_targets_than_wanted_are_given() {
    let dns = FakeDns::start(|query, _| {
        let mut reply = reply_to(query);
        (1..=9).for_each(|port| add_target(&mut reply, 0, 0, port, HOST));
        reply.add_additional(a(HOST, IP));
        vec![reply]
    })
    .await;
    assert_eq!(targets(&dns).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let dns = FakeDns::start(|query, via| {
        if via == Via::Tcp {
            return vec![whole(query)];
        }
        let mut reply = reply_to(query);
        reply.metadata.truncation = true;
        vec![reply]
    })
    .await;
    assert_eq!(targets(&dns).await.unwrap(), one());
    assert_eq!(dns.asked(), 2);
}

#[tokio::test]
async fn a_lost_packet_is_asked_for_again() {
    let count = AtomicUsize::new(0);
    let dns = FakeDns::start(move |query, _| {
        let lost = count.fetch_add(1, Ordering::SeqCst) == 0;
        if lost { vec![] } else { vec![whole(query)] }
    })
    .await;
    assert_eq!(targets(&dns).await.unwrap(), one());
    assert_eq!(dns.asked(), 2);
}

#[tokio::test]
async fn a_silent_server_is_given_up_after_two_tries() {
    let dns = FakeDns::start(|_, _| vec![]).await;
    assert!(matches!(targets(&dns).await, Err(ResolveError::NoAnswer(server)) if server == dns.address));
    assert_eq!(dns.asked(), 2);
}

#[tokio::test]
async fn replies_to_other_questions_are_ignored() {
    let dns = FakeDns::start(|query, _| {
        let mut wrong_id = failure(query, ResponseCode::NXDomain);
        wrong_id.metadata.id = query.metadata.id.wrapping_add(1);
        let mut wrong_question = failure(query, ResponseCode::NXDomain);
        wrong_question.queries[0].set_name(name("other.example."));
        let mut echo = query.clone();
        echo.metadata.response_code = ResponseCode::NXDomain;
        vec![wrong_id, wrong_question, echo, whole(query)]
    })
    .await;
    assert_eq!(targets(&dns).await.unwrap(), one());
    assert_eq!(dns.asked(), 1);
}

#[tokio::test]
async fn an_unknown_name_and_one_without_instances_are_told_apart() {
    let unknown = FakeDns::start(|query, _| vec![failure(query, ResponseCode::NXDomain)]).await;
    assert!(matches!(targets(&unknown).await, Err(ResolveError::NoSuchName)));
    let empty = FakeDns::start(|query, _| vec![reply_to(query)]).await;
    assert!(matches!(targets(&empty).await, Err(ResolveError::NoInstance)));
    let root = FakeDns::start(|query, _| {
        let mut reply = reply_to(query);
        add_target(&mut reply, 0, 0, 0, ".");
        vec![reply]
    })
    .await;
    assert!(matches!(targets(&root).await, Err(ResolveError::NoInstance)));
    let broken = FakeDns::start(|query, _| vec![failure(query, ResponseCode::ServFail)]).await;
    assert!(matches!(targets(&broken).await, Err(ResolveError::Refused(ResponseCode::ServFail))));
}

#[tokio::test]
async fn a_name_that_dns_cannot_carry_is_refused_unasked() {
    let dns = FakeDns::start(|query, _| vec![whole(query)]).await;
    let long = format!("_http._tcp.{}.fabric.internal", "x".repeat(64));
    let refused = Resolver::new(dns.address).targets(&long, 3, &Dice::new(1)).await;
    assert!(matches!(refused, Err(ResolveError::NotAName(_))));
    assert_eq!(dns.asked(), 0);
}
