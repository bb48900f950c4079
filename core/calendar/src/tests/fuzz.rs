//! No text and no instant makes a panic, a step back, or a call that does not end.

use crate::{Schedule, UnixMillis, parse_duration};
use proptest::prelude::*;

fn a_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,300}",
        "[0-9*,/@ A-Za-z-]{0,40}",
        "([0-9*]{1,2}(-[0-9]{1,2})?(/[0-9]{1,2})?(,[0-9]{1,2})? ){4}[0-7A-Z*]{1,3}",
        "R[0-9]{0,20}/[0-9TZ:.+-]{0,30}/P[0-9YMWDTHS.]{0,20}",
        "R[0-9]{0,3}/([0-9]{4}-[01][0-9]-[0-3][0-9](T[0-2][0-9]:[0-5][0-9])?(Z|[+-][0-2][0-9]:00)?)?/P([0-9]{1,7}[YMWD])?(T[0-9]{1,12}[HMS])?",
        "R[0-9]{0,19}/-00[0-9]{4}-01-31T00:00Z/P[1-9]{1,4}[YMD]",
    ]
}

fn a_zone() -> impl Strategy<Value = Option<String>> {
    let known = prop::sample::select(vec!["Europe/Vienna", "Pacific/Apia", "Africa/Monrovia", "America/Nuuk"]);
    prop::option::of(prop_oneof![known.prop_map(String::from), "[A-Za-z/+-]{0,70}"])
}

fn an_instant() -> impl Strategy<Value = UnixMillis> {
    prop_oneof![any::<u64>(), 0..300_000_000_000_000_u64, 1_500_000_000_000..2_000_000_000_000_u64].prop_map(UnixMillis)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn any_text_is_a_schedule_or_an_error(
        text in a_text(),
        zone in a_zone(),
        deployed in an_instant(),
        after in an_instant(),
        until in an_instant(),
    ) {
        let _ = parse_duration(&text);
        let schedule = match Schedule::new(&text, zone.as_deref()) {
            Ok(schedule) => schedule,
            Err(refused) => {
                prop_assert!(!refused.to_string().chars().any(char::is_control), "{refused}");
                return Ok(());
            }
        };
        let calendar = schedule.calendar(deployed).unwrap();
        let next = calendar.next_after(after);
        prop_assert!(next.is_none_or(|next| next > after));
        if let Some(first) = calendar.first() {
            prop_assert!(first >= deployed);
            prop_assert_eq!(calendar.check(deployed), Ok(()));
        } else {
            prop_assert!(calendar.check(deployed).is_err());
        }
        let slots = calendar.slots(after, until, 5);
        prop_assert!(slots.is_sorted_by(|a, b| a < b) && slots.len() <= 5);
        prop_assert_eq!(slots.first().copied(), next.filter(|next| *next <= until));
        let last = calendar.last(after, until);
        prop_assert_eq!(last.is_some(), !slots.is_empty());
        if let Some(last) = last {
            prop_assert!(slots.last() <= Some(&last) && last <= until);
            prop_assert!(calendar.next_after(last).is_none_or(|next| next > until));
        }
    }
}
