//! W3C Trace Context: the headers `traceparent` and `tracestate`, read and written by the letter of
//! <https://www.w3.org/TR/trace-context/>.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What is kept of a `tracestate`; the specification asks for this much.
const STATE_MAX: usize = 512;
/// Members of a `tracestate` that are longer go first where it is too long.
const MEMBER_LONG: usize = 128;
const MEMBERS_MAX: usize = 32;
/// Of a `traceparent` of version 00.
const LENGTH: usize = 55;
/// The flags that have a meaning: sampled, and a trace id that was drawn at random.
const FLAGS: u8 = 0b11;
const SAMPLED: u8 = 0b01;

/// Where a trace stands: its id, the span that what follows belongs to, whether it is recorded, and
/// what tracing systems pass along with it.
///
/// ```
/// use oms_engine::TraceContext;
///
/// let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let context: TraceContext = header.parse()?;
/// assert_eq!(context.span_id(), 0x00f0_67aa_0ba9_02b7);
/// assert_eq!(context.with_tracestate("vendor=1").traceparent(), header);
/// # Ok::<(), oms_engine::InvalidTraceparent>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
    state: Option<Box<str>>,
}

impl TraceContext {
    /// From ids and flags (1: sampled). None where an id is zero, which none may be.
    #[must_use]
    pub const fn new(trace_id: u128, span_id: u64, flags: u8) -> Option<Self> {
        if trace_id == 0 || span_id == 0 {
            return None;
        }
        Some(Self { trace_id, span_id, flags: flags & FLAGS, state: None })
    }

    /// With what a `tracestate` header says; the text of several such headers is joined by commas. One
    /// that breaks the rules counts as none, and of one with more than 512 characters members are
    /// left out: those with more than 128 first, then from its end.
    #[must_use]
    pub fn with_tracestate(self, header: &str) -> Self {
        Self { state: read_state(header), ..self }
    }

    /// The trace.
    #[must_use]
    pub const fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// The span that what follows belongs to.
    #[must_use]
    pub const fn span_id(&self) -> u64 {
        self.span_id
    }

    /// As the header has them: 1 stands for sampled, 2 for a trace id that was drawn at random.
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// Whether whoever began the trace wants it recorded.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The `traceparent` header, in version 00.
    #[must_use]
    pub fn traceparent(&self) -> String {
        self.to_string()
    }

    /// The `tracestate` header, if there is anything in it.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// From ids of ours, which are not zero.
    pub(super) fn of(trace_id: u128, span_id: u64, flags: u8) -> Self {
        Self { trace_id: trace_id.max(1), span_id: span_id.max(1), flags, state: None }
    }

    /// The same trace at another span.
    pub(super) fn at(&self, span_id: u64) -> Self {
        Self { span_id: span_id.max(1), ..self.clone() }
    }
}

/// As a `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// Reads a `traceparent`. One of a version that is not known yet is read as far as version 00 goes, and
/// only its flag `sampled` counts.
impl FromStr for TraceContext {
    type Err = InvalidTraceparent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceparent> {
        read_parent(text).ok_or_else(|| InvalidTraceparent(text.chars().take(100).collect()))
    }
}

/// A text that is no `traceparent`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no traceparent")]
pub struct InvalidTraceparent(String);

fn read_parent(text: &str) -> Option<TraceContext> {
    let (own, more) = text.split_at_checked(LENGTH)?;
    let mut parts = own.split('-');
    let mut part = |length| parts.next().and_then(|digits| hex(digits, length));
    let version = part(2)?;
    let (trace_id, span_id, flags) = (part(32)?, part(16)?, part(2)?);
    let flags = u8::try_from(flags).ok()?;
    let flags = match (version, more.bytes().next()) {
        (0xff, _) => return None,
        (0, None) => flags,
        (0, Some(_)) => return None,
        (_, None | Some(b'-')) => flags & SAMPLED,
        (_, Some(_)) => return None,
    };
    TraceContext::new(trace_id, u64::try_from(span_id).ok()?, flags)
}

/// So many hexadecimal digits, all of them lower case.
fn hex(digits: &str, length: usize) -> Option<u128> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let fits = digits.len() == length && digits.bytes().all(lower);
    if fits { u128::from_str_radix(digits, 16).ok() } else { None }
}

