use super::*;

const S: Duration = Duration::from_secs(1);

#[tokio::test]
async fn silence_counts_from_the_last_look_before_something_came() {
    let t = Instant::now();
    let mut pulse = Pulse::new(t, 5);
    assert_eq!(pulse.silence(t + S * 2), S * 2);
    pulse.look(t + S * 4, 5);
    assert_eq!(pulse.silence(t + S * 4), S * 4);
    pulse.look(t + S * 6, 6);
    assert_eq!(pulse.silence(t + S * 6), S * 2, "it came after the look at 4 s");
}

#[tokio::test]
async fn only_what_was_sent_can_be_unanswered_and_any_packet_answers_it() {
    let t = Instant::now();
    let mut pulse = Pulse::new(t, 5);
    assert_eq!(pulse.unanswered(t + S * 9), Duration::ZERO);
    pulse.sent(t + S * 10);
    pulse.look(t + S * 11, 5);
    pulse.sent(t + S * 12);
    assert_eq!(pulse.unanswered(t + S * 13), S * 3, "since the first that was sent");
    pulse.look(t + S * 14, 6);
    assert_eq!(pulse.unanswered(t + S * 14), Duration::ZERO);
    pulse.sent(t + S * 15);
    assert_eq!(pulse.unanswered(t + S * 16), S);
}
