use super::*;
use crate::{random::stream, trace::Trace};
use std::net::Ipv4Addr;

const A: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 7400);
const B: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 7400);

struct Bench {
    run: Arc<Run>,
    wire: Arc<Wire>,
    a: Arc<Socket>,
    b: Arc<Socket>,
    _runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new(link: Link) -> Self {
        let run = Run::new(Trace::new(false));
        let wire = Wire::new(Arc::clone(&run), stream(1, "wire"), (Duration::from_millis(1), Duration::from_millis(2)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let time = runtime.block_on(async { Arc::new(ProcessTime::new(Arc::clone(&run))) });
        let (a, b) = (wire.bind(A, Arc::clone(&time)), wire.bind(B, time));
        wire.set_links([((A, B), link)].into());
        Self { run, wire, a, b, _runtime: runtime }
    }

    /// Sends so many datagrams from A to B, and gives what has arrived at B so much later, in order.
    fn send(&self, count: u8, after: Duration) -> Vec<u8> {
        for number in 0..count {
            self.wire.send(self.run.now(), A, B, &[number]);
        }
        self.run.set_now(self.run.now() + after);
        self.wire.deliver();
        let mut queue = self.b.inbox.queue.lock().unwrap();
        queue
            .0
            .drain(..)
            .map(|(from, bytes)| {
                assert_eq!(from, A);
                bytes[0]
            })
            .collect()
    }
}

#[test]
fn a_sound_link_delivers_each_datagram_once_after_its_time() {
    let bench = Bench::new(Link::default());
    assert!(bench.send(20, Duration::from_micros(900)).is_empty(), "nothing is faster than the wire");
    let mut arrived = bench.send(0, Duration::from_millis(2));
    arrived.sort_unstable();
    assert_eq!(arrived, (0..20).collect::<Vec<u8>>());
}

#[test]
fn a_cut_link_delivers_nothing_and_only_one_way() {
    let bench = Bench::new(Link { cut: true, ..Link::default() });
    assert!(bench.send(20, Duration::from_secs(1)).is_empty());
    bench.wire.send(bench.run.now(), B, A, b"x");
    bench.run.set_now(bench.run.now() + Duration::from_secs(1));
    bench.wire.deliver();
    assert_eq!(bench.a.inbox.queue.lock().unwrap().0.len(), 1);
}

#[test]
fn loss_duplication_and_delay_do_what_they_say() {
    let lost = Bench::new(Link { loss: 0.5, ..Link::default() }).send(200, Duration::from_secs(1)).len();
    assert!((60..140).contains(&lost), "{lost} of 200 arrived");
    let doubled = Bench::new(Link { duplicate: 1.0, ..Link::default() }).send(20, Duration::from_secs(1)).len();
    assert_eq!(doubled, 40);
    let late = Bench::new(Link { delay: Duration::from_millis(50), ..Link::default() });
    assert!(late.send(5, Duration::from_millis(45)).is_empty());
    assert_eq!(late.send(0, Duration::from_millis(10)).len(), 5);
}

#[test]
fn a_socket_that_is_closed_gets_nothing_and_says_nothing() {
    let bench = Bench::new(Link::default());
    bench.b.close();
    assert!(bench.send(3, Duration::from_secs(1)).is_empty());
}
