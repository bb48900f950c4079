//! Commands that people run beside tasks: from any node, through the one where the task runs.
//!
//! Between two nodes a command is a conversation of frames. All on the way hold a few pieces of what is said and no more, so
//! whoever takes nothing slows the other down. When either side goes, the command does.

use crate::{
    api::{
        ApiError, ErrorCode, ExecEnd, ExecInput, ExecOutput, ExecRequest, ExecSession, ExecSize, ExecTerminal,
        WAITING_MAX,
    },
    asking::NOT_KNOWN,
    fence::OTHER_GENERATION,
    generation::Marked,
    node::Core,
    wire::{decode, encode},
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use taffeta_isolation_plan::{
    CommandError, CommandEvent, CommandInput, CommandSpec, Running, Stream, Terminal, TerminalSize,
};
use taffeta_model::{Exit, NodeId, TaskId};
use taffeta_net::{Bytes, CallError, FrameSink, Hears, Lane, Talk};
use tokio::{
    sync::mpsc,
    time::{interval, timeout},
};

/// How long a start may take: the machine is asked, and forks.
const START_LIMIT: Duration = Duration::from_secs(10);
/// A sign of life is given so often, well below the time after which an idle connection ends.
const ALIVE_EVERY: Duration = Duration::from_secs(5);
/// Who gives none for so long is gone. Output that nobody takes holds back what comes behind it, but never the other direction.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What the asking node says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Says {
    /// Run this; the first, and only then.
    Begin(TaskId, ExecRequest),
    Input(Vec<u8>),
    InputEnds,
    Size(ExecSize),
    Alive,
}

/// What the node says where the command runs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answers {
    /// Whether it was started; the first.
    Begun(Result<(), ApiError>),
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    Ended(ExecEnd),
    Alive,
}

impl Core {
    /// Runs a command beside a task, wherever that runs.
    pub(crate) async fn exec(&self, task: TaskId, request: ExecRequest) -> Result<ExecSession, ApiError> {
        request.check()?;
        let owner = self.owner_of(&task)?;
        if owner == self.me {
            return self.exec_here(&task, request).await;
        }
        let silent = |e: CallError| match e {
            // What a node does with a lane that it does not know.
            CallError::Broken(why) if why.contains("truncated") => {
                self.owner_silent(owner, &CallError::Refused(NOT_KNOWN.into()))
            }
            e => self.owner_silent(owner, &e),
        };
        let mut talk = self.net().talk(owner, Lane::Talk, START_LIMIT).await.map_err(silent)?;
        let begin = self.generation.mark(&encode(&Says::Begin(task, request)));
        talk.says.send(&begin).await.map_err(silent)?;
        let begun = timeout(START_LIMIT, talk.hears.next()).await.unwrap_or(Err(CallError::Timeout));
        match begun.map_err(silent)?.map(|frame| decode(&frame)) {
            Some(Ok(Answers::Begun(begun))) => begun?,
            Some(_) | None => return Err(ApiError::new(ErrorCode::Failed, "an unexpected reply")),
        }
        let node = self.name_of(owner);
        let (session, far) = session();
        tokio::spawn(async move {
            let end = relay(talk, far.input, &far.output).await;
            let end = end.unwrap_or_else(|why| ExecEnd::Lost(format!("the connection to {node} broke: {why}")));
            let _ = far.output.send(ExecOutput::Ended(end)).await; // whoever has gone need not know
        });
        Ok(session)
    }

