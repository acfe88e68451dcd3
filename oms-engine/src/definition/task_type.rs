//! Conductor's task types.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! task_types {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// What kind of task a step of a definition is.
        ///
        /// Any name can be read, so that validation can say which one is not known.
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        #[non_exhaustive]
        pub enum TaskType {
            $($(#[$doc])* $variant,)+
            /// A name that Conductor does not know: a task of the user's under its own type.
            Other(String),
        }

        impl TaskType {
            /// The name in JSON, for example `FORK_JOIN`.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)+
                    Self::Other(name) => name,
                }
            }
        }

        impl From<&str> for TaskType {
            fn from(name: &str) -> Self {
                match name {
                    $($name => Self::$variant,)+
                    other => Self::Other(other.to_owned()),
                }
            }
        }
    };
}

task_types! {
    /// Runs in a worker.
    #[default]
    Simple = "SIMPLE",
    /// Runs in a worker, under its own type's name.
    UserDefined = "USER_DEFINED",
    /// A worker task whose name is read from its input.
    Dynamic = "DYNAMIC",
    /// A script.
    Inline = "INLINE",
    /// The older form of a script.
    Lambda = "LAMBDA",
    /// A jq program.
    JsonJqTransform = "JSON_JQ_TRANSFORM",
    /// Takes one of several branches.
    Switch = "SWITCH",
    /// The older form of a switch.
    Decision = "DECISION",
    /// Starts branches side by side.
    ForkJoin = "FORK_JOIN",
    /// Starts as many branches as its input says.
    ForkJoinDynamic = "FORK_JOIN_DYNAMIC",
    /// Waits for branches.
    Join = "JOIN",
    /// Waits for the one branch that was taken.
    ExclusiveJoin = "EXCLUSIVE_JOIN",
    /// Repeats its body.
    DoWhile = "DO_WHILE",
    /// Runs another workflow and waits for it.
    SubWorkflow = "SUB_WORKFLOW",
    /// Starts another workflow and goes on.
    StartWorkflow = "START_WORKFLOW",
    /// Publishes an event.
    Event = "EVENT",
    /// Waits for a time or a signal.
    Wait = "WAIT",
    /// Waits for a person.
    Human = "HUMAN",
    /// Calls an HTTP service.
    Http = "HTTP",
    /// Publishes to Kafka.
    KafkaPublish = "KAFKA_PUBLISH",
    /// Sets variables of the workflow.
    SetVariable = "SET_VARIABLE",
    /// Ends the workflow.
    Terminate = "TERMINATE",
    /// Does nothing.
    Noop = "NOOP",
    /// Takes messages sent to the workflow.
    PullWorkflowMessages = "PULL_WORKFLOW_MESSAGES",
}

impl From<String> for TaskType {
    fn from(name: String) -> Self {
        Self::from(name.as_str())
    }
}

impl From<TaskType> for String {
    fn from(kind: TaskType) -> Self {
        kind.as_str().to_owned()
    }
}

impl fmt::Display for TaskType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
