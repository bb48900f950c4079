use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

proptest! {
    /// The oracle remembers everything.
    #[test]
    fn a_counter_passes_once_and_never_far_behind(counters in prop::collection::vec(
        prop_oneof![0_u64..200, (1_u64 << 48) - 200..1 << 48],
        0..300,
    )) {
        let mut window = Window::default();
        let mut seen = BTreeSet::new();
        for counter in counters {
            let highest = seen.last().copied();
            let expected = !seen.contains(&counter) && highest.is_none_or(|h| counter + WIDTH > h);
            prop_assert_eq!(window.check(counter).is_ok(), expected, "{} after {:?}", counter, seen);
            if expected {
                window.mark(counter);
                seen.insert(counter);
            }
        }
    }
}
