use super::*;

#[test]
fn a_connection_serves_both_directions_until_it_was_idle() {
    let mut pool = Pool::new(2);
    assert_eq!(pool.way(Millis(0), 0, 1), Way::Dial);
    pool.note_dial(Millis(0), Millis(4), 0, 1);
    assert_eq!(pool.way(Millis(1), 1, 0), Way::Wait(Millis(4)));
    assert_eq!(pool.way(Millis(4_000), 1, 0), Way::Open);
    assert_eq!(pool.way(Millis(33_999), 0, 1), Way::Open);
    assert_eq!(pool.live_ends(Millis(34_000)), 2);
    assert_eq!(pool.way(Millis(63_999), 0, 1), Way::Dial);
}

#[test]
fn a_dial_without_an_answer_swallows_packets_until_it_is_given_up() {
    let mut pool = Pool::new(2);
    pool.note_failure(Millis(0), 0, 1);
    assert_eq!(pool.way(Millis(2_999), 0, 1), Way::Failing);
    assert_eq!(pool.way(Millis(2_999), 1, 0), Way::Dial, "the other end knows nothing of it");
    assert_eq!(pool.way(Millis(3_000), 0, 1), Way::Dial);
}

#[test]
fn the_connection_used_longest_ago_makes_room_at_both_ends() {
    let mut pool = Pool::new(CONNECTIONS_MAX + 2);
    for peer in 1..=CONNECTIONS_MAX as u32 {
        pool.note_dial(Millis(peer.into()), Millis(peer.into()), 0, peer);
    }
    assert_eq!(pool.way(Millis(700), 0, 1), Way::Open);
    pool.note_dial(Millis(700), Millis(701), 0, CONNECTIONS_MAX as u32 + 1);
    assert_eq!(pool.way(Millis(702), 2, 0), Way::Dial);
    assert_eq!(pool.way(Millis(702), 0, 1), Way::Open);
}
