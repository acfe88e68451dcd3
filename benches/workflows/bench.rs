//! What a scenario is given: the server, how long it may take, and the limit's best shape.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;
use tokio::sync::OnceCell;

use crate::limit::{self, Shape};
use crate::measure::place::{Database, Place};
use crate::measure::{Failure, Figures};

pub(crate) struct Bench {
    pub(crate) place: Place,
    pub(crate) quick: bool,
    pub(crate) bar: ProgressBar,
    shape: OnceCell<Shape>,
    shape_of_orders: OnceCell<Shape>,
    plots: Mutex<BTreeMap<Series, Vec<(f64, f64)>>>,
}

/// What is plotted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Series {
    Concurrency,
    History,
}

impl Bench {
    pub(crate) fn new(place: Place, quick: bool, bar: ProgressBar) -> Self {
        let (shape, shape_of_orders) = (OnceCell::new(), OnceCell::new());
        Self { place, quick, bar, shape, shape_of_orders, plots: Mutex::default() }
    }

    /// Says what goes on: at the bar, or by lines where nobody sees a bar.
    #[expect(clippy::print_stderr, reason = "progress of a program")]
    pub(crate) fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        if self.bar.is_hidden() {
            eprintln!("{what}");
        }
    }

    /// A point of a plot: workflows per second at some x.
    pub(crate) fn plot(&self, series: Series, x: f64, rate: f64) {
        let mut plots = self.plots.lock().unwrap_or_else(PoisonError::into_inner);
        plots.entry(series).or_default().push((x, rate));
    }

    /// The points so far.
    pub(crate) fn points(&self, series: Series) -> Vec<(f64, f64)> {
        let plots = self.plots.lock().unwrap_or_else(PoisonError::into_inner);
        plots.get(&series).cloned().unwrap_or_default()
    }

    /// One of two sizes.
    pub(crate) const fn size(&self, quick: usize, whole: usize) -> usize {
        if self.quick { quick } else { whole }
    }

    /// How bare SQL is fastest here; tried out once.
    pub(crate) async fn shape(&self) -> Result<Shape, Failure> {
        let shape = self.shape.get_or_try_init(async || {
            let said = self.bar.message();
            let all = limit::sweep(&self.place, self.size(1_000, 10_000), |shape| {
                let Shape { connections, batch } = shape;
                self.say(&format!("{said}: bare SQL, {connections} x {batch} done"));
            });
            let best = all.await?.first().map(|(shape, _)| *shape);
            self.bar.set_message(said);
            best.ok_or_else(|| Failure::from("no shape"))
        });
        Ok(*shape.await?)
    }

    /// How bare SQL takes orders fastest here, of these shapes; each is tried out once, and gives its
    /// rate.
    pub(crate) async fn shape_of_orders(
        &self,
        shapes: &[Shape],
        rate: impl AsyncFn(Shape) -> Result<f64, Failure>,
    ) -> Result<Shape, Failure> {
        let best = self.shape_of_orders.get_or_try_init(async || {
            let said = self.bar.message();
            let mut best = None;
            for shape in shapes {
                let rate = rate(*shape).await?;
                let Shape { connections, batch } = shape;
                self.say(&format!("{said}: bare SQL, {connections} x {batch}: {rate:.0} orders/s"));
                if best.is_none_or(|(_, most)| rate > most) {
                    best = Some((*shape, rate));
                }
            }
            self.bar.set_message(said);
            best.map(|(shape, _)| shape).ok_or_else(|| Failure::from("no shape"))
        });
        Ok(*best.await?)
    }

    /// Does two pieces of work one after the other, each on a database of its own; in every other
    /// turn the second one first.
    pub(crate) async fn in_turn(
        &self,
        turn: usize,
        one: impl AsyncFnOnce(&Database<'_>) -> Result<Figures, Failure>,
        other: impl AsyncFnOnce(&Database<'_>) -> Result<Figures, Failure>,
    ) -> Result<(Figures, Figures), Failure> {
        if turn.is_multiple_of(2) {
            let one = self.alone(one).await?;
            Ok((one, self.alone(other).await?))
        } else {
            let other = self.alone(other).await?;
            Ok((self.alone(one).await?, other))
        }
    }

    /// Does a piece of work on a database of its own.
    pub(crate) async fn alone(
        &self,
        work: impl AsyncFnOnce(&Database<'_>) -> Result<Figures, Failure>,
    ) -> Result<Figures, Failure> {
        let database = self.place.database().await?;
        let figures = work(&database).await?;
        database.drop().await?;
        Ok(figures)
    }
}
