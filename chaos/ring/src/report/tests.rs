use super::*;

#[test]
fn percentiles_are_of_the_nearest_rank() {
    let of = |ms: &[u64]| Percentiles::of(ms.iter().map(|ms| Duration::from_millis(*ms)).collect());
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[7]), Some(Percentiles { median_ms: 7, p99_ms: 7, max_ms: 7 }));
    assert_eq!(of(&[4, 1, 3, 2]), Some(Percentiles { median_ms: 2, p99_ms: 4, max_ms: 4 }));
    let many: Vec<u64> = (1..=200).collect();
    assert_eq!(of(&many), Some(Percentiles { median_ms: 100, p99_ms: 198, max_ms: 200 }));
}
