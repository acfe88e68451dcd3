//! Parses the expressions of a value once, and notes what each of them reads and where it stands.

use serde_json::{Map, Value};

use super::TemplateFault;
use super::path::{self, Query, Step};
use super::place::Segment;
use super::resolve::is_env;
use super::secret::{SecretRef, is_secret};
use crate::definition::payload::{DEPTH_MAX, push_index, push_key};
use crate::definition::scope::Reads;

/// How deep expressions may stand in expressions.
const NESTED_MAX: usize = 16;

/// A value whose expressions are parsed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// Holds no expression.
    Literal(Value),
    /// A text that is one expression: gives the value with its type.
    Whole(Expression),
    /// A text with expressions in it.
    Text(Vec<Part>),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Literal(String),
    Expression(Expression),
}

/// What stands between `${` and `}`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    /// `${}`: empty text.
    Blank,
    /// `${CPEWF_TASK_ID}`.
    TaskId,
    /// A path to one place; the first segment is a key, and the second too where there is one.
    Path(Vec<Segment>),
    /// Any other path.
    Query(Box<Query>),
    /// A secret: stays as it is written.
    Secret(SecretRef),
    /// A path with expressions in it, put together when it is read.
    Dynamic {
        parts: Vec<Part>,
        /// Its start says what it reads: nothing else may be read.
        fixed: bool,
    },
}

/// Where an expression stands and what it reads.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::definition) struct Site {
    /// The JSON path of the text within the value.
    pub(in crate::definition) path: String,
    pub(in crate::definition) reads: SiteReads,
}

/// What one expression reads.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::definition) enum SiteReads {
    /// Nothing.
    Blank,
    /// The id of the task whose input is made.
    TaskId,
    /// Of `workflow` or a reference name a field, or everything.
    Path { root: String, field: Option<String> },
    /// What data says.
    Dynamic,
    /// A secret, which is filled in when the input is handed out.
    Secret,
}

/// The parsed value and all that was found on the way.
#[derive(Debug)]
pub(super) struct Compiler {
    path: String,
    pub(super) reads: Reads,
    pub(super) sites: Vec<Site>,
    pub(super) faults: Vec<TemplateFault>,
}

impl Compiler {
    /// `path` is the JSON path of the value.
    pub(super) fn new(path: &str) -> Self {
        Self { path: path.into(), reads: Reads::default(), sites: Vec::new(), faults: Vec::new() }
    }

