use super::*;

const AB: (u32, u32) = (0, 1);

#[test]
fn a_cold_peer_costs_a_dial_and_a_round_trip() {
    let mut network = Network::new(2, 0.0, 1);
    let cold = network.send_datagram(Millis(0), AB, 100, true).expect("no loss");
    assert!((3..=9).contains(&cold.0), "{cold:?}");
    let dialled = network.sent;
    assert_eq!(dialled, Traffic { bytes: 3_600 + 1_870 + 164, packets: 10 });
    let warm = network.send_datagram(Millis(1_000), AB, 100, true).expect("no loss");
    assert!((1_001..=1_003).contains(&warm.0), "{warm:?}");
    let acknowledged = Traffic { bytes: dialled.bytes + 164 + 60, packets: 12 };
    assert_eq!(network.sent, acknowledged, "every second one is");
    assert_eq!(network.connection_ends(Millis(1_000)), 2);
}

#[test]
fn a_lost_flight_of_a_dial_costs_a_retransmission_time() {
    let mut network = Network::new(1_000, 0.2, 2);
    let late = (1..1_000).filter(|to| {
        let arrives = network.send_stream(Millis(0), (0, *to), 10, true);
        arrives.is_none_or(|at| at >= Millis(150))
    });
    let late = late.count();
    assert!((400..600).contains(&late), "{late}: one of three is lost in 49 of 100");
}

#[test]
fn a_stream_delivers_what_was_lost_later() {
    let mut network = Network::new(2, 0.3, 3);
    network.send_stream(Millis(0), AB, 10, true).expect("three seconds are enough");
    let arrives = network.send_stream(Millis(4_000), AB, 100_000, true).expect("a live connection");
    assert!(arrives >= Millis(4_036), "{arrives:?}: of 88 packets one was lost");
    let datagrams = (0..1_000).filter(|_| network.send_datagram(Millis(4_000), AB, 10, true).is_some()).count();
    assert!((650..750).contains(&datagrams), "{datagrams}");
}

#[test]
fn a_peer_that_does_not_run_is_dialled_in_vain() {
    let mut network = Network::new(2, 0.0, 4);
    assert_eq!(network.send_datagram(Millis(0), AB, 100, false), None);
    assert_eq!(network.sent.packets, 5, "an Initial at 0, 150, 450, 1050 and 2250 ms");
    assert_eq!(network.send_datagram(Millis(1), AB, 100, false), None);
    assert_eq!(network.sent.packets, 5, "one dial at a time");
    assert_eq!(network.connection_ends(Millis(1)), 0);
}
