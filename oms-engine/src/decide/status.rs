//! Statuses of runs and tasks, as Conductor spells them (its `Workflow.WorkflowStatus` and
//! `Task.Status`), and their numbers in the tables.

use serde::{Deserialize, Serialize};

macro_rules! statuses {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $code:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// As Conductor spells it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            pub(crate) const fn code(self) -> i16 {
                match self { $(Self::$variant => $code),* }
            }

            pub(crate) const fn from_code(code: i16) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|s| s.as_str() == text)
                    .ok_or_else(|| format!("{text:?} is no status"))
            }
        }
    };
}

statuses! {
    /// The status of a run.
    WorkflowStatus {
        /// Work is open.
        Running = 0, "RUNNING";
        /// Nothing new is scheduled until it is resumed.
        Paused = 1, "PAUSED";
        /// Ended well.
        Completed = 2, "COMPLETED";
        /// A step failed for good.
        Failed = 3, "FAILED";
        /// The run's or a task's time was up.
        TimedOut = 4, "TIMED_OUT";
        /// Ended by an operator or a TERMINATE task.
        Terminated = 5, "TERMINATED";
    }
}

impl WorkflowStatus {
    /// Whether the run has ended.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Running | Self::Paused)
    }
}

statuses! {
    /// The status of a task.
    TaskStatus {
        /// Ended well.
        Completed = 0, "COMPLETED";
        /// An optional task failed.
        CompletedWithErrors = 1, "COMPLETED_WITH_ERRORS";
        /// Passed over by an operator.
        Skipped = 2, "SKIPPED";
        /// The attempt failed.
        Failed = 3, "FAILED";
        /// The step failed; no attempt can succeed.
        FailedWithTerminalError = 4, "FAILED_WITH_TERMINAL_ERROR";
        /// The attempt's time was up.
        TimedOut = 5, "TIMED_OUT";
        /// Taken by the end of its run.
        Canceled = 6, "CANCELED";
        /// Waits for a worker, a delay or a timer.
        Scheduled = -1, "SCHEDULED";
        /// Held by a worker.
        InProgress = -2, "IN_PROGRESS";
    }
}

impl TaskStatus {
    /// Whether the attempt has ended.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Scheduled | Self::InProgress)
    }

    /// Whether the flow goes on after it.
    #[must_use]
    pub const fn is_successful(self) -> bool {
        matches!(self, Self::Completed | Self::CompletedWithErrors | Self::Skipped)
    }

    /// Whether the retry policy is asked when an attempt ends so.
    #[must_use]
    pub const fn is_retriable(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }
}

use TaskStatus as T;
use WorkflowStatus as W;

/// Every change of a run's status: from, to, and by what. Only an operator leads out of an end.
pub(super) const WORKFLOW_TRANSITIONS: &[(WorkflowStatus, WorkflowStatus, &str)] = &[
    (W::Running, W::Paused, "pause"),
    (W::Paused, W::Running, "resume, or its end is settled and undone first"),
    (W::Running, W::Completed, "the last step ends well"),
    (W::Running, W::Failed, "a step fails for good"),
    (W::Running, W::TimedOut, "its time, or a task's, is up"),
    (W::Running, W::Terminated, "terminate, or a worker cancels"),
    (W::Paused, W::Terminated, "terminate"),
    (W::Completed, W::Running, "restart"),
    (W::Failed, W::Running, "retry or restart"),
    (W::TimedOut, W::Running, "retry or restart"),
    (W::Terminated, W::Running, "retry or restart"),
];

/// Every change of an attempt's status: from, to, and by what. Nothing leads out of an end:
/// a retry is another attempt.
pub(super) const TASK_TRANSITIONS: &[(TaskStatus, TaskStatus, &str)] = &[
    (T::Scheduled, T::InProgress, "claimed, or handed over"),
    (T::InProgress, T::Scheduled, "given back, rescued, or called back later"),
    (T::Scheduled, T::TimedOut, "poll or total time-out"),
    (T::Scheduled, T::CompletedWithErrors, "time-out of an optional task"),
    (T::Scheduled, T::Canceled, "the run ends"),
    (T::InProgress, T::Completed, "reported"),
    (T::InProgress, T::Failed, "reported, a panic, or a refused output"),
    (T::InProgress, T::FailedWithTerminalError, "reported, or what it gave cannot be stored"),
    (T::InProgress, T::TimedOut, "time-out"),
    (T::InProgress, T::CompletedWithErrors, "an optional task fails for good"),
    (T::InProgress, T::Canceled, "reported, or the run ends"),
];

impl WorkflowStatus {
    /// Whether the table of transitions leads from this status to that one.
    pub(super) fn may_become(self, to: Self) -> bool {
        WORKFLOW_TRANSITIONS.iter().any(|edge| (edge.0, edge.1) == (self, to))
    }
}

impl TaskStatus {
    /// Whether the table of transitions leads from this status to that one.
    pub(super) fn may_become(self, to: Self) -> bool {
        TASK_TRANSITIONS.iter().any(|edge| (edge.0, edge.1) == (self, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_reads_back_from_its_number_and_its_text() {
        for status in WorkflowStatus::ALL {
            assert_eq!(WorkflowStatus::from_code(status.code()), Some(*status));
            assert_eq!(status.as_str().parse(), Ok(*status));
        }
        for status in TaskStatus::ALL {
            assert_eq!(TaskStatus::from_code(status.code()), Some(*status));
            assert_eq!(status.as_str().parse(), Ok(*status));
        }
    }
}
