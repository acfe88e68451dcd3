//! Definitions as pictures.

mod layout;
mod svg;
#[cfg(test)]
mod tests;

pub(crate) use layout::{Node, layout};
pub(crate) use svg::{Mark, alone, escaped, within};
