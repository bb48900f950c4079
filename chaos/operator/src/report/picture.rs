//! The timeline as a picture (SVG): faults, who leads, instances that serve, requests that failed.

use crate::timeline::{Request, Sample, Timeline};
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Width of the picture, and where its time begins and ends.
const WIDTH: f64 = 1000.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 990.0;
/// Height of a row of faults or leaders, and of a graph.
const ROW: f64 = 20.0;
const GRAPH: f64 = 60.0;
/// Colours by machine, told apart also by those who see no red or green (Okabe and Ito).
const COLOURS: [&str; 7] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a7a00"];

struct Picture<'a> {
    timeline: &'a Timeline,
    seconds: f64,
    /// Names of the machines, in order.
    machines: Vec<String>,
}

pub(super) fn picture(timeline: &Timeline, seconds: f64) -> Markup {
    let led = timeline.samples.iter().filter_map(|sample| sample.leader.clone());
    let mut machines: Vec<String> = timeline.faults.iter().map(|fault| fault.node.clone()).chain(led).collect();
    machines.sort();
    machines.dedup();
    Picture { timeline, seconds: seconds.max(1.0), machines }.draw()
}

impl Picture<'_> {
    fn x(&self, at_s: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * (at_s / self.seconds).clamp(0.0, 1.0)
    }

    fn colour(&self, machine: &str) -> &'static str {
        let index = self.machines.iter().position(|name| name == machine).unwrap_or_default();
        COLOURS[index % COLOURS.len()]
    }

    fn draw(&self) -> Markup {
        let faults = self.timeline.faults.len() as f64 * ROW;
        let leader = 30.0 + faults;
        let serving = leader + ROW + 14.0;
        let names = serving + GRAPH + 14.0;
        let failed = names + GRAPH + 14.0;
        let bottom = failed + GRAPH + 8.0;
        html! {
            svg viewBox=(format!("0 0 {WIDTH} {}", bottom + 24.0)) role="img" aria-label="timeline" {
                (self.shades(bottom))
                (self.faults())
                (label(leader, "leader")) (self.leaders(leader))
                (label(serving, "instances serving")) (self.graph(serving, |s| (s.serving, s.wanted)))
                (label(names, "machines with right names")) (self.graph(names, |s| (s.right, s.asked)))
                (label(failed, "failed requests")) (self.failures(failed))
                (self.axis(bottom))
            }
        }
    }

    /// While a fault is on, all is shaded.
    fn shades(&self, bottom: f64) -> Markup {
        html! {
            @for fault in &self.timeline.faults {
                @let (from, to) = (self.x(fault.begun_s), self.x(fault.undone_s.unwrap_or(self.seconds)));
                rect x=(point(from)) y="20" width=(point((to - from).max(1.0))) height=(point(bottom - 20.0)) fill="#d55e00" opacity="0.08" {}
            }
        }
    }

    fn faults(&self) -> Markup {
        html! {
            @for (index, fault) in self.timeline.faults.iter().enumerate() {
                @let y = 24.0 + index as f64 * ROW;
                @let (from, to) = (self.x(fault.begun_s), self.x(fault.undone_s.unwrap_or(self.seconds)));
                (label(y, &format!("{} at {}", fault.fault, fault.node)))
                rect x=(point(from)) y=(point(y)) width=(point((to - from).max(2.0))) height=(point(ROW - 6.0)) fill=(self.colour(&fault.node)) {
                    title { (fault.name) ": " (fault.fault) " at " (fault.node) " by " (fault.backend) }
                }
            }
        }
    }

    /// Stretches in which the same machine leads.
    fn leaders(&self, y: f64) -> Markup {
        let mut stretches: Vec<(Option<&str>, f64, f64)> = vec![];
        for sample in &self.timeline.samples {
            let leader = sample.leader.as_deref();
            match stretches.last_mut() {
                Some((before, _, to)) if *before == leader => *to = sample.at_s,
                Some((_, _, to)) => {
                    *to = sample.at_s;
                    stretches.push((leader, sample.at_s, sample.at_s));
                }
                None => stretches.push((leader, sample.at_s, sample.at_s)),
            }
        }
        html! {
            @for (leader, from, to) in &stretches {
                @let (from, to) = (self.x(*from), self.x(*to));
                @let colour = leader.map_or("#999999", |leader| self.colour(leader));
                rect x=(point(from)) y=(point(y)) width=(point((to - from).max(1.0))) height=(point(ROW - 4.0)) fill=(colour) opacity=(if leader.is_some() { "0.7" } else { "0.25" }) {}
                @if to - from > 24.0 {
                    text x=(point((from + to) / 2.0)) y=(point(y + 12.0)) text-anchor="middle" class="on" { (leader.unwrap_or("nobody")) }
                }
            }
        }
    }

    /// How many of how many, as a line.
    fn graph(&self, y: f64, value: impl Fn(&Sample) -> (usize, usize)) -> Markup {
        let most = self.timeline.samples.iter().map(|sample| value(sample).1).max().unwrap_or_default().max(1);
        let mut line = String::new();
        for sample in &self.timeline.samples {
            let up = y + GRAPH * (1.0 - value(sample).0 as f64 / most as f64);
            if !line.is_empty() {
                line += &format!(" {},{}", point(self.x(sample.at_s)), line.rsplit(',').next().unwrap_or_default());
            }
            line += &format!(" {},{}", point(self.x(sample.at_s)), point(up));
        }
        html! {
            rect x=(point(LEFT)) y=(point(y)) width=(point(RIGHT - LEFT)) height=(point(GRAPH)) class="box" {}
            polyline points=(line.trim()) fill="none" stroke="#0072b2" stroke-width="1.5" {}
            text x=(point(LEFT - 4.0)) y=(point(y + 9.0)) text-anchor="end" class="small" { (most) }
            text x=(point(LEFT - 4.0)) y=(point(y + GRAPH)) text-anchor="end" class="small" { "0" }
        }
    }

    fn failures(&self, y: f64) -> Markup {
        let mut bars: BTreeMap<usize, u32> = BTreeMap::new();
        for kind in [Request::Name, Request::Page, Request::Write] {
            let bins = self.timeline.requests.get(&kind).map(|tally| tally.bins.as_slice()).unwrap_or_default();
            for (index, (_, failed)) in bins.iter().enumerate().filter(|(_, (_, failed))| *failed > 0) {
                *bars.entry(index).or_default() += failed;
            }
        }
        let most = bars.values().copied().max().unwrap_or_default().max(1);
        let width = ((RIGHT - LEFT) / (self.seconds * 4.0)).max(1.0);
        html! {
            rect x=(point(LEFT)) y=(point(y)) width=(point(RIGHT - LEFT)) height=(point(GRAPH)) class="box" {}
            @for (index, failed) in &bars {
                @let height = GRAPH * f64::from(*failed) / f64::from(most);
                rect x=(point(self.x(*index as f64 / 4.0))) y=(point(y + GRAPH - height)) width=(point(width)) height=(point(height)) fill="#d55e00" {}
            }
            text x=(point(LEFT - 4.0)) y=(point(y + 9.0)) text-anchor="end" class="small" { (most) " in ¼ s" }
        }
    }

    fn axis(&self, y: f64) -> Markup {
        let rough = self.seconds / 8.0;
        let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];
        let step = steps.into_iter().find(|step| *step >= rough).unwrap_or(7200.0);
        let ticks: Vec<f64> = (0..=(self.seconds / step) as usize).map(|n| n as f64 * step).collect();
        html! {
            line x1=(point(LEFT)) y1=(point(y)) x2=(point(RIGHT)) y2=(point(y)) stroke="#888888" {}
            @for tick in &ticks {
                line x1=(point(self.x(*tick))) y1=(point(y)) x2=(point(self.x(*tick))) y2=(point(y + 4.0)) stroke="#888888" {}
                text x=(point(self.x(*tick))) y=(point(y + 16.0)) text-anchor="middle" class="small" { (tick) " s" }
            }
        }
    }
}

fn label(y: f64, text: &str) -> Markup {
    let short: String = text.chars().take(26).collect();
    html! { text x="2" y=(point(y + 11.0)) class="small" { (short) title { (text) } } }
}

fn point(value: f64) -> String {
    format!("{value:.1}")
}
