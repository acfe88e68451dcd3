//! Functions at the end of a path.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::parse::{Parser, Within};
use crate::definition::template::java_text;
use crate::definition::template::meter::{Meter, TooMuch};
use crate::definition::template::place::element;

/// A function with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Call {
    function: Function,
    pub(super) arguments: Vec<Argument>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Argument {
    Literal(Value),
    /// Which of the query's absolute paths.
    Absolute(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Length,
    Keys,
    Concat,
    Sum,
    Avg,
    Min,
    Max,
    Stddev,
    First,
    Last,
    Index,
}

const FUNCTIONS: [(&str, Function); 12] = [
    ("length", Function::Length),
    ("size", Function::Length),
    ("keys", Function::Keys),
    ("concat", Function::Concat),
    ("sum", Function::Sum),
    ("avg", Function::Avg),
    ("min", Function::Min),
    ("max", Function::Max),
    ("stddev", Function::Stddev),
    ("first", Function::First),
    ("last", Function::Last),
    ("index", Function::Index),
];

impl Call {
    /// Reads what follows `name(`.
    pub(super) fn read(parser: &mut Parser<'_>, name: &str) -> Result<Self, String> {
        let known = FUNCTIONS.iter().find(|(text, _)| *text == name);
        let Some((_, function)) = known else {
            let names: Vec<&str> = FUNCTIONS.iter().map(|(text, _)| *text).collect();
            return Err(format!("`{name}()` is no function: there are {}", names.join(", ")));
        };
        let arguments = parser.inside(arguments)?;
        let fits = match function {
            Function::Concat
            | Function::Sum
            | Function::Avg
            | Function::Min
            | Function::Max
            | Function::Stddev => true,
            Function::Length | Function::Keys | Function::First | Function::Last => {
                arguments.is_empty()
            }
            Function::Index => {
                matches!(arguments.as_slice(), [Argument::Literal(Value::Number(number))]
                    if number.is_i64())
            }
        };
        if fits {
            Ok(Self { function: *function, arguments })
        } else if *function == Function::Index {
            Err("`index()` takes one whole number".into())
        } else {
            Err(format!("`{name}()` takes nothing in its brackets"))
        }
    }

    /// What it makes of a value. None: it cannot be applied to that.
    pub(super) fn apply(
        &self,
        value: &Value,
        arguments: &[Cow<'_, Value>],
        meter: &mut Meter,
    ) -> Result<Option<Value>, TooMuch> {
        let list = value.as_array();
        meter.visit(list.map_or(1, Vec::len))?;
        Ok(match self.function {
            Function::Length => match value {
                Value::Array(list) => Some(list.len().into()),
                Value::Object(map) => Some(map.len().into()),
                _ => Some(Value::Null),
            },
            Function::Keys => Some(value.as_object().map_or(Value::Null, keys)),
            Function::Concat => Some(concat(list, arguments, meter)?),
            Function::First => copy(list.and_then(|list| list.first()), meter)?,
            Function::Last => copy(list.and_then(|list| list.last()), meter)?,
            Function::Index => {
                let at = self.arguments.first().and_then(|argument| match argument {
                    Argument::Literal(number) => number.as_i64(),
                    Argument::Absolute(_) => None,
                });
                copy(at.and_then(|at| element(list?, at)), meter)?
            }
            Function::Sum | Function::Avg | Function::Min | Function::Max | Function::Stddev => {
                let mut numbers: Vec<f64> =
                    list.into_iter().flatten().filter_map(Value::as_f64).collect();
                for argument in arguments {
                    meter.visit(argument.as_array().map_or(1, Vec::len))?;
                    match &**argument {
                        Value::Array(list) => numbers.extend(list.iter().filter_map(Value::as_f64)),
                        value => numbers.extend(value.as_f64()),
                    }
                }
                (!numbers.is_empty()).then(|| Value::from(self.aggregate(&numbers)))
            }
        })
    }

    fn aggregate(&self, numbers: &[f64]) -> f64 {
        let count = u32::try_from(numbers.len()).map_or(f64::INFINITY, f64::from);
        let sum: f64 = numbers.iter().sum();
        match self.function {
            Function::Min => numbers.iter().copied().fold(f64::INFINITY, f64::min),
            Function::Max => numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Function::Avg => sum / count,
            Function::Stddev => {
                let squares: f64 = numbers.iter().map(|number| number * number).sum();
                (squares / count - sum * sum / count / count).sqrt()
            }
            _ => sum,
        }
    }
}

fn arguments(parser: &mut Parser<'_>) -> Result<Vec<Argument>, String> {
    let mut arguments = Vec::new();
    parser.skip_blanks();
    while !parser.eat(")") {
        arguments.push(if parser.eat("$") {
            parser.absolute(Within::Arguments).map(Argument::Absolute)?
        } else {
            Argument::Literal(parser.literal()?)
        });
        parser.skip_blanks();
        if !parser.eat(",") {
            parser.expect(")", "arguments")?;
            break;
        }
        parser.skip_blanks();
    }
    Ok(arguments)
}

fn keys(map: &Map<String, Value>) -> Value {
    map.keys().map(|key| Value::from(key.as_str())).collect()
}

fn copy(value: Option<&Value>, meter: &mut Meter) -> Result<Option<Value>, TooMuch> {
    value.map(|value| meter.copy(value)).transpose()
}

/// The texts of the list, then the arguments as Java writes them.
fn concat(
    list: Option<&Vec<Value>>,
    arguments: &[Cow<'_, Value>],
    meter: &mut Meter,
) -> Result<Value, TooMuch> {
    let mut text = String::new();
    for item in list.into_iter().flatten().filter_map(Value::as_str) {
        meter.write(&mut text, item)?;
    }
    for argument in arguments {
        let items = match &**argument {
            Value::Array(list) => list.as_slice(),
            value => std::slice::from_ref(value),
        };
        meter.visit(items.len())?;
        for item in items.iter().filter(|item| !item.is_null()) {
            java_text::push(item, &mut |piece| meter.write(&mut text, piece))?;
        }
    }
    Ok(Value::String(text))
}
