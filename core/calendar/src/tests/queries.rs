//! What a scheduler asks besides the next slot, and what is stored.

use super::{at, calendar};
use crate::{InvalidSchedule, Schedule, Spent, UnixMillis};

#[test]
fn slots_are_the_oldest_and_the_bound_holds() {
    let hourly = calendar("0 * * * *", None, "2026-01-01T00:00:00Z");
    let (after, until) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T03:00:00Z"));
    let slots = [at("2026-01-01T01:00:00Z"), at("2026-01-01T02:00:00Z"), at("2026-01-01T03:00:00Z")];
    assert_eq!(hourly.slots(after, until, 10), slots, "without the first bound, with the second");
    assert_eq!(hourly.slots(after, until, 2), slots[..2]);
    assert_eq!(hourly.slots(after, after, 10), []);
    assert_eq!(hourly.slots(until, after, 10), []);
}

#[test]
fn the_last_slot_of_a_long_outage() {
    let (after, until) = (at("2026-01-01T00:00:00Z"), at("2027-06-01T12:34:56Z"));
    for (text, last) in [
        ("* * * * *", Some("2027-06-01T12:34:00Z")),
        ("* 0-10 * * *", Some("2027-06-01T10:59:00Z")),
        ("0 3 1 1 *", Some("2027-01-01T03:00:00Z")),
        ("0 3 29 2 *", None),
        ("R/2026-01-01T00:00:07Z/PT1S", Some("2027-06-01T12:34:56Z")),
        ("R5/2026-01-01T00:00:07Z/P1M", Some("2026-05-01T00:00:07Z")),
    ] {
        assert_eq!(calendar(text, None, "2026-01-01T00:00:00Z").last(after, until), last.map(at), "{text}");
    }
    assert_eq!(calendar("* * * * *", None, "2026-01-01T00:00:00Z").last(until, after), None);
}

#[test]
fn a_line_whose_every_time_is_skipped_is_given_up() {
    // The second Sunday of March, at times that New York has skipped on that day since 2007.
    let skipped = calendar("*/5 2 8-14 3 */7", Some("America/New_York"), "2026-01-01T00:00:00Z");
    assert_eq!(skipped.check(at("2026-01-01T00:00:00Z")), Err(Spent::NotInACentury));
    assert_eq!(skipped.check(at("2006-01-01T00:00:00Z")), Ok(()));
}

#[test]
fn time_ends_without_a_panic() {
    for text in ["* * * * *", "0 3 * * *", "R/2026-01-01T00:00:00Z/PT1S", "R//P1M"] {
        let calendar = calendar(text, Some("Europe/Vienna"), "2026-01-01T00:00:00Z");
        assert_eq!(calendar.next_after(UnixMillis(u64::MAX)), None, "{text}");
        assert!(calendar.next_after(UnixMillis(0)).is_some(), "{text}");
    }
    let schedule = Schedule::new("R//P1M", None).unwrap();
    assert_eq!(schedule.calendar(UnixMillis(u64::MAX)).unwrap().next_after(UnixMillis(u64::MAX)), None);
}

#[test]
fn the_text_is_the_stored_form() {
    let schedule = Schedule::new(" 0 3 * * * ", Some("Europe/Vienna")).unwrap();
    let json = serde_json::to_string(&schedule).unwrap();
    assert_eq!(json, r#"{"text":"0 3 * * *","timezone":"Europe/Vienna"}"#);
    assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);
    assert_eq!(
        serde_json::from_str::<Schedule>(r#"{"text":"0 3 * * *"}"#).unwrap(),
        Schedule::new("0 3 * * *", None).unwrap()
    );
    let bytes = postcard::to_stdvec(&schedule).unwrap();
    assert_eq!(postcard::from_bytes::<Schedule>(&bytes).unwrap(), schedule);
    assert_eq!(schedule.to_string(), "0 3 * * * Europe/Vienna");
}

#[test]
fn a_stored_zone_of_a_newer_database_can_be_read_and_fails_when_used() {
    let stored: Schedule = serde_json::from_str(r#"{"text":"0 3 * * *","timezone":"Moon/Tycho"}"#).unwrap();
    assert!(matches!(stored.calendar(UnixMillis(0)), Err(InvalidSchedule::UnknownZone { .. })));
    let long = format!(r#"{{"text":"{}","timezone":null}}"#, "0".repeat(257));
    assert!(serde_json::from_str::<Schedule>(&long).is_err(), "the bound holds for stored texts too");
}
