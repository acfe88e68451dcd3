//! From which queues a worker takes its tasks.

use crate::definition::{KEY_MAX_BYTES, wrong_domain};
use crate::error::Error;

/// Where a worker takes its tasks from: a domain, an isolation group, a namespace; without any of
/// these the common queue of its name.
///
/// A task is in a domain if its run was started with one for it (`taskToDomain`), in a group or
/// namespace if its definition says so (`isolationGroupId`, `executionNameSpace`). A worker takes
/// tasks of just the place it is registered for; register it for several where it serves several.
///
/// ```
/// use oms_engine::Serving;
///
/// let place = Serving::new().domain("eu").isolation_group("slow");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Serving {
    domain: Option<String>,
    isolation_group: Option<String>,
    execution_name_space: Option<String>,
}

impl Serving {
    /// The common queue.
    pub const fn new() -> Self {
        Self { domain: None, isolation_group: None, execution_name_space: None }
    }

    /// Tasks of this domain.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Tasks whose definition has this `isolationGroupId`.
    pub fn isolation_group(mut self, group: impl Into<String>) -> Self {
        self.isolation_group = Some(group.into());
        self
    }

    /// Tasks whose definition has this `executionNameSpace`.
    pub fn execution_name_space(mut self, name: impl Into<String>) -> Self {
        self.execution_name_space = Some(name.into());
        self
    }

    pub(crate) fn domain_name(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    /// The queue of a task here: `[domain:]name[@namespace][-group]`.
    pub(super) fn queue(&self, name: &str) -> String {
        let part = |sign: &str, text: Option<&String>| {
            text.map(|text| format!("{sign}{text}")).unwrap_or_default()
        };
        let domain = self.domain.as_ref().map(|domain| format!("{domain}:")).unwrap_or_default();
        let space = part("@", self.execution_name_space.as_ref());
        format!("{domain}{name}{space}{}", part("-", self.isolation_group.as_ref()))
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if let Some(reason) = self.domain.as_deref().and_then(wrong_domain) {
            return Err(Error::Config(reason));
        }
        for (what, given) in [
            ("isolation group", &self.isolation_group),
            ("execution namespace", &self.execution_name_space),
        ] {
            let Some(name) = given else { continue };
            if name.is_empty() || name.len() > KEY_MAX_BYTES || name.contains('\0') {
                return Err(Error::Config(format!(
                    "{what} {name:?}: use 1 to {KEY_MAX_BYTES} bytes without NUL"
                )));
            }
        }
        Ok(())
    }
}
