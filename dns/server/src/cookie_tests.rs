use super::*;

#[derive(Debug)]
struct At(u64);

impl Date for At {
    fn unix_seconds(&self) -> u64 {
        self.0
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn cookies(secret: &str, now: u64) -> Cookies {
    Cookies::new(CookieConfig { secret: hex(secret).try_into().unwrap(), previous: None, date: Arc::new(At(now)) })
}

fn cookie(text: &str) -> ClientCookie {
    ClientCookie::read(&hex(text)).unwrap()
}

const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";

#[test]
fn cookies_are_those_of_rfc_9018_appendix_a() {
    let learned = cookies(SECRET, 1_559_731_985);
    let reply = learned.renewed(&cookie("2464c4abcf10c957"), "198.51.100.100".parse().unwrap());
    assert_eq!(reply[..], hex("2464c4abcf10c957010000005cf79f111f8130c3eee29480"));

    let renewed = cookies(SECRET, 1_559_734_385);
    let reply = renewed.renewed(&cookie("2464c4abcf10c957"), "198.51.100.100".parse().unwrap());
    assert_eq!(reply[..], hex("2464c4abcf10c957010000005cf7a871d4a564a1442aca77"));

    let another = cookies(SECRET, 1_559_734_700);
    let old = cookie("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5");
    let client = "203.0.113.203".parse().unwrap();
    assert!(!another.is_valid(&old, client), "it is two hours old");
    let in_time = cookies(SECRET, 0x5cf7_8f71);
    assert!(in_time.is_valid(&old, client), "its reserved bytes are hashed as they came");
    assert_eq!(another.renewed(&old, client)[..], hex("fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e"));

    let v6 = cookies("445536bcd2513298075a5d379663c962", 1_559_741_961);
    let client = "2001:db8:220:1:59de:d0f4:8769:82b8".parse().unwrap();
    let reply = v6.renewed(&cookie("22681ab97d52c298"), client);
    assert_eq!(reply[..], hex("22681ab97d52c298010000005cf7c609a6bb79d16625507a"));
}

#[test]
fn cookie_holds_for_an_hour_and_for_its_address_alone() {
    let client = "198.51.100.100".parse().unwrap();
    let made = 1_559_731_985;
    let sent = cookie("2464c4abcf10c957010000005cf79f111f8130c3eee29480");
    for (now, valid) in
        [(made, true), (made + 3600, true), (made + 3601, false), (made - 300, true), (made - 301, false)]
    {
        assert_eq!(cookies(SECRET, now).is_valid(&sent, client), valid, "{now}");
    }
    let now = cookies(SECRET, made);
    assert!(now.is_valid(&sent, "::ffff:198.51.100.100".parse().unwrap()), "the same address in IPv6 form");
    assert!(!now.is_valid(&sent, "198.51.100.101".parse().unwrap()));
    assert!(!now.is_valid(&cookie("2464c4abcf10c958010000005cf79f111f8130c3eee29480"), client));
    assert!(!now.is_valid(&cookie("2464c4abcf10c957"), client));
    assert!(!cookies("00000000000000000000000000000000", made).is_valid(&sent, client));
}

#[test]
fn cookie_of_the_previous_secret_is_taken_and_renewed_with_the_new_one() {
    let client = "198.51.100.100".parse().unwrap();
    let sent = cookie("2464c4abcf10c957010000005cf79f111f8130c3eee29480");
    let rolled = Cookies::new(CookieConfig {
        secret: [7; 16],
        previous: Some(hex(SECRET).try_into().unwrap()),
        date: Arc::new(At(1_559_731_985)),
    });
    assert!(rolled.is_valid(&sent, client));
    let renewed = ClientCookie::read(&rolled.renewed(&sent, client)).unwrap();
    assert_ne!(renewed, sent);
    assert!(rolled.is_valid(&renewed, client));
}

#[test]
fn lengths_that_no_cookie_has_are_malformed() {
    for len in 0..50 {
        let well_formed = len == 8 || (16..=40).contains(&len);
        assert_eq!(ClientCookie::read(&vec![1; len]).is_some(), well_formed, "{len}");
    }
}
