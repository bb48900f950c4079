//! Certificates: what is in them, how they change while connections are open, and what follows when they do not.

use super::*;
use crate::{Grounds, certified, sha256, spiffe_id};
use rcgen::SanType;
use std::collections::BTreeSet;

const DAY: u64 = 86_400_000;

fn uri(text: &str) -> SanType {
    SanType::URI(text.to_owned().try_into().unwrap())
}

/// A node of our CA whose certificate has these names.
fn named(ca: &Authority, n: u8, names: Vec<SanType>) -> Identity {
    let key = NodeKey::from_seed([n; 32]);
    Identity { certificate: ca.certify_named(key.public(), names, now()), ..identity(ca, n) }
}

#[tokio::test]
async fn exactly_one_spiffe_uri_of_the_own_key_and_cluster_is_believed() {
    let ca = authority(1);
    let id = NodeKey::from_seed([2; 32]).public().node_id();
    let right = spiffe_id(CLUSTER, id);
    let name = SanType::DnsName(crate::server_name(CLUSTER, id).try_into().unwrap());
    let foreign = [
        ("none", vec![name.clone()]),
        ("two", vec![uri(&right), uri("https://example.org/")]),
        ("twice", vec![uri(&right), uri(&right)]),
        ("another node", vec![uri(&spiffe_id(CLUSTER, NodeId(77)))]),
        ("another cluster", vec![uri(&spiffe_id(ClusterId(0xc2), id))]),
        ("another path", vec![uri(&right.replace("node", "admin"))]),
        ("more path", vec![uri(&format!("{right}/x"))]),
    ];
    for (what, names) in foreign {
        let mut ours = Node::new(&ca, 1);
        let mut theirs = Node::with(named(&ca, 2, names), any_port());
        ours.knows(&theirs);
        theirs.knows(&ours);
        for refused in [ours.call(theirs.id, b"hi").await, theirs.call(ours.id, b"hi").await] {
            assert!(matches!(refused, Err(CallError::Unreachable(..) | CallError::Broken(_))), "{what}: {refused:?}");
        }
        assert!(ours.net.meet(theirs.address).await.is_err(), "{what}");
        ours.heard_nothing();
        theirs.heard_nothing();
    }
    let ours = Node::new(&ca, 1);
    let theirs = Node::with(named(&ca, 2, vec![uri(&right)]), any_port());
    ours.knows(&theirs);
    assert_eq!(ours.call(theirs.id, b"ab").await, Ok(b"ba".to_vec()), "a name for DNS is not needed");
}

#[tokio::test]
async fn a_node_is_met_by_its_uri_and_reached_as_itself_only() {
    let ca = authority(1);
    let (a, b) = (Node::new(&ca, 1), Node::new(&ca, 2));
    assert_eq!(a.net.meet(b.address).await, Ok(b.id));
    assert_eq!(a.call(b.id, b"ab").await, Ok(b"ba".to_vec()));
}

#[test]
fn the_end_of_a_certificate_is_read_to_the_second() {
    let ca = authority(1);
    let at = UnixMillis(1_800_000_000_000);
    let life = Lives::default().certificate;
    let certificate = ca.certify(NodeKey::from_seed([3; 32]).public(), at, life).unwrap();
    assert_eq!(certified::ends(&certificate), Some(at + life));
    assert_eq!(certified::ends(&certificate[1..]), None);
    assert_eq!(certified::ends(b""), None);
}

#[test]
fn a_node_takes_only_a_usable_certificate_of_its_own() {
    let ca = authority(1);
    let ours = Credentials::new(identity(&ca, 1), crate::crypto()).unwrap();
    let authorities = [ca.certificate().to_vec()];
    let accepts = |identity: &Identity| ours.accepts(&identity.certificate, &authorities, &[], now()).is_ok();
    assert!(accepts(&identity(&ca, 1)));
    assert!(!accepts(&identity(&ca, 2)), "another node's");
    assert!(!accepts(&identity(&authority(2), 1)), "of another CA");
    assert!(!accepts(&certified_at(&ca, 1, UnixMillis(now().0 - 2 * DAY))), "ended");
    assert!(!accepts(&Identity { certificate: vec![1, 2, 3], ..identity(&ca, 1) }), "garbage");
}

