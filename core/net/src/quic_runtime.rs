//! What runs QUIC's tasks and timers.

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use std::{
    future::Future,
    io,
    net::UdpSocket,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};
use tokio::time::{Sleep, sleep_until};

/// Tokio, with timers that are due at the time that they were set to last and at no other. Tokio leaves a timer that is put
/// off where it was, wakes at the first time and puts it off then: each packet puts one off, so an idle machine would wake
/// twice for each.
#[derive(Clone, Copy, Debug)]
pub struct FabricRuntime;

impl Runtime for FabricRuntime {
    fn new_timer(&self, due: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(Timer(Box::pin(sleep_until(due.into()))))
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        TokioRuntime.spawn(future);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

#[derive(Debug)]
struct Timer(Pin<Box<Sleep>>);

impl AsyncTimer for Timer {
    fn reset(mut self: Pin<&mut Self>, due: Instant) {
        let due = due.into();
        if due > self.0.deadline() {
            self.0.set(sleep_until(due));
        } else {
            self.0.as_mut().reset(due);
        }
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Future::poll(self.0.as_mut(), cx)
    }
}

#[cfg(test)]
mod tests;