fn read_state(header: &str) -> Option<Box<str>> {
    let blank = [' ', '\t'];
    let members = header.split(',').map(|member| member.trim_matches(blank));
    let mut members: Vec<&str> = members.filter(|member| !member.is_empty()).collect();
    let mut keys = Vec::with_capacity(members.len().min(MEMBERS_MAX));
    for member in &members {
        let (key, value) = member.split_once('=')?;
        if keys.len() == MEMBERS_MAX || keys.contains(&key) || !is_key(key) || !is_value(value) {
            return None;
        }
        keys.push(key);
    }
    let length = |members: &[&str]| members.iter().map(|member| member.len() + 1).sum::<usize>();
    while length(&members) > STATE_MAX + 1 {
        let long = members.iter().rposition(|member| member.len() > MEMBER_LONG);
        members.remove(long.unwrap_or(members.len() - 1));
    }
    (!members.is_empty()).then(|| members.join(",").into_boxed_str())
}

/// `name`, or `tenant@system`.
fn is_key(key: &str) -> bool {
    let inner =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/".contains(&byte);
    let part =
        |part: &str, most: usize| (1..=most).contains(&part.len()) && part.bytes().all(inner);
    let letter = |part: &str| part.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let begins = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    match key.split_once('@') {
        None => part(key, 256) && key.bytes().next().is_some_and(begins),
        Some((tenant, system)) => {
            let tenant = part(tenant, 241) && tenant.bytes().next().is_some_and(begins);
            tenant && part(system, 14) && letter(system)
        }
    }
}

fn is_value(value: &str) -> bool {
    let allowed = |byte: u8| (0x20..=0x7e).contains(&byte) && byte != b',' && byte != b'=';
    (1..=256).contains(&value.len()) && value.bytes().all(allowed)
}

/// As it is kept: the two headers by name.
#[derive(Serialize, Deserialize)]
struct Headers {
    traceparent: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tracestate: Option<String>,
}

