//! What is to be known of a run or an order, a line each.

pub(super) struct Fact {
    pub(super) label: &'static str,
    pub(super) value: String,
    pub(super) link: Option<String>,
    /// A time as machines read it.
    pub(super) time: Option<String>,
}

pub(super) fn fact(label: &'static str, value: impl Into<String>) -> Fact {
    Fact { label, value: value.into(), link: None, time: None }
}
