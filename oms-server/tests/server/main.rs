//! The real binary over real HTTP.

#![expect(clippy::unwrap_used, reason = "tests and their helpers")]
#![expect(clippy::panic, reason = "what a helper does not find fails the test")]
#![expect(clippy::indexing_slicing, reason = "JSON of the tests' own making")]

mod access;
mod admin;
mod bad_input;
mod browser;
mod bulk;
mod cli;
mod command;
mod documentation;
mod events;
mod execute;
mod hostile;
mod import;
mod lifetime;
mod metadata;
mod metrics;
mod migrate;
mod outside;
mod page;
mod page_forks;
mod page_orders;
mod page_parts;
mod page_people;
mod pages;
mod removal;
mod running;
mod search;
mod tasks;
mod test_run;
mod traces;
mod workflow;
