use super::*;

const AB: (u32, u32) = (0, 1);

#[test]
fn a_cold_peer_gets_a_sealed_packet_and_no_dial() {
    let mut network = Network::new(17, 0.0, 1);
    let arrives = network.send_packet(Millis(0), AB, 100, true).expect("no loss");
    assert!((1..=3).contains(&arrives.0), "{arrives:?}");
    assert_eq!(network.sent, Traffic { bytes: 100 + 28 + 45, packets: 1 });
    assert_eq!(network.connection_ends(Millis(10)), 0);
}

#[test]
fn a_small_ring_dials_beside_the_packet() {
    let mut network = Network::new(2, 0.0, 1);
    let arrives = network.send_packet(Millis(0), AB, 100, true).expect("no loss");
    assert!((1..=3).contains(&arrives.0), "{arrives:?}: it does not wait for the dial");
    assert_eq!(network.sent, Traffic { bytes: 3_600 + 1_870 + 173, packets: 10 });
    assert_eq!(network.connection_ends(Millis(10)), 2);
}

#[test]
fn a_packet_takes_a_live_connection_and_is_acknowledged() {
    let mut network = Network::new(17, 0.0, 1);
    network.send_stream(Millis(0), AB, 10, true).expect("no loss");
    let before = network.sent;
    network.send_packet(Millis(100), AB, 100, true);
    network.send_packet(Millis(100), AB, 100, true);
    assert_eq!(network.sent, Traffic { bytes: before.bytes + 2 * 164 + 60, packets: before.packets + 3 });
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
    let packets = (0..1_000).filter(|_| network.send_packet(Millis(4_000), AB, 10, true).is_some()).count();
    assert!((650..750).contains(&packets), "{packets}");
}

#[test]
fn a_large_message_takes_a_gigabit_and_its_window() {
    let took = |loss| {
        let mut network = Network::new(2, loss, 5);
        network.send_stream(Millis(0), AB, 10, true).expect("it answers");
        network.send_stream(Millis(1_000), AB, 20_000_000, true).expect("it answers").0 - 1_000
    };
    assert!((169..400).contains(&took(0.0)), "{}: 20 MB with headers are 169 ms", took(0.0));
    assert!((5_000..7_000).contains(&took(0.01)), "{}: 14 kB a round trip", took(0.01));
}

#[test]
fn a_peer_that_does_not_run_is_dialled_in_vain() {
    let mut network = Network::new(2, 0.0, 4);
    assert_eq!(network.send_stream(Millis(0), AB, 100, false), None);
    assert_eq!(network.sent.packets, 5, "an Initial at 0, 150, 450, 1050 and 2250 ms");
    assert_eq!(network.send_stream(Millis(1), AB, 100, false), None);
    assert_eq!(network.sent.packets, 5, "one dial at a time");
    assert_eq!(network.connection_ends(Millis(1)), 0);
}

#[test]
fn a_busy_processor_takes_nothing_until_it_is_free() {
    let mut network = Network::new(2, 0.0, 6);
    assert_eq!(network.busy_until(Millis(5), 0, 20_000), None);
    assert_eq!(network.busy_until(Millis(6), 0, 0), Some(Millis(25)));
    assert_eq!(network.busy_until(Millis(25), 0, 0), None);
}
