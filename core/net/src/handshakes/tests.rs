use super::*;

#[test]
fn the_more_handshakes_are_under_way_the_less_is_begun() {
    let handshakes = Handshakes::default();
    let mut held = vec![];
    let mut admit = |checked| match handshakes.admit(checked) {
        Admission::Begin(handshake) => {
            held.push(handshake);
            "begin"
        }
        Admission::Retry => "retry",
        Admission::Ignore => "ignore",
    };
    for _ in 0..UNCHECKED_MAX {
        assert_eq!(admit(false), "begin");
    }
    assert_eq!(admit(false), "retry");
    for _ in UNCHECKED_MAX..INCOMING_MAX {
        assert_eq!(admit(true), "begin");
    }
    assert_eq!((admit(true), admit(false)), ("ignore", "ignore"));
    assert_eq!(handshakes.under_way(), INCOMING_MAX);
    held.truncate(UNCHECKED_MAX - 1);
    assert!(matches!(handshakes.admit(false), Admission::Begin(_)));
}
