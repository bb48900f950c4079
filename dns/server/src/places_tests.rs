use super::*;
use futures::FutureExt;

fn places(max: usize, per_client: usize) -> Arc<Places> {
    Places::new(ServeLimits { connections_max: max, connections_per_client_max: per_client, ..ServeLimits::default() })
}

fn client(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn left(place: &Place) -> bool {
    place.is_taken_away().now_or_never().is_some()
}

#[test]
fn longest_idle_one_makes_place() {
    let places = places(3, 3);
    let held: Vec<Place> = (0..3).map(|i| places.enter(client(i)).unwrap()).collect();
    held[0].is_busy();
    held[0].waits();
    let newcomer = places.enter(client(9)).unwrap();
    assert_eq!(held.iter().map(left).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(places.taken(), 3);
    drop((held, newcomer));
    assert_eq!(places.taken(), 0);
}

#[test]
fn busy_ones_keep_their_place_and_the_newcomer_is_turned_away() {
    let places = places(2, 2);
    let held: Vec<Place> = (0..2).map(|i| places.enter(client(i)).unwrap()).collect();
    held.iter().for_each(Place::is_busy);
    assert!(places.enter(client(9)).is_none());
    assert!(!held.iter().any(left));
}

#[test]
fn client_with_its_share_loses_its_own_and_nobody_elses() {
    let places = places(10, 2);
    let other = places.enter(client(1)).unwrap();
    let own: Vec<Place> = (0..5).map(|_| places.enter(client(2)).unwrap()).collect();
    assert_eq!(own.iter().map(left).collect::<Vec<_>>(), [true, true, true, false, false]);
    assert!(!left(&other));
    own[3].is_busy();
    own[4].is_busy();
    assert!(places.enter(client(2)).is_none());
    assert!(places.enter(client(3)).is_some());
}

#[test]
fn neighbours_in_a_network_of_ipv6_share() {
    let places = places(10, 1);
    let first = places.enter("2001:db8::1".parse().unwrap()).unwrap();
    let _second = places.enter("2001:db8::2".parse().unwrap()).unwrap();
    assert!(left(&first));
    let mapped = places.enter("::ffff:10.0.0.1".parse().unwrap()).unwrap();
    let _again = places.enter(client(1)).unwrap();
    assert!(left(&mapped));
}

#[test]
fn idle_time_is_short_when_places_run_out() {
    let places = places(4, 4);
    let held: Vec<Place> = (0..3).map(|i| places.enter(client(i)).unwrap()).collect();
    assert_eq!(held[0].idle(), Duration::from_secs(10));
    let _last = places.enter(client(9)).unwrap();
    assert_eq!(held[0].idle(), Duration::from_secs(2));
}
