//! The ring as a drawing: machines on a circle, coloured by state, voters ringed, the leader crowned.

use super::look_of;
use crate::api::{NodeView, Role};
use maud::{Markup, html};
use std::f64::consts::TAU;

/// The drawing's own units; it scales with the page.
const SIZE: f64 = 400.0;
const CENTRE: f64 = SIZE / 2.0;
const RADIUS: f64 = 130.0;

/// Above this, names would overlap: they show when a machine is pointed at.
const LABELS_MAX: usize = 24;

/// A drawing of more would be a grey band and a slow page.
const MACHINES_MAX: usize = 400;

/// The drawing.
pub(super) fn draw(nodes: &[NodeView], voters: &[String]) -> Markup {
    let shown = &nodes[..nodes.len().min(MACHINES_MAX)];
    let dot = dot_radius(shown.len());
    html! {
        figure.ring {
            svg viewBox=(format!("0 0 {SIZE} {SIZE}")) role="img" aria-label="The ring of machines" {
                circle.path cx=(CENTRE) cy=(CENTRE) r=(RADIUS) {}
                @for (i, node) in shown.iter().enumerate() {
                    (machine(node, place(i, shown.len()), dot, voters, shown.len() <= LABELS_MAX))
                }
                @if nodes.is_empty() { text.none x=(CENTRE) y=(CENTRE) { "no machines yet" } }
            }
            figcaption {
                span.good { "● alive" } " " span.warn { "● suspect, draining" } " " span.bad { "● down" } " "
                span { "◎ voter" } " " span { "♛ leader" }
                @if nodes.len() > shown.len() { " (" (shown.len()) " of " (nodes.len()) " drawn)" }
            }
        }
    }
}

fn machine(node: &NodeView, (x, y): (f64, f64), dot: f64, voters: &[String], labelled: bool) -> Markup {
    let leads = node.role == Role::Leader;
    let outward = if y < CENTRE { -1.0 } else { 1.0 };
    // The baseline of text lies below its middle, so that a label above needs less room than one below.
    let label_y = y + outward * (dot + 14.0) + 4.0;
    let crown_y = CENTRE + (y - CENTRE) * (1.0 - (dot + 16.0) / RADIUS) + 6.0;
    let crown_x = CENTRE + (x - CENTRE) * (1.0 - (dot + 16.0) / RADIUS);
    html! {
        g.machine {
            title { (node.name) ": " (node.state) @if leads { ", leader" } ", " (node.address) ", " (node.tasks) " tasks" }
            @if leads || node.role == Role::Voter || voters.contains(&node.name) {
                circle.voter cx=(short(x)) cy=(short(y)) r=(short(dot + 4.0)) {}
            }
            circle.dot.(look_of(&node.state)) cx=(short(x)) cy=(short(y)) r=(short(dot)) {}
            @if leads { text.crown x=(short(crown_x)) y=(short(crown_y)) { "♛" } }
            @if labelled { text x=(short(x)) y=(short(label_y)) { (node.name) } }
        }
    }
}

/// The first machine is at the top, the others follow clockwise.
fn place(i: usize, of: usize) -> (f64, f64) {
    let angle = TAU * i as f64 / of.max(1) as f64;
    (CENTRE + RADIUS * angle.sin(), CENTRE - RADIUS * angle.cos())
}

/// Dots shrink so that neighbours do not touch.
fn dot_radius(machines: usize) -> f64 {
    (TAU * RADIUS / machines.max(1) as f64 * 0.3).clamp(2.0, 14.0)
}

fn short(coordinate: f64) -> String {
    format!("{coordinate:.1}")
}
