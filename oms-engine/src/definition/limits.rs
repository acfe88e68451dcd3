//! How much of a task may run, as its definition says.

use super::task_def::TaskDef;

/// The limits of a task definition. What is zero or less in it is no limit, as in Conductor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How many may run at once, wherever.
    pub(crate) concurrent: Option<i32>,
    /// How many may be handed out in each window, and the window in milliseconds.
    pub(crate) rate: Option<(i32, i64)>,
}

impl Limits {
    pub(crate) const fn any(self) -> bool {
        self.concurrent.is_some() || self.rate.is_some()
    }
}

impl TaskDef {
    pub(crate) fn limits(&self) -> Limits {
        let window = i64::from(self.rate_limit_frequency_in_seconds);
        let rate = self.rate_limit_per_frequency;
        Limits {
            concurrent: self.concurrent_exec_limit.filter(|most| *most > 0),
            rate: (rate > 0 && window > 0).then(|| (rate, window.saturating_mul(1000))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(concurrent: Option<i32>, rate: i32, window: i32) -> Limits {
        let mut def = TaskDef::default_for("t");
        def.concurrent_exec_limit = concurrent;
        def.rate_limit_per_frequency = rate;
        def.rate_limit_frequency_in_seconds = window;
        def.limits()
    }

    #[test]
    fn what_is_zero_or_less_is_no_limit() {
        for (concurrent, rate, window) in
            [(None, 0, 1), (Some(0), 0, 60), (Some(-1), -5, 60), (None, 5, 0), (None, 5, -1)]
        {
            let limits = of(concurrent, rate, window);
            assert!(!limits.any(), "{concurrent:?} {rate} {window}: {limits:?}");
        }
        let limits = of(Some(3), 5, 60);
        assert_eq!((limits.concurrent, limits.rate), (Some(3), Some((5, 60_000))));
    }
}