    pub(super) fn node(&mut self, value: &Value, depth: usize) -> Node {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(_) | Value::Object(_) if depth >= DEPTH_MAX => {
                self.fault(format!("is nested deeper than {DEPTH_MAX}: flatten it"));
                Node::Literal(Value::Null)
            }
            Value::Array(list) => self.list(list, depth),
            Value::Object(map) => self.object(map, depth),
            plain => Node::Literal(plain.clone()),
        }
    }

    fn list(&mut self, list: &[Value], depth: usize) -> Node {
        let whole = self.path.len();
        let mut nodes = Vec::with_capacity(list.len());
        for (index, item) in list.iter().enumerate() {
            push_index(&mut self.path, index);
            nodes.push(self.node(item, depth + 1));
            self.path.truncate(whole);
        }
        let literals = nodes.iter().map(|node| node.literal().cloned()).collect();
        match literals {
            Some(values) => Node::Literal(Value::Array(values)),
            None => Node::List(nodes),
        }
    }

    fn object(&mut self, map: &Map<String, Value>, depth: usize) -> Node {
        let whole = self.path.len();
        let mut nodes = Vec::with_capacity(map.len());
        for (key, item) in map {
            push_key(&mut self.path, key);
            nodes.push((key.clone(), self.node(item, depth + 1)));
            self.path.truncate(whole);
        }
        let literals =
            nodes.iter().map(|(key, node)| Some((key.clone(), node.literal()?.clone()))).collect();
        match literals {
            Some(values) => Node::Literal(Value::Object(values)),
            None => Node::Object(nodes),
        }
    }

    fn text(&mut self, text: &str) -> Node {
        let parts = match self.parts(text, 0) {
            Ok(parts) => parts,
            Err(message) => {
                self.fault(message);
                return Node::Literal(Value::Null);
            }
        };
        match <[Part; 1]>::try_from(parts) {
            Ok([Part::Expression(expression)]) => Node::Whole(expression),
            Ok([Part::Literal(text)]) => Node::Literal(Value::String(text)),
            Err(parts) if parts.is_empty() => Node::Literal(Value::String(String::new())),
            Err(parts) => Node::Text(parts),
        }
    }

    /// Splits a text into literal pieces and expressions. `$${` stands for a literal `${`.
    fn parts(&mut self, text: &str, nested: usize) -> Result<Vec<Part>, String> {
        if nested > NESTED_MAX {
            return Err(format!("expressions are nested deeper than {NESTED_MAX}"));
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                literal.push_str(before);
                literal.push_str("${");
                rest = after;
                continue;
            }
            literal.push_str(before);
            let Some((inside, behind)) = split_balanced(after) else {
                return Err("`${` is not closed by `}`: close it, or write `$${` for a literal \
                            `${`"
                    .into());
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            let expression = self.expression(inside, nested)?;
            parts.push(Part::Expression(expression));
            rest = behind;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(parts)
    }

    fn expression(&mut self, inside: &str, nested: usize) -> Result<Expression, String> {
        let parts = self.parts(inside, nested + 1)?;
        let expression = match parts.as_slice() {
            [] => Expression::Blank,
            [Part::Literal(text)] => {
                let parsed = Expression::parse(text).map(|parsed| parsed.written(inside));
                parsed.map_err(|reason| format!("`${{{inside}}}`: {reason}"))?
            }
            parts if parts.iter().any(Part::is_secret) => {
                return Err(format!("`${{{inside}}}`: a secret cannot say what is read"));
            }
            _ => {
                let reads = reads_of_parts(&parts);
                let fixed = reads != SiteReads::Dynamic;
                self.note(reads);
                return Ok(Expression::Dynamic { parts, fixed });
            }
        };
        match &expression {
            Expression::TaskId => self.note(SiteReads::TaskId),
            Expression::Path(path) => self.note(match path.as_slice() {
                [Segment::Key(root), Segment::Key(field), ..] => {
                    SiteReads::Path { root: root.clone(), field: Some(field.clone()) }
                }
                [Segment::Key(root), ..] => SiteReads::Path { root: root.clone(), field: None },
                _ => SiteReads::Blank,
            }),
            Expression::Query(query) => self.note_query(query),
            Expression::Secret(_) => self.note(SiteReads::Secret),
            Expression::Blank | Expression::Dynamic { .. } => self.note(SiteReads::Blank),
        }
        Ok(expression)
    }

    fn note_query(&mut self, query: &Query) {
        match query.path.steps.as_slice() {
            [Step::Key(root), Step::Key(field), ..] => {
                self.note(SiteReads::Path { root: root.clone(), field: Some(field.clone()) });
            }
            [Step::Key(root), ..] => {
                self.note(SiteReads::Path { root: root.clone(), field: None });
            }
            _ => {}
        }
        for query in &query.absolutes {
            self.note_query(query);
        }
    }

    fn note(&mut self, reads: SiteReads) {
        self.reads.add(&reads);
        self.sites.push(Site { path: self.path.clone(), reads });
    }

    fn fault(&mut self, message: String) {
        self.faults.push(TemplateFault { path: self.path.clone(), message });
    }
}

impl Node {
    fn literal(&self) -> Option<&Value> {
        match self {
            Self::Literal(value) => Some(value),
            Self::Whole(_) | Self::Text(_) | Self::List(_) | Self::Object(_) => None,
        }
    }
}

impl Part {
    const fn is_secret(&self) -> bool {
        matches!(self, Self::Expression(Expression::Secret(_)))
    }
}

