//! What Foca wants done, collected as values; and a mark whether it changed its table.

use crate::Identity;
use bytes::{Buf, BufMut};
use foca::{Codec, Header, Member, Notification, PostcardCodec, Runtime, Timer};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Collects what one call into Foca wants done.
#[derive(Default)]
pub(crate) struct Outbox {
    pub(crate) sends: Vec<(Identity, Vec<u8>)>,
    pub(crate) timers: Vec<(Timer<Identity>, Duration)>,
    /// Foca learnt that its identity is down, and is silent until it gets another.
    pub(crate) defunct: bool,
}

impl Runtime<Identity> for Outbox {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        match notification {
            Notification::Defunct => self.defunct = true,
            // The table tells all of these, and suspicion, which has no notification.
            Notification::MemberUp(_)
            | Notification::MemberDown(_)
            | Notification::Rename(_, _)
            | Notification::Active
            | Notification::Idle
            | Notification::Rejoin(_) => {}
        }
    }

    fn send_to(&mut self, to: Identity, data: &[u8]) {
        self.sends.push((to, data.to_vec()));
    }

    fn submit_after(&mut self, event: Timer<Identity>, after: Duration) {
        self.timers.push((event, after));
    }
}

/// Postcard, and a mark set whenever a member is encoded. Foca encodes each update that it applies, to pass it on, so
/// without the mark its table is unchanged: this saves walking the table of a large ring at every packet.
pub(crate) struct MarkingCodec(pub(crate) Arc<AtomicBool>);

impl Codec<Identity> for MarkingCodec {
    type Error = <PostcardCodec as Codec<Identity>>::Error;

    fn encode_header(&mut self, header: &Header<Identity>, buf: impl BufMut) -> Result<(), Self::Error> {
        PostcardCodec.encode_header(header, buf)
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<Identity>, Self::Error> {
        PostcardCodec.decode_header(buf)
    }

    fn encode_member(&mut self, member: &Member<Identity>, buf: impl BufMut) -> Result<(), Self::Error> {
        self.0.store(true, Ordering::Relaxed);
        PostcardCodec.encode_member(member, buf)
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<Member<Identity>, Self::Error> {
        PostcardCodec.decode_member(buf)
    }
}