#[test]
fn a_renewal_brings_no_ca_but_the_one_that_has_signed_it_and_that_one_only_by_its_cross_certificate() {
    let (old, new, foreign) = (authority(1), authority(2), authority(3));
    let cross = |ca: &Authority, by: &Authority| ca.cross_signed_by(by, now()).unwrap();
    let der = |ca: &Authority| ca.certificate().to_vec();
    let ours = Credentials::new(identity(&old, 1), crate::crypto()).unwrap();
    let accepts = |by: &Authority, authorities: &[Vec<u8>], crosses: &[Vec<u8>]| {
        ours.accepts(&identity(by, 1).certificate, authorities, crosses, now()).is_ok()
    };
    let (both, forward) = ([der(&old), der(&new)], [cross(&new, &old)]);
    assert!(accepts(&new, &both, &forward));
    assert!(accepts(&new, &both[1..], &forward), "the old one has ended");
    assert!(accepts(&old, &both[..1], &forward), "of the old one once more");
    assert!(!accepts(&old, &both, &forward), "a new CA without a certificate of it");
    assert!(!accepts(&new, &both, &[]), "nobody who is believed has signed its key");
    assert!(!accepts(&new, &both, &[cross(&new, &foreign)]));
    assert!(!accepts(&new, &[der(&old), der(&new), der(&foreign)], &forward), "one more beside it");
    assert!(!accepts(&old, &[], &[]), "then nobody would be believed");
}

/// A node whose certificate ended so long ago, and one whose has not; they know one another's keys.
pub(super) async fn fresh_and_ended(ago: u64, known: bool) -> (Node, Node) {
    let ca = Authority::create(CLUSTER, [1; 32], UnixMillis(now().0 - 100 * DAY)).unwrap();
    let fresh = Node::new(&ca, 1);
    let ended = Node::with(certified_at(&ca, 2, UnixMillis(now().0 - DAY - ago)), any_port());
    fresh.knows(&ended);
    ended.knows(&fresh);
    if known {
        fresh.net.set_peer_key(ended.id, NodeKey::from_seed([2; 32]).public()).unwrap();
    }
    (fresh, ended)
}

/// Each lane as it is between the two, in both directions.
async fn lanes(fresh: &mut Node, ended: &mut Node, peer: Peer) {
    for lane in [Lane::Raft, Lane::Control, Lane::Catalogue, Lane::Join, Lane::Renew, Lane::Ping] {
        let (there, back) =
            (ended.net.call(fresh.id, lane, b"ab", LIMIT).await, fresh.net.call(ended.id, lane, b"ab", LIMIT).await);
        let allowed = lane.allows(peer);
        assert_eq!((there.is_ok(), back.is_ok()), (allowed, allowed), "{lane:?}: {there:?}, {back:?}");
        if allowed && lane != Lane::Ping {
            assert_eq!(fresh.heard().await, Heard::Call(peer, lane, Bytes::from_static(b"ab")));
            ended.heard().await;
        }
        if !allowed {
            assert!(matches!(there, Err(CallError::Refused(_))) && matches!(back, Err(CallError::Refused(_))));
        }
    }
    fresh.heard_nothing();
    ended.heard_nothing();
}

#[tokio::test]
async fn a_member_whose_certificate_ended_takes_part_in_gossip_for_a_while_and_may_be_renewed() {
    let (mut fresh, mut ended) = fresh_and_ended(3 * DAY, true).await;
    let peer = Peer::Expired(ended.id);
    lanes(&mut fresh, &mut ended, peer).await;
    ended.net.push(fresh.id, Lane::Catalogue, b"a set", LIMIT).await.unwrap();
    assert_eq!(fresh.heard().await, Heard::Push(ended.id, Lane::Catalogue, Bytes::from_static(b"a set")));
    ended.net.send_datagram(fresh.id, Bytes::from_static(b"probe"));
    assert_eq!(fresh.heard().await, Heard::Datagram(ended.id, Bytes::from_static(b"probe")));
}

