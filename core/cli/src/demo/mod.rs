//! `taffeta demo`: a whole cluster on loopback addresses, with the example shop, that leaves nothing behind.
//!
//! The nodes are processes of this very binary, started as a person would start them. Everything of them carries the
//! demo's folder in its command line or environment, which is how a person kills one machine with one line, and how the
//! end finds all that is left, also of nodes that were brought back by hand.

mod children;
mod folder;
mod life;
mod nodes;
mod ports;
mod sweep;
mod words;

pub(crate) use life::run;
