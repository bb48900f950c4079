//! A recorder of metrics that tests can read. It counts what happens on the thread of the test.

use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

#[derive(Default)]
pub(super) struct Counts(Mutex<BTreeMap<String, Arc<Count>>>);

#[derive(Default)]
struct Count(AtomicU64);

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }
    fn absolute(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

impl Counts {
    /// The counter of this name with labels of these values, in their order.
    pub(super) fn of(&self, name: &str, labels: &[&str]) -> u64 {
        let key = [&[name], labels].concat().join(" ");
        self.0.lock().unwrap().get(&key).map_or(0, |count| count.0.load(Ordering::Relaxed))
    }

    pub(super) fn refused(&self, reason: &str) -> u64 {
        self.of("taffeta_net_refused_total", &[reason])
    }

    pub(super) fn datagrams(&self, way: &str, direction: &str) -> u64 {
        self.of("taffeta_net_datagrams_total", &[way, direction])
    }
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let words = key.labels().map(|label| label.value().to_owned());
        let key = std::iter::once(key.name().to_owned()).chain(words).collect::<Vec<_>>().join(" ");
        Counter::from_arc(Arc::clone(self.0.lock().unwrap().entry(key).or_default()))
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
