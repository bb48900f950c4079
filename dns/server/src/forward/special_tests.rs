use super::script::{Does, Script, ask, ask_a, listed, responder, scripted, upstream};
use crate::{tests::question, *};
use hickory_proto::{op::ResponseCode, rr::RecordType};
use taffeta_dns_answer::Name;

const LOOPBACK_V6: &str = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

#[tokio::test]
async fn special_names_are_answered_here_and_never_leak() {
    let (r, script) = scripted(&[Does::Answer]);
    for text in [
        "7.1.168.192.in-addr.arpa.",
        "1.2.3.10.in-addr.arpa.",
        "1.0.31.172.in-addr.arpa.",
        "9.9.64.100.in-addr.arpa.",
        "2.0.0.127.in-addr.arpa.",
        "4.3.254.169.IN-ADDR.ARPA.",
        "1.0.c.f.ip6.arpa.",
        "1.0.0.d.f.ip6.arpa.",
        "x.a.e.f.ip6.arpa.",
        "printer.local.",
        "hidden.onion.",
        "some.alt.",
        "x.invalid.",
        "x.test.",
    ] {
        let reply = ask(&r, &question(text, RecordType::PTR, None), Transport::Udp).await;
        let flags = reply.metadata;
        assert_eq!((flags.response_code, flags.authoritative), (ResponseCode::NXDomain, true), "{text}");
        assert!(flags.recursion_available);
        assert_eq!(reply.authorities[0].record_type(), RecordType::SOA, "{text}");
    }
    assert!(script.asked().is_empty());
    assert_eq!(r.forward_counts().special, 14);
    for text in [
        "1.0.32.172.in-addr.arpa.",
        "1.0.15.172.in-addr.arpa.",
        "9.9.128.100.in-addr.arpa.",
        "home.arpa.",
        "localhosts.",
    ] {
        ask(&r, &question(text, RecordType::PTR, None), Transport::Udp).await;
    }
    assert_eq!(script.asked().len(), 5, "others are asked about");
}

#[tokio::test]
async fn localhost_is_this_machine() {
    let (r, script) = scripted(&[Does::Answer]);
    for (text, record_type, expected) in [
        ("localhost.", RecordType::A, Some("127.0.0.1")),
        ("a.b.LOCALHOST.", RecordType::AAAA, Some("::1")),
        ("localhost.", RecordType::MX, None),
        (LOOPBACK_V6, RecordType::PTR, Some("localhost.")),
        ("_dns.resolver.arpa.", RecordType::SVCB, None),
        ("10.in-addr.arpa.", RecordType::NS, Some("10.in-addr.arpa.")),
        ("10.in-addr.arpa.", RecordType::A, None),
    ] {
        let reply = ask(&r, &question(text, record_type, None), Transport::Udp).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError, "{text}");
        assert_eq!(reply.answers.first().map(|a| a.data.to_string()).as_deref(), expected, "{text}");
        assert_eq!(reply.authorities.len(), usize::from(expected.is_none()), "{text}");
    }
    assert!(script.asked().is_empty());
}

#[tokio::test]
async fn longest_suffix_decides_whom_to_ask() {
    let script = Script::new(&[Does::Answer; 4]);
    let config = ForwardConfig {
        suffixes: vec![
            (name("corp.example"), vec![upstream(1)]),
            (name("Deep.Corp.Example"), vec![upstream(2)]),
            (name("10.in-addr.arpa"), vec![upstream(3)]),
        ],
        ..listed(&[upstream(0)])
    };
    let r = responder(config, script.clone());
    for text in ["example.", "x.CORP.example.", "corp.example.", "a.deep.corp.example.", "xcorp.example."] {
        ask_a(&r, text).await;
    }
    ask_a(&r, "1.0.0.10.in-addr.arpa.").await;
    ask_a(&r, "1.1.168.192.in-addr.arpa.").await;
    assert_eq!(script.asked(), [0, 1, 1, 2, 0, 3]);
}

#[tokio::test]
async fn suffixes_alone_resolve_nothing_else() {
    let script = Script::new(&[Does::Answer]);
    let suffixes = vec![(name("corp.example"), vec![upstream(0)])];
    let r = responder(ForwardConfig { suffixes, ..ForwardConfig::new(Upstreams::Nobody, Vec::new()) }, script);
    assert_eq!(ask_a(&r, "x.corp.example.").await.answers.len(), 1);
    assert_eq!(ask_a(&r, "x.example.").await.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn private_reverse_zones_are_asked_about_when_told_to() {
    let script = Script::new(&[Does::Answer]);
    let r = responder(ForwardConfig { forward_private_reverse: true, ..listed(&[upstream(0)]) }, script.clone());
    ask_a(&r, "1.1.168.192.in-addr.arpa.").await;
    ask_a(&r, "1.0.20.172.in-addr.arpa.").await;
    ask_a(&r, "1.1.254.169.in-addr.arpa.").await;
    assert_eq!(script.asked().len(), 2, "link-local addresses mean nothing to anybody else");
}
