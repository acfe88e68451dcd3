//! What is wrong with a definition: every fault at once, each with its place.

use std::fmt;

/// One fault of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// Where: a JSON path such as `$.tasks[2].inputParameters.amount`.
    pub path: String,
    /// What is wrong there, and what to do.
    pub message: String,
}

impl Fault {
    /// A fault at a JSON path.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Something that a definition says and that has no effect, or another one than may be thought.
/// It is registered all the same.
///
/// Displayed on one line, with what it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// What it belongs to, for example `workflow definition "order" version 1`.
    pub subject: String,
    /// Where: a JSON path such as `$.tasks[2].cacheConfig`.
    pub path: String,
    /// What is to be known of it.
    pub message: String,
}

impl Notice {
    /// A notice at a JSON path of a definition.
    pub fn new(
        subject: impl Into<String>,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { subject: subject.into(), path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.subject, self.path, self.message)
    }
}

/// Every fault of a definition; at least one.
///
/// Displayed one per line, each with what it belongs to (`workflow definition "order" version 1`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    subject: String,
    faults: Vec<Fault>,
}

impl Faults {
    /// One fault alone.
    pub fn one(subject: impl Into<String>, fault: Fault) -> Self {
        Self { subject: subject.into(), faults: vec![fault] }
    }

    /// `Ok` when there are none.
    ///
    /// # Errors
    /// The faults, when there are any.
    pub fn check(subject: impl Into<String>, faults: Vec<Fault>) -> Result<(), Self> {
        if faults.is_empty() { Ok(()) } else { Err(Self { subject: subject.into(), faults }) }
    }

    /// What the faults belong to, for example `workflow definition "order" version 1`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The faults in the order of the definition's text.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.faults.iter()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.faults.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}: {fault}", self.subject)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// The beginning of a name, for messages: a name that is refused may be of any length.
pub(super) fn shown(name: &str) -> &str {
    const CHARS_MAX: usize = 100;
    name.char_indices().nth(CHARS_MAX).and_then(|(end, _)| name.get(..end)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_a_line_with_the_definitions_name() {
        let faults =
            vec![Fault::new("$.name", "is empty: give a name"), Fault::new("$.tasks", "no tasks")];
        let faults = Faults::check("task definition \"x\"", faults).unwrap_err();
        assert_eq!(
            faults.to_string(),
            "task definition \"x\": $.name: is empty: give a name\n\
             task definition \"x\": $.tasks: no tasks"
        );
    }

    #[test]
    fn no_fault_is_no_error() {
        assert_eq!(Faults::check("x", Vec::new()), Ok(()));
    }
}
