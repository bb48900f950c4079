use crate::Histogram;

#[test]
fn a_percentile_is_the_power_of_two_below_which_the_share_lies() {
    let mut histogram = Histogram::<()>::new();
    assert_eq!(histogram.percentile(0.5), 0, "nothing was counted");
    histogram.record_n(5, 9);
    histogram.record(1_000);
    assert_eq!(histogram.total(), 10);
    assert_eq!(histogram.percentile(0.5), 7);
    assert_eq!(histogram.percentile(0.9), 7);
    assert_eq!(histogram.percentile(0.99), 1_023);
}

#[test]
fn the_smallest_and_the_largest_value_are_counted() {
    let mut histogram = Histogram::<()>::new();
    histogram.record(0);
    histogram.record(u64::MAX);
    assert_eq!((histogram.percentile(0.1), histogram.percentile(1.0)), (0, u64::MAX));
}
