//! Rules one by one, a story, and properties against a naive oracle.

mod fixture;
mod oracle;
mod placing;
mod preview;
mod rollouts;
mod rules;
mod shop;
mod updates;
mod words;
