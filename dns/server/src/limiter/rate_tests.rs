use super::{Kind, RateLimit, Verdict};
use std::net::IpAddr;

fn client(n: u32) -> IpAddr {
    IpAddr::from((0xc000_0000 | n << 8 | 7).to_be_bytes())
}

fn verdicts(limit: &RateLimit, now_ms: u64, client: IpAddr, kind: Kind, count: usize) -> Vec<Verdict> {
    (0..count).map(|_| limit.check(now_ms, client, kind)).collect()
}

#[test]
fn rate_is_sent_and_of_the_excess_every_second_reply_is_cut() {
    let limit = RateLimit::new(10, 1);
    let all = verdicts(&limit, 5_000, client(1), Kind::Data, 30);
    assert!(all[..10].iter().all(|v| *v == Verdict::Send));
    assert_eq!(all[10..14], [Verdict::Slip, Verdict::Drop, Verdict::Slip, Verdict::Drop]);
    // Half a second gives half of the rate.
    let later = verdicts(&limit, 5_500, client(1), Kind::Data, 6);
    assert_eq!(later.iter().filter(|v| **v == Verdict::Send).count(), 5);
}

#[test]
fn networks_and_kinds_are_counted_apart() {
    let limit = RateLimit::new(5, 1);
    verdicts(&limit, 0, client(1), Kind::NxDomain, 50);
    assert_ne!(limit.check(0, "192.0.1.200".parse().unwrap(), Kind::NxDomain), Verdict::Send, "the same /24");
    assert_eq!(limit.check(0, client(2), Kind::NxDomain), Verdict::Send);
    assert_eq!(limit.check(0, client(1), Kind::Data), Verdict::Send);
    let six = |text: &str| text.parse::<IpAddr>().unwrap();
    verdicts(&limit, 0, six("2001:db8:0:100::1"), Kind::Data, 50);
    assert_ne!(limit.check(0, six("2001:db8:0:1ff:8::2"), Kind::Data), Verdict::Send, "the same /56");
    assert_eq!(limit.check(0, six("2001:db8:0:200::1"), Kind::Data), Verdict::Send);
    assert_ne!(limit.check(0, six("::ffff:192.0.1.9"), Kind::NxDomain), Verdict::Send, "IPv4 in other clothes");
}

#[test]
fn silence_fills_the_bucket_whatever_the_clock_says() {
    for silence_ms in [1_000, 60_000, 600_000, 1 << 20, (1 << 20) - 3_000, 1 << 40] {
        let limit = RateLimit::new(5, 1);
        verdicts(&limit, 77, client(1), Kind::Data, 50);
        let sent = verdicts(&limit, 77 + silence_ms, client(1), Kind::Data, 50)
            .iter()
            .filter(|v| **v == Verdict::Send)
            .count();
        // The clock goes round every 2^20 ms: after exactly that long the silence is not seen, but a second later.
        let later = limit.check(77 + silence_ms + 2_000, client(1), Kind::Data);
        assert!(sent == 5 || silence_ms % (1 << 20) == 0, "{silence_ms}: {sent}");
        assert_eq!(later, Verdict::Send, "{silence_ms}");
    }
}

#[test]
fn more_networks_than_places_are_let_through() {
    let limit = RateLimit::new(2, 1);
    let sent = (0..100_000).filter(|n| limit.check(0, client(*n), Kind::Data) == Verdict::Send).count();
    assert_eq!(sent, 100_000);
}

#[test]
fn zero_is_no_limit() {
    let limit = RateLimit::new(0, 1);
    assert!(verdicts(&limit, 0, client(1), Kind::Data, 100_000).iter().all(|v| *v == Verdict::Send));
}

#[test]
fn kind_is_read_from_the_reply() {
    let reply = |rcode, answers| [0, 0, 0x84, rcode, 0, 1, 0, answers, 0, 0, 0, 0];
    assert_eq!(Kind::of(&reply(0, 1)), Kind::Data);
    assert_eq!(Kind::of(&reply(0, 0)), Kind::NoData);
    assert_eq!(Kind::of(&reply(3, 0)), Kind::NxDomain);
    assert_eq!(Kind::of(&reply(5, 0)), Kind::Error);
}
