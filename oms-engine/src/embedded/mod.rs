//! PostgreSQL on hand: found, started or downloaded.

/// Why no PostgreSQL could be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {}