/// An object of the two headers by name.
impl Serialize for TraceContext {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tracestate = self.tracestate().map(str::to_owned);
        Headers { traceparent: self.traceparent(), tracestate }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TraceContext {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Headers { traceparent, tracestate } = Headers::deserialize(deserializer)?;
        let context: Self = traceparent.parse().map_err(serde::de::Error::custom)?;
        Ok(context.with_tracestate(tracestate.as_deref().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(text: &str) -> Option<String> {
        text.parse::<TraceContext>().ok().map(|context| context.traceparent())
    }

    fn state(header: &str) -> Option<String> {
        let context: TraceContext = PARENT.parse().unwrap();
        context.with_tracestate(header).tracestate().map(str::to_owned)
    }

    #[test]
    fn a_traceparent_is_read_or_refused_by_the_letter() {
        let ids = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
        for (text, flags) in [
            (format!("00-{ids}-01"), Some("01")),
            (format!("00-{ids}-00"), Some("00")),
            (format!("00-{ids}-03"), Some("03")),
            // Flags without a meaning are not passed on.
            (format!("00-{ids}-ff"), Some("03")),
            (format!("00-{ids}-08"), Some("00")),
            // Of a version to come.
            (format!("01-{ids}-01"), Some("01")),
            (format!("cc-{ids}-ff"), Some("01")),
            (format!("fe-{ids}-01-what-the-future-will-be-like"), Some("01")),
            (format!("fe-{ids}-01-"), Some("01")),
            (format!("fe-{ids}-01.what"), None),
            (format!("fe-{ids}-0"), None),
            (format!("ff-{ids}-01"), None),
            (format!("00-{ids}-01-"), None),
            (format!("00-{ids}-01-more"), None),
            (format!("00-{ids}-01 "), None),
            (format!(" 00-{ids}-01"), None),
            (format!("00-{ids}-1"), None),
            (format!("0-{ids}-001"), None),
            (format!("00-{ids}-0g"), None),
            (format!("00-{ids}-0A"), None),
            (format!("+0-{ids}-01"), None),
            (format!("00-{}-01", ids.to_uppercase()), None),
            (format!("00_{ids}_01"), None),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), None),
            (format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16)), None),
            ("00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01".to_owned(), None),
            (format!("00-{}ä-01", &ids[..48]), None),
            (String::new(), None),
        ] {
            let expected = flags.map(|flags| format!("00-{ids}-{flags}"));
            assert_eq!(read(&text), expected, "{text}");
        }
    }

    #[test]
    fn a_tracestate_that_breaks_a_rule_counts_as_none() {
        let many = |n| (0..n).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        for (header, kept) in [
            ("a=1,b=2", Some("a=1,b=2")),
            (" a=1 ,\tb=2 , ,", Some("a=1,b=2")),
            ("tenant@system=x y", Some("tenant@system=x y")),
            ("0a@s=1", Some("0a@s=1")),
            (
                "a_-*/9=!\"#$%&'()*+-./:;<>?@[]^_`{|}~",
                Some("a_-*/9=!\"#$%&'()*+-./:;<>?@[]^_`{|}~"),
            ),
            (&many(32), Some(&many(32))),
            (&many(33), None),
            ("", None),
            (" , ", None),
            ("a", None),
            ("a=", None),
            ("=1", None),
            ("a=1=2", None),
            ("A=1", None),
            ("a =1", None),
            ("a=ä", None),
            ("a=1,a=2", None),
            ("a=1,b", None),
            ("t@0=1", None),
            ("t@=1", None),
            ("@s=1", None),
            ("t@s@u=1", None),
        ] {
            assert_eq!(state(header).as_deref(), kept, "{header}");
        }
        assert_eq!(state(&format!("{}=1", "k".repeat(257))), None);
        assert_eq!(state(&format!("k={}", "v".repeat(257))), None);
        assert_eq!(state(&format!("{}@s=1", "k".repeat(242))), None);
        assert_eq!(state(&format!("k@{}=1", "s".repeat(15))), None);
    }

    #[test]
    fn of_a_tracestate_that_is_too_long_the_long_members_go_first_and_then_the_last() {
        let long = |key: &str| format!("{key}={}", "v".repeat(200));
        let short = |key: &str| format!("{key}={}", "v".repeat(98));
        let header = [long("a"), short("b"), long("c"), short("d")].join(",");
        assert_eq!(state(&header), Some([long("a"), short("b"), short("d")].join(",")));
        let keys = ["a", "b", "c", "d", "e", "f"];
        let header = keys.map(short).join(",");
        assert_eq!(
            state(&header),
            Some(keys[..5].iter().map(|key| short(key)).collect::<Vec<_>>().join(","))
        );
        // 512 characters are not too many.
        let fifth = format!("e={}", "v".repeat(106));
        let exact = [short("a"), short("b"), short("c"), short("d"), fifth].join(",");
        assert_eq!(exact.len(), 512);
        assert_eq!(state(&exact), Some(exact));
    }

    #[test]
    fn it_is_kept_as_its_two_headers() {
        let context: TraceContext = PARENT.parse().unwrap();
        assert_eq!(json!(context), json!({ "traceparent": PARENT }));
        let context = context.with_tracestate("a=1");
        let kept = json!({ "traceparent": PARENT, "tracestate": "a=1" });
        assert_eq!(json!(context), kept);
        assert_eq!(serde_json::from_value::<TraceContext>(kept).unwrap(), context);
        assert!(serde_json::from_value::<TraceContext>(json!({ "traceparent": "00" })).is_err());
    }

    proptest! {
        #[test]
        fn a_context_reads_back_as_it_was_written(
            trace_id in 1_u128.., span_id in 1_u64.., flags in 0..4_u8,
            members in prop::collection::btree_map("[a-z][a-z0-9_*/-]{0,8}", "[!-+.-<>-~]{1,8}", 0..12),
        ) {
            let header: Vec<String> = members.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let context = TraceContext::new(trace_id, span_id, flags).unwrap().with_tracestate(&header.join(","));
            prop_assert_eq!(context.tracestate().unwrap_or_default(), header.join(","));
            let state = context.tracestate().unwrap_or_default();
            let read: TraceContext = context.traceparent().parse().unwrap();
            prop_assert_eq!(&read.with_tracestate(state), &context);
            let kept = serde_json::to_value(&context).unwrap();
            prop_assert_eq!(serde_json::from_value::<TraceContext>(kept).unwrap(), context);
        }

        #[test]
        fn any_header_is_read_or_refused(parent in "\\PC{0,60}", header in "\\PC{0,700}") {
            if let Ok(context) = parent.parse::<TraceContext>() {
                prop_assert_eq!(context.traceparent().len(), LENGTH);
            }
            let context: TraceContext = PARENT.parse().unwrap();
            let context = context.with_tracestate(&header);
            prop_assert!(context.tracestate().unwrap_or_default().len() <= STATE_MAX);
        }
    }
}
