use super::{
    CacheConfig,
    received::{Verdict, read},
    script::{listed, responder, upstream},
};
use crate::{
    tests::{LOCAL, question},
    *,
};
use async_trait::async_trait;
use hickory_proto::{
    op::{Edns, Message},
    rr::{RData, Record, RecordType, rdata::NULL},
};
use proptest::prelude::*;
use std::{io, net::SocketAddr, sync::Arc};

/// An upstream whose reply passes for one by its id, QR and question, and is arbitrary otherwise.
struct Hostile(Vec<u8>);

#[async_trait]
impl Exchange for Hostile {
    async fn udp(&self, _: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let mut reply = self.0.clone();
        let header = reply.len().min(2);
        reply[..header].copy_from_slice(&query[..header]);
        if let Some(flags) = reply.get_mut(2) {
            *flags |= 0x80;
        }
        let question_end = query.len() - 11;
        if self.0.first().is_some_and(|b| b % 2 == 0) && reply.len() >= question_end {
            reply[4..6].copy_from_slice(&[0, 1]);
            reply[12..question_end].copy_from_slice(&query[12..question_end]);
        }
        Ok(reply)
    }
    async fn tcp(&self, upstream: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        self.udp(upstream, query).await
    }
}

/// A reply with such records, of types that nobody knows, damaged here and there.
fn replies() -> impl Strategy<Value = Vec<u8>> {
    let records = prop::collection::vec((any::<u16>(), any::<u32>(), 0usize..60), 0..12);
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (records, edits, any::<bool>()).prop_map(|(records, edits, edns)| {
        let mut reply = question("www.example.com.", RecordType::A, None).into_response();
        for (i, (record_type, ttl, len)) in records.into_iter().enumerate() {
            let name = reply.queries[0].name().clone();
            let code = RecordType::Unknown(record_type | 0x8000);
            let record = Record::from_rdata(name, ttl, RData::Unknown { code, rdata: NULL::with(vec![7; len]) });
            match i % 3 {
                0 => reply.add_answer(record),
                1 => reply.add_authority(record),
                _ => reply.add_additional(record),
            };
        }
        reply.edns = edns.then(Edns::new);
        let mut bytes = reply.to_vec().unwrap();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_reply_of_an_upstream_makes_it_panic_or_exceed_the_limit(
        reply in prop_oneof![prop::collection::vec(any::<u8>(), 0..1400), replies()],
        edns in any::<Option<u16>>(), tcp in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let r = responder(listed(&[upstream(0)]), Arc::new(Hostile(reply)));
        let query = question("www.example.com.", RecordType::A, edns).to_vec().unwrap();
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        for _ in 0..2 {
            let reply = runtime.block_on(r.respond(&query, LOCAL, transport)).expect("a reply");
            prop_assert!(reply[..2] == query[..2] && reply[2] & 0x80 != 0);
            prop_assert!(tcp || reply.len() <= usize::from(edns.unwrap_or(512).clamp(512, 1232)));
        }
    }

    #[test]
    fn what_can_be_read_is_kept_whole_but_for_its_opt(reply in replies()) {
        let bounds = CacheConfig::default();
        let query = question("www.example.com.", RecordType::A, None).to_vec().unwrap();
        let (Ok(before), Some(Verdict::Settled(answer))) = (Message::from_vec(&reply), read(&reply, &query[12..], &bounds))
            else { return Ok(()) };
        let after = Message::from_vec(answer.packet()).expect("still a message");
        prop_assert_eq!(after.answers.len(), before.answers.len());
        prop_assert_eq!(answer.ttls_at().len(), after.answers.len() + after.authorities.len() + after.additionals.len());
        for (a, b) in after.answers.iter().zip(&before.answers) {
            prop_assert!(a.data == b.data && a.ttl <= 86_400);
        }
    }
}
