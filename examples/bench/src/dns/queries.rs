//! Questions as packets, and what is a right reply to them.

use crate::dns::zone;

/// A and SRV as in packets.
const A: u16 = 1;
const SRV: u16 = 33;
/// Where the numbers of answers and of additional records, and the question itself are in a packet.
const ANSWERS_AT: usize = 6;
const ADDITIONAL_AT: usize = 10;
const QUESTION_AT: usize = 12;
/// An OPT record that takes replies of 1232 bytes, as resolvers send it.
pub(crate) const OPT: [u8; 11] = [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0];

/// One in so many questions is for the service that counts changes.
const COUNTING_EVERY: usize = 16;

/// Questions of one kind, each a whole packet with an id of 0.
pub(crate) struct Queries {
    pub(crate) packets: Vec<Vec<u8>>,
    /// What the replies have to be.
    pub(crate) expected: Expected,
    /// A question now and then whose reply says how many changes there were.
    counter: Option<Vec<u8>>,
}

/// What is looked at in a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// The code.
    pub(crate) code: u8,
    /// The number of records in the answer section.
    pub(crate) answers: u16,
    /// The number of records in the additional section: of the addresses of targets, and OPT.
    pub(crate) additional: u16,
}

impl Expected {
    const fn data(answers: u16) -> Self {
        Self { code: 0, answers, additional: 1 }
    }

    /// Whether a packet is a whole reply of this kind.
    pub(crate) fn is(self, packet: &[u8]) -> bool {
        packet.len() > QUESTION_AT
            && packet[2] & 0x82 == 0x80 // a reply, not cut
            && packet[3] & 0xf == self.code
            && packet[ANSWERS_AT..ANSWERS_AT + 2] == self.answers.to_be_bytes()
            && packet[ADDITIONAL_AT..QUESTION_AT] == self.additional.to_be_bytes()
    }
}

impl Queries {
    /// The addresses of each service.
    pub(crate) fn addresses(services: u32) -> Self {
        let packets = (0..services).map(|n| packet(&zone::service_name(n), A)).collect();
        Self { packets, expected: Expected::data(2), counter: None }
    }

    /// The named port of each service.
    pub(crate) fn services(services: u32) -> Self {
        let name = |n| format!("_http._tcp.{}", zone::service_name(n));
        let packets = (0..services).map(|n| packet(&name(n), SRV)).collect();
        Self { packets, expected: Expected { additional: 3, ..Expected::data(2) }, counter: None }
    }

    /// The same and, among them, for the number of changes.
    pub(crate) fn counting(self) -> Self {
        Self { counter: Some(packet(&zone::counter_name(), A)), ..self }
    }

    /// Only for the number of changes.
    pub(crate) fn counter() -> Self {
        let packet = packet(&zone::counter_name(), A);
        Self { packets: vec![packet.clone()], expected: Expected::data(2), counter: Some(packet) }
    }

    /// Names of others, whose addresses an upstream gives.
    pub(crate) fn foreign() -> Self {
        let packets = (0..1_000).map(|n| packet(&format!("www{}.site{}.example.com", n % 10, n / 10), A)).collect();
        Self { packets, expected: Expected::data(1), counter: None }
    }

    /// The next one.
    pub(crate) fn choose(&self, choice: &mut Choice) -> &[u8] {
        match choice {
            Choice::InOrder(next) => {
                let chosen = *next % self.packets.len();
                *next += 1;
                &self.packets[chosen]
            }
            Choice::Any(random) => match &self.counter {
                Some(counter) if random.below(COUNTING_EVERY) == 0 => counter,
                Some(_) | None => &self.packets[random.below(self.packets.len())],
            },
        }
    }

    /// Whether a packet is a right reply to one of them.
    pub(crate) fn is_right(&self, reply: &[u8]) -> bool {
        let expected = if self.counted(reply).is_some() { Expected::data(2) } else { self.expected };
        expected.is(reply)
    }

    /// How many changes there were, if it is that which was asked.
    pub(crate) fn counted(&self, reply: &[u8]) -> Option<u32> {
        let question = &self.counter.as_ref()?[QUESTION_AT..];
        let end = QUESTION_AT + question.len() - OPT.len();
        if reply.get(QUESTION_AT..end)? != &question[..question.len() - OPT.len()] {
            return None;
        }
        // The owner is a pointer of 2 bytes; type, class, TTL and length have 10; the network is the first of 4.
        let [_, high, middle, low] = reply.get(end + 12..end + 16)? else { return None };
        Some(u32::from_be_bytes([0, *high, *middle, *low]))
    }

    /// Names that do not exist, beside services and beside apps.
    pub(crate) fn unknown(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut name = |n: u32| {
            let label = random.next();
            if n.is_multiple_of(2) {
                format!("x{label:016x}.{}", zone::DOMAIN)
            } else {
                format!("x{label:016x}.shop{}.{}", n % 100, zone::DOMAIN)
            }
        };
        // So many that no server has them in a cache.
        let packets = (0..100_000).map(|n| packet(&name(n), A)).collect();
        Self { packets, expected: Expected { code: 3, answers: 0, additional: 1 }, counter: None }
    }
}

/// A question with an OPT record, which wants recursion, as those of stub resolvers do.
pub(crate) fn packet(name: &str, record_type: u16) -> Vec<u8> {
    let mut packet = vec![0, 0, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        packet.push(u8::try_from(label.len()).expect("a label"));
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
    packet.extend_from_slice(&record_type.to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    packet.extend_from_slice(&OPT);
    packet
}

/// Which question is next.
pub(crate) enum Choice {
    /// Any.
    Any(Random),
    /// Each once, from that of this number.
    InOrder(usize),
}

/// Numbers without a pattern that a server could profit from (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is far below 2^32.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}