#[tokio::test]
async fn one_that_ended_long_ago_or_is_not_known_may_be_renewed_and_nothing_else() {
    for (ago, known) in [(8 * DAY, true), (DAY, false)] {
        let (mut fresh, mut ended) = fresh_and_ended(ago, known).await;
        let peer = Peer::Lapsed(ended.id);
        lanes(&mut fresh, &mut ended, peer).await;
        // The sender keeps to it, too: what it sent would be lost on the way or refused.
        let connection = ended.net.pool().live(fresh.id).unwrap().connection.clone();
        connection.send_datagram(Bytes::from_static(b"probe")).unwrap();
        let mut push = connection.open_uni().await.unwrap();
        push.write_all(&[Lane::Catalogue.byte(), 1]).await.unwrap();
        push.finish().unwrap();
        ended.net.call(fresh.id, Lane::Renew, b"last", LIMIT).await.unwrap();
        assert_eq!(fresh.heard().await, Heard::Call(peer, Lane::Renew, Bytes::from_static(b"last")));
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_from_the_next_connection_on_and_the_open_one_lives() {
    let ca = Authority::create(CLUSTER, [1; 32], UnixMillis(now().0 - 100 * DAY)).unwrap();
    let mut fresh = Node::new(&ca, 1);
    let old = certified_at(&ca, 2, UnixMillis(now().0 - 2 * DAY));
    let (renewed, unjoined) = (identity(&ca, 2), unjoined(&old.key, any_port()));
    let credentials = Arc::new(Credentials::new(old, crate::crypto()).unwrap());
    let (sender, heard) = mpsc::unbounded_channel();
    let (id, address) = (credentials.id(), unjoined.local_address().unwrap());
    let net = unjoined.start_with(Arc::clone(&credentials), 1, Arc::new(Echo(sender))).unwrap();
    let node = Node { net, id, address, heard };
    fresh.knows(&node);
    node.knows(&fresh);
    fresh.net.set_peer_key(id, NodeKey::from_seed([2; 32]).public()).unwrap();
    assert!(node.net.call(fresh.id, Lane::Raft, b"ab", LIMIT).await.is_err());
    node.net.call(fresh.id, Lane::Renew, b"ab", LIMIT).await.unwrap();
    assert_eq!(fresh.heard().await, Heard::Call(Peer::Expired(id), Lane::Renew, Bytes::from_static(b"ab")));
    let open = node.net.pool().live(fresh.id).unwrap().connection.clone();
    credentials.renew(renewed.certificate, renewed.authorities, vec![]).unwrap();
    // The callee says that what it was shown has ended; the call itself mends that.
    assert_eq!(node.net.call(fresh.id, Lane::Raft, b"cd", LIMIT).await, Ok(b"dc".to_vec()));
    assert_eq!(fresh.heard().await, Heard::Call(Peer::Node(id), Lane::Raft, Bytes::from_static(b"cd")));
    assert_eq!(fresh.net.call(id, Lane::Raft, b"ef", LIMIT).await, Ok(b"fe".to_vec()));
    assert_eq!(open.close_reason(), None, "what is under way on the old one goes on");
    assert!(credentials.renew(vec![0; 9], vec![], vec![]).is_err());
    assert_eq!(node.net.call(fresh.id, Lane::Raft, b"ab", LIMIT).await, Ok(b"ba".to_vec()), "an error changes nothing");
}

#[tokio::test]
async fn a_removed_node_is_cut_off_and_told_so() {
    let (mut a, mut b) = pair();
    b.net.set_peer_key(a.id, NodeKey::from_seed([1; 32]).public()).unwrap();
    a.call(b.id, b"hi").await.unwrap();
    b.heard().await;
    b.net.set_removed(BTreeSet::from([a.id]));
    let by = Refusal { by: b.id, why: RefusedFor::Removal, proven: false, mark: vec![], holders: vec![] };
    assert_eq!(a.heard().await, Heard::Refused(by.clone()), "the open connection is closed");
    b.until("no way leads there any more", |net| net.address(a.id).is_none() && net.pool().live(a.id).is_none()).await;
    let refused = a.call(b.id, b"hi").await;
    assert!(matches!(refused, Err(CallError::Broken(_) | CallError::Unreachable(..))), "{refused:?}");
    assert_eq!(a.heard().await, Heard::Refused(by), "and a new one refused");
    a.net.send_datagram(b.id, Bytes::from_static(b"probe"));
    b.knows(&a);
    let refused = b.call(a.id, b"hi").await;
    assert!(matches!(&refused, Err(CallError::Unreachable(..))), "it is not dialled either: {refused:?}");
    assert!(b.net.meet(a.address).await.is_err());
    b.heard_nothing();
}

#[tokio::test]
async fn one_that_is_taken_for_dead_is_not_told_that_it_was_removed() {
    let (mut a, b) = pair();
    a.call(b.id, b"hi").await.unwrap();
    b.net.drop_connection(a.id);
    a.until("it is closed", |net| net.pool().live(b.id).is_none()).await;
    b.net.forget_peer(a.id);
    a.call(b.id, b"hi").await.unwrap();
    a.heard_nothing();
}

/// A node under the old CA that has not heard of the new one, a node that has been renewed under the new one, and one that
/// has heard of it and was not renewed yet.
fn amid_a_rotation() -> (Authority, Authority, [Identity; 3]) {
    let (old, new) = (authority(1), authority(2));
    let crosses = vec![new.cross_signed_by(&old, now()).unwrap()];
    let both = vec![old.certificate().to_vec(), new.certificate().to_vec()];
    let unaware = identity(&old, 1);
    let renewed = Identity { authorities: both.clone(), crosses: crosses.clone(), ..identity(&new, 2) };
    let aware = Identity { authorities: both, crosses, ..identity(&old, 3) };
    (old, new, [unaware, renewed, aware])
}

#[tokio::test]
async fn amid_a_rotation_of_the_ca_all_believe_one_another() {
    let (_, _, identities) = amid_a_rotation();
    let nodes = identities.map(|identity| Node::with(identity, any_port()));
    for a in &nodes {
        for b in nodes.iter().filter(|b| b.id != a.id) {
            a.knows(b);
            a.net.drop_connection(b.id); // each dials each
            assert_eq!(a.call(b.id, b"ab").await, Ok(b"ba".to_vec()));
        }
    }
}

#[tokio::test]
async fn tokens_of_either_ca_let_in_while_both_are_believed_and_the_old_one_ends_with_its_ca() {
    let (old, new, [_, renewed, aware]) = amid_a_rotation();
    let token = |ca: &Authority| JoinToken {
        cluster: CLUSTER,
        ca_hash: ca.hash(),
        id: taffeta_model::TokenId(1),
        secret: [8; 16],
    };
    let nodes = [renewed, aware].map(|identity| Node::with(identity, any_port()));
    for (node, let_in) in nodes.iter().zip([vec![&old, &new], vec![&old]]) {
        for ca in let_in {
            let machine = unjoined(&NodeKey::from_seed([9; 32]), any_port());
            assert_eq!(machine.join(node.address, &token(ca), b"me").await.unwrap(), b"em");
        }
    }
    // Until a node has its certificate of the new one, no chain leads from it there.
    let refused = unjoined(&NodeKey::from_seed([9; 32]), any_port()).join(nodes[1].address, &token(&new), b"me").await;
    assert!(matches!(refused, Err(JoinError::Unreachable(..))), "it is tried again: {refused:?}");
    let after = Node::new(&new, 4);
    let machine = unjoined(&NodeKey::from_seed([9; 32]), any_port());
    assert_eq!(machine.join(after.address, &token(&new), b"me").await.unwrap(), b"em");
    let refused = machine.join(after.address, &token(&old), b"me").await;
    assert!(matches!(refused, Err(JoinError::ForeignCluster(_))), "{refused:?}");
}

#[tokio::test]
async fn after_a_rotation_the_old_ca_is_believed_no_more() {
    let (old, new) = (authority(1), authority(2));
    let (a, b) = (Node::new(&old, 1), Node::new(&new, 2));
    a.knows(&b);
    b.knows(&a);
    for refused in [a.call(b.id, b"hi").await, b.call(a.id, b"hi").await] {
        assert!(matches!(refused, Err(CallError::Unreachable(..))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_cross_certificate_of_a_ca_that_nobody_believes_helps_nobody() {
    let (ours, foreign) = (authority(1), authority(2));
    // The foreign CA signs itself a way to our name, which our key never did.
    let forged = Identity { crosses: vec![ours.cross_signed_by(&foreign, now()).unwrap()], ..identity(&foreign, 2) };
    let (a, b) = (Node::new(&ours, 1), Node::with(forged, any_port()));
    a.knows(&b);
    let refused = a.call(b.id, b"hi").await;
    assert!(matches!(refused, Err(CallError::Unreachable(..))), "{refused:?}");
}

/// A node that holds CAs' keys, or knows who does.
struct Voter(Option<Authority>, Vec<(NodeId, SocketAddr)>);

#[async_trait]
impl Service for Voter {
    async fn call(&self, _: Peer, _: Lane, _: Bytes) -> Result<Vec<u8>, String> {
        Ok(vec![])
    }
    fn push(&self, _: NodeId, _: Lane, _: Bytes) {}
    fn datagram(&self, _: NodeId, _: Bytes) {}
    fn grounds(&self, statement: &[u8]) -> Grounds {
        let (mark, statement) = (b"gen 1".to_vec(), [b"gen 1", statement].concat());
        let signature = self.0.as_ref().map(|ca| ca.sign_message(&statement).to_vec()).unwrap_or_default();
        Grounds { mark, signature, holders: self.1.clone() }
    }
}

fn voter(identity: Identity, signs: Option<&Authority>, holders: Vec<(NodeId, SocketAddr)>) -> Node {
    let unjoined = unjoined(&identity.key, any_port());
    let (id, address) = (identity.id(), unjoined.local_address().unwrap());
    let net = unjoined.start(identity, 1, Arc::new(Voter(signs.cloned(), holders))).unwrap();
    let (_, heard) = mpsc::unbounded_channel();
    Node { net, id, address, heard }
}

/// CAs that followed one another, and the cross certificates of all but the first.
fn three_in_turn() -> ([Authority; 3], Vec<Vec<u8>>) {
    let all = [authority(1), authority(2), authority(3)];
    let crosses = [1, 2].map(|n| all[n].cross_signed_by(&all[n - 1], now()).unwrap()).to_vec();
    (all, crosses)
}

#[tokio::test]
async fn a_machine_of_a_ca_that_has_ended_is_refused_and_told_so_by_the_cas_key() {
    let ([first, second, third], crosses) = three_in_turn();
    for (n, own) in [(1, &first), (2, &second)] {
        let of_third = Identity { crosses: crosses.clone(), ..identity(&third, 9) };
        let told = |by: &Node, proven| {
            Heard::Refused(Refusal {
                by: by.id,
                why: RefusedFor::FormerAuthority,
                proven,
                mark: b"gen 1".to_vec(),
                holders: vec![],
            })
        };
        for (signs, proven) in [(&third, true), (own, true), (&authority(7), false)] {
            let by = voter(of_third.clone(), Some(signs), vec![]);
            let mut machine = Node::new(own, n);
            machine.knows(&by);
            assert!(machine.call(by.id, b"hi").await.is_err());
            assert_eq!(machine.heard().await, told(&by, proven), "{n}");
        }
        let by = voter(of_third, None, vec![]);
        let mut machine = Node::new(own, n);
        machine.knows(&by);
        assert!(machine.call(by.id, b"hi").await.is_err());
        assert_eq!(machine.heard().await, told(&by, false), "whoever has no key proves nothing");
    }
}

#[tokio::test]
async fn what_was_said_of_another_certificate_or_for_another_reason_proves_nothing() {
    struct Replays(Vec<u8>);
    #[async_trait]
    impl Service for Replays {
        async fn call(&self, _: Peer, _: Lane, _: Bytes) -> Result<Vec<u8>, String> {
            Ok(vec![])
        }
        fn push(&self, _: NodeId, _: Lane, _: Bytes) {}
        fn datagram(&self, _: NodeId, _: Bytes) {}
        fn grounds(&self, _: &[u8]) -> Grounds {
            Grounds { mark: vec![], signature: self.0.clone(), holders: vec![] }
        }
    }
    let (ca, mine) = (authority(1), identity(&authority(1), 1));
    let statements = [
        (RefusedFor::Removal.statement(CLUSTER, &sha256(&mine.certificate)), true),
        (RefusedFor::Removal.statement(CLUSTER, &sha256(&identity(&ca, 3).certificate)), false),
        (RefusedFor::FormerAuthority.statement(CLUSTER, &sha256(&mine.certificate)), false),
        (RefusedFor::Removal.statement(ClusterId(0xc2), &sha256(&mine.certificate)), false),
    ];
    for (statement, proven) in statements {
        let mut machine = Node::with(mine.clone(), any_port());
        let unjoined = unjoined(&NodeKey::from_seed([2; 32]), any_port());
        let address = unjoined.local_address().unwrap();
        let replays = Replays(ca.sign_message(&statement).to_vec());
        let by = unjoined.start(identity(&ca, 2), 1, Arc::new(replays)).unwrap();
        by.set_removed(BTreeSet::from([machine.id]));
        let by = identity(&ca, 2).id();
        machine.net.knock(by, address).await;
        let refusal = Refusal { by, why: RefusedFor::Removal, proven, mark: vec![], holders: vec![] };
        assert_eq!(machine.heard().await, Heard::Refused(refusal));
    }
}

#[tokio::test]
async fn whoever_refuses_says_who_can_prove_it_and_a_knock_there_does() {
    let ca = authority(1);
    let mut machine = Node::new(&ca, 1);
    let holder = voter(identity(&ca, 2), Some(&ca), vec![]);
    let by = voter(identity(&ca, 3), None, vec![(holder.id, holder.address)]);
    for node in [&holder, &by] {
        node.net.set_removed(BTreeSet::from([machine.id]));
    }
    machine.knows(&by);
    assert!(machine.call(by.id, b"hi").await.is_err());
    let holders = vec![(holder.id, holder.address)];
    let unproven = Refusal { by: by.id, why: RefusedFor::Removal, proven: false, mark: b"gen 1".to_vec(), holders };
    assert_eq!(machine.heard().await, Heard::Refused(unproven));
    machine.net.knock(holder.id, holder.address).await;
    let proven =
        Refusal { by: holder.id, why: RefusedFor::Removal, proven: true, mark: b"gen 1".to_vec(), holders: vec![] };
    assert_eq!(machine.heard().await, Heard::Refused(proven));
    machine.net.knock(by.id, holder.address).await;
    machine.heard_nothing(); // another node is there
    let friend = Node::new(&ca, 4);
    machine.net.knock(friend.id, friend.address).await;
    machine.heard_nothing(); // it has nothing against this one
}

/// Until this was so, a replaced CA's certificates were believed as long as its key, signed by the next CA, was shown.
#[tokio::test]
async fn no_rotation_makes_a_way_back_to_the_former_ca() {
    let (old, new, identities) = amid_a_rotation();
    let published: Vec<Vec<u8>> =
        identities.iter().flat_map(|i| [&i.crosses, &i.authorities]).flatten().cloned().collect();
    let forged = Identity { crosses: published, ..identity(&old, 5) };
    let (after, forger) = (Node::new(&new, 6), Node::with(forged, any_port()));
    after.knows(&forger);
    assert!(matches!(after.call(forger.id, b"hi").await, Err(CallError::Unreachable(..))));
}

#[tokio::test]
async fn a_node_tells_the_date_by_its_own_clock() {
    let (a, b) = pair();
    let before = now();
    let told = a.net.date_of(b.id, LIMIT).await.unwrap();
    assert!(before <= told && told <= now());
}

/// A node whose certificate lives for so long, with what changes it.
fn short_lived(ca: &Authority, n: u8, life: Duration) -> (Node, Arc<Credentials>) {
    let key = NodeKey::from_seed([n; 32]);
    let certificate = ca.certify(key.public(), now(), life).unwrap();
    let lives = Lives { certificate: life, grace: life };
    let unjoined = unjoined_living(&key, any_port(), CONNECTIONS_MAX, lives);
    let credentials = Arc::new(Credentials::new(Identity { certificate, ..identity(ca, n) }, crate::crypto()).unwrap());
    let (sender, heard) = mpsc::unbounded_channel();
    let (id, address) = (credentials.id(), unjoined.local_address().unwrap());
    let net = unjoined.start_with(Arc::clone(&credentials), 1, Arc::new(Echo(sender))).unwrap();
    (Node { net, id, address, heard }, credentials)
}

#[tokio::test]
async fn calls_go_on_over_several_lives_and_connections_follow_the_certificates() {
    let life = Duration::from_secs(4);
    let ca = authority(1);
    let ((a, a_credentials), (b, b_credentials)) = (short_lived(&ca, 1, life), short_lived(&ca, 2, life));
    a.knows(&b);
    b.knows(&a);
    let began = Instant::now();
    let (mut renewed, mut connections) = (0, BTreeSet::new());
    while began.elapsed() < life * 3 {
        for (from, to) in [(&a, &b), (&b, &a)] {
            let reply = from.net.call(to.id, Lane::Raft, b"ab", Duration::from_secs(1)).await;
            assert_eq!(reply, Ok(b"ba".to_vec()), "after {:?}", began.elapsed());
        }
        connections.insert(a.net.pool().live(b.id).unwrap().id());
        if began.elapsed() >= (life * 2 / 3) * (renewed + 1) {
            renewed += 1;
            for (n, credentials) in [(1, &a_credentials), (2, &b_credentials)] {
                let key = NodeKey::from_seed([n; 32]).public();
                let certificate = ca.certify(key, now(), life).unwrap();
                credentials.renew(certificate, vec![ca.certificate().to_vec()], vec![]).unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(renewed, 4);
    // One or two for each certificate, and some more where its end was rounded down to before its renewal.
    assert!((4..=40).contains(&connections.len()), "{} connections for a thousand calls", connections.len());
}

#[tokio::test]
async fn without_a_renewal_connections_are_not_dialled_again_and_again() {
    let life = Duration::from_secs(3);
    let ca = authority(1);
    let ((a, _a), (b, _b)) = (short_lived(&ca, 1, life), short_lived(&ca, 2, life));
    a.knows(&b);
    a.net.set_peer_key(b.id, NodeKey::from_seed([2; 32]).public()).unwrap();
    b.net.set_peer_key(a.id, NodeKey::from_seed([1; 32]).public()).unwrap();
    let began = Instant::now();
    let mut connections = BTreeSet::new();
    while began.elapsed() < life + Duration::from_secs(1) {
        a.net.call(b.id, Lane::Catalogue, b"ab", Duration::from_secs(1)).await.unwrap();
        connections.insert(a.net.pool().live(b.id).unwrap().id());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ended = a.net.call(b.id, Lane::Raft, b"ab", Duration::from_secs(1)).await;
    assert!(matches!(ended, Err(CallError::Refused(_))), "{ended:?}");
    assert!(connections.len() < 40, "{} connections for 800 calls", connections.len());
}
