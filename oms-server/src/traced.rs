//! The trace that a request belongs to, by the headers of W3C Trace Context.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use oms_engine::{StartRequest, TraceContext};

pub(crate) const TRACEPARENT: &str = "traceparent";
pub(crate) const TRACESTATE: &str = "tracestate";

/// None where the headers name no trace: what is wrong with them is nobody's fault who reads them.
#[derive(Debug)]
pub(crate) struct Traced(Option<TraceContext>);

impl<S: Send + Sync> FromRequestParts<S> for Traced {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(read(&parts.headers)))
    }
}

impl Traced {
    /// A start that belongs to it.
    pub(crate) fn start(self, request: StartRequest) -> StartRequest {
        match self.0 {
            Some(context) => request.trace(context),
            None => request,
        }
    }
}

fn read(headers: &HeaderMap) -> Option<TraceContext> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let (Some(parent), None) = (parents.next(), parents.next()) else { return None };
    let context: TraceContext = parent.to_str().ok()?.parse().ok()?;
    let states = headers.get_all(TRACESTATE).iter().map(|state| state.to_str());
    // One that cannot be read makes all of it worthless, and leaves the trace what it is.
    let states = states.collect::<Result<Vec<&str>, _>>().unwrap_or_default();
    Some(context.with_tracestate(&states.join(",")))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn headers_name_one_trace_or_none() {
        let other = PARENT.replace("4bf9", "4bfa");
        for (parents, states, expected) in [
            (vec![PARENT], vec![], Some("")),
            (vec![PARENT], vec!["a=1", "b=2"], Some("a=1,b=2")),
            (vec![PARENT], vec!["a=1", "b"], Some("")),
            (vec![PARENT], vec!["a=1", "b=\u{e4}"], Some("")),
            (vec![PARENT, &other], vec![], None),
            (vec!["00-0-0-0"], vec!["a=1"], None),
            (vec![], vec!["a=1"], None),
        ] {
            let mut headers = HeaderMap::new();
            let value = |text: &&str| HeaderValue::from_bytes(text.as_bytes()).unwrap();
            for parent in &parents {
                headers.append(TRACEPARENT, value(parent));
            }
            for state in &states {
                headers.append(TRACESTATE, value(state));
            }
            let read = read(&headers);
            let read = read.as_ref().map(|context| context.tracestate().unwrap_or_default());
            assert_eq!(read, expected, "{parents:?} {states:?}");
        }
    }
}
