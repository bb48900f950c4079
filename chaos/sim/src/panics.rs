//! A panic anywhere in a run's nodes ends the run: it is a bug, even where a task of its own would have taken it along.

use std::{cell::RefCell, panic, sync::Once};

thread_local! {
    /// The first panic of this thread's run; outer `None` while no run is watched.
    static SEEN: RefCell<Option<Option<String>>> = const { RefCell::new(None) };
}

/// Watches this thread until it is dropped.
pub(crate) struct Watched;

impl Drop for Watched {
    fn drop(&mut self) {
        // A panic of the simulator's own was only taken note of so far.
        if std::thread::panicking()
            && let Some(panic) = take()
        {
            eprintln!("{panic}");
        }
        SEEN.set(None);
    }
}

/// Takes note of panics of this thread from now on, in place of what is done with them otherwise.
pub(crate) fn watch() -> Watched {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
            let watched = SEEN.with_borrow_mut(|seen| {
                let Some(first) = seen else { return false };
                first.get_or_insert_with(|| format!("a panic at {place}: {}", words(info)));
                true
            });
            if !watched {
                before(info);
            }
        }));
    });
    SEEN.set(Some(None));
    Watched
}

/// The first panic since [`watch`], once.
pub(crate) fn take() -> Option<String> {
    SEEN.with_borrow_mut(|seen| seen.as_mut()?.take())
}

fn words(info: &panic::PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without words".into())
}
