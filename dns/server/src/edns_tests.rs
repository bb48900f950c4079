//! The header's and OPT's rules, one by one, against a responder; and what dig and kdig say of the real server.

use crate::{
    tests::{FOREIGN, LOCAL, ede, question, respond, responder_with, set, texts, zone},
    *,
};
use futures::FutureExt;
use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{
        DNSClass, RecordType,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};
use std::{net::IpAddr, sync::Arc};

const WEB: &str = "web.shop.fabric.internal.";
const CLIENT_COOKIE: [u8; 8] = *b"a client";

#[derive(Debug)]
struct Fixed;

impl Date for Fixed {
    fn unix_seconds(&self) -> u64 {
        1_800_000_000
    }
}

fn with_all() -> Arc<Responder> {
    let cookies = CookieConfig { secret: [7; 16], previous: None, date: Arc::new(Fixed) };
    let config = DnsConfig { cookies: Some(cookies), nsid: Some("n1".into()), transfer: Vec::new() };
    responder_with(zone(90), config)
}

fn plain() -> Arc<Responder> {
    responder_with(zone(90), DnsConfig::default())
}

fn with_options(options: &[(u16, &[u8])]) -> Message {
    let mut query = question(WEB, RecordType::A, Some(1232));
    for (code, bytes) in options {
        query.edns.as_mut().unwrap().options_mut().insert(EdnsOption::Unknown(*code, bytes.to_vec()));
    }
    query
}

fn ask(responder: &Responder, query: &Message, transport: Transport) -> Message {
    ask_from(responder, query, LOCAL, transport)
}

fn ask_from(responder: &Responder, query: &Message, client: IpAddr, transport: Transport) -> Message {
    ask_raw(responder, &query.to_vec().unwrap(), client, transport)
}

fn ask_raw(responder: &Responder, packet: &[u8], client: IpAddr, transport: Transport) -> Message {
    let reply = responder.respond(packet, client, transport).now_or_never().expect("nothing to wait for");
    Message::from_vec(&reply.expect("a reply")).unwrap()
}

fn option(reply: &Message, code: u16) -> Option<Vec<u8>> {
    let option = reply.edns.as_ref()?.option(EdnsCode::from(code))?;
    Some(option.try_into().unwrap())
}

fn codes(reply: &Message) -> Vec<u16> {
    let edns = reply.edns.as_ref().expect("an OPT");
    edns.options().as_ref().iter().map(|(code, _)| u16::from(*code)).collect()
}

#[test]
fn client_that_sends_a_cookie_gets_one_that_is_valid() {
    let r = with_all();
    let first = ask(&r, &with_options(&[(10, &CLIENT_COOKIE)]), Transport::Udp);
    let cookie = option(&first, 10).expect("a cookie");
    assert_eq!((cookie.len(), &cookie[..8], cookie[8]), (24, &CLIENT_COOKIE[..], 1));
    assert_eq!(texts(&first), set(["10.1.0.1"]));
    let edns = |query: Message| opt::ClientEdns::read(&query.edns.unwrap());
    let again = with_options(&[(10, &cookie)]);
    assert!(r.has_valid_cookie(&edns(again.clone()), LOCAL));
    assert!(!r.has_valid_cookie(&edns(again.clone()), FOREIGN), "it is bound to its address");
    assert!(!r.has_valid_cookie(&edns(with_options(&[(10, &CLIENT_COOKIE)])), LOCAL));
    assert!(!r.has_valid_cookie(&edns(with_options(&[])), LOCAL));
    assert!(!plain().has_valid_cookie(&edns(again), LOCAL));
}

#[test]
fn wrong_server_cookie_is_answered_all_the_same() {
    let wrong = [&CLIENT_COOKIE[..], &[1; 16]].concat();
    let reply = ask(&with_all(), &with_options(&[(10, &wrong)]), Transport::Udp);
    assert_eq!((reply.metadata.response_code, texts(&reply)), (ResponseCode::NoError, set(["10.1.0.1"])));
    assert_ne!(option(&reply, 10), Some(wrong));
}

