//! Task domains: which workers a run's tasks are for.

use std::collections::BTreeMap;

use serde_json::Value;

use super::payload::KEY_MAX_BYTES;

/// Says that a task is for the workers of no domain.
const NO_DOMAIN: &str = "NO_DOMAIN";

/// Domains by task type, or `*` for every task: lists with commas, the first choice first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TaskToDomain(BTreeMap<String, String>);

impl TaskToDomain {
    /// Err: the key that is wrong, and why.
    pub(crate) fn new(map: BTreeMap<String, String>) -> Result<Self, (String, String)> {
        for (key, domains) in &map {
            if key.is_empty() || key.len() > KEY_MAX_BYTES || key.contains('\0') {
                let reason = format!("use 1 to {KEY_MAX_BYTES} bytes without NUL");
                return Err((key.clone(), reason));
            }
            if let Some(reason) = wrong(domains) {
                return Err((key.clone(), reason));
            }
        }
        Ok(Self(map))
    }

    /// From JSON; what is null or empty gives none.
    pub(crate) fn read(value: &Value) -> Result<Option<Self>, (String, String)> {
        let Some(object) = value.as_object().filter(|object| !object.is_empty()) else {
            return Ok(None);
        };
        let mut map = BTreeMap::new();
        for (key, value) in object {
            let Some(text) = value.as_str() else {
                return Err((key.clone(), "is no text".to_owned()));
            };
            map.insert(key.clone(), text.to_owned());
        }
        Self::new(map).map(Some)
    }

    pub(crate) const fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// The domain for a task of this type: of its own entry, else of `*`, the first whose workers
    /// have asked for work lately, else the last. None for no domain.
    pub(crate) fn choose(&self, task_type: &str, asked: impl Fn(&str) -> bool) -> Option<&str> {
        let domains = self.0.get(task_type).or_else(|| self.0.get("*"))?;
        let named = || parts(domains).filter(|domain| !is_none(domain));
        let first = named().find(|domain| asked(domain));
        first.or_else(|| parts(domains).last().filter(|domain| !is_none(domain)))
    }

    /// Whether there is an entry of this type's own.
    pub(crate) fn has(&self, task_type: &str) -> bool {
        self.0.contains_key(task_type)
    }

    /// Whether a task may be in this domain.
    pub(crate) fn names(&self, domain: &str) -> bool {
        self.0.values().any(|domains| parts(domains).any(|named| named == domain))
    }
}

fn parts(domains: &str) -> impl Iterator<Item = &str> {
    domains.split(',').map(str::trim).filter(|domain| !domain.is_empty())
}

fn is_none(domain: &str) -> bool {
    domain.eq_ignore_ascii_case(NO_DOMAIN)
}

fn wrong(domains: &str) -> Option<String> {
    if parts(domains).next().is_none() {
        return Some(format!("names no domain: write one, or {NO_DOMAIN}"));
    }
    parts(domains).find_map(wrong_domain)
}

/// Why no domain can have this name. A colon ends it in the name of a queue.
pub(crate) fn wrong_domain(domain: &str) -> Option<String> {
    let fits = !domain.is_empty() && domain.len() <= KEY_MAX_BYTES && !domain.starts_with('$');
    let plain = !domain.contains(['\0', ':', ',']) && domain.trim() == domain;
    (!fits || !plain).then(|| {
        format!(
            "{:?} is no domain: use 1 to {KEY_MAX_BYTES} bytes without NUL, colon or comma that \
             do not begin with $",
            super::faults::shown(domain)
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn choose(map: &Value, task_type: &str, asked: &[&str]) -> Option<String> {
        let map = TaskToDomain::read(map).unwrap().unwrap();
        map.choose(task_type, |domain| asked.contains(&domain)).map(str::to_owned)
    }

    #[test]
    fn the_type_s_own_entry_goes_before_the_star() {
        let map = json!({"*": "all", "x": "NO_DOMAIN", "y": "own"});
        for (task_type, domain) in [("x", None), ("y", Some("own")), ("z", Some("all"))] {
            assert_eq!(choose(&map, task_type, &[]).as_deref(), domain, "{task_type}");
        }
        assert_eq!(choose(&json!({"y": "own"}), "z", &[]), None);
    }

    #[test]
    fn the_first_domain_that_was_polled_wins_else_the_last() {
        let map = json!({"x": " a, b ,c", "y": "a, no_domain", "z": "a,NO_DOMAIN,b"});
        for (task_type, asked, domain) in [
            ("x", &["b", "c"][..], Some("b")),
            ("x", &["a", "c"], Some("a")),
            ("x", &[], Some("c")),
            ("y", &[], None),
            ("y", &["a"], Some("a")),
            ("z", &[], Some("b")),
            ("z", &["NO_DOMAIN"], Some("b")),
        ] {
            assert_eq!(choose(&map, task_type, asked).as_deref(), domain, "{task_type} {asked:?}");
        }
    }

    #[test]
    fn what_no_queue_can_be_named_by_is_refused_with_its_key() {
        for (domains, part) in
            [("", "no domain"), (" , ", "no domain"), ("a:b", "\"a:b\""), ("a,$x", "\"$x\"")]
        {
            let (key, reason) = TaskToDomain::read(&json!({"x": domains})).unwrap_err();
            assert!(key == "x" && reason.contains(part), "{domains:?}: {reason}");
        }
        assert!(TaskToDomain::read(&json!({"x": 1})).is_err());
        assert_eq!(TaskToDomain::read(&json!({})), Ok(None));
        assert_eq!(TaskToDomain::read(&Value::Null), Ok(None));
    }
}
