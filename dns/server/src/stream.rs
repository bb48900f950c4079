//! Queries and replies on one stream, whatever carries it.
//!
//! All that has come is read at once; every query that is whole is answered, our own names immediately and relayed
//! ones as their upstreams reply, in any order (RFC 7766 section 6.2.1.1); all replies that are there are written at
//! once. A client that does not read its replies is not read from, and closed after a while.

use crate::{
    Responder, ServeLimits, Transport, places::Place, query::asks_transfer, replies::Replies, responder::Step,
    transfer::Transfer,
};
use bytes::BytesMut;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use std::{future::pending, io, net::IpAddr};
use taffeta_dns_answer::{Asker, Fast, FastPath, Room, Snapshot};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, sleep_until, timeout},
};

/// Queries answered before others get the thread: about a millisecond of work.
const BATCH: usize = 128;
/// Replies are written when so much has come together; one more may be 64 KiB.
const OUTPUT_ENOUGH: usize = 32 * 1024;
/// Bytes read at once, twice what came last: from what an idle connection may hold to what a busy one needs.
const READ_MIN: usize = 512;
const READ_MAX: usize = 16 * 1024;
/// Bytes of the length before each message.
const LENGTH: usize = 2;

/// Serves one connection until its client closes, idles, errs or does not read.
pub(crate) async fn serve_stream<S: AsyncRead + AsyncWrite + Unpin + Send>(
    stream: S,
    client: IpAddr,
    transport: Transport,
    responder: &Responder,
    limits: ServeLimits,
    place: &Place,
) {
    let conversation = Conversation {
        stream,
        client,
        transport,
        responder,
        limits,
        place,
        input: BytesMut::new(),
        read_size: READ_MIN,
        output: Replies::default(),
        relays: FuturesUnordered::new(),
        began: None,
        is_busy: false,
        is_over: false,
    };
    tokio::select! {
        ended = conversation.run() => {
            if let Err(error) = ended {
                tracing::trace!(%error, %client, "DNS connection ended");
            }
        }
        () = place.is_taken_away() => {}
    }
}

struct Conversation<'a, S> {
    stream: S,
    client: IpAddr,
    transport: Transport,
    responder: &'a Responder,
    limits: ServeLimits,
    place: &'a Place,
    /// Read and not yet answered: less than one query, or what a full batch or full relays leave.
    input: BytesMut,
    read_size: usize,
    /// Replies to be written.
    output: Replies,
    /// Bounded by `in_flight_max`.
    relays: FuturesUnordered<BoxFuture<'static, Option<Vec<u8>>>>,
    /// When the query that is not whole yet began to come.
    began: Option<Instant>,
    /// Whether there is something to do for the client, so that its place is not taken away.
    is_busy: bool,
    /// The client will send no more; what it asked is still answered.
    is_over: bool,
}

/// What a round over the input ended with.
enum Round {
    /// All that is whole is answered, or there is no room for more.
    Done,
    /// There may be more; others should have the thread first.
    Full,
    Transfer(Box<Transfer>),
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Conversation<'_, S> {
    async fn run(mut self) -> io::Result<()> {
        loop {
            let round = self.answer_whole()?;
            while let Some(Some(reply)) = self.relays.next().now_or_never() {
                self.put_relayed(reply)?;
            }
            match round {
                Round::Full => {
                    self.write_out().await?;
                    tokio::task::yield_now().await;
                }
                Round::Transfer(transfer) => self.send(&transfer).await?,
                Round::Done if !self.output.written().is_empty() => self.write_out().await?,
                Round::Done if self.is_over && self.relays.is_empty() => return self.stream.shutdown().await,
                Round::Done => self.wait().await?,
            }
        }
    }

    /// Answers what is there as a whole, from one snapshot.
    fn answer_whole(&mut self) -> io::Result<Round> {
        if whole(&self.input).is_some() && self.has_room() {
            self.began = None;
            self.works();
            match self.answer_batch()? {
                Round::Done => {}
                round @ (Round::Full | Round::Transfer(_)) => return Ok(round),
            }
        }
        if self.input.is_empty() {
            // An idle connection holds no buffer.
            self.input = BytesMut::new();
        } else {
            self.began.get_or_insert_with(Instant::now);
        }
        Ok(Round::Done)
    }

