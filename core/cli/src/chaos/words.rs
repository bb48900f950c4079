//! What runs and sweeps have in common when they are told to people.

use crate::failure::one_line;
use std::{collections::BTreeMap, fmt::Display};
use taffeta_sim::Moment;

/// A row: what it is about, and that.
pub(super) fn row(what: &str, text: impl Display) -> String {
    format!("{what:<10}{text}\n")
}

/// Both times and how they compare.
pub(super) fn time(virtual_s: f64, real_s: f64) -> String {
    let text = format!("{virtual_s:.1} s virtual in {real_s:.1} s: {:.0} times as fast", speed(virtual_s, real_s));
    row("time", text)
}

/// Virtual by real time.
pub(super) fn speed(virtual_s: f64, real_s: f64) -> f64 {
    virtual_s / real_s.max(1e-3)
}

/// Faults by kind with their numbers, a few in each line.
pub(super) fn faults(counts: &BTreeMap<String, u64>) -> String {
    let mut text = row("faults", counts.values().sum::<u64>());
    let each: Vec<String> = counts.iter().map(|(kind, count)| format!("{count:8}  {kind:18}")).collect();
    text.extend(each.chunks(3).map(|few| format!("{}\n", few.concat().trim_end())));
    text
}

/// Moments that were met with how often, and those that were not.
pub(super) fn moments(count: impl Fn(Moment) -> u64) -> String {
    let (met, missed): (Vec<_>, Vec<_>) = Moment::ALL.iter().map(|m| (m, count(*m))).partition(|(_, n)| *n > 0);
    let mut text = row("met", format!("{} of {} moments", met.len(), Moment::ALL.len()));
    text.extend(met.iter().map(|(moment, count)| format!("{count:8}  {}\n", moment.words())));
    if !missed.is_empty() {
        text += "not met\n";
        text.extend(missed.iter().map(|(moment, _)| format!("{:>8}  {}\n", "-", moment.words())));
    }
    text
}

/// A line of a timeline.
pub(super) fn moment_of_time(at_s: f64, text: &str) -> String {
    format!("{at_s:9.3} s  {}\n", one_line(text))
}
