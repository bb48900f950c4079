use super::*;
use proptest::prelude::*;

/// A datagram for QUIC or for us.
fn datagram(quic: bool, bytes: usize, fill: u8) -> Vec<u8> {
    let mut datagram = vec![fill; bytes];
    datagram[0] = if quic { fill | QUIC_BIT } else { fill & !QUIC_BIT };
    datagram
}

fn part_of(joined: &[Vec<u8>], stride: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut buffer, mut ours) = (joined.concat(), vec![]);
    let kept = part(&mut buffer, stride, |datagram| ours.push(datagram.to_vec()));
    buffer.truncate(kept);
    (buffer, ours)
}

#[test]
fn of_joined_datagrams_quic_keeps_its_own_in_order() {
    let joined = [datagram(true, 5, 1), datagram(false, 5, 2), datagram(true, 5, 3), datagram(true, 2, 4)];
    let (quic, ours) = part_of(&joined, 5);
    assert_eq!(quic, [&joined[0][..], &joined[2], &joined[3]].concat());
    assert_eq!(ours, [joined[1].clone()]);
}

#[test]
fn a_buffer_of_ours_alone_leaves_nothing() {
    let joined = [datagram(false, 5, 1), datagram(false, 5, 2), datagram(false, 1, 4)];
    assert_eq!(part_of(&joined, 5), (vec![], joined.to_vec()));
}

#[test]
fn a_single_datagram_needs_no_stride() {
    let joined = [datagram(true, 9, 1)];
    assert_eq!(part_of(&joined, 0), (joined[0].clone(), vec![]));
    assert_eq!(part_of(&[], 0), (vec![], vec![]));
}

proptest! {
    #[test]
    fn nothing_is_lost_and_nothing_is_mixed(
        kinds in prop::collection::vec((any::<bool>(), any::<u8>()), 1..64),
        stride in 1_usize..9,
        last in 1_usize..9,
    ) {
        let count = kinds.len();
        let joined: Vec<_> = kinds.iter().enumerate().map(|(i, (quic, fill))| {
            datagram(*quic, if i + 1 == count { last.min(stride) } else { stride }, *fill)
        }).collect();
        let (quic, ours) = part_of(&joined, stride);
        let of = |wanted: bool| joined.iter().filter(move |d| (d[0] & QUIC_BIT != 0) == wanted).cloned();
        prop_assert_eq!(quic, of(true).collect::<Vec<_>>().concat());
        prop_assert_eq!(ours, of(false).collect::<Vec<_>>());
    }
}

/// Gives what it was given, a datagram each time.
#[derive(Debug)]
struct Script(std::sync::Mutex<Vec<Vec<u8>>>);

impl AsyncUdpSocket for Script {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        unreachable!("nothing is sent")
    }
    fn try_send(&self, _: &Transmit<'_>) -> io::Result<()> {
        Err(io::ErrorKind::WouldBlock.into())
    }
    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let Some(datagram) = self.0.lock().unwrap().pop() else { return Poll::Pending };
        buffers[0][..datagram.len()].copy_from_slice(&datagram);
        metas[0].len = datagram.len();
        metas[0].stride = datagram.len();
        Poll::Ready(Ok(1))
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok((std::net::Ipv4Addr::LOCALHOST, 1).into())
    }
}

#[test]
fn more_than_the_inbox_holds_is_lost_and_quic_goes_on() {
    let mut sealed = vec![0; 60];
    sealed[0] = 0x11;
    let mut datagrams = vec![vec![QUIC_BIT; 30]];
    datagrams.extend(vec![sealed; INBOX_MAX + 5]);
    let (socket, mut outlet) = SharedSocket::new(Arc::new(Script(std::sync::Mutex::new(datagrams))));
    let (mut buffer, mut metas) = ([0; 100], [RecvMeta::default()]);
    let mut lengths = vec![];
    let mut cx = Context::from_waker(std::task::Waker::noop());
    while socket.poll_recv(&mut cx, &mut [IoSliceMut::new(&mut buffer)], &mut metas).is_ready() {
        lengths.push(metas[0].len);
    }
    assert_eq!(lengths.len(), INBOX_MAX + 6);
    assert_eq!(lengths.iter().filter(|length| **length > 0).collect::<Vec<_>>(), [&30]);
    let mut waiting = 0;
    while outlet.try_recv().is_ok() {
        waiting += 1;
    }
    assert_eq!(waiting, INBOX_MAX);
}

/// A socket of both families, which takes note of where it was told to send.
#[derive(Debug)]
struct Note(SocketAddr, std::sync::Mutex<Vec<SocketAddr>>);

impl AsyncUdpSocket for Note {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        unreachable!("nothing waits")
    }
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.1.lock().unwrap().push(transmit.destination);
        Ok(())
    }
    fn poll_recv(&self, _: &mut Context<'_>, _: &mut [IoSliceMut<'_>], _: &mut [RecvMeta]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0)
    }
}

#[test]
fn an_address_takes_the_form_that_the_socket_wants() {
    let sent = |local: &str, to: &str| {
        let note = Arc::new(Note(local.parse().unwrap(), std::sync::Mutex::default()));
        let (socket, _outlet) = SharedSocket::new(Arc::clone(&note) as Arc<dyn AsyncUdpSocket>);
        socket.send(to.parse().unwrap(), b"datagram").unwrap();
        let sent = note.1.lock().unwrap();
        sent[0].to_string()
    };
    assert_eq!(sent("[::]:7", "10.0.0.1:9"), "[::ffff:10.0.0.1]:9");
    assert_eq!(sent("0.0.0.0:7", "10.0.0.1:9"), "10.0.0.1:9");
    assert_eq!(sent("[::]:7", "[fd00::1]:9"), "[fd00::1]:9");
}