#[test]
fn cookie_of_malformed_length_is_formerr_only_where_cookies_are_known() {
    for len in [0, 7, 9, 15, 41] {
        let query = with_options(&[(10, &vec![1; len])]);
        let reply = ask(&with_all(), &query, Transport::Udp);
        assert_eq!(reply.metadata.response_code, ResponseCode::FormErr, "{len}");
        assert!(reply.edns.is_some() && reply.answers.is_empty());
        assert_eq!(texts(&ask(&plain(), &query, Transport::Udp)), set(["10.1.0.1"]), "ignored");
    }
}

#[test]
fn demanded_cookie_is_badcookie_with_a_good_one() {
    let r = with_all();
    let packet = with_options(&[(10, &CLIENT_COOKIE)]).to_vec().unwrap();
    let reply = r.demand_cookie(&packet, LOCAL).expect("it knows cookies");
    assert!(reply.len() <= packet.len() + 16);
    let reply = Message::from_vec(&reply).unwrap();
    assert_eq!((u16::from(reply.metadata.response_code), reply.answers.len()), (23, 0));
    let again = with_options(&[(10, &option(&reply, 10).unwrap())]);
    assert!(r.has_valid_cookie(&opt::ClientEdns::read(&again.edns.unwrap()), LOCAL));
    assert_eq!(r.demand_cookie(&with_options(&[]).to_vec().unwrap(), LOCAL), None);
}

#[test]
fn query_without_a_question_but_with_a_cookie_is_for_the_cookie() {
    let bare = |cookie: &[u8]| {
        let mut query = with_options(&[(10, cookie)]);
        query.queries.clear();
        query
    };
    let r = with_all();
    let fresh = ask(&r, &bare(&CLIENT_COOKIE), Transport::Udp);
    assert_eq!((fresh.metadata.response_code, fresh.queries.len()), (ResponseCode::NoError, 0));
    let cookie = option(&fresh, 10).unwrap();
    assert_eq!(ask(&r, &bare(&cookie), Transport::Udp).metadata.response_code, ResponseCode::NoError);
    let wrong = ask(&r, &bare(&[&CLIENT_COOKIE[..], &[1; 16]].concat()), Transport::Udp);
    assert_eq!((u16::from(wrong.metadata.response_code), option(&wrong, 10)), (23, Some(cookie)));
    let none = ask(&plain(), &bare(&CLIENT_COOKIE), Transport::Udp);
    assert_eq!(none.metadata.response_code, ResponseCode::FormErr);
}

#[test]
fn name_is_given_to_whom_asks_for_it() {
    let asked = with_options(&[(3, b"")]);
    assert_eq!(option(&ask(&with_all(), &asked, Transport::Udp), 3), Some(b"n1".to_vec()));
    assert_eq!(option(&ask(&with_all(), &with_options(&[]), Transport::Udp), 3), None);
    assert_eq!(option(&ask(&plain(), &asked, Transport::Udp), 3), None);
    let long = DnsConfig { nsid: Some("n".repeat(500)), ..DnsConfig::default() };
    let cut = option(&ask(&responder_with(zone(0), long), &asked, Transport::Udp), 3);
    assert_eq!(cut, Some(vec![b'n'; NSID_MAX]));
}

#[test]
fn keepalive_is_answered_on_streams_alone() {
    let server_idle = std::time::Duration::from_secs(10);
    let r = with_all();
    r.lets_idle(server_idle);
    let query = with_options(&[(11, b"")]);
    for transport in [Transport::Tcp, Transport::Tls] {
        assert_eq!(option(&ask(&r, &query, transport), 11), Some(vec![0, 100]));
        let wrong = ask(&r, &with_options(&[(11, &[0, 1])]), transport);
        assert_eq!(wrong.metadata.response_code, ResponseCode::FormErr);
    }
    for transport in [Transport::Udp, Transport::Https, Transport::Quic] {
        assert_eq!(option(&ask(&r, &query, transport), 11), None);
        assert_eq!(texts(&ask(&r, &with_options(&[(11, &[0, 1])]), transport)), set(["10.1.0.1"]), "ignored");
    }
}

