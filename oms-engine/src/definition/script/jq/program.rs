//! A query read and compiled, with the functions that it may use.

use jaq_core::load::parse::{BinaryOp, Def, Term};
use jaq_core::load::{self, Arena, File, Loader, lex};
use jaq_core::native::Fun;
use jaq_core::{Compiler, Ctx, DataT, Filter, Lut, Vars, data::HasLut};

use super::budget;
use super::natives;
use super::value::Val;
use crate::definition::script::ScriptError;

/// A query that is longer is refused, in bytes: reading takes stack with its length.
const QUERY_MAX: usize = 16 * 1024;

/// Bytes that are counted for a context, with what runs in it.
const CONTEXT: usize = 256;

/// Functions of the standard library that only compute, in bounded time. Others ask the machine or the time, end
/// the process, or are made for our values in [`natives`].
const PURE: &str = "
    floor round ceil utf8bytelength explode ascii_downcase ascii_upcase reverse sort sort_by
    group_by min_by_or_empty max_by_or_empty startswith endswith trim ltrim rtrim
    escape_sh escape_html unescape_html encode_uri decode_uri encode_base64 decode_base64
    acos acosh asin asinh atan atanh cbrt cos cosh erf erfc exp exp10 exp2 expm1 fabs frexp ilogb
    j0 j1 lgamma log log10 log1p log2 modf nearbyint rint sin sinh sqrt tan tanh tgamma trunc y0 y1
    atan2 copysign fdim fmax fmin fmod hypot ldexp nextafter pow remainder scalbln fma
    fromdateiso8601 todateiso8601 strftime gmtime mktime";

/// Definitions of the standard library over such functions.
const IMPURE: &[&str] = &["stderr", "debug", "halt", "halt_error", "nan", "infinite", "isnan"];

/// What the interpreter works on.
pub(super) struct Jq;

impl DataT for Jq {
    type V<'a> = Val;
    type Data<'a> = Counted<'a>;
}

/// The program. The interpreter looks each term up here, and each time counts. It goes with each
/// context, of which there are as many as calls and generators that are not through.
pub(super) struct Counted<'a>(&'a Lut<Jq>);

impl Clone for Counted<'_> {
    fn clone(&self) -> Self {
        budget::hold(CONTEXT);
        Self(self.0)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        budget::give_back(CONTEXT);
    }
}

impl<'a> HasLut<'a, Jq> for Counted<'a> {
    fn lut(&self) -> &'a Lut<Jq> {
        budget::step();
        self.0
    }
}

pub(super) fn compile(query: &str) -> Result<Filter<Jq>, ScriptError> {
    if query.len() > QUERY_MAX {
        let length = query.len();
        return syntax(format!("the query has {length} bytes: at most {QUERY_MAX} are allowed"));
    }
    let arena = Arena::default();
    let pure = |name: &str| PURE.split_whitespace().any(|pure| pure == name);
    let ours = || load::parse(include_str!("defs.jq"), |p| p.defs()).unwrap_or_default();
    let theirs = jaq_core::defs().chain(jaq_std::defs());
    let theirs = theirs.filter(|def| !IMPURE.contains(&def.name));
    let loader = Loader::new(theirs.chain(ours()));
    let modules = loader.load(&arena, File { code: query, path: () });
    let modules = modules.map_err(|errors| ScriptError::Syntax(unread(&errors)))?;
    let Some(main) = load::parse::<Term<&str>, _>(query, |p| p.term()) else {
        return syntax("there are no modules to import".to_owned());
    };
    if let Some(name) = piles_up(&main) {
        let hint = "let it take values ($x), or call an inner one without arguments";
        return syntax(format!("{name} calls itself last and takes a filter: {hint}"));
    }
    let functions = jaq_std::base_funs().chain(jaq_std::extra_funs()).chain(jaq_core::funs());
    let functions = functions.filter_map(|(name, args, body): Fun<Jq>| match name {
        "strptime" => Some(("strptime_", args, body)),
        "ltrimstr" => Some(("ltrimstr_", args, body)),
        "rtrimstr" => Some(("rtrimstr_", args, body)),
        "error_empty" | "path" | "path_value" | "range" | "keys_unsorted" | "key_values"
        | "first" | "last" | "limit" | "skip" => Some((name, args, body)),
        name => pure(name).then_some((name, args, body)),
    });
    Compiler::default().with_funs(functions.chain(natives::all())).compile(modules).map_err(
        |errors| {
            let faults = errors.iter().flat_map(|(_, faults)| faults);
            let faults = faults.map(|(name, what)| format!("unknown {} {name}", what.as_str()));
            ScriptError::Syntax(faults.collect::<Vec<_>>().join(", "))
        },
    )
}

/// All values of a query over an input.
pub(super) fn run(program: &Filter<Jq>, input: Val) -> impl Iterator<Item = Result<Val, String>> {
    let context = Ctx::<Jq>::new(Counted(&program.lut), Vars::new([]));
    program.id.run((context, input)).map(|value| {
        value.map_err(|exception| match exception.get_err() {
            Ok(error) => match error.into_val() {
                text if text.as_text().is_some() => text.as_text().unwrap_or_default().to_owned(),
                other => other.to_string(),
            },
            Err(_) => "break outside of its label".to_owned(),
        })
    })
}

