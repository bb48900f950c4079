//! A command beside a task, with this terminal as its own.

use super::Client;
use crate::{
    args::ExecArgs,
    end::End,
    failure::{Failure, Outcome},
    output::{print_bytes, remark},
};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::{
    env,
    io::{self, IsTerminal, Read, Write},
    thread,
};
use taffeta_net::{Entropy, SystemEntropy};
use taffeta_node::{
    api::{ExecEnd, ExecInput, ExecOutput, ExecRequest, ExecSize, ExecTerminal},
    client::{ExecReceiver, ExecSender},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// Bytes that are read from stdin at once, and how many such pieces wait.
const PIECE_BYTES: usize = 32 << 10;
const PIECES_MAX: usize = 4;

/// What a terminal has of which nothing is known.
const SIZE_DEFAULT: ExecSize = ExecSize { columns: 80, rows: 24 };
const KIND_DEFAULT: &str = "xterm";

/// Exit code after Ctrl-C, or another signal that ends this program.
const INTERRUPTED: u8 = 130;

pub(super) async fn exec(client: Client, args: ExecArgs) -> Outcome {
    let mut end = End::listen()?;
    let terminal = args.terminal.then(|| {
        let kind = env::var("TERM").ok().filter(|kind| !kind.is_empty()).unwrap_or_else(|| KIND_DEFAULT.into());
        ExecTerminal { kind, size: size().unwrap_or(SIZE_DEFAULT) }
    });
    let request = ExecRequest { run: args.command, terminal, input: args.input };
    let mut nonce = [0; 16];
    SystemEntropy.fill(&mut nonce);
    let (sender, receiver) = client.exec(args.task, &request, nonce).await?;
    let raw = if args.terminal && args.input { Raw::enter()? } else { None };
    let ended = tokio::select! {
        ended = listen(receiver) => ended,
        never = speak(sender, args.input, args.terminal) => match never {},
        () = end.wait() => Err(Failure::ended(INTERRUPTED)),
    };
    drop(raw); // before anything is said here
    match ended? {
        ExecEnd::Lost(why) => Err(Failure::failed(format!("the command was lost sight of, and is ended: {why}"))),
        end => match end.exit_code() {
            0 => Ok(()),
            code => Err(Failure::ended(code)),
        },
    }
}

/// Shows what the command says, to its end.
async fn listen(mut receiver: ExecReceiver) -> Outcome<ExecEnd> {
    loop {
        match receiver.next().await? {
            ExecOutput::Stdout(bytes) => print_bytes(&bytes)?,
            ExecOutput::Stderr(bytes) => {
                let mut stderr = io::stderr().lock();
                let _ = stderr.write_all(&bytes).and_then(|()| stderr.flush()); // whoever closed it does not want to know
            }
            ExecOutput::Ended(end) => return Ok(end),
        }
    }
}

enum Never {}

/// Passes on what is typed, and the size of the terminal. A command that takes no more has ended, which is told elsewhere.
async fn speak(mut sender: ExecSender, input: bool, terminal: bool) -> Never {
    let mut typed = if input { read_stdin() } else { None };
    let mut resized = if terminal { signal(SignalKind::window_change()).ok() } else { None };
    loop {
        let next = tokio::select! {
            piece = next_of(&mut typed) => piece,
            () = next_size(&mut resized) => match size() {
                Some(size) => ExecInput::Size(size),
                None => continue,
            },
        };
        if sender.send(&next).await.is_err() {
            return std::future::pending().await;
        }
    }
}

async fn next_of(typed: &mut Option<mpsc::Receiver<ExecInput>>) -> ExecInput {
    if let Some(pieces) = typed
        && let Some(piece) = pieces.recv().await
    {
        return piece;
    }
    *typed = None;
    std::future::pending().await
}

async fn next_size(resized: &mut Option<tokio::signal::unix::Signal>) {
    match resized {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Reads stdin in a thread of its own, which ends with this process: a read of a terminal cannot be given up.
fn read_stdin() -> Option<mpsc::Receiver<ExecInput>> {
    let (pieces, typed) = mpsc::channel(PIECES_MAX);
    let read = move || {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let piece = match io::stdin().lock().read(&mut buffer) {
                Ok(0) => ExecInput::End,
                Ok(length) => ExecInput::Bytes(buffer[..length].to_vec().into()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => ExecInput::End,
            };
            let last = piece == ExecInput::End;
            if pieces.blocking_send(piece).is_err() || last {
                return;
            }
        }
    };
    match thread::Builder::new().name("stdin".into()).spawn(read) {
        Ok(_) => Some(typed),
        Err(e) => {
            remark(&format!("stdin is not passed on: {e}"));
            None
        }
    }
}

/// Size of this terminal, if stdout, stdin or stderr is one.
fn size() -> Option<ExecSize> {
    let sizes = [tcgetwinsize(io::stdout()), tcgetwinsize(io::stdin()), tcgetwinsize(io::stderr())];
    let known = sizes.into_iter().flatten().find(|size| size.ws_col > 0 && size.ws_row > 0);
    known.map(|size| ExecSize { columns: size.ws_col, rows: size.ws_row })
}

/// This terminal gives each key as it is, Ctrl-C included, until this is dropped.
struct Raw(Termios);

impl Raw {
    /// `None` if stdin is no terminal.
    fn enter() -> Outcome<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let failed = |e: rustix::io::Errno| Failure::failed(format!("the terminal cannot be used: {e}"));
        let before = tcgetattr(&stdin).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw).map_err(failed)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0); // a terminal that has gone needs it no more
    }
}
