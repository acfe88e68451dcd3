//! Why a command was not done, and what scripts are told of it.

use std::fmt::Display;

use oms_engine::Error;

/// Exit codes; the help lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Done,
    Failed,
    Usage,
    NotFound,
    Refused,
    NotAllowed,
    Unreachable,
    Negative,
}

impl Exit {
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::NotAllowed => 5,
            Self::Unreachable => 6,
            Self::Negative => 7,
        }
    }

    /// What an answer with this status means.
    pub(super) const fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::NotAllowed,
            404 => Self::NotFound,
            400..=499 | 501 => Self::Refused,
            _ => Self::Failed,
        }
    }
}

/// Why a command was not done.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) message: String,
    /// What to do.
    pub(super) hint: Option<String>,
    /// Of an answer.
    pub(super) status: Option<u16>,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, status: None }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(super) fn failed(doing: &str, error: impl Display) -> Self {
        Self::new(Exit::Failed, format!("{doing}: {error}"))
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match &error {
            Error::Unreachable { .. } | Error::Connection { .. } | Error::Deadline { .. } => {
                Exit::Unreachable
            }
            Error::Config(_) | Error::InvalidDefinition { .. } | Error::InvalidInput { .. } => {
                Exit::Refused
            }
            _ => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}