#[test]
fn options_that_are_not_ours_are_ignored_and_not_echoed() {
    let subnet = [0, 1, 24, 0, 198, 51, 100];
    let query = with_options(&[(8, &subnet), (65001, b"?"), (9, b""), (12, &[0; 9])]);
    let reply = ask(&with_all(), &query, Transport::Udp);
    assert_eq!((texts(&reply), codes(&reply)), (set(["10.1.0.1"]), vec![]));
}

#[test]
fn opt_and_its_options_survive_truncation() {
    let mut query = with_options(&[(10, &CLIENT_COOKIE), (3, b"")]);
    query.queries[0].name = "crowd.shop.fabric.internal.".parse().unwrap();
    let reply = ask(&with_all(), &query, Transport::Udp);
    assert!(reply.metadata.truncation && reply.answers.is_empty());
    assert_eq!(codes(&reply), [10, 3]);
    assert_eq!(reply.edns.unwrap().max_payload(), 1232);
}

#[test]
fn every_reply_to_a_query_with_opt_has_one_and_no_other() {
    let mut notify = with_options(&[]);
    notify.metadata.op_code = OpCode::Notify;
    let mut two = with_options(&[]);
    two.add_query(two.queries[0].clone());
    let mut chaos = with_options(&[]);
    chaos.queries[0].set_query_class(DNSClass::CH);
    let mut version = with_options(&[(3, b"")]);
    version.edns.as_mut().unwrap().set_version(1);
    let mut relayed = with_options(&[]);
    relayed.queries[0].name = "example.org.".parse().unwrap();
    for (mut query, code) in [(notify, 4), (two, 1), (chaos, 5), (version, 16), (relayed, 5), (with_options(&[]), 0)] {
        let reply = ask(&with_all(), &query, Transport::Udp);
        assert_eq!(u16::from(reply.metadata.response_code), code);
        let edns = reply.edns.expect("an OPT");
        assert_eq!((edns.version(), edns.max_payload()), (0, 1232));
        query.edns = None;
        assert!(ask(&with_all(), &query, Transport::Udp).edns.is_none());
    }
}

#[test]
fn flags_are_copied_cleared_or_ours() {
    let r = plain();
    for bits in 0..8_u8 {
        let mut packet = with_options(&[]).to_vec().unwrap();
        let (rd, cd, dnssec_ok) = (bits & 1, bits >> 1 & 1, bits & 4 != 0);
        // AA, TC, RA, Z and AD of a query mean nothing.
        packet[2] = 0x06 | rd;
        packet[3] = 0xe0 | cd << 4;
        let at = packet.len() - 4;
        packet[at] = if dnssec_ok { 0x80 } else { 0 };
        let reply = r.respond(&packet, FOREIGN, Transport::Udp).now_or_never().unwrap().unwrap();
        assert_eq!(reply[2], 0x84 | rd, "QR, AA, RD");
        assert_eq!(reply[3], cd << 4, "no RA for a client that is not relayed for, no Z, no AD");
        assert_eq!(Message::from_vec(&reply).unwrap().edns.unwrap().flags().dnssec_ok, dnssec_ok);
    }
}

#[test]
fn unknown_flags_of_edns_are_ignored_and_not_echoed() {
    let mut packet = with_options(&[]).to_vec().unwrap();
    let at = packet.len() - 4;
    packet[at..at + 2].copy_from_slice(&[0x7f, 0xff]);
    let reply = plain().respond(&packet, LOCAL, Transport::Udp).now_or_never().unwrap().unwrap();
    let at = reply.len() - 4;
    assert_eq!(reply[at..at + 2], [0, 0]);
}

#[test]
fn payload_below_512_counts_as_512() {
    let reply = ask(&plain(), &question(WEB, RecordType::SRV, Some(0)), Transport::Udp);
    assert!(!reply.metadata.truncation && !reply.answers.is_empty());
}

