//! Real clients against the real server: each understands our answers, and follows them when they change.
//!
//! Every test brings its own server and its own programs on ports that were asked for, or in a network of its own where
//! the port has to be 53. A program that is not installed is said so and passed over.
#![expect(clippy::disallowed_methods, reason = "programs of others run in real time")]

mod dig;
mod libraries;
mod namespace;
mod program;
mod proxies;
mod resolvers;
mod served;
