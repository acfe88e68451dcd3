//! `${workflow.secrets.NAME}`: kept as it is written in all that is stored; its value takes its
//! place in the copy that a worker is handed.
//!
//! Only what the template itself names is filled in: data that looks like a secret's name stays
//! what it is, so that nobody who starts a workflow can ask for a secret.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::compile::{Expression, Node, Part};
use super::path::Query;
use super::place::{self, Segment};
use super::{TaskInput, Template, TemplateFault, java_text};

/// A secret that a template names, and a place in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SecretRef {
    /// As it is written, with `${` and `}`.
    text: String,
    name: String,
    path: Vec<Segment>,
}

/// Whether a path names a secret.
pub(super) fn is_secret(root: &str, field: &str) -> bool {
    root == "workflow" && field == "secrets"
}

impl SecretRef {
    /// Of a path that names a secret.
    pub(super) fn of(query: &Query) -> Result<Self, String> {
        match query.place().as_deref() {
            Some([_, _, Segment::Key(name), path @ ..]) => {
                Ok(Self { text: String::new(), name: name.clone(), path: path.to_vec() })
            }
            Some(_) => Err("names no secret: write `workflow.secrets.` and a name".to_owned()),
            None => Err("names several places: a secret is read whole or at one".to_owned()),
        }
    }

    /// With what is written between the braces.
    pub(super) fn written(self, inside: &str) -> Self {
        Self { text: format!("${{{inside}}}"), ..self }
    }

    /// As it is written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Its value; why there is none does not tell more than what the definition says.
    fn value(&self, values: &BTreeMap<String, String>) -> Result<Value, String> {
        let text = values.get(&self.name);
        let text = text.ok_or_else(|| format!("secret {:?} was not looked up", self.name))?;
        if self.path.is_empty() {
            return Ok(Value::String(text.clone()));
        }
        let none = || format!("secret {:?} holds nothing where `{}` reads", self.name, self.text);
        let whole: Value = serde_json::from_str(text).map_err(|_| none())?;
        place::lookup(&whole, &self.path).cloned().ok_or_else(none)
    }
}

/// What of an input is secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Secrets {
    /// All that are named.
    names: BTreeSet<String>,
    /// Keys whose value in the task definition's `inputTemplate` names some, where the step gives
    /// another that may come out as null.
    defaults: Vec<(String, Node)>,
}

impl Secrets {
    pub(super) fn of(
        node: &Node,
        input_parameters: &Map<String, Value>,
        input_template: &Map<String, Value>,
    ) -> Result<Self, TemplateFault> {
        let mut secrets = Self::default();
        node.secrets(&mut secrets.names);
        for (key, value) in input_template.iter().filter(|(k, _)| input_parameters.contains_key(*k))
        {
            let node = Template::parse(value)?.node;
            let mut named = BTreeSet::new();
            node.secrets(&mut named);
            if !named.is_empty() {
                secrets.names.extend(named);
                secrets.defaults.push((key.clone(), node));
            }
        }
        Ok(secrets)
    }
}

impl TaskInput {
    /// The names of the secrets that it is handed out with.
    pub(crate) fn secrets(&self) -> &BTreeSet<String> {
        &self.secrets.names
    }

    /// The input as it is handed out, with the values of its secrets in their places.
    ///
    /// # Errors
    /// What cannot be filled in, without any value.
    pub(crate) fn fill(
        &self,
        input: &Value,
        values: &BTreeMap<String, String>,
    ) -> Result<Value, String> {
        let mut filled = input.clone();
        let (Node::Object(nodes), Value::Object(map)) = (&self.template.node, &mut filled) else {
            return Ok(filled);
        };
        for (key, node) in nodes.iter().filter(|(key, _)| !self.literal.contains_key(key)) {
            if let Some(value) = map.get_mut(key) {
                node.fill(value, values)?;
            }
        }
        for (key, node) in &self.secrets.defaults {
            let default = self.input_template.get(key);
            if let Some(value) = map.get_mut(key).filter(|value| Some(&**value) == default) {
                node.fill(value, values)?;
            }
        }
        Ok(filled)
    }
}

