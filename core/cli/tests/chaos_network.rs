//! Faults of the network and of DNS, measured from outside at real nodes: how much is lost, seen twice, late, overtaken or
//! let through, and that all is as before afterwards.

mod hurt;
mod support;

use hurt::{Bed, SOON};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};
use taffeta_chaos_plan::{DnsInstead, Fault};
use taffeta_harness::within;
use taffeta_node::api::{FaultState, FaultView};

/// Pause between two questions: a node's socket holds some hundred of them.
const PACE: Duration = Duration::from_millis(1);
/// Nothing more is waited for when nothing has come for so long: longer than what waits for a slow link.
const QUIET: Duration = Duration::from_millis(1_500);

/// A datagram that came back.
#[derive(Clone, Copy, Debug)]
struct Reply {
    /// The number of its question.
    number: u32,
    /// How long after its question it came.
    after: Duration,
    /// And how long after the first question.
    at: Duration,
    bytes: usize,
}

/// Asks a server so many times, as fast as it can follow; what a busy machine has missed is not made up for in one burst.
/// `question` makes the datagram of a number, `number` finds it in a reply. Gives all replies in the order in which they
/// came.
fn ask_all(
    from: IpAddr,
    server: SocketAddr,
    count: u32,
    question: impl Fn(u32) -> Vec<u8>,
    number: impl Fn(&[u8]) -> Option<u32>,
) -> Vec<Reply> {
    let socket = UdpSocket::bind((from, 0)).expect("a socket");
    socket.connect(server).expect("an address");
    socket.set_nonblocking(true).expect("a socket");
    let (begun, mut sent, mut replies) = (Instant::now(), Vec::<Instant>::new(), vec![]);
    let mut last = begun;
    while sent.len() < count as usize || last.elapsed() < QUIET {
        if sent.len() < count as usize && sent.last().is_none_or(|before| before.elapsed() >= PACE) {
            let _ = socket.send(&question(sent.len() as u32)); // refused ones are lost
            sent.push(Instant::now());
            last = Instant::now();
        }
        let mut buffer = [0; 2_048];
        match socket.recv(&mut buffer) {
            Ok(bytes) => {
                let Some(number) = number(&buffer[..bytes]) else { continue };
                let after = sent[number as usize].elapsed();
                replies.push(Reply { number, after, at: begun.elapsed(), bytes });
                last = Instant::now();
            }
            Err(_) => std::thread::sleep(Duration::from_micros(200)), // nothing has come yet
        }
    }
    replies
}

