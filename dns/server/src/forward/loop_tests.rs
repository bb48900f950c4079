use super::script::{Does, Script, ask_a, listed, responder, upstream};
use crate::{tests::ede, *};
use async_trait::async_trait;
use hickory_proto::op::ResponseCode;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Addresses at which responders of ours answer; all others are scripted.
struct Town {
    ours: Mutex<Vec<(SocketAddr, Weak<Responder>)>>,
    others: Arc<Script>,
    passed: Mutex<usize>,
}

impl Town {
    fn new() -> Arc<Self> {
        Arc::new(Self { ours: Mutex::default(), others: Script::new(&[Does::Answer]), passed: Mutex::default() })
    }

    fn settles(self: &Arc<Self>, at: u8, upstreams: &[u8]) -> Arc<Responder> {
        let upstreams: Vec<_> = upstreams.iter().copied().map(upstream).collect();
        let r = responder(listed(&upstreams), self.clone());
        self.ours.lock().unwrap().push((upstream(at), Arc::downgrade(&r)));
        r
    }
}

#[async_trait]
impl Exchange for Town {
    async fn udp(&self, to: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        sleep(Duration::from_millis(1)).await;
        *self.passed.lock().unwrap() += 1;
        let ours = self.ours.lock().unwrap().iter().find(|o| o.0 == to).map(|o| o.1.upgrade().expect("alive"));
        match ours {
            // Clients of one machine, as two servers on loopback are.
            Some(r) => r
                .respond(query, "127.0.0.1".parse().unwrap(), Transport::Udp)
                .await
                .ok_or_else(|| io::ErrorKind::Other.into()),
            None => self.others.udp(to, query).await,
        }
    }
    async fn tcp(&self, to: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        self.udp(to, query).await
    }
}

#[tokio::test(start_paused = true)]
async fn two_servers_that_point_at_each_other_find_out_and_say_so() {
    let town = Town::new();
    let (one, two) = (town.settles(11, &[12]), town.settles(12, &[11]));
    ask_a(&one, "first.example.").await;
    ask_a(&two, "first.example.").await;
    sleep(Duration::from_secs(10)).await;
    // Once one of them asks no more, it does not go round for the other.
    assert!((1..=2).contains(&(one.forward_counts().loops + two.forward_counts().loops)));
    for (i, r) in [&one, &two].into_iter().enumerate() {
        let (start, passed) = (Instant::now(), *town.passed.lock().unwrap());
        let reply = ask_a(r, &format!("n{i}.example.")).await;
        assert_eq!((reply.metadata.response_code, ede(&reply)), (ResponseCode::ServFail, Some(22)));
        assert!(start.elapsed() <= Duration::from_millis(2));
        assert!(*town.passed.lock().unwrap() <= passed + 1, "it does not go round");
        let own = ask_a(r, "web.shop.fabric.internal.").await;
        assert_eq!(own.answers.len(), 1, "own names are unaffected");
    }
    assert!(*town.passed.lock().unwrap() < 40, "the first question did not go round for long");
}

#[tokio::test(start_paused = true)]
async fn looping_upstream_is_left_out_until_a_probe_does_not_come_back() {
    let town = Town::new();
    let (one, two) = (town.settles(11, &[12, 0]), town.settles(12, &[11]));
    for i in 0..3 {
        assert_eq!(ask_a(&one, &format!("n{i}.example.")).await.answers.len(), 1, "the other one answers");
        sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(one.forward_counts().loops, 1);
    // It is mended: at its address is now one that asks nobody of ours.
    town.ours.lock().unwrap().retain(|o| o.0 != upstream(12));
    let mended = town.settles(12, &[0]);
    for i in 0..20 {
        ask_a(&one, &format!("m{i}.example.")).await;
        sleep(Duration::from_secs(5)).await;
    }
    assert!(mended.forward_counts().misses > 0, "it is asked again");
    assert_eq!(one.forward_counts().loops, 1);
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn server_that_asks_itself_by_another_address_finds_out() {
    let town = Town::new();
    let r = town.settles(11, &[11]);
    let reply = ask_a(&r, "www.example.").await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(ede(&ask_a(&r, "www.example.").await), Some(22));
    assert_eq!(r.forward_counts().loops, 1);
}
