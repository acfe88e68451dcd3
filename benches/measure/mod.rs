//! What the benchmarks share: the place, the work, its check, and how figures are taken and shown.

pub(crate) mod check;
pub(crate) mod figures;
pub(crate) mod linear;
pub(crate) mod orders;
pub(crate) mod place;
mod statements;
pub(crate) mod usage;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a piece of work gave.
pub(crate) type Figures = Vec<(figures::Figure, f64)>;

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub(crate) fn float(count: usize) -> f64 {
    count as f64
}

/// An error with its causes, on standard error.
#[expect(clippy::print_stderr, reason = "the error of a program")]
pub(crate) fn print_error(error: &Failure) {
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  {error}");
        cause = error.source();
    }
}
