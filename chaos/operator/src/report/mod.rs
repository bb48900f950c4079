//! A run for others to read: the Chaos Toolkit's journal, JUnit for a build server, a page for people. Pure.

mod journal;
mod junit;
mod page;
mod picture;

#[cfg(test)]
mod tests;