impl Node {
    fn secrets(&self, names: &mut BTreeSet<String>) {
        match self {
            Self::Whole(Expression::Secret(secret)) => {
                names.insert(secret.name.clone());
            }
            Self::Text(parts) => names.extend(named(parts).map(|secret| secret.name.clone())),
            Self::List(nodes) => nodes.iter().for_each(|node| node.secrets(names)),
            Self::Object(nodes) => nodes.iter().for_each(|(_, node)| node.secrets(names)),
            Self::Literal(_) | Self::Whole(_) => {}
        }
    }

    fn fill(&self, value: &mut Value, values: &BTreeMap<String, String>) -> Result<(), String> {
        match (self, value) {
            // Another value is what an operator gave in its place.
            (Self::Whole(Expression::Secret(secret)), value)
                if value.as_str() == Some(&secret.text) =>
            {
                *value = secret.value(values)?;
            }
            (Self::Text(parts), Value::String(text)) if named(parts).next().is_some() => {
                *text = filled(text, &named(parts).collect::<Vec<_>>(), values)?;
            }
            (Self::List(nodes), Value::Array(list)) if nodes.len() == list.len() => {
                for (node, value) in nodes.iter().zip(list) {
                    node.fill(value, values)?;
                }
            }
            (Self::Object(nodes), Value::Object(map)) => {
                for (key, node) in nodes {
                    if let Some(value) = map.get_mut(key) {
                        node.fill(value, values)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn named(parts: &[Part]) -> impl Iterator<Item = &SecretRef> {
    parts.iter().filter_map(|part| match part {
        Part::Expression(Expression::Secret(secret)) => Some(secret),
        Part::Expression(_) | Part::Literal(_) => None,
    })
}

/// A text with its secrets in their places. What was filled in is not looked at again.
fn filled(
    text: &str,
    secrets: &[&SecretRef],
    values: &BTreeMap<String, String>,
) -> Result<String, String> {
    for secret in secrets {
        let written = secrets.iter().filter(|other| other.text == secret.text).count();
        if text.matches(&secret.text).count() > written {
            return Err(format!(
                "data beside `{}` says the same, and a secret is not handed to what data says",
                secret.text
            ));
        }
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let first = secrets
            .iter()
            .filter_map(|secret| Some((rest.find(&secret.text)?, *secret)))
            .min_by_key(|(at, _)| *at);
        let Some((at, secret)) = first else {
            out.push_str(rest);
            return Ok(out);
        };
        out.push_str(rest.get(..at).unwrap_or_default());
        match secret.value(values)? {
            Value::String(value) => out.push_str(&value),
            other => out.push_str(&java_text(&other)),
        }
        rest = rest.get(at + secret.text.len()..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::json;

    use super::*;
    use crate::definition::Scope;

    /// What a starter of the workflow gives.
    struct Input(Value);

    impl Scope for Input {
        fn workflow(&self, field: &str) -> Option<Cow<'_, Value>> {
            (field == "input").then_some(Cow::Borrowed(&self.0))
        }

        fn task(&self, _: &str, _: &str) -> Option<Cow<'_, Value>> {
            None
        }

        fn task_id(&self) -> Option<&str> {
            None
        }
    }

    fn values() -> BTreeMap<String, String> {
        let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        BTreeMap::from([
            of("KEY", "k-1"),
            of("DB", r#"{"user": "u", "ports": [1, 2], "in": "${workflow.secrets.KEY}"}"#),
        ])
    }

    fn parsed(parameters: &Value, template: &Value) -> TaskInput {
        let map = |value: &Value| value.as_object().unwrap().clone();
        TaskInput::parse(&map(parameters), &map(template)).unwrap()
    }

    /// What is stored, and what is handed out.
    fn both(parameters: &Value, template: &Value, input: &Value) -> (Value, Result<Value, String>) {
        let parsed = parsed(parameters, template);
        let stored = parsed.resolve(&Input(input.clone()), "input", 10_000).unwrap();
        let stored = Value::Object(stored);
        let filled = parsed.fill(&stored, &values());
        (stored, filled)
    }

    #[test]
    fn a_secret_stays_as_it_is_written_and_is_filled_in_where_it_stands() {
        let parameters = json!({
            "whole": "${workflow.secrets.KEY}", "spaced": "${ workflow.secrets['KEY'] }",
            "text": "Bearer ${workflow.secrets.KEY}/${workflow.secrets.DB.user}, ${workflow.input.a}",
            "deep": [{"port": "${workflow.secrets.DB.ports[1]}"}, "x"],
            "part": "p=${workflow.secrets.DB.ports}", "other": "${workflow.input.a}",
            "literal": "$${workflow.secrets.KEY}",
        });
        let (stored, filled) = both(&parameters, &json!({}), &json!({"a": 7}));
        let mut written = parameters;
        let text = "Bearer ${workflow.secrets.KEY}/${workflow.secrets.DB.user}, 7";
        written["text"] = json!(text);
        written["other"] = json!(7);
        written["literal"] = json!("${workflow.secrets.KEY}");
        assert_eq!(stored, written);
        let expected = json!({
            "whole": "k-1", "spaced": "k-1", "text": "Bearer k-1/u, 7",
            "deep": [{"port": 2}, "x"], "part": "p=[1, 2]", "other": 7,
            "literal": "${workflow.secrets.KEY}",
        });
        assert_eq!(filled, Ok(expected));
    }

    #[test]
    fn what_data_says_is_never_filled_in() {
        let parameters = json!({
            "own": "${workflow.secrets.KEY}", "a": "${workflow.input.a}", "all": "${workflow.input}",
            "path": "${${workflow.input.path}}", "text": "<${workflow.input.a}>",
        });
        let input = json!({"a": "${workflow.secrets.KEY}", "path": "workflow.secrets.KEY"});
        let (stored, filled) = both(&parameters, &json!({}), &input);
        assert_eq!(stored["path"], Value::Null);
        let mut expected = stored;
        expected["own"] = json!("k-1");
        assert_eq!(filled, Ok(expected));
        // Beside the same secret nobody could tell which is which.
        let parameters = json!({"text": "${workflow.secrets.KEY} ${workflow.input.a}"});
        let (_, filled) = both(&parameters, &json!({}), &input);
        assert!(filled.unwrap_err().starts_with("data beside `${workflow.secrets.KEY}`"));
        let (_, filled) = both(&parameters, &json!({}), &json!({"a": "${workflow.secrets.DB}"}));
        assert_eq!(filled, Ok(json!({"text": "k-1 ${workflow.secrets.DB}"})));
    }

    #[test]
    fn what_is_filled_in_is_not_looked_at_again() {
        let parameters = json!({"text": "${workflow.secrets.DB.in}+${workflow.secrets.KEY}"});
        let (_, filled) = both(&parameters, &json!({}), &json!({}));
        assert_eq!(filled, Ok(json!({"text": "${workflow.secrets.KEY}+k-1"})));
    }

    #[test]
    fn the_input_template_names_secrets_too_also_for_what_comes_out_as_null() {
        let template = json!({
            "absent": "${workflow.secrets.KEY}", "null": "<${workflow.secrets.KEY}>",
            "given": "${workflow.secrets.KEY}",
        });
        let parameters = json!({"null": "${workflow.input.none}", "given": "own"});
        let (stored, filled) = both(&parameters, &template, &json!({}));
        let written = json!({
            "absent": "${workflow.secrets.KEY}", "null": "<${workflow.secrets.KEY}>",
            "given": "own",
        });
        assert_eq!(stored, written);
        assert_eq!(filled, Ok(json!({"absent": "k-1", "null": "<k-1>", "given": "own"})));
        assert_eq!(parsed(&parameters, &template).secrets().len(), 1);
    }

    #[test]
    fn what_an_operator_gave_in_its_place_stays() {
        let parsed = parsed(&json!({"a": "${workflow.secrets.KEY}", "b": ["x"]}), &json!({}));
        for given in [json!({"a": "mine", "b": 1}), json!({"b": []}), json!({"a": {"c": 1}})] {
            assert_eq!(parsed.fill(&given, &values()), Ok(given));
        }
    }

    #[test]
    fn what_cannot_be_filled_in_is_told_without_a_value() {
        for (written, reason) in [
            ("${workflow.secrets.NONE}", "secret \"NONE\" was not looked up"),
            ("${workflow.secrets.KEY.a}", "secret \"KEY\" holds nothing where"),
            ("${workflow.secrets.DB.none}", "secret \"DB\" holds nothing where"),
        ] {
            let (_, filled) = both(&json!({ "x": written }), &json!({}), &json!({}));
            let told = filled.unwrap_err();
            assert!(told.starts_with(reason) && !told.contains("k-1"), "{told}");
        }
    }
}
