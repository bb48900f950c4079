//! Figures, and how they are printed: each as soon as it is known.

use crate::args::Format;
use serde::Serialize;
use std::io::{Write, stdout};

/// What was measured of one case.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// Unique in its benchmark; scripts read it.
    pub(crate) case: &'static str,
    /// `None` if what was waited for did not come.
    pub(crate) value: Option<f64>,
    /// `s`, `ms`, `cores`, `MiB`, `B`, `%`, `us`, `us_cpu_per_query`, `files`, `machines`,
    /// `writes/s`, `placements/s` or `tasks/s`.
    pub(crate) unit: &'static str,
    /// The most that is promised, of the ratio if it is compared with something; `None` where nothing is.
    pub(crate) bound: Option<f64>,
    /// Whether the bound is the least that is promised instead.
    #[serde(skip)]
    pub(crate) is_least: bool,
    /// What it is compared with.
    pub(crate) peer: Option<&'static str>,
    /// The same of the peer; `None` also if the peer is not installed.
    pub(crate) peer_value: Option<f64>,
    /// The value divided by the peer's, of a run in which both had their turns.
    pub(crate) ratio: Option<f64>,
}

impl Figure {
    /// A figure about which nothing is promised.
    pub(crate) fn new(case: &'static str, value: f64, unit: &'static str) -> Self {
        // What never came took for ever, which JSON has no number for.
        let value = Some(value).filter(|v| v.is_finite());
        Self { case, value, unit, bound: None, is_least: false, peer: None, peer_value: None, ratio: None }
    }

    /// The same with what is promised.
    pub(crate) fn at_most(self, bound: f64) -> Self {
        Self { bound: Some(bound), ..self }
    }

    /// The same with the least that is promised.
    pub(crate) fn at_least(self, bound: f64) -> Self {
        Self { bound: Some(bound), is_least: true, ..self }
    }

    /// The same beside what it is compared with; `None` if that could not be measured.
    pub(crate) fn beside(self, peer: &'static str, measured: Option<Beside>) -> Self {
        let (peer_value, ratio) = measured.map(|m| (m.value, m.ratio)).unzip();
        Self { peer: Some(peer), peer_value, ratio, ..self }
    }

    fn is_beyond(&self) -> bool {
        let judged = if self.peer.is_some() { self.ratio } else { self.value };
        let excused = self.peer.is_some() && self.peer_value.is_none();
        !excused
            && self.bound.is_some_and(|bound| {
                judged.is_none_or(|judged| if self.is_least { judged < bound } else { judged > bound })
            })
    }

    fn row(&self) -> String {
        let number = |number: Option<f64>| number.map_or_else(|| "-".into(), |n| format!("{n:.3}"));
        let (value, bound) = (number(self.value), number(self.bound));
        let (peer, ratio) = (number(self.peer_value), number(self.ratio));
        let mark = if self.is_beyond() { "  BEYOND" } else { "" };
        let name = self.peer.unwrap_or("-");
        format!("{:<22} {value:>10} {:<16} {name:<12} {peer:>10} {ratio:>8} {bound:>10}{mark}", self.case, self.unit)
    }

    fn json(&self, bench: &str) -> String {
        let line = Line { bench, figure: *self };
        serde_json::to_string(&line).expect("numbers and words")
    }
}

/// What a figure is compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beside {
    /// The same of the peer.
    pub(crate) value: f64,
    /// Ours divided by it; the median of rounds, so it need not be the quotient of the two medians.
    pub(crate) ratio: f64,
}

/// A line for scripts.
#[derive(Serialize)]
struct Line<'a> {
    bench: &'a str,
    #[serde(flatten)]
    figure: Figure,
}

const HEADER: &str = "CASE                        VALUE UNIT             PEER              PEER    RATIO      BOUND";

/// Where figures go.
pub(crate) struct Report {
    bench: &'static str,
    format: Format,
    has_header: bool,
}

impl Report {
    pub(crate) fn new(bench: &'static str, format: Format) -> Self {
        Self { bench, format, has_header: false }
    }

    /// Prints a figure.
    pub(crate) fn tell(&mut self, figure: Figure) {
        let line = match self.format {
            Format::Json => figure.json(self.bench),
            Format::Table if self.has_header => figure.row(),
            Format::Table => format!("{HEADER}\n{}", figure.row()),
        };
        self.has_header = true;
        let _ = writeln!(stdout().lock(), "{line}"); // whoever closed stdout does not want to know
    }
}

/// The middle one; of an even number the upper of the two. Panics if there is none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// What a share of the values does not exceed. Panics if there is none.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// The largest one.
pub(crate) fn max(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests;
