use super::{Millis, UnixMillis};
use std::time::Duration;

#[test]
fn time_never_overflows_nor_runs_backwards() {
    assert_eq!(Millis(10) + Duration::from_millis(5), Millis(15));
    assert_eq!(Millis(10) + Duration::MAX, Millis(u64::MAX));
    assert_eq!(UnixMillis(10) + Duration::MAX, UnixMillis(u64::MAX));
    assert_eq!(Millis(15).since(Millis(10)), Duration::from_millis(5));
    assert_eq!(Millis(10).since(Millis(15)), Duration::ZERO);
}
