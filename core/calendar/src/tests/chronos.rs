//! Repetitions mean what Chronos documents and tests.

use super::{at, calendar, next, shown};
use crate::{InvalidSchedule, Schedule, Spent, UnixMillis, parse_duration};
use std::time::Duration;

/// All slots from the deployment on, twelve at most, as the clock of the zone shows them.
fn runs(text: &str, zone: Option<&str>, deployed: &str) -> Vec<String> {
    let calendar = calendar(text, zone, deployed);
    let Some(first) = calendar.first() else { return vec![] };
    let rest = calendar.slots(first, UnixMillis(u64::MAX), 11);
    std::iter::once(first).chain(rest).map(|slot| shown(slot, zone)).collect()
}

#[test]
fn a_count_is_the_number_of_runs() {
    let three = runs("R3/2012-01-01T00:00:00.000Z/P1D", None, "2012-01-01T00:00:00Z");
    assert_eq!(three, ["2012-01-01T00:00:00+00:00", "2012-01-02T00:00:00+00:00", "2012-01-03T00:00:00+00:00"]);
    assert_eq!(runs("R1/2012-01-01T00:00:00Z/PT1M", None, "2011-01-01T00:00:00Z"), ["2012-01-01T00:00:00+00:00"]);
    assert_eq!(runs("R/2012-01-01T00:00:00Z/P1D", None, "2012-01-01T00:00:00Z").len(), 12, "`R` goes on for ever");
}

#[test]
fn slots_before_the_deployment_still_count() {
    let left = runs("R3/2012-01-01T00:00:00Z/P1D", None, "2012-01-02T12:00:00Z");
    assert_eq!(left, ["2012-01-03T00:00:00+00:00"]);
}

#[test]
fn a_month_after_the_31st_is_the_last_day_and_does_not_drift() {
    let months = runs("R5/2012-01-31T00:00:00.000Z/P1M", None, "2012-01-01T00:00:00Z");
    let days: Vec<&str> = months.iter().map(|run| &run[..10]).collect();
    assert_eq!(days, ["2012-01-31", "2012-02-29", "2012-03-31", "2012-04-30", "2012-05-31"]);
}

#[test]
fn a_year_after_a_leap_day_is_the_28th_until_the_next_leap_day() {
    let years = runs("R5/2012-02-29T06:00:00Z/P1Y", None, "2012-01-01T00:00:00Z");
    let days: Vec<&str> = years.iter().map(|run| &run[..10]).collect();
    assert_eq!(days, ["2012-02-29", "2013-02-28", "2014-02-28", "2015-02-28", "2016-02-29"]);
}

#[test]
fn mixed_units_add_up() {
    let mixed = runs("R3/2026-11-22T02:00:00Z/P1DT12H", None, "2026-11-01T00:00:00Z");
    assert_eq!(mixed, ["2026-11-22T02:00:00+00:00", "2026-11-23T14:00:00+00:00", "2026-11-25T02:00:00+00:00"]);
    let all = runs("R2/2026-01-01T00:00:00Z/P1Y2M1W3DT4H5M6.5S", None, "2026-01-01T00:00:00Z");
    assert_eq!(all[1], "2027-03-11T04:05:06+00:00");
}

#[test]
fn a_time_zone_keeps_the_digits_of_the_start_and_replaces_its_offset() {
    for (start, zone, instant) in [
        ("2008-03-01T13:00:00Z", "Europe/Paris", "2008-03-01T13:00:00+01:00"),
        ("2008-03-01T13:00:00-04:00", "America/Los_Angeles", "2008-03-01T13:00:00-08:00"),
        ("2014-10-10T18:32:00Z", "america/los_angeles", "2014-10-10T18:32:00-07:00"),
        ("2008-03-01", "America/Los_Angeles", "2008-03-01T00:00:00-08:00"),
    ] {
        let first = calendar(&format!("R/{start}/P1D"), Some(zone), "2000-01-01T00:00:00Z").first();
        assert_eq!(first, Some(at(instant)), "{start} {zone}");
    }
}

#[test]
fn without_a_time_zone_the_offset_of_the_start_counts_else_utc() {
    let first = |text| calendar(text, None, "2000-01-01T00:00:00Z").first();
    assert_eq!(first("R/2001-07-16T19:20:30.45+01:00/P1D"), Some(at("2001-07-16T18:20:30.45Z")));
    assert_eq!(first("R/2001-07-16T19:20/P1D"), Some(at("2001-07-16T19:20:00Z")));
}

