//! Clients with many questions in flight: one over datagrams, one over a stream.

use crate::dns::{
    places::{IN_FLIGHT, Places},
    queries::{Choice, Queries},
    tally::Tally,
};
use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg},
};
use std::{
    io::{ErrorKind, IoSlice, IoSliceMut, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::Instant,
};

/// No reply that is asked for is longer.
const REPLY_MAX: usize = 1232;

/// A client of one server.
pub(crate) trait Lane {
    /// Sends questions: as many as may be in flight, at most `most`. Gives how many.
    fn send(&mut self, queries: &Queries, choice: &mut Choice, most: usize) -> Result<usize>;

    /// Takes and counts the replies that are there. Gives how many.
    fn receive(&mut self, queries: &Queries, tally: &mut Tally) -> Result<usize>;

    /// The questions in flight.
    fn places(&mut self) -> &mut Places;

    /// For poll.
    fn socket(&self) -> BorrowedFd<'_>;
}

/// A connected socket for datagrams.
pub(crate) struct Datagrams {
    socket: UdpSocket,
    places: Places,
    headers: MultiHeaders<()>,
    out: Vec<Vec<u8>>,
    replies: Vec<[u8; REPLY_MAX]>,
}

impl Datagrams {
    /// From an address of this machine.
    pub(crate) fn new(from: IpAddr, server: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind((from, 0)).context("no socket for load")?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            places: Places::default(),
            headers: MultiHeaders::preallocate(IN_FLIGHT, None),
            out: vec![Vec::new(); IN_FLIGHT],
            replies: vec![[0; REPLY_MAX]; IN_FLIGHT],
        })
    }

    /// Sends questions whose replies nobody waits for, as one who floods does.
    pub(crate) fn flood(&mut self, queries: &Queries, choice: &mut Choice) -> Result<()> {
        self.send_with(&[0; IN_FLIGHT], queries, choice).map(drop)
    }

    fn send_with(&mut self, ids: &[u16], queries: &Queries, choice: &mut Choice) -> Result<usize> {
        for (out, id) in self.out.iter_mut().zip(ids) {
            out.clear();
            out.extend_from_slice(queries.choose(choice));
            out[..2].copy_from_slice(&id.to_be_bytes());
        }
        let slices: Vec<_> = self.out[..ids.len()].iter().map(|packet| [IoSlice::new(packet)]).collect();
        let fd = self.socket.as_raw_fd();
        match sendmmsg(fd, &mut self.headers, &slices, [None; IN_FLIGHT], [], MsgFlags::MSG_DONTWAIT) {
            Ok(sent) => Ok(sent.count()),
            Err(Errno::EAGAIN | Errno::ECONNREFUSED) => Ok(0),
            Err(error) => Err(error).context("cannot send questions"),
        }
    }
}

impl Lane for Datagrams {
    fn send(&mut self, queries: &Queries, choice: &mut Choice, most: usize) -> Result<usize> {
        let ids = self.places.free_ids(most);
        let sent = self.send_with(&ids, queries, choice)?;
        self.places.sent(&ids[..sent]);
        Ok(sent)
    }

    fn receive(&mut self, queries: &Queries, tally: &mut Tally) -> Result<usize> {
        let mut slices: Vec<_> = self.replies.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let fd = self.socket.as_raw_fd();
        let lengths: Vec<usize> = match recvmmsg(fd, &mut self.headers, &mut slices, MsgFlags::MSG_DONTWAIT, None) {
            Ok(received) => received.map(|message| message.bytes).collect(),
            Err(Errno::EAGAIN | Errno::ECONNREFUSED) => return Ok(0),
            Err(error) => return Err(error).context("cannot receive replies"),
        };
        let now = Instant::now();
        for (reply, length) in self.replies.iter().zip(&lengths) {
            self.places.count(&reply[..*length], now, queries, tally);
        }
        Ok(lengths.len())
    }

    fn places(&mut self) -> &mut Places {
        &mut self.places
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A connection, on which questions follow each other without waiting.
pub(crate) struct Stream {
    socket: TcpStream,
    places: Places,
    /// What the kernel has not taken yet.
    out: Vec<u8>,
    /// What has come of replies that are not whole yet.
    come: Vec<u8>,
}

impl Stream {
    pub(crate) fn new(server: SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect(server).context("no connection for load")?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, places: Places::default(), out: Vec::new(), come: Vec::new() })
    }

    fn write_out(&mut self) -> Result<()> {
        while !self.out.is_empty() {
            match self.socket.write(&self.out) {
                Ok(written) => drop(self.out.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("cannot send questions"),
            }
        }
        Ok(())
    }
}

impl Lane for Stream {
    fn send(&mut self, queries: &Queries, choice: &mut Choice, most: usize) -> Result<usize> {
        self.write_out()?;
        if !self.out.is_empty() {
            return Ok(0);
        }
        let ids = self.places.free_ids(most);
        for id in &ids {
            let query = queries.choose(choice);
            self.out.extend_from_slice(&u16::try_from(query.len()).expect("short").to_be_bytes());
            self.out.extend_from_slice(&id.to_be_bytes());
            self.out.extend_from_slice(&query[2..]);
        }
        self.places.sent(&ids);
        self.write_out()?;
        Ok(ids.len())
    }

    fn receive(&mut self, queries: &Queries, tally: &mut Tally) -> Result<usize> {
        let mut buffer = [0; 1 << 16];
        match self.socket.read(&mut buffer) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(length) => self.come.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error).context("cannot receive replies"),
        }
        let (now, mut from, mut replies) = (Instant::now(), 0, 0);
        while let Some((reply, end)) = whole_reply(&self.come, from) {
            self.places.count(reply, now, queries, tally);
            (from, replies) = (end, replies + 1);
        }
        self.come.drain(..from);
        Ok(replies)
    }

    fn places(&mut self) -> &mut Places {
        &mut self.places
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The reply that begins at a place of a stream, and where it ends.
fn whole_reply(come: &[u8], from: usize) -> Option<(&[u8], usize)> {
    let length = u16::from_be_bytes([*come.get(from)?, *come.get(from + 1)?]);
    let end = from + 2 + usize::from(length);
    Some((come.get(from + 2..end)?, end))
}
