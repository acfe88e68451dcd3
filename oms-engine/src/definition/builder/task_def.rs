//! Task definitions written in Rust.

use std::time::Duration;

use serde_json::Value;

use super::{seconds_i32, seconds_i64};
use crate::definition::settings::{RetryLogic, TimeoutPolicy};
use crate::definition::task_def::TaskDef;

/// Durations are taken in whole seconds rounded up, as Conductor's JSON has them; what does not
/// fit is refused by [`validate_task_def`](crate::definition::validate_task_def).
impl TaskDef {
    /// A definition with Conductor's defaults: 3 retries, 60 seconds apart, a response timeout
    /// of an hour.
    ///
    /// ```
    /// use std::time::Duration;
    /// use oms_engine::definition::{RetryLogic, TaskDef};
    ///
    /// let pay = TaskDef::new("pay")
    ///     .retry_count(5)
    ///     .retry_delay(Duration::from_secs(2))
    ///     .retry_logic(RetryLogic::ExponentialBackoff)
    ///     .max_retry_delay(Duration::from_secs(60));
    /// assert_eq!(pay.retry_delay_seconds, 2);
    /// ```
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Sets the attempts after the first.
    #[must_use]
    pub fn retry_count(mut self, count: i32) -> Self {
        self.retry_count = count;
        self
    }

    /// Sets the delay to start from.
    #[must_use]
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.retry_delay_seconds = seconds_i32(delay);
        self
    }

    /// Sets how the delay grows.
    #[must_use]
    pub fn retry_logic(mut self, logic: RetryLogic) -> Self {
        self.retry_logic = logic;
        self
    }

    /// Sets the factor of `LINEAR_BACKOFF`.
    #[must_use]
    pub fn backoff_scale_factor(mut self, factor: i32) -> Self {
        self.backoff_scale_factor = factor;
        self
    }

    /// Sets the longest delay.
    #[must_use]
    pub fn max_retry_delay(mut self, delay: Duration) -> Self {
        self.max_retry_delay_seconds = seconds_i32(delay);
        self
    }

    /// Sets how much may be added to a delay at random, in whole milliseconds.
    #[must_use]
    pub fn backoff_jitter(mut self, jitter: Duration) -> Self {
        self.backoff_jitter_ms = i32::try_from(jitter.as_millis()).unwrap_or(i32::MAX);
        self
    }

    /// Sets how long an attempt may run, and what happens then.
    #[must_use]
    pub fn timeout(mut self, after: Duration, policy: TimeoutPolicy) -> Self {
        self.timeout_seconds = seconds_i64(after);
        self.timeout_policy = policy;
        self
    }

    /// Sets how long an attempt may go without an update.
    #[must_use]
    pub fn response_timeout(mut self, after: Duration) -> Self {
        self.response_timeout_seconds = seconds_i64(after);
        self
    }

    /// Sets how long an attempt may wait for a worker.
    #[must_use]
    pub fn poll_timeout(mut self, after: Duration) -> Self {
        self.poll_timeout_seconds = Some(seconds_i32(after));
        self
    }

    /// Sets how long all attempts and delays together may take.
    #[must_use]
    pub fn total_timeout(mut self, after: Duration) -> Self {
        self.total_timeout_seconds = seconds_i64(after);
        self
    }

    /// Sets the input's default for one key.
    #[must_use]
    pub fn input_default(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.input_template.insert(key.into(), value.into());
        self
    }
}
