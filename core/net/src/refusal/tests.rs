use super::*;

#[test]
fn grounds_survive_the_way_behind_words_and_whatever_else_comes_there_gives_none() {
    let holders = vec![(NodeId(7), "127.0.0.1:7400".parse().unwrap()), (NodeId(8), "[fd00::8]:1".parse().unwrap())];
    let grounds = Grounds { mark: vec![0, 7], signature: vec![0; 64], holders };
    let reason = grounds.behind(Close::Removed.reason());
    assert!(reason.starts_with(Close::Removed.reason()));
    assert_eq!(Grounds::of(&reason), grounds);
    for cut in 0..reason.len() {
        assert_eq!(Grounds::of(&reason[..cut]), Grounds::default(), "{cut}");
    }
    assert_eq!(Grounds::of(b"bye\0garbage"), Grounds::default());
}

#[test]
fn the_largest_fits_a_packet() {
    let address = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap();
    let holders = vec![(NodeId(u64::MAX), address); HOLDERS_MAX];
    let grounds = Grounds { mark: vec![255; 14], signature: vec![255; 64], holders };
    for why in [RefusedFor::Removal, RefusedFor::FormerAuthority] {
        assert!(grounds.behind(why.close().reason()).len() < 512); // of 1,200 bytes
    }
}

#[test]
fn a_statement_is_of_one_cluster_reason_and_certificate() {
    let statements = [
        RefusedFor::Removal.statement(ClusterId(1), &[1; 32]),
        RefusedFor::FormerAuthority.statement(ClusterId(1), &[1; 32]),
        RefusedFor::Removal.statement(ClusterId(2), &[1; 32]),
        RefusedFor::Removal.statement(ClusterId(1), &[2; 32]),
    ];
    assert!((0..4).all(|i| (0..i).all(|k| statements[i] != statements[k])));
}
