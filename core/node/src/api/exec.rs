//! A command that a person runs beside a task.

use super::{ApiError, ErrorCode};
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Messages that wait in each direction at each hop: with [`taffeta_isolation_plan::PIECE_BYTES_MAX`] some 128 KiB.
pub(crate) const WAITING_MAX: usize = 4;

/// Most arguments of a command, and most bytes of them together: they travel in the head of a request.
pub const EXEC_ARGS_MAX: usize = 256;
/// See [`EXEC_ARGS_MAX`].
pub const EXEC_ARGS_BYTES_MAX: usize = 32 << 10;

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Program and arguments.
    pub run: Vec<String>,
    /// The terminal that it gets; `None`: pipes, stdout and stderr apart.
    pub terminal: Option<ExecTerminal>,
    /// Whether it has an input.
    pub input: bool,
}

/// The person's terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecTerminal {
    /// Its kind, as in `TERM`.
    pub kind: String,
    /// Its size at the beginning.
    pub size: ExecSize,
}

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSize {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// What goes to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecInput {
    /// Bytes for its input.
    Bytes(Bytes),
    /// Its input has ended.
    End,
    /// Its terminal has this size now.
    Size(ExecSize),
}

/// What comes from a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecOutput {
    /// It wrote this to its stdout, or to its terminal.
    Stdout(Bytes),
    /// It wrote this to its stderr.
    Stderr(Bytes),
    /// It has ended, and this is the last.
    Ended(ExecEnd),
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecEnd {
    /// It returned this.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// Nobody knows: this node lost sight of it, and it is or will be ended.
    Lost(String),
}

impl ExecEnd {
    /// The exit code of whoever ran it: its own, or 128 and the number of the signal, as shells have it.
    pub fn exit_code(&self) -> u8 {
        let code = match self {
            Self::Code(code) => *code,
            Self::Signal(signal) => 128 + signal,
            Self::Lost(_) => i32::from(ErrorCode::Failed.exit_code()),
        };
        u8::try_from(code & 0xff).unwrap_or(u8::MAX)
    }
}

/// A command that was started. Dropping it ends the command.
#[derive(Debug)]
pub struct ExecSession {
    /// What goes to it.
    pub input: mpsc::Sender<ExecInput>,
    /// What comes from it, to its [`ExecOutput::Ended`].
    pub output: mpsc::Receiver<ExecOutput>,
}

/// First byte of each message on a WebSocket, as in Kubernetes' protocol of the same kind. What follows 3 and 4 is JSON.
const INPUT: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const END: u8 = 3;
const SIZE: u8 = 4;

impl ExecInput {
    /// As a message: channel 0 for the input, whose end is an empty one; 4 for the terminal's size.
    pub(crate) fn encode(&self) -> Bytes {
        match self {
            Self::Bytes(bytes) => on_channel(INPUT, bytes),
            Self::End => on_channel(INPUT, &[]),
            Self::Size(size) => on_channel(SIZE, &json(size)),
        }
    }

    /// Reads a message.
    pub(crate) fn decode(message: &Bytes) -> Result<Self, String> {
        match message.first() {
            Some(&INPUT) if message.len() == 1 => Ok(Self::End),
            Some(&INPUT) => Ok(Self::Bytes(message.slice(1..))),
            Some(&SIZE) => serde_json::from_slice(&message[1..]).map(Self::Size).map_err(|e| e.to_string()),
            Some(other) => Err(format!("nothing is sent on channel {other}")),
            None => Err("a message without a channel".into()),
        }
    }
}

impl ExecOutput {
    /// As a message: channel 1 for stdout, 2 for stderr, 3 for the end.
    pub(crate) fn encode(&self) -> Bytes {
        match self {
            Self::Stdout(bytes) => on_channel(STDOUT, bytes),
            Self::Stderr(bytes) => on_channel(STDERR, bytes),
            Self::Ended(end) => on_channel(END, &json(end)),
        }
    }

    /// Reads a message.
    pub(crate) fn decode(message: &Bytes) -> Result<Self, String> {
        match message.first() {
            Some(&STDOUT) => Ok(Self::Stdout(message.slice(1..))),
            Some(&STDERR) => Ok(Self::Stderr(message.slice(1..))),
            Some(&END) => serde_json::from_slice(&message[1..]).map(Self::Ended).map_err(|e| e.to_string()),
            Some(other) => Err(format!("nothing comes on channel {other}")),
            None => Err("a message without a channel".into()),
        }
    }
}

fn on_channel(channel: u8, bytes: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(1 + bytes.len());
    message.put_u8(channel);
    message.put_slice(bytes);
    message.freeze()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data can be encoded")
}

impl ExecRequest {
    /// Refuses what no node would run.
    pub fn check(&self) -> Result<(), ApiError> {
        let wrong = |message: String| Err(ApiError::new(ErrorCode::Invalid, message).field("arg"));
        let bytes: usize = self.run.iter().map(String::len).sum();
        match self.run.first() {
            None => return wrong("no command is given".into()),
            Some(program) if program.is_empty() => return wrong("the command's name is empty".into()),
            Some(_) => {}
        }
        if self.run.len() > EXEC_ARGS_MAX || bytes > EXEC_ARGS_BYTES_MAX {
            return wrong(format!("a command has at most {EXEC_ARGS_MAX} arguments of {EXEC_ARGS_BYTES_MAX} bytes"));
        }
        if self.run.iter().any(|arg| arg.contains('\0')) {
            return wrong("an argument holds a zero byte".into());
        }
        let odd = |kind: &str| kind.is_empty() || kind.len() > 64 || !kind.bytes().all(|b| b.is_ascii_graphic());
        match &self.terminal {
            Some(terminal) if odd(&terminal.kind) => {
                Err(ApiError::new(ErrorCode::Invalid, "this is no kind of terminal, as `xterm`").field("terminal"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_way_and_strange_ones_are_refused() {
        let size = ExecSize { columns: 80, rows: 24 };
        for input in [ExecInput::Bytes(Bytes::from_static(b"ls\n")), ExecInput::End, ExecInput::Size(size)] {
            assert_eq!(ExecInput::decode(&input.encode()), Ok(input));
        }
        assert_eq!(ExecInput::Size(size).encode(), &b"\x04{\"columns\":80,\"rows\":24}"[..]);
        let ended = ExecOutput::Ended(ExecEnd::Code(3));
        assert_eq!(ended.encode(), &b"\x03{\"code\":3}"[..]);
        for output in [ExecOutput::Stdout(Bytes::from_static(b"a")), ExecOutput::Stderr(Bytes::new()), ended] {
            assert_eq!(ExecOutput::decode(&output.encode()), Ok(output));
        }
        for strange in [&b""[..], b"\x01hello", b"\x04{}", b"\x09"] {
            ExecInput::decode(&Bytes::from_static(strange)).unwrap_err();
        }
    }
}
