//! Definitions as pictures.

mod layout;
mod svg;
#[cfg(test)]
mod tests;

pub(crate) use layout::layout;
pub(crate) use svg::alone;
