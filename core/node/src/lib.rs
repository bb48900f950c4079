//! The fabric as a library: [`Fabric`] assembles a node, drives its machines and answers its users.

pub mod api;
