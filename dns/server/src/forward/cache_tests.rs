use super::{
    CacheConfig,
    answer::{Answer, Keep},
    cache::Cache,
    key::Key,
};
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

fn key(n: u32) -> Key {
    let label = format!("n{n}");
    let question = [&[label.len() as u8], label.as_bytes(), &[0, 0, 1, 0, 1]].concat();
    Key::new(&question, false, false).unwrap()
}

/// To the n-th question; carries this number in place of its header.
fn answer(n: u32, id: u32, keep: Keep, padding: usize) -> Answer {
    let key = key(n);
    let packet = [&id.to_be_bytes(), &[0; 8][..], key.question(), &vec![0; padding]].concat();
    Answer::new(&packet, key.question(), &[], &[], keep).unwrap()
}

fn id_of(answer: &Answer) -> u32 {
    u32::from_be_bytes(*answer.packet().first_chunk().unwrap())
}

fn fresh(cache: &Cache, now: Instant, n: u32) -> Option<(u32, u32)> {
    cache.with_fresh(now, &key(n), |answer, age| Some((id_of(answer), age)))
}

fn positive(seconds: u64) -> Keep {
    Keep::Positive(Duration::from_secs(seconds))
}

fn cache(entries: usize, bytes: usize) -> Cache {
    Cache::new(CacheConfig { entries, bytes, ..CacheConfig::default() }, 9)
}

#[derive(Clone, Debug)]
enum Step {
    Insert { n: u32, ttl: u64, negative: bool, padding: usize },
    Find(u32),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let insert = (0u32..40, 0u64..20, any::<bool>(), 0usize..3000)
        .prop_map(|(n, ttl, negative, padding)| Step::Insert { n, ttl, negative, padding });
    prop::collection::vec(
        prop_oneof![insert, (0u32..40).prop_map(Step::Find), (0u64..9000).prop_map(Step::Wait)],
        1..200,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// The cache may forget, but what it gives is the last that was put in, within its time, and of the right age.
    #[test]
    fn cache_never_gives_what_a_map_without_bounds_would_not(steps in steps(), entries in 0usize..30, bytes in 0usize..40_000) {
        let cache = cache(entries, bytes);
        let mut now = Instant::now();
        let mut model = BTreeMap::new();
        for (id, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert { n, ttl, negative, padding } => {
                    let life = Duration::from_secs(ttl);
                    let keep = match (ttl, negative) {
                        (0, _) => Keep::Not,
                        (_, true) => Keep::Negative(life),
                        (_, false) => Keep::Positive(life),
                    };
                    let answer = answer(n, id as u32, keep, padding);
                    cache.insert(now, &key(n), answer);
                    model.remove(&n);
                    if ttl > 0 {
                        model.insert(n, (id as u32, now, life, negative));
                    }
                }
                Step::Wait(ms) => now += Duration::from_millis(ms),
                Step::Find(n) => {
                    let given = fresh(&cache, now, n);
                    let stale = cache.stale(now, &key(n));
                    prop_assert!(given.is_none() || stale.is_none());
                    let Some(&(id, at, life, negative)) = model.get(&n) else {
                        prop_assert!(given.is_none() && stale.is_none());
                        continue;
                    };
                    if let Some((given, age)) = given {
                        prop_assert_eq!(given, id);
                        prop_assert!(now < at + life);
                        prop_assert_eq!(age, (now - at).as_secs() as u32);
                    }
                    if let Some(given) = stale {
                        prop_assert!(!negative && id_of(&given) == id && now >= at + life);
                    }
                }
            }
            let size = cache.size();
            prop_assert!(size.0 <= entries && size.1 <= bytes, "{:?}", size);
        }
    }
}

#[test]
fn what_fits_is_never_forgotten() {
    let (cache, now) = (cache(1000, 1 << 20), Instant::now());
    for n in 0..1000 {
        cache.insert(now, &key(n), answer(n, n, positive(60), 100));
    }
    assert!((0..1000).all(|n| fresh(&cache, now, n) == Some((n, 0))));
    assert_eq!(cache.size().0, 1000);
    assert_eq!(cache.hits(), 1000);
}

#[test]
fn flood_of_names_asked_once_does_not_push_out_popular_ones() {
    let (cache, now) = (cache(1000, 1 << 20), Instant::now());
    for n in 0..500 {
        cache.insert(now, &key(n), answer(n, n, positive(60), 100));
        fresh(&cache, now, n);
    }
    for n in 1000..101_000 {
        cache.insert(now, &key(n), answer(n, n, positive(60), 100));
    }
    assert!((0..500).all(|n| fresh(&cache, now, n).is_some()));
}

#[test]
fn name_asked_for_again_soon_after_it_had_to_go_stays() {
    let (cache, now) = (cache(100, 1 << 20), Instant::now());
    let flood = |from: u32| (from..from + 150).for_each(|n| cache.insert(now, &key(n), answer(n, n, positive(60), 0)));
    cache.insert(now, &key(0), answer(0, 0, positive(60), 0));
    flood(1000);
    assert_eq!(fresh(&cache, now, 0), None);
    cache.insert(now, &key(0), answer(0, 0, positive(60), 0));
    flood(2000);
    assert!(fresh(&cache, now, 0).is_some());
}

#[test]
fn large_replies_do_not_push_out_all_others() {
    let (cache, now) = (cache(1000, 200_000), Instant::now());
    for n in 0..100 {
        cache.insert(now, &key(n), answer(n, n, positive(60), 100));
        fresh(&cache, now, n);
    }
    cache.insert(now, &key(500), answer(500, 500, positive(60), 45_000));
    assert!(fresh(&cache, now, 500).is_some());
    cache.insert(now, &key(501), answer(501, 501, positive(60), 55_000));
    assert!(fresh(&cache, now, 501).is_none(), "a quarter of all room is too much for one");
    for n in 600..700 {
        cache.insert(now, &key(n), answer(n, n, positive(60), 45_000));
    }
    assert!((0..100).all(|n| fresh(&cache, now, n).is_some()));
}

#[test]
fn type_that_looks_like_a_letter_keeps_its_value() {
    let question = |name: &[u8], record_type: u8| [name, &[0, 0, record_type, 0, 1]].concat();
    let https = Key::new(&question(b"\x01A", 65), false, false).unwrap();
    assert_eq!((https.record_type(), https.name()), (65, &b"\x01a\0"[..]));
    let long = [&[63; 64].repeat(4)[..], &[0, 0, 1, 0, 1]].concat();
    assert!(Key::new(&long, false, false).is_none());
    assert!(Key::new(&[0; 300], false, false).is_none() && Key::new(&[0], false, false).is_none());
}