#[test]
fn classes_other_than_internet_are_refused() {
    for class in [DNSClass::CH, DNSClass::HS, DNSClass::NONE, DNSClass::ANY, DNSClass::Unknown(77)] {
        let mut query = with_options(&[]);
        query.queries[0].set_query_class(class);
        let reply = ask(&with_all(), &query, Transport::Udp);
        assert_eq!((reply.metadata.response_code, reply.answers.len()), (ResponseCode::Refused, 0), "{class}");
        assert!(!reply.metadata.authoritative);
    }
}

#[test]
fn chaos_tells_the_name_and_not_the_version() {
    let chaos = |name: &str, record_type| {
        let mut query = question(name, record_type, None);
        query.queries[0].set_query_class(DNSClass::CH);
        ask(&with_all(), &query, Transport::Udp)
    };
    for name in ["id.server.", "HOSTNAME.bind."] {
        let reply = chaos(name, RecordType::TXT);
        assert_eq!((texts(&reply), reply.answers[0].dns_class), (set(["n1"]), DNSClass::CH));
    }
    for (name, record_type) in
        [("version.bind.", RecordType::TXT), ("version.server.", RecordType::TXT), ("id.server.", RecordType::A)]
    {
        assert_eq!(chaos(name, record_type).metadata.response_code, ResponseCode::Refused);
    }
    let mut query = question("id.server.", RecordType::TXT, None);
    query.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(ask(&plain(), &query, Transport::Udp).metadata.response_code, ResponseCode::Refused);
}

#[test]
fn every_opcode_but_query_is_notimp() {
    for opcode in 1..16_u8 {
        let mut packet = question(WEB, RecordType::A, None).to_vec().unwrap();
        packet[2] = opcode << 3 | 1;
        let reply = plain().respond(&packet, LOCAL, Transport::Udp).now_or_never().unwrap().unwrap();
        assert_eq!((reply[2], reply[3]), (0x80 | opcode << 3 | 1, 4));
    }
}

#[test]
fn question_counts_other_than_one_are_formerr() {
    for count in [0, 2, 3, 65535_u16] {
        let mut packet = question(WEB, RecordType::A, None).to_vec().unwrap();
        packet[4..6].copy_from_slice(&count.to_be_bytes());
        let reply = plain().respond(&packet, LOCAL, Transport::Udp).now_or_never().unwrap().unwrap();
        assert_eq!(reply[3] & 0xf, 1, "{count}");
    }
}

#[test]
fn failures_say_why() {
    let mut query = with_options(&[]);
    query.queries[0].name = "example.org.".parse().unwrap();
    assert_eq!(ede(&ask_from(&plain(), &query, FOREIGN, Transport::Udp)), Some(18));
}

#[tokio::test]
async fn transfer_by_datagram_is_refused_also_to_whom_it_is_permitted() {
    let config = DnsConfig { transfer: vec![LOCAL.into()], ..DnsConfig::default() };
    let r = responder_with(zone(0), config);
    for record_type in [RecordType::AXFR, RecordType::IXFR] {
        let reply = respond(&r, &question("fabric.internal.", record_type, None), LOCAL).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
    }
}

async fn run(program: &str, port: u16, args: &str) -> Option<String> {
    let mut command = tokio::process::Command::new(program);
    command.args(["@127.0.0.1", "-p", &port.to_string()]).args(args.split(' '));
    match command.output().await {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            eprintln!("SKIPPED: {program} does not run ({error}); Debian has it in bind9-dnsutils and knot-dnsutils");
            None
        }
    }
}

