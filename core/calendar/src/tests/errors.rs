//! A refusal names the field, the bad part, and what to write.

use crate::{InvalidSchedule, SCHEDULE_BYTES_MAX, Schedule};

fn refusal(text: &str, zone: Option<&str>) -> String {
    Schedule::new(text, zone).expect_err(text).to_string()
}

#[test]
fn fields_of_cron() {
    for (text, says) in [
        ("60 3 * * *", "the minute: `60` is not a number from 0 to 59; write for example `*/15`"),
        ("0 25 * * *", "the hour: `25` is not a number from 0 to 23; write for example `9-17`"),
        ("0 3 0 * *", "the day of month: `0` is not a number from 1 to 31; write for example `1,15`"),
        ("0 3 L * *", "the day of month: `L` is not a number from 1 to 31; write for example `1,15`"),
        (
            "0 3 * JANUARY *",
            "the month: `JANUARY` is neither a number from 1 to 12 nor a name from JAN to DEC; write for example `JAN-MAR`",
        ),
        (
            "0 3 * * 1,8",
            "the day of week: `8` is neither a number from 0 to 7 (0 and 7 are Sunday) nor a name from SUN to SAT; \
             write for example `MON-FRI`",
        ),
        (
            "0 3 * * 5-1",
            "the day of week: `5-1` ends before it begins: make it two ranges with a comma between; \
             write for example `MON-FRI`",
        ),
        ("5/15 * * * *", "the minute: `5/15` has a step but no range: `5-59/15`; write for example `*/15`"),
        ("*/90 * * * *", "the minute: `*/90` has no step from 1 to 59; write for example `*/15`"),
        ("*/0 * * * *", "the minute: `*/0` has no step from 1 to 59; write for example `*/15`"),
        ("1,,2 * * * *", "the minute: `1,,2` has an empty entry; write for example `*/15`"),
        ("+5 * * * *", "the minute: `+5` is not a number from 0 to 59; write for example `*/15`"),
    ] {
        assert_eq!(refusal(text, None), says);
    }
}

#[test]
fn parts_of_repetitions() {
    for (text, says) in [
        (
            "R5x/2026-11-22T02:00:00Z/P1D",
            "the repetitions: `R5x` is not `R` and a number; `R` alone repeats for ever; write for example `R5`",
        ),
        (
            "R/2026-13-22T02:00:00Z/P1D",
            "the start: `2026-13-22T02:00:00Z` is no ISO 8601 date and time; write for example `2026-11-22T02:00:00Z`",
        ),
        (
            "R/2026-11-22T02:00:00Z/P24H",
            "the period: `P24H` is no ISO 8601 duration: hours, minutes and seconds come after a `T`; write for example `PT24H`",
        ),
        ("R/2026-11-22T02:00:00Z/PT0S", "the period: `PT0S` is under a second; write for example `PT24H`"),
        ("R5//P", "the period: `P` is under a second; write for example `PT24H`"),
        ("R//P-1D", "the period: `P-1D` is no ISO 8601 duration; write for example `PT24H`"),
        (
            "R//pt1m",
            "the period: `pt1m` is no ISO 8601 duration, whose letters are capitals; write for example `PT24H`",
        ),
        ("r//PT1M", "the repetitions: `r` does not begin with `R`; write for example `R5`"),
    ] {
        assert_eq!(refusal(text, None), says);
    }
}

#[test]
fn shapes() {
    let forms = "write a repetition such as `R/2026-11-22T02:00:00Z/PT24H` or five cron fields such as `0 3 * * 1-5`";
    for (text, why) in [
        ("", "the schedule is empty"),
        ("  ", "the schedule is empty"),
        ("0 0 3 * * 1", "6 fields where cron has 5 (minute, hour, day of month, month, day of week)"),
        ("R/2026-11-22T02:00:00Z", "2 parts where a repetition has 3"),
        ("@reboot", "`@reboot` is none of @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually"),
    ] {
        assert_eq!(refusal(text, None), format!("{why}; {forms}"));
    }
    let long = "0".repeat(SCHEDULE_BYTES_MAX + 1);
    assert_eq!(refusal(&long, None), "the schedule has 257 bytes; at most 256 are read");
}

#[test]
fn what_never_fires_is_refused_with_the_reason() {
    for (text, why) in [
        ("0 0 30 2 *", "no month of `2` has a day `30`"),
        ("0 0 31 FEB,APR,JUN,SEP,NOV *", "no month of `FEB,APR,JUN,SEP,NOV` has a day `31`"),
        ("R0/2026-11-22T02:00:00Z/P1D", "`R0` asks for no run; `R` alone repeats for ever"),
    ] {
        assert_eq!(refusal(text, None), format!("it never fires: {why}"));
    }
    assert!(Schedule::new("0 0 30 2 1", None).is_ok(), "Mondays of February");
    assert!(Schedule::new("0 0 29 2 *", None).is_ok());
}

#[test]
fn time_zones() {
    let says = |name| refusal("0 3 * * *", Some(name));
    assert_eq!(
        says("Europe/Viena"),
        "`Europe/Viena` is no time zone of the tz database; did you mean `Europe/Vienna`?"
    );
    assert_eq!(says("Vienna"), "`Vienna` is no time zone of the tz database; did you mean `Europe/Vienna`?");
    assert_eq!(says("+02:00"), "`+02:00` is no time zone of the tz database; write for example `Europe/Vienna`");
    assert!(matches!(
        Schedule::new("0 3 * * *", Some(&"x".repeat(65))),
        Err(InvalidSchedule::TooLong { what: "time zone", bytes: 65, max: 64 })
    ));
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    assert!(!refusal("\u{1b}[2J 3 * * *", None).contains('\u{1b}'));
}
