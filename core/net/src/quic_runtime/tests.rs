use super::*;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};

const SECOND: Duration = Duration::from_secs(1);

/// How often the runtime wakes for nothing while a timer that is put off twice is awaited, and when that is due in the end.
fn woken_for_nothing(quic: &'static dyn Runtime) -> (u64, Duration) {
    let tokio = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    tokio.block_on(async {
        // In a task: what drives the runtime itself is not counted.
        let waiting = tokio::spawn(async {
            let began = quic.now();
            let mut timer = quic.new_timer(began + Duration::from_millis(10));
            std::future::poll_fn(|cx| {
                assert!(timer.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            for millis in [20, 40] {
                timer.as_mut().reset(began + Duration::from_millis(millis));
            }
            std::future::poll_fn(|cx| timer.as_mut().poll(cx)).await;
            quic.now() - began
        });
        let due = waiting.await.unwrap();
        (Handle::current().metrics().worker_noop_count(0), due)
    })
}

#[test]
fn a_timer_that_is_put_off_wakes_nobody_at_the_time_before() {
    let due = Duration::from_millis(40);
    let (fabrics, tokios) = (woken_for_nothing(&FabricRuntime), woken_for_nothing(&TokioRuntime));
    assert_eq!(
        fabrics,
        (tokios.0 - 1, due),
        "tokio's own wakes at the first time: if it does no more, FabricRuntime may go"
    );
    assert_eq!(tokios.1, due);
}

#[tokio::test(start_paused = true)]
async fn a_timer_is_due_when_it_was_set_to_last() {
    let began = FabricRuntime.now();
    let mut timer = FabricRuntime.new_timer(began + SECOND);
    for (set, due) in [(3 * SECOND, 3), (2 * SECOND, 2), (5 * SECOND, 5), (6 * SECOND, 6)] {
        timer.as_mut().reset(began + set);
        std::future::poll_fn(|cx| timer.as_mut().poll(cx)).await;
        assert_eq!(
            (FabricRuntime.now() - began).as_secs(),
            if due == 2 { 3 } else { due },
            "a time that is over is due"
        );
    }
}