/// Asks a node's QUIC port for the versions that it speaks (RFC 9000, 6.1): the answer goes out at once, holds nothing that
/// is kept, and names the connection id of the question.
fn ping(from: IpAddr, node: SocketAddr, count: u32) -> Vec<Reply> {
    let question = |number: u32| {
        let mut packet = vec![0xc0, 0x1a, 0x1a, 0x1a, 0x1a, 8];
        packet.extend([7; 8]);
        packet.push(4);
        packet.extend(number.to_be_bytes());
        packet.resize(1_200, 0);
        packet
    };
    let number = |reply: &[u8]| match reply {
        [_, 0, 0, 0, 0, 4, a, b, c, d, ..] => Some(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => None,
    };
    ask_all(from, node, count, question, number)
}

/// Which part of the questions was answered at all.
fn answered(replies: &[Reply], of: u32) -> f64 {
    times(replies).len() as f64 / f64::from(of)
}

/// How often each question was answered.
fn times(replies: &[Reply]) -> BTreeMap<u32, u32> {
    let mut seen = BTreeMap::new();
    replies.iter().for_each(|reply| *seen.entry(reply.number).or_default() += 1);
    seen
}

/// Which part of the replies came after one to a later question.
fn overtaken(replies: &[Reply]) -> f64 {
    let mut newest = 0;
    let late = |reply: &&Reply| {
        newest = newest.max(reply.number);
        reply.number < newest
    };
    replies.iter().filter(late).count() as f64 / replies.len().max(1) as f64
}

fn median(replies: &[Reply]) -> Duration {
    let mut after: Vec<Duration> = replies.iter().map(|reply| reply.after).collect();
    after.sort();
    after.get(after.len() / 2).copied().unwrap_or_default()
}

/// Ends a fault before its time.
fn end(bed: &Bed, fault: &FaultView) {
    let ended = bed.runtime.block_on(bed.client(0).undo(&fault.id)).expect("it is known");
    assert_eq!((ended.state, ended.error), (FaultState::Undone, None));
}

/// Asks until a node is as it was: each question is answered once, and soon.
fn as_before(what: &str, mut ask: impl FnMut() -> (Vec<Reply>, u32)) {
    within(SOON, what, || {
        let (replies, count) = ask();
        let (share, soon) = (answered(&replies, count), median(&replies));
        let well = share >= 0.97 && replies.len() <= count as usize && soon < Duration::from_millis(40);
        if well { Ok(()) } else { Err(format!("{share} answered, {} replies, after {soon:?}", replies.len())) }
    });
}

#[test]
fn as_many_packets_between_nodes_are_lost_as_was_said_and_no_others() {
    let bed = Bed::three_alone();
    let [n1, n2] = [0, 1].map(|machine| bed.cluster.machines[machine].address);
    let node = bed.cluster.machines[0].fabric();
    let stranger = {
        let IpAddr::V4(own) = n1 else { panic!("{n1}") };
        let [a, b, c, _] = own.octets();
        IpAddr::from([a, b, c, 99])
    };
    as_before("n1 answers n2's address", || (ping(n2, node, 200), 200));
    let fault = bed.begin(0, Fault::Loss { fraction: 0.3 }, 20_000);
    // Questions are lost, and answers: of all, 0.7 * 0.7 are answered.
    let share = answered(&ping(n2, node, 800), 800);
    eprintln!("{}: {share} of the questions were answered", fault.backend);
    assert!((0.41..0.57).contains(&share), "{share}");
    if fault.backend == "nftables" {
        let others = answered(&ping(stranger, node, 200), 200);
        assert!(others >= 0.97, "who is no node loses nothing: {others}");
    }
    bed.undone(1, &fault, Duration::from_secs(25) + SOON);
    as_before("nothing is lost any more", || (ping(n2, node, 200), 200));
    bed.all_alive();
}

#[test]
fn packets_are_repeated_overtaken_late_and_slow_as_was_said() {
    let bed = Bed::start_alone(&[&["--chaos"]]);
    let (own, node) = (bed.cluster.machines[0].address, bed.cluster.machines[0].fabric());
    let ping = |count| ping(own, node, count);
    let minutes = 120_000;
    as_before("it answers", || (ping(200), 200));
    assert!(overtaken(&ping(200)) < 0.01, "nothing is overtaken");

    // A question in two arrives twice, and so does an answer in two.
    let fault = bed.begin(0, Fault::Duplicate { fraction: 0.5 }, minutes);
    let replies = ping(600);
    let mean = replies.len() as f64 / 600.0;
    eprintln!("each question was answered {mean} times");
    assert!((2.0..2.5).contains(&mean), "{mean}");
    assert!(times(&replies).values().all(|times| (1..=4).contains(times)));
    end(&bed, &fault);
    as_before("nothing is repeated any more", || (ping(200), 200));

    let fault = bed.begin(0, Fault::Reorder { fraction: 0.3 }, minutes);
    let replies = ping(600);
    let share = overtaken(&replies);
    eprintln!("{share} of the answers were overtaken");
    assert!((0.25..0.75).contains(&share), "{share}");
    assert!(answered(&replies, 600) >= 0.97 && replies.len() <= 600, "none is lost or repeated");
    end(&bed, &fault);
    as_before("it answers in order", || (ping(200), 200));
    assert!(overtaken(&ping(200)) < 0.01);

    let late = Fault::Delay { by: Duration::from_millis(40), jitter: Duration::from_millis(20) };
    let fault = bed.begin(0, late, 20_000);
    let replies = ping(300);
    assert!(answered(&replies, 300) >= 0.97);
    let least = replies.iter().map(|reply| reply.after).min().expect("replies");
    eprintln!("answers came after {least:?} at least, and {:?} as a rule", median(&replies));
    assert!(least >= Duration::from_millis(80), "late on both ways: {least:?}");
    assert!((Duration::from_millis(90)..Duration::from_millis(400)).contains(&median(&replies)));
    bed.undone(0, &fault, SOON);
    as_before("it answers soon, at its end", || (ping(200), 200));

    // 8000 bytes a second: of 1500 answers a part, one after the other.
    let rate = |replies: &[Reply]| {
        let (bytes, last) =
            replies.iter().fold((0, 0.0), |(all, _), reply| (all + reply.bytes, reply.at.as_secs_f64()));
        bytes as f64 / last
    };
    let free = rate(&ping(1_500));
    let fault = bed.begin(0, Fault::Bandwidth { kbit_per_s: 64 }, minutes);
    let replies = ping(1_500);
    let bound = rate(&replies);
    eprintln!("{bound} bytes a second, and {free} before");
    assert!(free > 16_000.0 && (4_000.0..8_500.0).contains(&bound), "{bound} bytes a second, and {free} before");
    assert!(answered(&replies, 1_500) < 0.6, "what would wait too long is lost");
    end(&bed, &fault);
    as_before("it is as fast as before", || (ping(200), 200));
}

/// Asks a DNS server so many times for a name; the replies' codes are given for each number.
fn questions(server: SocketAddr, count: u32) -> (Vec<Reply>, u32) {
    let failed = std::cell::Cell::new(0);
    let question = |number: u32| {
        let mut packet = vec![];
        packet.extend((number as u16).to_be_bytes());
        packet.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
        for label in ["nodes", "fabric", "internal"] {
            packet.push(label.len() as u8);
            packet.extend(label.as_bytes());
        }
        packet.extend([0, 0, 1, 0, 1]);
        packet
    };
    let number = |reply: &[u8]| {
        let [a, b, _, flags, ..] = reply else { return None };
        failed.set(failed.get() + u32::from(flags & 0xf == 2));
        Some(u32::from(u16::from_be_bytes([*a, *b])))
    };
    let replies = ask_all(server.ip(), server, count, question, number);
    (replies, failed.take())
}

#[test]
fn as_many_questions_to_dns_are_lost_or_fail_as_was_said() {
    let bed = Bed::start_alone(&[&["--chaos"]]);
    let server = bed.cluster.machines[0].dns();
    as_before("DNS answers", || (questions(server, 200).0, 200));
    let fault = bed.begin(0, Fault::Dns { fraction: 0.4, instead: DnsInstead::Drop }, 120_000);
    let share = answered(&questions(server, 600).0, 600);
    eprintln!("{share} of the questions were answered");
    assert!((0.52..0.68).contains(&share), "{share}");
    end(&bed, &fault);
    as_before("DNS answers again", || (questions(server, 200).0, 200));
    let fault = bed.begin(0, Fault::Dns { fraction: 0.4, instead: DnsInstead::Servfail }, 120_000);
    let (replies, failed) = questions(server, 600);
    assert!(answered(&replies, 600) >= 0.97, "each gets an answer");
    let share = f64::from(failed) / 600.0;
    assert!((0.32..0.48).contains(&share), "{share} failed");
    end(&bed, &fault);
    assert_eq!(questions(server, 100).1, 0, "none fails any more");
}
