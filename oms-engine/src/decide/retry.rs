//! When an attempt is made again: Conductor's `TaskDef.RetryLogic`.

use std::time::Duration;

use crate::definition::{RetryLogic, TaskDef, WorkflowTask};

/// The longest delay: where Conductor's overflow ends.
pub(super) const DELAY_MAX: Duration = Duration::from_secs(i32::MAX.unsigned_abs() as u64);

/// How often and how long after a failed attempt another is made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RetryPolicy {
    /// Attempts after the first.
    pub(crate) count: i32,
    logic: RetryLogic,
    delay_seconds: i64,
    scale: i64,
    cap_seconds: i64,
    jitter_ms: i64,
}

impl RetryPolicy {
    pub(crate) fn of(task: &WorkflowTask, def: &TaskDef) -> Self {
        Self {
            count: task.retry_count.unwrap_or(def.retry_count),
            logic: def.retry_logic,
            delay_seconds: i64::from(def.retry_delay_seconds),
            scale: i64::from(def.backoff_scale_factor),
            cap_seconds: i64::from(def.max_retry_delay_seconds),
            jitter_ms: i64::from(def.backoff_jitter_ms),
        }
    }

    /// Whether another attempt follows the failed attempt `attempt` (from 0).
    ///
    /// The last attempt that has a number is the last, whatever the policy says.
    pub(crate) fn allows_after(&self, attempt: i16) -> bool {
        attempt < i16::MAX && i32::from(attempt) < self.count
    }

    /// The delay before the attempt after `attempt` (from 0).
    ///
    /// `jitter` in 0..=1 is drawn by the caller and scales `backoffJitterMs`, which is added after
    /// the cap. Overflow ends at 2^31 - 1 seconds, as in Conductor.
    pub(crate) fn delay(&self, attempt: i16, jitter: f64) -> Duration {
        let n = u32::from(attempt.unsigned_abs());
        let seconds = match self.logic {
            RetryLogic::Fixed => Some(self.delay_seconds),
            RetryLogic::LinearBackoff => self
                .delay_seconds
                .checked_mul(self.scale)
                .and_then(|d| d.checked_mul(i64::from(n) + 1)),
            RetryLogic::ExponentialBackoff => {
                2_i64.checked_pow(n).and_then(|factor| self.delay_seconds.checked_mul(factor))
            }
        };
        let longest = i64::from(i32::MAX);
        let seconds = seconds.unwrap_or(longest).clamp(0, longest);
        let capped = if self.cap_seconds > 0 { seconds.min(self.cap_seconds) } else { seconds };
        let most = Duration::from_millis(u64::try_from(self.jitter_ms).unwrap_or(0));
        let share = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.0 };
        Duration::from_secs(u64::try_from(capped).unwrap_or(0)) + most.mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(logic: RetryLogic, delay: i64, scale: i64, cap: i64) -> RetryPolicy {
        RetryPolicy { count: 3, logic, delay_seconds: delay, scale, cap_seconds: cap, jitter_ms: 0 }
    }

    fn first_five(policy: &RetryPolicy) -> Vec<u64> {
        (0..5).map(|n| policy.delay(n, 0.0).as_secs()).collect()
    }

    #[test]
    fn delays_grow_as_conductor_has_them() {
        assert_eq!(first_five(&policy(RetryLogic::Fixed, 7, 9, 0)), [7, 7, 7, 7, 7]);
        assert_eq!(first_five(&policy(RetryLogic::LinearBackoff, 2, 3, 0)), [6, 12, 18, 24, 30]);
        assert_eq!(
            first_five(&policy(RetryLogic::ExponentialBackoff, 3, 1, 0)),
            [3, 6, 12, 24, 48]
        );
    }

    #[test]
    fn the_cap_comes_before_the_jitter() {
        let mut policy = policy(RetryLogic::ExponentialBackoff, 3, 1, 10);
        policy.jitter_ms = 500;
        assert_eq!(first_five(&policy), [3, 6, 10, 10, 10]);
        assert_eq!(policy.delay(4, 1.0), Duration::from_millis(10_500));
        assert_eq!(policy.delay(4, 0.5), Duration::from_millis(10_250));
    }

    #[test]
    fn an_overflowing_delay_is_the_longest_not_an_error() {
        let policy = policy(RetryLogic::ExponentialBackoff, i64::from(i32::MAX), 1, 0);
        assert_eq!(policy.delay(i16::MAX, 0.0).as_secs(), 2_147_483_647);
    }

    proptest! {
        #[test]
        fn a_delay_is_never_shorter_than_the_one_before(
            delay in 0..i64::from(i32::MAX), scale in 1..i64::from(i32::MAX), cap in 0..1_000_000_i64,
            attempt in 0..i16::MAX - 1, exponential in any::<bool>(),
        ) {
            let logic =
                if exponential { RetryLogic::ExponentialBackoff } else { RetryLogic::LinearBackoff };
            let policy = policy(logic, delay, scale, cap);
            prop_assert!(policy.delay(attempt, 0.0) <= policy.delay(attempt + 1, 0.0));
        }
    }
}
