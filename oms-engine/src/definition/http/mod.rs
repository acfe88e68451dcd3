//! HTTP tasks: what they ask for and what their answers mean. Nothing here speaks HTTP.

#[cfg(feature = "http")]
mod answer;
mod request;
#[cfg(all(test, feature = "http"))]
mod tests;

#[cfg(feature = "http")]
pub(crate) use answer::{HttpAnswer, HttpEnd, call_failed, end_of};
#[cfg(feature = "http")]
pub(crate) use request::HttpRequest;
pub(super) use request::check_request;
