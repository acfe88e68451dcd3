//! Definitions as pictures, and where a run of one stands.

mod layout;
mod run;
mod svg;
#[cfg(test)]
mod tests;

pub(crate) use layout::{Node, layout, layout_of_run};
pub(crate) use run::{Forks, Mark, Opened, Rest};
pub(crate) use svg::{alone, escaped, within};
