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
    /// `s`, `cores`, `MiB` or `%`.
    pub(crate) unit: &'static str,
    /// The most that is promised; `None` where nothing is.
    pub(crate) bound: Option<f64>,
}

impl Figure {
    /// A figure about which nothing is promised.
    pub(crate) fn new(case: &'static str, value: f64, unit: &'static str) -> Self {
        // What never came took for ever, which JSON has no number for.
        Self { case, value: Some(value).filter(|v| v.is_finite()), unit, bound: None }
    }

    /// The same with what is promised.
    pub(crate) fn at_most(self, bound: f64) -> Self {
        Self { bound: Some(bound), ..self }
    }

    fn is_beyond(&self) -> bool {
        self.bound.is_some_and(|bound| self.value.is_none_or(|value| value > bound))
    }

    fn row(&self) -> String {
        let number = |number: Option<f64>| number.map_or_else(|| "-".into(), |n| format!("{n:.3}"));
        let (value, bound) = (number(self.value), number(self.bound));
        let mark = if self.is_beyond() { "  BEYOND" } else { "" };
        format!("{:<18} {value:>10} {:<6} {bound:>10}{mark}", self.case, self.unit)
    }

    fn json(&self, bench: &str) -> String {
        let line = Line { bench, figure: *self, peer: None, peer_value: None, ratio: None };
        serde_json::to_string(&line).expect("numbers and words")
    }
}

/// A line for scripts. Nothing is compared with a peer so far.
#[derive(Serialize)]
struct Line<'a> {
    bench: &'a str,
    #[serde(flatten)]
    figure: Figure,
    peer: Option<&'a str>,
    peer_value: Option<f64>,
    ratio: Option<f64>,
}

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
            Format::Table => format!("{:<18} {:>10} {:<6} {:>10}\n{}", "CASE", "VALUE", "UNIT", "BOUND", figure.row()),
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

/// The largest one.
pub(crate) fn max(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests;
