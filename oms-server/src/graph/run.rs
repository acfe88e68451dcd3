//! What a picture says of a run beside its definition.

use std::collections::HashMap;

use oms_engine::WorkflowTask;

/// What is said of a step beside its name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mark {
    /// The class of its state, of the page's stylesheet.
    pub(crate) class: &'static str,
    /// A path in a square of 12 by 12.
    pub(crate) icon: &'static str,
    /// The state in words.
    pub(crate) word: String,
    /// Where it leads.
    pub(crate) link: Option<String>,
    /// Whether it is the one that is looked at.
    pub(crate) chosen: bool,
    /// Whether the time went by it: it is marked by a shape and in its title.
    pub(crate) critical: bool,
}

/// What dynamic forks have opened, by their reference names.
pub(crate) type Forks = HashMap<String, Opened>;

/// What a dynamic fork has opened.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// A step each, with what stands in it.
    pub(crate) branches: Vec<WorkflowTask>,
    /// The others.
    pub(crate) rest: Vec<Rest>,
}

/// Branches that are drawn as one.
#[derive(Debug)]
pub(crate) struct Rest {
    pub(crate) text: String,
    pub(crate) mark: Mark,
}
