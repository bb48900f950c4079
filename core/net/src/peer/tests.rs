use super::*;

const LANES: [Lane; 8] =
    [Lane::Raft, Lane::Control, Lane::Catalogue, Lane::Join, Lane::Ping, Lane::Snapshot, Lane::Renew, Lane::Talk];

#[test]
fn a_lane_is_known_by_its_byte() {
    for lane in LANES {
        assert_eq!(Lane::from_byte(lane.byte()), Some(lane));
    }
    let known = (0..=255).filter_map(Lane::from_byte).count();
    assert_eq!(known, LANES.len());
}

/// What each kind of peer may do: a table to be read, against a function that decides.
#[test]
fn each_kind_of_peer_has_its_lanes() {
    let id = NodeId(1);
    let table: [(Peer, &[Lane]); 5] = [
        (Peer::Node(id), &LANES),
        (Peer::Expired(id), &[Lane::Control, Lane::Catalogue, Lane::Ping, Lane::Snapshot, Lane::Renew]),
        (Peer::Lapsed(id), &[Lane::Ping, Lane::Renew]),
        (Peer::Removed(id), &[]),
        (Peer::Stranger, &[Lane::Join]),
    ];
    for (peer, allowed) in table {
        for lane in LANES {
            assert_eq!(lane.allows(peer), allowed.contains(&lane), "{lane:?} for {peer:?}");
        }
    }
}