    /// Runs a command beside a task of this node.
    async fn exec_here(&self, task: &TaskId, request: ExecRequest) -> Result<ExecSession, ApiError> {
        let runs = self.tasks.runs_of(task.clone()).await;
        let not_there = |why: &dyn std::fmt::Display| {
            ApiError::new(ErrorCode::Conflict, format!("`{task}` does not run: {why}"))
                .help("`taffeta ps` shows its state, `taffeta logs` what it has said")
        };
        let run = runs.last().ok_or_else(|| not_there(&"it has no process here"))?;
        let program = request.run.first().cloned().unwrap_or_default();
        let (near, far) = session();
        match self.executor.exec(run.as_str(), spec(request)).await {
            Ok(running) => {
                // Not its arguments, which may hold what nobody is to see.
                tracing::info!(%task, program, "a command is run beside a task");
                tokio::spawn(serve(running, far));
                Ok(near)
            }
            Err(e @ (CommandError::NotFound(_) | CommandError::NotExecutable(_))) => {
                let code = if matches!(e, CommandError::NotFound(_)) { 127 } else { 126 }; // as shells have it
                let said = Bytes::from(format!("{e}\n"));
                let _ = far.output.try_send(ExecOutput::Stderr(said)); // there is room: nothing was sent yet
                let _ = far.output.try_send(ExecOutput::Ended(ExecEnd::Code(code)));
                Ok(near)
            }
            Err(e @ (CommandError::Unknown(_) | CommandError::Ended(_))) => Err(not_there(&e)),
            Err(CommandError::TooMany(why)) => {
                Err(ApiError::new(ErrorCode::Conflict, why).help("end some of them first"))
            }
            Err(CommandError::Failed(why)) => Err(ApiError::new(ErrorCode::Failed, why)),
        }
    }

    /// Another node wants to run a command here.
    pub(crate) async fn talk(self: &Arc<Self>, from: NodeId, talk: Talk) {
        let Talk { mut says, mut hears } = talk;
        let first = timeout(START_LIMIT, hears.next()).await;
        let Ok(Ok(Some(first))) = first else { return says.end(Err("nothing was said".into())).await };
        let begin = match self.generation.unmark(&first) {
            Marked::Same(begin) => decode(begin),
            Marked::Other(_) => {
                self.note_other_generation(from);
                Err(OTHER_GENERATION.into())
            }
            Marked::Malformed => Err("a message without a generation".into()),
        };
        let session = match begin {
            Ok(Says::Begin(task, request)) => match request.check() {
                Ok(()) => self.exec_here(&task, request).await,
                Err(e) => Err(e),
            },
            Ok(_) => return says.end(Err("a conversation begins with what it is about".into())).await,
            Err(why) => return says.end(Err(why)).await,
        };
        let (session, begun) = match session {
            Ok(session) => (Some(session), Ok(())),
            Err(e) => (None, Err(e)),
        };
        let told = says.send(&encode(&Answers::Begun(begun))).await;
        if let (Ok(()), Some(session)) = (told, session) {
            host(session, &mut says, hears).await;
        }
        says.end(Ok(())).await;
    }
}

/// The other end of a session.
struct Far {
    input: mpsc::Receiver<ExecInput>,
    output: mpsc::Sender<ExecOutput>,
}

fn session() -> (ExecSession, Far) {
    let ((input, far_input), (far_output, output)) = (mpsc::channel(WAITING_MAX), mpsc::channel(WAITING_MAX));
    (ExecSession { input, output }, Far { input: far_input, output: far_output })
}

fn spec(request: ExecRequest) -> CommandSpec {
    let terminal = request.terminal.map(|ExecTerminal { kind, size }| Terminal { kind, size: size_of(size) });
    CommandSpec { run: request.run, terminal, input: request.input }
}

fn size_of(ExecSize { columns, rows }: ExecSize) -> TerminalSize {
    TerminalSize { columns, rows }
}

/// Lets a command of this node and a session speak, until either ends.
async fn serve(running: Running, far: Far) {
    let Running { input, mut output } = running;
    let Far { input: mut asked, output: told } = far;
    let gives = async {
        loop {
            let event = match output.next().await {
                CommandEvent::Output(Stream::Stdout, bytes) => ExecOutput::Stdout(bytes.into()),
                CommandEvent::Output(Stream::Stderr, bytes) => ExecOutput::Stderr(bytes.into()),
                CommandEvent::Ended(exit) => ExecOutput::Ended(end_of(&exit)),
            };
            let last = matches!(event, ExecOutput::Ended(_));
            if told.send(event).await.is_err() || last {
                return;
            }
        }
    };
    tokio::select! {
        () = gives => {}
        () = told.closed() => {} // its person has gone: the command ends with `output`
        () = feed(input, &mut asked) => {}
    }
}

/// Hands on what goes to the command; never returns, as what it says is not over when nothing more is said to it.
async fn feed(mut input: Box<dyn CommandInput>, asked: &mut mpsc::Receiver<ExecInput>) {
    while let Some(next) = asked.recv().await {
        match next {
            // A command that reads no more goes on without.
            ExecInput::Bytes(bytes) => drop(input.write(&bytes).await),
            ExecInput::End => input.end().await,
            ExecInput::Size(size) => input.resize(size_of(size)),
        }
    }
    std::future::pending::<()>().await;
}

