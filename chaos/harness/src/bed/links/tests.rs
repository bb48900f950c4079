use super::{BACKLOG_MAX, Links, OVERTAKEN_BY, Tally, Way};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn links(seed: u64, way: Way) -> Links {
    let mut links = Links::new(seed, 2);
    *links.way_mut(0, 1) = way;
    links
}

/// When a thousand packets, sent one a millisecond, arrive.
fn thousand(links: &mut Links) -> Vec<[Option<Duration>; 2]> {
    (0..1_000).map(|n| links.send(MS * n, 0, 1, 1_000)).collect()
}

#[test]
fn a_way_without_faults_delivers_all_at_once() {
    let mut links = links(1, Way::default());
    for (n, arrivals) in (0..).zip(thousand(&mut links)) {
        assert_eq!(arrivals, [Some(MS * n), None]);
    }
}

#[test]
fn the_same_seed_gives_the_same_and_another_one_something_else() {
    let way = Way { loss: 0.2, delay: 50 * MS, jitter: 20 * MS, duplicate: 0.1, reorder: 0.1, ..Way::default() };
    let run = |seed| thousand(&mut links(seed, way));
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn what_one_way_carries_changes_nothing_on_another() {
    let way = Way { loss: 0.5, ..Way::default() };
    let alone = thousand(&mut links(3, way));
    let mut busy = links(3, way);
    let beside = (0..1_000).map(|n| {
        busy.send(MS * n, 1, 0, 100);
        busy.send(MS * n, 0, 1, 1_000)
    });
    assert_eq!(beside.collect::<Vec<_>>(), alone);
}

#[test]
fn a_cut_is_of_one_direction_and_ends() {
    let mut links = links(1, Way { cut: true, ..Way::default() });
    assert_eq!(links.send(MS, 0, 1, 100), [None, None]);
    assert_eq!(links.send(MS, 1, 0, 100), [Some(MS), None]);
    *links.way_mut(0, 1) = Way::default();
    assert_eq!(links.send(2 * MS, 0, 1, 100), [Some(2 * MS), None]);
    assert_eq!(links.tally(), Tally { sent: 3, cut: 1, ..Tally::default() });
}

#[test]
fn as_many_are_lost_and_doubled_as_was_said() {
    let mut links = links(5, Way { loss: 0.2, duplicate: 0.1, ..Way::default() });
    let arrivals = thousand(&mut links);
    let lost = arrivals.iter().filter(|a| a[0].is_none()).count();
    let doubled = arrivals.iter().filter(|a| a[1].is_some()).count();
    assert!((150..250).contains(&lost), "{lost}");
    assert!((50..120).contains(&doubled), "{doubled}");
    let tally = links.tally();
    assert_eq!((tally.lost as usize, tally.doubled as usize), (lost, doubled));
}

#[test]
fn delay_and_jitter_are_within_their_bounds_and_differ() {
    let mut links = links(5, Way { delay: 50 * MS, jitter: 20 * MS, ..Way::default() });
    let late: Vec<Duration> =
        (0..).zip(thousand(&mut links)).map(|(n, a)| a[0].expect("none is lost") - MS * n).collect();
    let (least, most) = (*late.iter().min().expect("some"), *late.iter().max().expect("some"));
    assert!(least >= 50 * MS && least < 52 * MS, "{least:?}");
    assert!(most < 70 * MS && most > 68 * MS, "{most:?}");
}

#[test]
fn those_that_are_overtaken_arrive_after_later_ones() {
    let mut links = links(5, Way { reorder: 0.1, ..Way::default() });
    let arrivals: Vec<Duration> = thousand(&mut links).iter().map(|a| a[0].expect("none is lost")).collect();
    let overtaken = arrivals.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!((50..150).contains(&overtaken), "{overtaken}");
    assert!((0..).zip(&arrivals).all(|(n, at)| *at <= MS * n + OVERTAKEN_BY));
}

#[test]
fn a_slow_way_delivers_at_its_rate_and_drops_what_would_wait_long() {
    // A thousand bytes a millisecond are sent, and half as much leaves.
    let mut links = links(5, Way { kbit_per_s: Some(4_000), ..Way::default() });
    let arrivals = thousand(&mut links);
    let delivered: Vec<Duration> = arrivals.iter().filter_map(|a| a[0]).collect();
    assert!(delivered.windows(2).all(|pair| pair[1] - pair[0] >= 2 * MS - Duration::from_nanos(10)), "{delivered:?}");
    assert!((500..650).contains(&delivered.len()), "{}", delivered.len());
    assert_eq!(links.tally().crowded as usize, 1_000 - delivered.len());
    let worst = (0..).zip(&arrivals).filter_map(|(n, a)| Some(a[0]? - MS * n)).max().expect("some");
    assert!(worst <= BACKLOG_MAX + 3 * MS, "{worst:?}");
}
