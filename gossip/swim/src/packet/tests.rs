use super::*;
use crate::{SwimConfig, codec::RingCodec, outbox::Outbox};
use foca::{Foca, NoCustomBroadcast};
use rand::{SeedableRng, rngs::SmallRng};

fn identity(id: u64) -> Identity {
    Identity::seed(NodeId(id), "127.0.0.1:7400".parse().expect("an address"))
}

fn foca_that_knows(member: &Member<Identity>) -> Foca<Identity, RingCodec, SmallRng, NoCustomBroadcast> {
    let (me, rng) = (identity(1), SmallRng::seed_from_u64(1));
    let mut foca = Foca::new(me, SwimConfig::lan(3).to_foca(), rng, RingCodec::new(me));
    tell(&mut foca, member);
    foca
}

fn tell(foca: &mut Foca<Identity, RingCodec, SmallRng, NoCustomBroadcast>, member: &Member<Identity>) {
    foca.apply_many([member.clone()].into_iter(), true, &mut Outbox::default()).expect("a good fact");
}

fn all() -> impl Iterator<Item = Member<Identity>> {
    let states = [State::Alive, State::Suspect, State::Down];
    states.into_iter().flat_map(|state| (0..3).map(move |n| Member::new(identity(2), n, state)))
}

#[test]
fn what_is_stale_changes_nothing_in_the_library_and_the_rest_does() {
    for (known, update) in all().flat_map(|known| all().map(move |update| (known.clone(), update))) {
        let mut foca = foca_that_knows(&known);
        tell(&mut foca, &update);
        let changed = foca.iter_membership_state().next() != Some(&known);
        assert_eq!(is_stale(&update, &known), !changed, "{update:?} after {known:?}");
    }
}

#[test]
fn another_life_is_never_stale() {
    let later = Identity { incarnation: crate::Incarnation { start: 2, renewal: 0 }, ..identity(2) };
    assert!(!is_stale(&Member::alive(later), &Member::down(identity(2))));
}

#[test]
fn a_packet_keeps_its_header_and_its_news() {
    let header = Header { src: identity(2), src_incarnation: 0, dst: identity(1), message: Message::Gossip };
    let mut packet = Vec::new();
    codec::put_header(&header, &mut packet).expect("room");
    let bare = packet.len();
    packet.extend(3u16.to_be_bytes());
    for id in [3, 4, 5] {
        codec::put_member(&Member::alive(identity(id)), &mut packet).expect("room");
    }
    let told = read(&identity(1), &packet).expect("a packet");
    assert!(matches!(told.without(&packet, |_| false), Cow::Borrowed(whole) if whole == packet));
    let news = told.without(&packet, |update| update.id().id != NodeId(4));
    let told_less = read(&identity(1), &news).expect("a packet");
    assert_eq!(told_less.header, header);
    assert_eq!(told_less.updates, [Member::alive(identity(4))]);
    assert_eq!(told.without(&packet, |_| true).len(), bare);
}
