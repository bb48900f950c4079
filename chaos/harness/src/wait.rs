//! Waiting for a condition, with a deadline, and measuring how long it took.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// Waits until `check` gives a value; panics with what it said last when the time is up. Gives the value and the time.
pub fn within<T>(limit: Duration, what: &str, mut check: impl FnMut() -> Result<T, String>) -> (T, Duration) {
    let start = Instant::now();
    loop {
        match check() {
            Ok(value) => return (value, start.elapsed()),
            Err(why) if start.elapsed() >= limit => panic!("{what} did not hold within {limit:?}: {why}"),
            Err(_) => sleep(Duration::from_millis(20)),
        }
    }
}

/// The same for a condition without a value, with a generous deadline: for what is set up, not for what is promised.
pub fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    within(Duration::from_secs(30), what, || if check() { Ok(()) } else { Err("not yet".into()) });
}