impl Expression {
    /// With what is written between the braces, where that counts.
    fn written(self, inside: &str) -> Self {
        match self {
            Self::Secret(secret) => Self::Secret(secret.written(inside)),
            other => other,
        }
    }

    /// Reads what stands between `${` and `}` when no expression stands in it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "" => Ok(Self::Blank),
            "CPEWF_TASK_ID" => Ok(Self::TaskId),
            text => {
                let query = path::parse(text)?;
                match query.path.steps.as_slice() {
                    [] | [Step::Key(_)] => {}
                    [Step::Key(root), Step::Key(field), ..] if is_secret(root, field) => {
                        return SecretRef::of(&query).map(Self::Secret);
                    }
                    [Step::Key(_), Step::Index(_) | Step::Indexes(_) | Step::Slice(..), ..] => {
                        return Err(
                            "has an index where a field such as `output` is expected".into()
                        );
                    }
                    [Step::Key(root), Step::Key(field), rest @ ..]
                        if is_env(root, field) && !matches!(rest, [Step::Key(_), ..]) =>
                    {
                        return Err("names no value: write `workflow.env.` and a name".into());
                    }
                    [Step::Key(_), ..] => {}
                    _ => {
                        return Err(
                            "does not begin with a name: begin with `workflow` or a reference name"
                                .into(),
                        );
                    }
                }
                let place = query.place();
                Ok(place.map_or_else(|| Self::Query(Box::new(query)), Self::Path))
            }
        }
    }
}

impl Reads {
    fn add(&mut self, reads: &SiteReads) {
        match reads {
            SiteReads::Blank | SiteReads::Secret => {}
            SiteReads::TaskId => self.task_id = true,
            SiteReads::Dynamic => self.dynamic = true,
            SiteReads::Path { root, field } => {
                let fields = if root == "workflow" {
                    &mut self.workflow
                } else {
                    self.tasks.entry(root.clone()).or_default()
                };
                match field {
                    Some(field) => {
                        fields.named.insert(field.clone());
                    }
                    None => fields.all = true,
                }
            }
        }
    }
}

/// Splits behind the `}` that closes an expression. Braces are counted, as Conductor does, so a
/// quoted key with a lone brace is written with `\u007b` or `\u007d`.
fn split_balanced(text: &str) -> Option<(&str, &str)> {
    let mut open = 1_usize;
    for (at, char) in text.char_indices() {
        match char {
            '{' => open += 1,
            '}' => open -= 1,
            _ => continue,
        }
        if open == 0 {
            let (inside, rest) = text.split_at(at);
            return Some((inside, rest.strip_prefix('}').unwrap_or(rest)));
        }
    }
    None
}

/// What a path with data in it reads: with `workflow.input.` before the data it is known, unless
/// a filter or a function reads more.
fn reads_of_parts(parts: &[Part]) -> SiteReads {
    let Some((Part::Literal(prefix), rest)) = parts.split_first() else {
        return SiteReads::Dynamic;
    };
    let absolute = |text: &str| text.contains('$');
    let start = prefix.trim_start();
    let more = absolute(start.strip_prefix('$').unwrap_or(start))
        || rest.iter().any(|part| matches!(part, Part::Literal(text) if absolute(text)));
    if more { SiteReads::Dynamic } else { fixed_prefix(prefix) }
}

fn fixed_prefix(prefix: &str) -> SiteReads {
    let known = || {
        let prefix = prefix.trim_start();
        let (root, rest) = prefix.strip_prefix("$.").unwrap_or(prefix).split_once('.')?;
        let field = rest.get(..rest.find(['.', '['])?)?;
        let plain = |name: &str| !name.is_empty() && !name.contains(['[', '(', ' ', '*', '$', '@']);
        (plain(root) && plain(field)).then(|| (root.to_owned(), field.to_owned()))
    };
    match known() {
        Some((root, field)) => SiteReads::Path { root, field: Some(field) },
        None => SiteReads::Dynamic,
    }
}
