//! How long it takes until a change that a node has applied shows in what its server says.

use crate::{
    dns::{
        pinned::Cores,
        product::{Product, Spec, now},
        queries::Queries,
    },
    figure::{Figure, Report, percentile},
};
use anyhow::{Context, Result, ensure};
use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

/// Changes that are timed.
const CHANGES: u32 = 1_000;
/// A change that is not seen after so many questions is never seen.
const QUESTIONS_MAX: u32 = 10_000;

/// Asks one question after the other while changes are applied. The time begins with the making of the next snapshot
/// and ends when a client has the reply that shows it.
pub(crate) fn run(cores: Cores, services: u32, report: &mut Report) -> Result<()> {
    let mut product = Product::start(cores, &Spec::with(services))?;
    let client = Client::of(&product)?;
    client.ask()?;
    let mut times_us = Vec::new();
    for number in 1..=CHANGES {
        product.change()?;
        let seen = client.ask_until(number)?;
        times_us.push((seen - product.changed_at()?).as_secs_f64() * 1e6);
    }
    report.tell(Figure::new("change_visible_p50", percentile(&times_us, 0.5), "us"));
    report.tell(Figure::new("change_visible", percentile(&times_us, 0.99), "us").at_most(1_000.0));
    Ok(())
}

struct Client {
    socket: UdpSocket,
    question: Queries,
}

impl Client {
    fn of(product: &Product) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(product.server.address)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(Self { socket, question: Queries::counter() })
    }

    /// How many changes the server shows.
    fn ask(&self) -> Result<u32> {
        let mut reply = [0; 1500];
        self.socket.send(&self.question.packets[0])?;
        let length = self.socket.recv(&mut reply).context("no reply")?;
        self.question.counted(&reply[..length]).context("not the right reply")
    }

    /// When it shows so many.
    fn ask_until(&self, number: u32) -> Result<Duration> {
        for _ in 0..QUESTIONS_MAX {
            let shown = self.ask()?;
            let seen = now();
            ensure!(shown <= number, "a change that was not made is shown");
            if shown == number {
                return Ok(seen);
            }
        }
        anyhow::bail!("a change is not shown")
    }
}
