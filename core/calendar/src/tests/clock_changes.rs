//! The rules for skipped and repeated times, by name.

use super::next;

const VIENNA: &str = "Europe/Vienna"; // 2026-03-29 02:00 -> 03:00, 2026-10-25 03:00 -> 02:00
const LORD_HOWE: &str = "Australia/Lord_Howe"; // 2026-04-05 02:00 -> 01:30, 2026-10-04 02:00 -> 02:30
const APIA: &str = "Pacific/Apia"; // no 2011-12-30

#[test]
fn a_skipped_time_runs_at_the_first_instant_after_the_gap() {
    let slots = next("30 2 * * *", VIENNA, "2026-03-27T12:00:00Z", 3);
    assert_eq!(slots, ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]);
}

#[test]
fn several_skipped_times_run_once_together_with_what_is_due_there() {
    let slots = next("0,20,40 2,3 * * *", VIENNA, "2026-03-29T00:59:00Z", 4);
    let times: Vec<&str> = slots.iter().map(|slot| &slot[11..]).collect();
    assert_eq!(times, ["03:00:00+02:00", "03:20:00+02:00", "03:40:00+02:00", "02:00:00+02:00"]);
}

#[test]
fn a_repeated_time_runs_at_its_first_occurrence() {
    let slots = next("30 2 * * *", VIENNA, "2026-10-24T12:00:00Z", 2);
    assert_eq!(slots, ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]);
    let from_the_second_pass = next("30,59 2 * * *", VIENNA, "2026-10-25T01:00:00Z", 1);
    assert_eq!(from_the_second_pass, ["2026-10-26T02:30:00+01:00"], "a leader that is new in the second pass");
}

#[test]
fn ranges_of_hours_are_fixed_times_too() {
    let slots = next("15 1-3 * * *", VIENNA, "2026-10-24T23:00:00Z", 4);
    let times: Vec<&str> = slots.iter().map(|slot| &slot[11..]).collect();
    assert_eq!(times, ["01:15:00+02:00", "02:15:00+02:00", "03:15:00+01:00", "01:15:00+01:00"]);
}

#[test]
fn wildcards_follow_real_time_through_a_repeated_hour() {
    let slots = next("*/30 * * * *", VIENNA, "2026-10-24T23:59:00Z", 5);
    let times: Vec<&str> = slots.iter().map(|slot| &slot[11..]).collect();
    assert_eq!(times, ["02:00:00+02:00", "02:30:00+02:00", "02:00:00+01:00", "02:30:00+01:00", "03:00:00+01:00"]);
    let hourly = next("@hourly", VIENNA, "2026-10-24T23:59:00Z", 3);
    assert_eq!(hourly, ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"]);
}

#[test]
fn a_rare_wildcard_does_not_miss_the_second_pass() {
    let slots = next("*/30 2 25 10 *", VIENNA, "2026-10-25T00:45:00Z", 3);
    assert_eq!(slots, ["2026-10-25T02:00:00+01:00", "2026-10-25T02:30:00+01:00", "2027-10-25T02:00:00+02:00"]);
}

#[test]
fn wildcards_follow_real_time_across_a_gap() {
    let slots = next("*/30 * * * *", VIENNA, "2026-03-29T00:00:00Z", 3);
    assert_eq!(slots, ["2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"]);
    let skipped = next("*/30 2 * * *", VIENNA, "2026-03-28T12:00:00Z", 1);
    assert_eq!(skipped, ["2026-03-30T02:00:00+02:00"], "nothing shows 2 o'clock on the 29th");
}

#[test]
fn half_an_hour_is_skipped_and_repeated_on_lord_howe() {
    let gap = next("15 2 * * *", LORD_HOWE, "2026-10-03T00:00:00Z", 2);
    assert_eq!(gap, ["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"]);
    let fold = next("45 1 * * *", LORD_HOWE, "2026-04-04T00:00:00Z", 2);
    assert_eq!(fold, ["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"]);
    let wild = next("*/15 1 * * *", LORD_HOWE, "2026-04-04T14:15:00Z", 4);
    let times: Vec<&str> = wild.iter().map(|slot| &slot[11..]).collect();
    assert_eq!(times, ["01:30:00+11:00", "01:45:00+11:00", "01:30:00+10:30", "01:45:00+10:30"]);
}

#[test]
fn the_day_that_samoa_skipped_runs_when_the_next_one_begins() {
    let slots = next("0 3 * * *", APIA, "2011-12-29T00:00:00Z", 4);
    let expected = [
        "2011-12-29T03:00:00-10:00",
        "2011-12-31T00:00:00+14:00",
        "2011-12-31T03:00:00+14:00",
        "2012-01-01T03:00:00+14:00",
    ];
    assert_eq!(slots, expected);
    assert_eq!(next("0 3 30 12 *", APIA, "2011-12-29T00:00:00Z", 1), ["2011-12-31T00:00:00+14:00"]);
    assert_eq!(next("* 3 30 12 *", APIA, "2011-12-29T00:00:00Z", 1), ["2012-12-30T03:00:00+14:00"]);
}

#[test]
fn a_ramadan_without_summer_time_is_two_changes() {
    // Morocco, 2026: 02-15 03:00+01 -> 02:00+00, 03-22 02:00+00 -> 03:00+01.
    let fold = next("30 2 * * *", "Africa/Casablanca", "2026-02-14T12:00:00Z", 2);
    assert_eq!(fold, ["2026-02-15T02:30:00+01:00", "2026-02-16T02:30:00+00:00"]);
    let gap = next("30 2 * * *", "Africa/Casablanca", "2026-03-21T12:00:00Z", 2);
    assert_eq!(gap, ["2026-03-22T03:00:00+01:00", "2026-03-23T02:30:00+01:00"]);
}

#[test]
fn an_offset_with_seconds_still_runs_when_the_clock_shows_it() {
    // Liberia was 44 minutes and 30 seconds behind until 1972.
    let slots = next("0 3 * * *", "Africa/Monrovia", "1970-06-01T00:00:00Z", 1);
    assert_eq!(slots, ["1970-06-01T03:00:00-00:44:30"]);
    let wild = next("*/15 * * * *", "Africa/Monrovia", "1970-06-01T03:44:00Z", 1);
    assert_eq!(wild[0][11..19], *"03:00:00");
}
