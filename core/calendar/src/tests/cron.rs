//! Five fields mean what Vixie cron documents.

use super::next;

/// The dates of the first slots in 2026, in UTC.
fn dates(text: &str, max: usize) -> Vec<String> {
    next(text, "UTC", "2025-12-31T23:59:59Z", max).into_iter().map(|slot| slot[..16].to_owned()).collect()
}

#[test]
fn weekdays_at_three() {
    let slots = dates("0 3 * * 1-5", 4);
    assert_eq!(slots, ["2026-01-01T03:00", "2026-01-02T03:00", "2026-01-05T03:00", "2026-01-06T03:00"]);
}

#[test]
fn lists_ranges_and_steps() {
    let slots = dates("10-30/10,5 4,6 1 JAN,MAR *", 9);
    let expected = ["01-01T04:05", "01-01T04:10", "01-01T04:20", "01-01T04:30", "01-01T06:05", "01-01T06:10"];
    assert_eq!(slots[..6].iter().map(|slot| &slot[5..]).collect::<Vec<_>>(), expected);
    assert_eq!(slots[8], "2026-03-01T04:05");
}

#[test]
fn names_in_any_case_and_sunday_in_three_ways() {
    for sunday in ["0", "7", "SUN", "sun", "*/7", "7-7"] {
        assert_eq!(dates(&format!("0 0 * * {sunday}"), 2), ["2026-01-04T00:00", "2026-01-11T00:00"], "{sunday}");
    }
    assert_eq!(dates("0 0 * * fri-SUN", 4), dates("0 0 * * 5,6,0", 4));
    assert_eq!(dates("0 0 * * 5-7", 4), dates("0 0 * * 5,6,0", 4));
    assert_eq!(dates("0 0 1 dec *", 1), ["2026-12-01T00:00"]);
}

#[test]
fn with_both_day_fields_either_fits() {
    let slots = dates("30 4 1,15 * 5", 5);
    let expected = ["2026-01-01T04:30", "2026-01-02T04:30", "2026-01-09T04:30", "2026-01-15T04:30", "2026-01-16T04:30"];
    assert_eq!(slots, expected);
}

#[test]
fn with_a_star_in_a_day_field_both_must_fit() {
    assert_eq!(dates("0 0 1-7 * */7", 2), ["2026-01-04T00:00", "2026-02-01T00:00"], "first Sundays");
    assert_eq!(dates("0 0 */2 * 1", 3), ["2026-01-05T00:00", "2026-01-19T00:00", "2026-02-09T00:00"]);
}

#[test]
fn shorthands() {
    for (short, long) in [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
    ] {
        assert_eq!(dates(short, 30), dates(long, 30), "{short}");
    }
}

#[test]
fn leap_days_are_found_across_a_century_without_one() {
    assert_eq!(next("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", 1), ["2104-02-29T00:00:00+00:00"]);
    let sundays = next("0 0 29 2 */7", "UTC", "2088-03-01T00:00:00Z", 1);
    assert_eq!(sundays, ["2128-02-29T00:00:00+00:00"], "forty years later");
    assert_eq!(dates("0 0 29 2 1", 2), ["2026-02-02T00:00", "2026-02-09T00:00"], "Mondays of February too");
}

#[test]
fn a_slot_is_after_the_instant_asked_for() {
    assert_eq!(next("0 3 * * *", "UTC", "2026-01-01T03:00:00Z", 1), ["2026-01-02T03:00:00+00:00"]);
    assert_eq!(next("0 3 * * *", "UTC", "2026-01-01T02:59:59.999Z", 1), ["2026-01-01T03:00:00+00:00"]);
    assert_eq!(next("* * * * *", "UTC", "2026-01-01T03:00:00.001Z", 1), ["2026-01-01T03:01:00+00:00"]);
}