#[test]
fn an_empty_start_is_the_deployment() {
    let every_minute = runs("R3//PT1M", None, "2026-11-22T02:00:07Z");
    assert_eq!(every_minute, ["2026-11-22T02:00:07+00:00", "2026-11-22T02:01:07+00:00", "2026-11-22T02:02:07+00:00"]);
    assert_eq!(runs("R1//P", None, "2026-11-22T02:00:07Z"), ["2026-11-22T02:00:07+00:00"], "runs once");
    assert_eq!(runs("R1//PT0S", None, "2026-11-22T02:00:07Z").len(), 1);
}

#[test]
fn an_empty_start_in_a_repeated_hour_is_still_the_deployment() {
    let second_pass = "2026-10-25T01:30:00Z";
    let days = runs("R2//P1D", Some("Europe/Vienna"), second_pass);
    assert_eq!(days, ["2026-10-25T02:30:00+01:00", "2026-10-26T02:30:00+01:00"]);
}

#[test]
fn hours_are_elapsed_time_and_days_follow_the_wall_clock() {
    let vienna = "Europe/Vienna";
    let summer = "2026-03-28T00:00:00Z";
    let hours = next("R/2026-03-28T02:30:00/PT24H", vienna, summer, 3);
    assert_eq!(hours, ["2026-03-28T02:30:00+01:00", "2026-03-29T03:30:00+02:00", "2026-03-30T03:30:00+02:00"]);
    let days = next("R/2026-03-28T02:30:00/P1D", vienna, summer, 3);
    assert_eq!(days, ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]);
    let weeks = next("R/2026-10-18T02:30:00/P1W", vienna, "2026-10-18T12:00:00Z", 2);
    assert_eq!(weeks, ["2026-10-25T02:30:00+02:00", "2026-11-01T02:30:00+01:00"]);
}

#[test]
fn two_slots_at_one_instant_are_one() {
    let apia = next("R/2011-12-28T00:00:00/P1D", "Pacific/Apia", "2011-12-29T00:00:00Z", 3);
    assert_eq!(apia, ["2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00", "2012-01-01T00:00:00+14:00"]);
}

#[test]
fn a_long_past_start_is_found_without_counting_up() {
    let next =
        calendar("R/1970-01-01T00:00:00Z/PT1S", None, "2026-01-01T00:00:00Z").next_after(at("2026-01-01T00:00:00.5Z"));
    assert_eq!(next, Some(at("2026-01-01T00:00:01Z")));
    let ancient = calendar("R/0001-01-31T12:00:00Z/P1M", None, "2026-01-01T00:00:00Z").first();
    assert_eq!(ancient, Some(at("2026-01-31T12:00:00Z")));
}

#[test]
fn a_period_longer_than_the_calendar_leaves_the_first_run() {
    for period in ["PT32000000000M", "P7000000D", "P19000Y"] {
        let only = calendar(&format!("R//{period}"), None, "2026-01-01T00:00:00Z");
        assert_eq!(
            only.slots(at("2025-12-31T00:00:00Z"), UnixMillis(u64::MAX), 5),
            [at("2026-01-01T00:00:00Z")],
            "{period}"
        );
    }
}

#[test]
fn a_finite_repetition_that_is_over_says_when_it_ended() {
    let over = calendar("R3/2012-01-01T00:00:00Z/P1D", None, "2026-01-01T00:00:00Z");
    assert_eq!(over.first(), None);
    assert_eq!(over.check(at("2012-01-03T00:00:00Z")), Ok(()), "its last run is due now");
    assert_eq!(over.check(at("2012-01-03T00:00:00.001Z")), Err(Spent::Over { last: at("2012-01-03T00:00:00Z") }));
    let says = over.check(at("2026-01-01T00:00:00Z")).unwrap_err().to_string();
    assert!(says.starts_with("its last run was due 2012-01-03T00:00:00Z;"), "{says}");
}

#[test]
fn what_chronos_refuses_is_refused() {
    for text in
        ["FOO", "R/2008-03-01T13:00:00Z", "R/2008-03-01T13:00:00Z/", "R/2008-03-01T13:00:00Z/24H", "/2008-03-01/P1D"]
    {
        assert!(Schedule::new(text, None).is_err(), "{text}");
    }
}

#[test]
fn zones_that_only_java_knows_are_refused_with_a_hint() {
    for name in ["PST", "BST", "IST"] {
        let refused = Schedule::new("R/2008-03-01T13:00:00Z/P1D", Some(name));
        assert!(matches!(refused, Err(InvalidSchedule::UnknownZone { .. })), "{name}: {refused:?}");
    }
}

#[test]
fn epsilon_is_elapsed_time() {
    assert_eq!(parse_duration("PT15M"), Ok(Duration::from_secs(900)));
    assert_eq!(parse_duration("P1DT0.5S"), Ok(Duration::from_millis(86_400_500)));
    let month = parse_duration("P1M").unwrap_err().to_string();
    assert_eq!(
        month,
        "the duration: `P1M` counts months or years, which differ in length: give days; write for example `PT15M`"
    );
}
