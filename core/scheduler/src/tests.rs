//! Rules one by one, stories, and properties against naive oracles.

mod autoscale;
mod daemons;
mod failure;
mod fixture;
mod leases;
mod oracle;
mod placing;
mod preview;
mod rollouts;
mod rules;
mod runs;
mod runs_oracle;
mod runs_story;
mod shop;
mod updates;
mod volumes;
mod windows;
mod words;