fn end_of(exit: &Exit) -> ExecEnd {
    match exit {
        Exit::Code(code) => ExecEnd::Code(*code),
        Exit::Signal(signal) => ExecEnd::Signal(*signal),
        Exit::OutOfMemory | Exit::Lost | Exit::Deadline | Exit::LeaseEnded | Exit::NotStarted(_) => {
            ExecEnd::Lost(exit.to_string())
        }
    }
}

/// Lets a session of this node and another node speak.
async fn host(session: ExecSession, says: &mut FrameSink, mut hears: Hears) {
    let ExecSession { input, mut output } = session;
    let listens = async {
        while let Ok(Ok(Some(frame))) = timeout(SILENCE_MAX, hears.next()).await {
            let next = match decode(&frame) {
                Ok(Says::Input(bytes)) => ExecInput::Bytes(bytes.into()),
                Ok(Says::InputEnds) => ExecInput::End,
                Ok(Says::Size(size)) => ExecInput::Size(size),
                Ok(Says::Alive) => continue,
                Ok(Says::Begin(..)) | Err(_) => return,
            };
            let _ = input.send(next).await; // a command that has ended hears nothing, and its end is yet to be told
        }
    };
    let speaks = async {
        let mut alive = interval(ALIVE_EVERY);
        loop {
            let answer = tokio::select! {
                next = output.recv() => match next {
                    Some(ExecOutput::Stdout(bytes)) => Answers::Stdout(bytes.into()),
                    Some(ExecOutput::Stderr(bytes)) => Answers::Stderr(bytes.into()),
                    Some(ExecOutput::Ended(end)) => Answers::Ended(end),
                    None => return,
                },
                _ = alive.tick() => Answers::Alive,
            };
            let last = matches!(answer, Answers::Ended(_));
            if says.send(&encode(&answer)).await.is_err() || last {
                return;
            }
        }
    };
    tokio::select! {
        () = listens => {} // gone, or talking nonsense: the command ends with the session
        () = speaks => {}
    }
}

/// Lets a session and the node speak where the command runs. An error is the way in which the conversation broke; dropping
/// this ends the command.
async fn relay(
    talk: Talk,
    mut input: mpsc::Receiver<ExecInput>,
    output: &mpsc::Sender<ExecOutput>,
) -> Result<ExecEnd, String> {
    let Talk { mut says, mut hears } = talk;
    let speaks = async {
        let mut alive = interval(ALIVE_EVERY);
        let mut open = true;
        loop {
            let said = tokio::select! {
                next = input.recv(), if open => match next {
                    Some(ExecInput::Bytes(bytes)) => Says::Input(bytes.into()),
                    Some(ExecInput::End) => Says::InputEnds,
                    Some(ExecInput::Size(size)) => Says::Size(size),
                    None => {
                        open = false;
                        continue;
                    }
                },
                _ = alive.tick() => Says::Alive,
            };
            if says.send(&encode(&said)).await.is_err() {
                // Who has ended hears nothing any more; how it did is on its way. Otherwise the silence tells.
                return std::future::pending().await;
            }
        }
    };
    let listens = async {
        loop {
            let frame = timeout(SILENCE_MAX, hears.next()).await.map_err(|_| "nothing is heard from it".to_owned())?;
            let frame = frame.map_err(|e| e.to_string())?.ok_or("it ended early")?;
            let next = match decode(&frame)? {
                Answers::Stdout(bytes) => ExecOutput::Stdout(bytes.into()),
                Answers::Stderr(bytes) => ExecOutput::Stderr(bytes.into()),
                Answers::Ended(end) => return Ok(end),
                Answers::Alive => continue,
                Answers::Begun(_) => return Err("it begins twice".into()),
            };
            if output.send(next).await.is_err() {
                return Ok(ExecEnd::Lost("its person has gone".into()));
            }
        }
    };
    tokio::select! {
        end = listens => end,
        end = speaks => end,
        () = output.closed() => Ok(ExecEnd::Lost("its person has gone".into())),
    }
}
