//! Answers that go on.

use super::fake::{LIVE_MAX, chunk, event};
use super::{DEADLINE, Running, raw, run, with_token};
use crate::api::{
    ApiError, ErrorCode, ExecEnd, ExecInput, ExecOutput, ExecRequest, ExecSize, ExecTerminal, LogChunk, LogRead,
};
use crate::client::{EventStream, LogStream, Received};
use bytes::Bytes;
use tokio::time::timeout;

async fn next(stream: &mut EventStream) -> Received {
    timeout(DEADLINE, stream.next_event()).await.expect("an event in time").unwrap()
}

/// Waits until the server has subscribed for as many streams.
async fn subscribed(running: &Running, streams: usize) {
    let until = async {
        while running.fake.live.receiver_count() != streams {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, until).await.expect("subscriptions in time");
}

#[tokio::test]
async fn recent_events_come_first_and_live_ones_follow_once_each() {
    let running = run(false);
    let mut stream = running.client().events(None).await.unwrap();
    for id in 1..=3 {
        assert_eq!(next(&mut stream).await, Received::Event(event(id)));
    }
    // The third was recorded and sent at once: it is both recent and live.
    for id in 3..=5 {
        running.fake.live.send(event(id)).unwrap();
    }
    assert_eq!(next(&mut stream).await, Received::Event(event(4)));
    assert_eq!(next(&mut stream).await, Received::Event(event(5)));
    drop(stream);
    // The server notices at its next write that nobody listens.
    let gone = async {
        while running.fake.live.send(event(6)).is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, gone).await.expect("the stream to be given up");
}

#[tokio::test]
async fn a_stream_resumes_after_the_last_event_that_was_seen() {
    let running = run(false);
    let mut stream = running.client().events(Some(2)).await.unwrap();
    assert_eq!(next(&mut stream).await, Received::Event(event(3)));

    // Events 4 to 9 are forgotten already.
    *running.fake.recent.lock().unwrap() = (10..=11).map(event).collect();
    let mut stream = running.client().events(Some(3)).await.unwrap();
    assert_eq!(next(&mut stream).await, Received::Lagged(6));
    assert_eq!(next(&mut stream).await, Received::Event(event(10)));

    // The node was started again: its ids are lower now, and all is new.
    let mut stream = running.client().events(Some(500)).await.unwrap();
    assert_eq!(next(&mut stream).await, Received::Event(event(10)));
}

#[tokio::test]
async fn events_have_id_kind_and_one_line_of_json() {
    let running = run(false);
    let answer = with_token(running.addr, "GET /v1/events?follow=false", &["Last-Event-ID: 1"], b"").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
    let json = serde_json::to_string(&event(2)).unwrap();
    assert!(answer.body.contains(&format!("id: 2\nevent: task.healthy\ndata: {json}\n\n")), "{answer:?}");
    assert!(!answer.body.contains("id: 1\n"));
    let plain = with_token(running.addr, "GET /v1/events?follow=false&plain=true", &[], b"").await;
    assert!(plain.body.contains(&format!("id: 2\ndata: {json}\n\n")), "{plain:?}");
    assert_eq!(running.client().recent_events().await.unwrap(), (1..=3).map(event).collect::<Vec<_>>());
    assert_eq!(raw(running.addr, "GET /v1/events", &[], b"").await.status, 401);
}

#[tokio::test]
async fn a_client_that_lags_is_told_how_much_it_missed() {
    let running = run(false);
    running.fake.recent.lock().unwrap().clear();
    let mut stream = running.client().events(None).await.unwrap();
    subscribed(&running, 1).await;
    // The channel takes all at once, without giving the server a turn on this thread.
    let sent = LIVE_MAX as u64 + 5;
    for id in 1..=sent {
        running.fake.live.send(event(id)).unwrap();
    }
    assert_eq!(next(&mut stream).await, Received::Lagged(5));
    assert_eq!(next(&mut stream).await, Received::Event(event(6)));
}

#[tokio::test]
async fn shutdown_ends_streams_and_frees_the_address() {
    let running = run(false);
    let mut events = running.client().events(None).await.unwrap();
    let mut logs = running.client().follow_logs("shop/web.1".parse().unwrap(), from_start()).await.unwrap();
    for _ in 1..=3 {
        next(&mut events).await;
    }
    let begun = tokio::time::Instant::now();
    running.server.shutdown().await;
    assert!(begun.elapsed().as_millis() < 1900, "the streams held it up");
    assert_eq!(timeout(DEADLINE, events.next_event()).await.unwrap().unwrap_err().code, ErrorCode::Failed);
    assert_eq!(timeout(DEADLINE, logs.next_bytes()).await.unwrap().unwrap(), None);
    std::net::TcpListener::bind(running.addr).unwrap();
}

fn from_start() -> LogRead {
    LogRead { stderr: false, offset: Some(0), tail: 0, limit: 10, ..LogRead::default() }
}

async fn rest(stream: &mut LogStream) -> Result<String, ApiError> {
    let read = async {
        let mut text = String::new();
        while let Some(bytes) = stream.next_bytes().await? {
            text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        Ok(text)
    };
    timeout(DEADLINE, read).await.expect("the end of the output in time")
}

#[tokio::test]
async fn followed_logs_come_until_the_task_ends() {
    let running = run(false);
    running.fake.chunks.lock().unwrap().extend([
        Ok(chunk("one\n", 4, "a", false)),
        Ok(chunk("", 4, "a", false)),
        Err(ApiError::new(ErrorCode::NoQuorum, "for a moment")),
        Ok(chunk("two\n", 8, "a", false)),
        // Started again: the last words first.
        Ok(LogChunk { over: true, ..chunk("last\n", 13, "a", false) }),
        Ok(LogChunk { over: true, ..chunk("", 13, "a", false) }),
        Ok(chunk("three\n", 6, "b", true)),
        Ok(chunk("", 6, "b", true)),
    ]);
    let mut stream = running.client().follow_logs("shop/web.1".parse().unwrap(), from_start()).await.unwrap();
    assert_eq!(rest(&mut stream).await.unwrap(), "one\ntwo\nlast\nthree\n");
    let offsets: Vec<_> = running.fake.take_calls().iter().map(|c| c.split(' ').nth(3).unwrap().to_owned()).collect();
    let expected = ["Some(0)", "Some(4)", "Some(4)", "Some(4)", "Some(8)", "Some(13)", "Some(0)", "Some(6)"];
    assert_eq!(offsets, expected);
}

#[tokio::test]
async fn followed_logs_that_fail_are_told_from_those_that_end() {
    let running = run(false);
    let gone = || Err(ApiError::new(ErrorCode::NotFound, "there is no task shop/web.1"));
    running.fake.chunks.lock().unwrap().extend([Ok(chunk("one\n", 4, "a", false)), gone()]);
    let mut stream = running.client().follow_logs("shop/web.1".parse().unwrap(), from_start()).await.unwrap();
    assert_eq!(rest(&mut stream).await.unwrap_err().code, ErrorCode::Failed);

    // Before anything was sent there is still a status to say it with.
    running.fake.chunks.lock().unwrap().push_back(gone());
    let error = running.client().follow_logs("shop/web.1".parse().unwrap(), from_start()).await.err().unwrap();
    assert_eq!((error.code, error.message.as_str()), (ErrorCode::NotFound, "there is no task shop/web.1"));
}

fn command(run: &[&str]) -> ExecRequest {
    let size = ExecSize { columns: 80, rows: 24 };
    let terminal = Some(ExecTerminal { kind: "vt100".into(), size });
    ExecRequest { run: run.iter().map(|arg| (*arg).to_owned()).collect(), terminal, input: true }
}

#[tokio::test]
async fn a_command_speaks_over_a_websocket() {
    let running = run(false);
    let client = running.client();
    let begun = client.exec("shop/web.1".parse().unwrap(), &command(&["ls", "a b&c"]), [7; 16]).await;
    let (mut sender, mut receiver) = begun.unwrap();
    assert_eq!(running.fake.take_calls(), ["exec shop/web.1 [\"ls\", \"a b&c\"] Some(\"vt100 80x24\") true"]);
    let bytes = Bytes::from(vec![7; 30_000]);
    sender.send(&ExecInput::Bytes(bytes.clone())).await.unwrap();
    assert_eq!(timeout(DEADLINE, receiver.next()).await.unwrap().unwrap(), ExecOutput::Stdout(bytes));
    sender.send(&ExecInput::End).await.unwrap();
    let end = timeout(DEADLINE, receiver.next()).await.unwrap().unwrap();
    assert_eq!(end, ExecOutput::Ended(ExecEnd::Code(30_000)));
}

#[tokio::test]
async fn a_command_is_refused_in_plain_words_and_never_run_by_a_cookie() {
    let running = run(false);
    let answer = with_token(running.addr, "GET /v1/exec/shop/web.1?arg=ls", &[], b"").await;
    assert_eq!(answer.status, 426, "{answer:?}");
    let upgrade = ["Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: abc"];
    for (query, field) in [("", "arg"), ("?arg=ls&argument=x", "argument"), ("?arg=ls&rows=many", "rows")] {
        let answer = with_token(running.addr, &format!("GET /v1/exec/shop/web.1{query}"), &upgrade, b"").await;
        assert_eq!((answer.status, answer.json()["error"]["field"].as_str()), (400, Some(field)), "{answer:?}");
    }
    let cookie = format!("Cookie: {}={}", super::super::access::COOKIE_NAME, super::TOKEN);
    let with_cookie = [&[cookie.as_str()], &upgrade[..]].concat();
    let answer = raw(running.addr, "GET /v1/exec/shop/web.1?arg=ls", &with_cookie, b"").await;
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(running.fake.take_calls().is_empty(), "nothing was run");
    *running.fake.failure.lock().unwrap() = Some(ApiError::new(ErrorCode::Conflict, "`shop/web.1` does not run"));
    let refused = running.client().exec("shop/web.1".parse().unwrap(), &command(&["ls"]), [7; 16]).await;
    assert_eq!(refused.err().unwrap().code, ErrorCode::Conflict);
}

#[tokio::test]
async fn a_folder_is_a_list_and_a_file_comes_whole_or_breaks_off() {
    let running = run(false);
    let client = running.client();
    let Ok(folder) = client.files("shop/web.1".parse().unwrap(), "").await.unwrap() else { panic!("a folder") };
    let entry = &folder.entries[0];
    assert_eq!((entry.name.as_str(), entry.mode.as_str(), folder.more), ("a b", "0644", true));
    async fn whole(client: &crate::client::ApiClient, path: &str) -> Result<Vec<u8>, ApiError> {
        let Err(mut file) = client.files("shop/web.1".parse().unwrap(), path).await? else { panic!("a file") };
        let mut all = vec![];
        while let Some(bytes) = file.next_bytes().await? {
            all.extend(bytes);
        }
        Ok(all)
    }
    assert_eq!(whole(&client, "a b/c").await.unwrap(), b"abcdef");
    assert!(running.fake.take_calls().iter().any(|call| call == "files shop/web.1 \"a b/c\" 6"), "to its end");
    whole(&client, "changing").await.unwrap_err();
}
