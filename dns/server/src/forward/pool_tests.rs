use super::{pool::Pool, script::upstream};
use std::{net::SocketAddr, time::Duration};
use tokio::time::Instant;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// Any that is not for exploring.
const SEED: u64 = 1;

fn pool(count: u8) -> Pool {
    let mut pool = Pool::default();
    pool.renew(&(0..count).map(upstream).collect::<Vec<_>>());
    pool
}

fn order(pool: &mut Pool, now: Instant) -> (Vec<SocketAddr>, Option<SocketAddr>) {
    let plan = pool.plan(now, SEED);
    (plan.order.iter().map(|c| c.address).collect(), plan.trial.map(|t| t.address))
}

fn all(at: &[u8]) -> Vec<SocketAddr> {
    at.iter().copied().map(upstream).collect()
}

#[test]
fn order_of_the_list_counts_unless_another_is_much_faster() {
    let (mut pool, now) = (pool(3), Instant::now());
    assert_eq!(order(&mut pool, now), (all(&[0, 1, 2]), None));
    for (at, rtt) in [(0, 50), (1, 30), (2, 40)] {
        (0..8).for_each(|_| pool.note_answer(upstream(at), rtt * MS));
    }
    assert_eq!(order(&mut pool, now).0, all(&[0, 1, 2]));
    (0..32).for_each(|_| pool.note_answer(upstream(2), 5 * MS));
    assert_eq!(order(&mut pool, now).0, all(&[2, 0, 1]));
    let explored = pool.plan(now, 32).order[0].address;
    assert_eq!(explored, upstream(0), "now and then the first is asked all the same");
}

#[test]
fn another_is_asked_when_the_first_takes_longer_than_nearly_always() {
    let mut pool = pool(1);
    let patience = |pool: &mut Pool| pool.plan(Instant::now(), SEED).order[0].patience;
    assert_eq!(patience(&mut pool), 100 * MS, "nothing is known yet");
    (1..=20).for_each(|i| pool.note_answer(upstream(0), i * 10 * MS));
    assert_eq!(patience(&mut pool), 200 * MS);
    (0..32).for_each(|_| pool.note_answer(upstream(0), MS));
    assert_eq!(patience(&mut pool), 10 * MS);
    (0..32).for_each(|_| pool.note_answer(upstream(0), 5 * SECOND));
    assert_eq!(patience(&mut pool), 400 * MS);
}

#[test]
fn failing_one_goes_last_and_is_tried_ever_more_rarely() {
    let (mut pool, mut now) = (pool(2), Instant::now());
    let start = now;
    let mut tried = Vec::new();
    pool.note_failure(now, upstream(0));
    pool.note_failure(now, upstream(0));
    assert_eq!(order(&mut pool, now), (all(&[1, 0]), None));
    while now < start + 100 * SECOND {
        now += 100 * MS;
        if order(&mut pool, now).1.is_some() {
            tried.push((now - start).as_secs());
            pool.note_failure(now + SECOND, upstream(0));
        }
    }
    assert_eq!(tried, [1, 3, 7, 15, 31, 61, 91]);
    pool.note_answer(upstream(0), MS);
    assert_eq!(order(&mut pool, now), (all(&[0, 1]), None), "one answer and it is well again");
}

#[test]
fn when_all_fail_all_are_asked() {
    let (mut pool, now) = (pool(2), Instant::now());
    assert!(!pool.is_all_failing());
    (0..2).for_each(|at| pool.note_failure(now, upstream(at)));
    assert!(pool.is_all_failing());
    assert_eq!(order(&mut pool, now + 60 * SECOND), (all(&[0, 1]), None));
}

#[test]
fn new_list_keeps_what_is_known_of_those_that_stay() {
    let (mut pool, now) = (pool(2), Instant::now());
    pool.note_failure(now, upstream(1));
    pool.renew(&all(&[1, 7, 7, 8, 9]));
    assert_eq!(order(&mut pool, now).0, all(&[7, 8, 1]), "three, each once");
    pool.renew(&[]);
    let plan = pool.plan(now, SEED);
    assert!(plan.order.is_empty() && !plan.looping && !pool.is_all_failing());
}