    fn answer_batch(&mut self) -> io::Result<Round> {
        let snapshot = self.responder.snapshot();
        let recursion_available = self.responder.resolves_for(self.client);
        let asker = Asker { address: self.client, recursion_available, room: Room::Stream };
        let (mut path, seed) = (FastPath::default(), self.responder.draw());
        let failing = self.responder.failing();
        for answered in 0..BATCH {
            let Some(len) = whole(&self.input).filter(|_| self.has_room()) else { return Ok(Round::Done) };
            if self.output.written().len() >= OUTPUT_ENOUGH {
                break;
            }
            let query = self.input.split_to(LENGTH + len);
            let query = &query[LENGTH..];
            let seed = seed.wrapping_add(answered as u64);
            if let Some(failing) = failing.filter(|failing| failing.strikes(seed)) {
                self.responder.fail_one(&failing, query).map_or(Ok(()), |reply| self.output.put(&reply))?;
                continue;
            }
            match path.respond(&snapshot, query, &asker, seed, self.output.room()) {
                Fast::Reply(len) if !self.output.is_cut(len) => self.output.commit(len),
                Fast::Reply(_) | Fast::Unusual => {
                    if let Some(transfer) = self.answer_fully(&snapshot, query)? {
                        return Ok(Round::Transfer(Box::new(transfer)));
                    }
                }
            }
        }
        Ok(Round::Full)
    }

    /// What is not common; a transfer is begun, not sent.
    fn answer_fully(&mut self, snapshot: &Snapshot, query: &[u8]) -> io::Result<Option<Transfer>> {
        if asks_transfer(query)
            && let Some(transfer) = self.responder.transfer(query, self.client, self.transport)
        {
            return Ok(Some(transfer));
        }
        match self.responder.begin_at(snapshot, query, self.client, self.transport) {
            Step::Done(reply) => self.output.put(&reply.ok_or(io::ErrorKind::InvalidData)?)?,
            Step::Relay(relay) => self.relays.push(relay.run().boxed()),
        }
        Ok(None)
    }

    /// Whether the next query may be one to relay.
    fn has_room(&self) -> bool {
        self.relays.len() < self.limits.in_flight_max
    }

    /// What is not answered as it should be is not answered: the client asks elsewhere.
    fn put_relayed(&mut self, reply: Option<Vec<u8>>) -> io::Result<()> {
        reply.map_or(Ok(()), |reply| self.output.put(&reply))
    }

    async fn write_out(&mut self) -> io::Result<()> {
        if self.output.written().is_empty() {
            return Ok(());
        }
        let write = async {
            self.stream.write_all(self.output.written()).await?;
            self.stream.flush().await
        };
        timeout(self.limits.idle, write).await??;
        self.output.clear();
        Ok(())
    }

    /// Replies that are there already go first; others wait until the zone is through.
    async fn send(&mut self, transfer: &Transfer) -> io::Result<()> {
        for message in transfer.messages() {
            self.output.put(&message)?;
            self.works();
            self.write_out().await?;
        }
        Ok(())
    }

    fn works(&mut self) {
        if !std::mem::replace(&mut self.is_busy, true) {
            self.place.is_busy();
        }
    }

    /// Until more has come or a relay is done.
    async fn wait(&mut self) -> io::Result<()> {
        if self.relays.is_empty() && std::mem::take(&mut self.is_busy) {
            self.output.release();
            self.place.waits();
        }
        let may_read = !self.is_over && self.has_room();
        let deadline = self.deadline(may_read);
        self.input.reserve(if may_read { self.read_size } else { 0 });
        tokio::select! {
            read = self.stream.read_buf(&mut self.input), if may_read => {
                let len = read?;
                self.is_over = len == 0;
                self.read_size = (len * 2).clamp(READ_MIN, READ_MAX);
            }
            Some(reply) = self.relays.next(), if !self.relays.is_empty() => self.put_relayed(reply)?,
            () = until(deadline) => return Err(io::ErrorKind::TimedOut.into()),
        }
        Ok(())
    }

    /// When the client has taken too long. Relays take as long as they take, which is bounded by their budget.
    fn deadline(&self, may_read: bool) -> Option<Instant> {
        match self.began {
            Some(began) if may_read => Some(began + self.limits.whole_query),
            Some(_) => None,
            None => self.relays.is_empty().then(|| Instant::now() + self.place.idle()),
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// The length of the first query, if it is there as a whole.
fn whole(input: &[u8]) -> Option<usize> {
    let len = usize::from(u16::from_be_bytes(*input.first_chunk()?));
    (input.len() >= LENGTH + len).then_some(len)
}