fn syntax<T>(text: String) -> Result<T, ScriptError> {
    Err(ScriptError::Syntax(text))
}

fn unread(errors: &load::Errors<&str, ()>) -> String {
    let found = |text: &str| match text.chars().take(20).collect::<String>() {
        text if text.is_empty() => "its end".to_owned(),
        text => format!("{text:?}"),
    };
    let mut faults = Vec::new();
    for (_, error) in errors {
        match error {
            load::Error::Io(modules) => {
                faults.extend(modules.iter().map(|(name, _)| format!("there is no module {name}")));
            }
            load::Error::Lex(errors) => faults.extend(errors.iter().map(|(expected, at)| {
                format!("expected {}, found {}", lexed(expected), found(at))
            })),
            load::Error::Parse(errors) => faults.extend(errors.iter().map(|(expected, at)| {
                format!("expected {}, found {}", expected.as_str(), found(at))
            })),
        }
    }
    faults.truncate(3);
    faults.join(", ")
}

fn lexed<'a>(expected: &lex::Expect<&'a str>) -> &'a str {
    expected.as_str()
}

/// A function of the query that takes a filter and calls itself as the last thing it does. The
/// interpreter makes a loop of that, in which each round wraps the filter of the round before:
/// without a bound, and where neither steps nor stack tell how deep.
fn piles_up<'a>(term: &Term<&'a str>) -> Option<&'a str> {
    let mut found = None;
    each_def(term, &mut |def| {
        let takes_filter = def.args.iter().any(|arg| !arg.starts_with('$'));
        if takes_filter && ends_with(&def.body, def.name, def.args.len()) {
            found = Some(def.name);
        }
    });
    found
}

/// Whether a term may end with this call.
fn ends_with(term: &Term<&str>, name: &str, arity: usize) -> bool {
    match term {
        Term::Call(called, args) => *called == name && args.len() == arity,
        Term::BinOp(left, BinaryOp::Comma, right) => {
            ends_with(left, name, arity) || ends_with(right, name, arity)
        }
        Term::BinOp(_, BinaryOp::Pipe(_) | BinaryOp::Alt, right) => ends_with(right, name, arity),
        Term::IfThenElse(branches, last) => {
            branches.iter().any(|(_, then)| ends_with(then, name, arity))
                || last.as_ref().is_some_and(|last| ends_with(last, name, arity))
        }
        Term::Fold(_, _, _, args) => args.iter().any(|arg| ends_with(arg, name, arity)),
        Term::Def(defs, rest) => {
            defs.iter().any(|def| ends_with(&def.body, name, arity)) || ends_with(rest, name, arity)
        }
        _ => false,
    }
}

/// Every definition in a term.
fn each_def<'t, 'a>(
    term: &'t Term<&'a str>,
    tell: &mut impl FnMut(&'t Def<&'a str, Term<&'a str>>),
) {
    let mut rest = vec![term];
    while let Some(term) = rest.pop() {
        match term {
            Term::Def(defs, body) => {
                for def in defs {
                    tell(def);
                    rest.push(&def.body);
                }
                rest.push(body);
            }
            Term::Str(_, parts) => rest.extend(parts.iter().filter_map(|part| match part {
                lex::StrPart::Term(term) => Some(term),
                _ => None,
            })),
            Term::Arr(inside) => rest.extend(inside.as_deref()),
            Term::Obj(pairs) => {
                rest.extend(
                    pairs.iter().flat_map(|(key, value)| [Some(key), value.as_ref()]).flatten(),
                );
            }
            Term::Neg(inside) | Term::Label(_, inside) => rest.push(inside),
            Term::BinOp(left, op, right) => {
                if let BinaryOp::Pipe(Some(pattern)) = op {
                    rest.extend(in_pattern(pattern));
                }
                rest.extend([&**left, &**right]);
            }
            Term::Fold(_, over, pattern, args) => {
                rest.extend(in_pattern(pattern));
                rest.push(over);
                rest.extend(args);
            }
            Term::TryCatch(body, catch) => {
                rest.push(body);
                rest.extend(catch.as_deref());
            }
            Term::IfThenElse(branches, last) => {
                rest.extend(branches.iter().flat_map(|(on, then)| [on, then]));
                rest.extend(last.as_deref());
            }
            Term::Call(_, args) => rest.extend(args),
            Term::Path(of, path) => {
                rest.push(of);
                for (part, _) in &path.0 {
                    match part {
                        jaq_core::path::Part::Index(index) => rest.push(index),
                        jaq_core::path::Part::Range(from, upto) => {
                            rest.extend(from.iter().chain(upto));
                        }
                    }
                }
            }
            Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => {}
        }
    }
}

fn in_pattern<'t, 'a>(pattern: &'t load::parse::Pattern<&'a str>) -> Vec<&'t Term<&'a str>> {
    use load::parse::Pattern;
    match pattern {
        Pattern::Var(_) => Vec::new(),
        Pattern::Arr(inside) => inside.iter().flat_map(in_pattern).collect(),
        Pattern::Obj(pairs) => pairs
            .iter()
            .flat_map(|(key, inside)| {
                let mut all = in_pattern(inside);
                all.push(key);
                all
            })
            .collect(),
    }
}