#[tokio::test]
async fn dig_and_kdig_see_the_same_rules() {
    let server = DnsServer::bind((LOCAL, 0).into(), with_all()).unwrap();
    let port = server.local_addr().port();
    let web = WEB;
    let crowd = "crowd.shop.fabric.internal";
    let cases = [
        ("dig", format!("+nobadcookie {web} A"), "(good)"),
        ("dig", format!("+nsid {web} A"), "NSID: 6e 31 (\"n1\")"),
        ("dig", format!("+tcp +keepalive {web} A"), "TCP KEEPALIVE: 10.0 secs"),
        ("dig", format!("+edns=1 +noednsnegotiation {web} A"), "status: BADVERS"),
        ("dig", format!("+ednsopt=65001:00ff {web} A"), "status: NOERROR"),
        ("dig", format!("+ednsflags=0x40 {web} A"), "status: NOERROR"),
        ("dig", format!("+subnet=198.51.100.0/24 {web} A"), "status: NOERROR"),
        ("dig", format!("+opcode=notify {web} SOA"), "status: NOTIMP"),
        ("dig", format!("+opcode=update {web} SOA"), "status: NOTIMP"),
        ("dig", format!("+header-only +nocookie {web}"), "status: FORMERR"),
        ("dig", format!("+header-only +cookie {web}"), "status: NOERROR"),
        ("dig", format!("-c CH {web} A"), "status: REFUSED"),
        ("dig", "-c CH -t TXT id.server".into(), "\"n1\""),
        ("dig", "-c CH -t TXT version.bind".into(), "status: REFUSED"),
        ("dig", format!("+notcp {web} ANY"), "ANSWER: 1,"),
        ("dig", format!("+noedns +ignore {crowd} A"), "flags: qr aa tc rd"),
        ("dig", format!("+bufsize=65535 +ignore {crowd} A"), "flags: qr aa tc rd"),
        ("dig", format!("+ignore {crowd} A"), "OPT PSEUDOSECTION"),
        ("dig", format!("+dnssec +cdflag +adflag {web} A"), "flags: qr aa rd cd;"),
        ("dig", "+ignore fabric.internal AXFR +notcp".into(), "Transfer failed"),
        ("dig", "nope.fabric.internal A".into(), "status: NXDOMAIN"),
        ("dig", format!("{web} CAA"), "status: NOERROR"),
        ("kdig", format!("+cookie {web} A"), "status: NOERROR"),
        ("kdig", format!("+nsid {web} A"), "NSID: 6E31 \"n1\""),
        ("kdig", format!("+tcp +edns +noidn {web} AAAA"), "fd00::2"),
        ("kdig", format!("+noedns +ignore {crowd} A"), "Flags: qr aa tc rd"),
        ("kdig", format!("+edns=3 {web} A"), "ext-rcode: BADVERS"),
    ];
    let mut wrong = Vec::new();
    for (program, args, expected) in cases {
        let Some(text) = run(program, port, &args).await else { continue };
        if !text.contains(expected) || text.contains("malformed") || text.contains("Message parser") {
            wrong.push(format!("{program} {args}: no `{expected}` in {text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn replies_from_the_cache_have_the_client_s_options_too() {
    let cookies = CookieConfig { secret: [7; 16], previous: None, date: Arc::new(Fixed) };
    let config = DnsConfig { cookies: Some(cookies), nsid: Some("n1".into()), transfer: Vec::new() };
    let (r, _) = forward::scripted_with(config);
    let mut query = with_options(&[(10, &CLIENT_COOKIE), (3, &[]), (12, &[])]);
    query.queries[0].set_name(hickory_proto::rr::Name::from_ascii("www.example.com.").unwrap());
    for transport in [Transport::Udp, Transport::Udp, Transport::Tls] {
        let bytes = r.respond(&query.to_vec().unwrap(), LOCAL, transport).await.unwrap();
        let reply = Message::from_vec(&bytes).unwrap();
        assert_eq!((reply.answers.len(), option(&reply, 10).map(|c| c.len())), (1, Some(24)));
        assert_eq!(option(&reply, 3).as_deref(), Some(&b"n1"[..]));
        assert_eq!(bytes.len() % 468 == 0, transport == Transport::Tls, "padded where it is encrypted");
    }
    assert_eq!(r.forward_counts().hits, 2);
}
