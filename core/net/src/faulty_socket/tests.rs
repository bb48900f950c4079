use super::*;
use crate::{
    FabricSocket,
    link_faults::{LinkFault, LinkRule},
};
use std::{net::UdpSocket, time::Duration};

struct End {
    socket: Arc<FaultySocket>,
    faults: Arc<LinkFaults>,
}

impl End {
    fn new() -> Self {
        let inner = Arc::new(FabricSocket::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap());
        let faults = Arc::new(LinkFaults::new(3));
        Self { socket: FaultySocket::new(inner, Arc::clone(&faults)), faults }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn suffer(&self, fault: LinkFault) {
        let until = Instant::now() + Duration::from_secs(60);
        assert!(self.faults.set("test", LinkRule { peers: None, fault, until }));
    }

    fn send(&self, to: &Self, contents: &[u8], segment_size: Option<usize>) {
        let destination = to.address();
        let transmit = Transmit { destination, ecn: None, contents, segment_size, src_ip: None };
        self.socket.try_send(&transmit).unwrap();
    }

    async fn receive(&self) -> Vec<u8> {
        let mut bytes = vec![0; 65_536];
        let mut metas = [RecvMeta::default()];
        let received = std::future::poll_fn(|cx| {
            let mut buffers = [IoSliceMut::new(&mut bytes)];
            self.socket.poll_recv(cx, &mut buffers, &mut metas)
        });
        assert_eq!(received.await.unwrap(), 1);
        bytes[..metas[0].len].to_vec()
    }

    /// What comes before `last`.
    async fn receive_until(&self, last: &[u8]) -> Vec<Vec<u8>> {
        let mut all = vec![];
        loop {
            let next = self.receive().await;
            if next == last {
                return all;
            }
            all.push(next);
        }
    }
}

#[tokio::test]
async fn what_is_cut_off_is_neither_heard_nor_hears() {
    let (a, b) = (End::new(), End::new());
    b.suffer(LinkFault::Cut { incoming: true, outgoing: true });
    a.send(&b, b"unheard", None);
    b.send(&a, b"unsaid", None);
    let waiting = tokio::time::timeout(Duration::from_millis(50), b.receive()).await;
    assert!(waiting.is_err());
    b.faults.remove("test");
    a.send(&b, b"heard", None);
    assert_eq!(b.receive().await, b"heard", "what was lost does not come later");
    b.send(&a, b"said", None);
    assert_eq!(a.receive().await, b"said");
}

#[tokio::test]
async fn a_delay_is_felt_each_way_and_keeps_the_order() {
    let (a, b) = (End::new(), End::new());
    b.suffer(LinkFault::Delay { by: Duration::from_millis(40), jitter: Duration::ZERO });
    let begun = Instant::now();
    (0..20).for_each(|number: u8| a.send(&b, &[number], None));
    for number in 0..20 {
        assert_eq!(b.receive().await, [number]);
    }
    assert!(begun.elapsed() >= Duration::from_millis(40));
    let begun = Instant::now();
    b.send(&a, b"back", None);
    assert_eq!(a.receive().await, b"back");
    assert!(begun.elapsed() >= Duration::from_millis(40));
}

#[tokio::test]
async fn of_packets_that_are_sent_as_one_each_has_its_own_fate() {
    let (a, b) = (End::new(), End::new());
    a.suffer(LinkFault::Loss { fraction: 0.5 });
    for _ in 0..10 {
        a.send(&b, &[7; 1_000], Some(100));
    }
    a.faults.remove("test");
    a.send(&b, b"last", None);
    let arrived: usize = b.receive_until(b"last").await.iter().map(Vec::len).sum();
    assert!((2_000..8_000).contains(&arrived), "{arrived} of 10000 bytes");
}

#[tokio::test]
async fn packets_are_repeated_and_overtaken() {
    let (a, b) = (End::new(), End::new());
    b.suffer(LinkFault::Duplicate { fraction: 1.0 });
    a.send(&b, b"twice", None);
    assert_eq!((b.receive().await, b.receive().await), (b"twice".to_vec(), b"twice".to_vec()));
    b.suffer(LinkFault::Reorder { fraction: 0.5 });
    (0..40).for_each(|number: u8| a.send(&b, &[number], None));
    let mut order = vec![];
    while order.len() < 40 {
        order.extend(b.receive().await);
    }
    assert_ne!(order, (0..40).collect::<Vec<u8>>());
    order.sort_unstable();
    assert_eq!(order, (0..40).collect::<Vec<u8>>(), "none is lost");
}

#[tokio::test]
async fn what_is_still_held_when_the_fault_ends_comes_all_the_same() {
    let (a, b) = (End::new(), End::new());
    b.suffer(LinkFault::Delay { by: Duration::from_millis(100), jitter: Duration::ZERO });
    a.send(&b, b"late", None);
    let waiting = tokio::time::timeout(Duration::from_millis(20), b.receive()).await;
    assert!(waiting.is_err());
    b.faults.remove("test");
    assert_eq!(b.receive().await, b"late");
}

#[tokio::test]
async fn a_socket_that_is_dropped_gives_its_port_back() {
    let end = End::new();
    let address = end.address();
    end.suffer(LinkFault::Delay { by: Duration::from_secs(50), jitter: Duration::ZERO });
    end.send(&end, b"never", None);
    drop(end);
    for _ in 0..500 {
        if UdpSocket::bind(address).is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("the port is not free");
}
