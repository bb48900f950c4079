use super::*;

const LANES: [Lane; 6] = [Lane::Raft, Lane::Control, Lane::Catalogue, Lane::Join, Lane::Ping, Lane::Snapshot];

#[test]
fn a_lane_is_known_by_its_byte() {
    for lane in LANES {
        assert_eq!(Lane::from_byte(lane.byte()), Some(lane));
    }
    let known = (0..=255).filter_map(Lane::from_byte).count();
    assert_eq!(known, LANES.len());
}

#[test]
fn a_stranger_may_join_and_do_nothing_else() {
    for lane in LANES {
        assert!(lane.allows(Peer::Node(NodeId(1))));
        assert_eq!(lane.allows(Peer::Stranger), lane == Lane::Join);
    }
}
