//! Compiling, and what is not compiled.
use super::{Expression, Looks};
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators as of};
use cel::parser::Expression as Node;
use cel::{ParseErrors, Program};

/// The longest expression, in characters.
const LONGEST: usize = 2_048;
/// The most parts of one.
const PARTS: usize = 256;

/// The most brackets in one another, and the most alternatives.
const DEEPEST: usize = 24;
/// What the parser needs for these in bytes, many times over.
const STACK: usize = 64 << 20;
/// The most signs before one value.
const SIGNS: usize = 4;

/// What can be called, beside operators.
const FUNCTIONS: [&str; 8] = ["bool", "contains", "double", "endsWith", "int", "size", "startsWith", "string"];

const OPERATORS: [&str; 19] = [
    of::CONDITIONAL,
    of::LOGICAL_AND,
    of::LOGICAL_OR,
    of::LOGICAL_NOT,
    of::SUBSTRACT,
    of::ADD,
    of::MULTIPLY,
    of::DIVIDE,
    of::MODULO,
    of::EQUALS,
    of::NOT_EQUALS,
    of::GREATER_EQUALS,
    of::LESS_EQUALS,
    of::GREATER,
    of::LESS,
    of::NEGATE,
    of::INDEX,
    of::NOT_STRICTLY_FALSE,
    of::IN,
];

/// Those that never say yes or no.
const NO_BOOL: [&str; 10] =
    [of::SUBSTRACT, of::ADD, of::MULTIPLY, of::DIVIDE, of::MODULO, of::NEGATE, "double", "int", "size", "string"];

/// What is wrong with an expression.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) problem: String,
    pub(super) hint: String,
}

fn wrong<T>(problem: impl Into<String>, hint: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { problem: problem.into(), hint: hint.into() })
}

pub(super) fn compile(text: &str, variables: &[&'static str]) -> Result<Expression, Wrong> {
    if text.chars().count() > LONGEST {
        return wrong(
            format!("the expression is longer than {LONGEST} characters"),
            "say less in one, or in another policy",
        );
    }
    if is_deep(text) {
        return wrong("the expression is nested too deep", "use fewer brackets, signs and alternatives");
    }
    let program = parsed(text)?;
    let mut found = Found {
        variables,
        uses: Vec::new(),
        query: Looks::default(),
        headers: Looks::default(),
        own: Vec::new(),
        loops: false,
        parts: 0,
    };
    found.examine(program.expression(), false)?;
    if !may_be_bool(program.expression()) {
        return wrong("the expression says something else than yes or no", "compare it: `claims.level >= 3`");
    }
    if found.uses.is_empty() {
        let hint = format!("look at one of {}", listed(variables));
        return wrong("the expression says the same of every request", hint);
    }
    let Found { uses, query, headers, loops, .. } = found;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(Expression { text: line.into(), program, uses, query, headers, loops })
}

/// Parsed on a stack of its own, for the parser goes down a dozen calls for each bracket.
fn parsed(text: &str) -> Result<Program, Wrong> {
    let compiled = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || Program::compile(text));
        thread.ok().and_then(|thread| thread.join().ok())
    });
    match compiled {
        Some(compiled) => compiled.map_err(|errors| unreadable(&errors)),
        None => wrong("the expression cannot be read", "write it in another way"),
    }
}

/// Whether its parser would go down further than its stack is sure to reach. What stands in texts counts too, which harms nobody.
fn is_deep(text: &str) -> bool {
    let (mut open, mut deepest, mut signs, mut most_signs, mut choices) = (0_usize, 0, 0_usize, 0, 0_usize);
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        match c {
            '(' | '[' | '{' => open += 1,
            ')' | ']' | '}' => open = open.saturating_sub(1),
            '?' => choices += 1,
            _ => {}
        }
        signs = if matches!(c, '!' | '-') { signs + 1 } else { 0 };
        (deepest, most_signs) = (deepest.max(open), most_signs.max(signs));
    }
    deepest > DEEPEST || most_signs > SIGNS || choices > DEEPEST
}

fn unreadable(errors: &ParseErrors) -> Wrong {
    let (line, column, what) = errors.errors.first().map_or((1, 1, "it cannot be read"), |first| {
        (first.pos.0.max(1), first.pos.1.max(0) + 1, first.msg.lines().next().unwrap_or_default())
    });
    let place = if line > 1 { format!("line {line}, character {column}") } else { format!("character {column}") };
    let hint = "write CEL, such as `claims.department == 'sales' && request.method in ['GET', 'HEAD']`";
    Wrong { problem: format!("the expression cannot be read at {place}: {what}"), hint: hint.to_owned() }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// What was found in an expression so far.
struct Found<'a> {
    variables: &'a [&'static str],
    uses: Vec<&'static str>,
    query: Looks,
    headers: Looks,
    /// Names that loops give to what they go through.
    own: Vec<&'a str>,
    loops: bool,
    parts: usize,
}

impl<'a> Found<'a> {
    /// Whatever is not known is refused. `looping` is within a loop.
    fn examine(&mut self, node: &'a Node, looping: bool) -> Result<(), Wrong> {
        self.parts += 1;
        if self.parts > PARTS {
            return wrong(
                format!("the expression has more than {PARTS} parts"),
                "say less in one, or in another policy",
            );
        }
        if let Some((map, name)) = named(node) {
            return self.looks(map, Some(name));
        }
        if let Some(map) = of_request(node) {
            return self.looks(map, None);
        }
        match &node.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) if name == "request" => {
                (self.query.all, self.headers.all) = (true, true);
                self.variable(name)
            }
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => self.examine(&select.operand, looping),
            Expr::Call(call) => self.call(call, looping),
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.examine(element, looping)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.examine(&entry.key, looping).and_then(|()| self.examine(&entry.value, looping))
                }
                EntryExpr::StructField(field) => self.examine(&field.value, looping),
            }),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, looping),
            Expr::Struct(_) | Expr::Unspecified => wrong("the expression makes a message", "compare members instead"),
        }
    }

    fn variable(&mut self, name: &'a str) -> Result<(), Wrong> {
        if self.own.contains(&name) {
            return Ok(());
        }
        let Some(known) = self.variables.iter().find(|known| **known == name) else {
            let name = decision::contract::shown(name);
            return wrong(format!("there is no variable `{name}`"), format!("there are {}", listed(self.variables)));
        };
        if !self.uses.contains(known) {
            self.uses.push(known);
        }
        Ok(())
    }

    /// One member of a map of the request is looked at, or all.
    fn looks(&mut self, map: &'a str, name: Option<&'a str>) -> Result<(), Wrong> {
        let looks = match map {
            "query" => Some(&mut self.query),
            "headers" => Some(&mut self.headers),
            _ => None,
        };
        match (looks, name) {
            (Some(looks), Some(name)) => looks.names.push(name.to_owned()),
            (Some(looks), None) => looks.all = true,
            (None, _) => {}
        }
        self.variable("request")
    }

    fn call(&mut self, call: &'a CallExpr, looping: bool) -> Result<(), Wrong> {
        let name = call.func_name.as_str();
        if !OPERATORS.contains(&name) && !FUNCTIONS.contains(&name) {
            let name = decision::contract::shown(name);
            let hint = format!("there are {}, `has`, `all`, `exists` and `exists_one`", listed(&FUNCTIONS));
            return wrong(format!("there is no function `{name}`"), hint);
        }
        let counts = |node: &Node| matches!(node.expr, Expr::Literal(LiteralValue::Int(_)));
        if looping && name == of::ADD && !call.args.iter().any(counts) {
            return wrong("the expression puts texts or lists together in a loop", "compare them one by one");
        }
        call.target.iter().map(|target| &**target).chain(&call.args).try_for_each(|part| self.examine(part, looping))
    }

    fn comprehension(&mut self, made: &'a ComprehensionExpr, looping: bool) -> Result<(), Wrong> {
        if looping {
            return wrong("the expression has a loop in a loop", "ask one list, with `in` where another is looked at");
        }
        if matches!(made.accu_init.expr, Expr::List(_) | Expr::Map(_)) {
            return wrong("the expression makes a list of another", "ask it, by `all`, `exists` or `exists_one`");
        }
        self.loops = true;
        self.examine(&made.iter_range, looping)?;
        let before = self.own.len();
        self.own.extend([made.iter_var.as_str(), made.accu_var.as_str()]);
        self.own.extend(made.iter_var2.as_deref());
        let parts = [&made.accu_init, &made.loop_cond, &made.loop_step, &made.result];
        let examined = parts.into_iter().try_for_each(|part| self.examine(part, true));
        self.own.truncate(before);
        examined
    }
}

fn text(node: &Node) -> Option<&str> {
    if let Expr::Literal(LiteralValue::String(text)) = &node.expr { Some(text.inner()) } else { None }
}

/// `request.query` or another member of the request, however it is written.
fn of_request(node: &Node) -> Option<&str> {
    let is_request = |node: &Node| matches!(&node.expr, Expr::Ident(name) if name == "request");
    match &node.expr {
        Expr::Select(select) if !select.test && is_request(&select.operand) => Some(&select.field),
        Expr::Call(call) => match call.args.as_slice() {
            [map, name] if call.func_name == of::INDEX && is_request(map) => text(name),
            _ => None,
        },
        _ => None,
    }
}

/// A member of such a map, and its name, where it is looked at by that.
fn named(node: &Node) -> Option<(&str, &str)> {
    match &node.expr {
        Expr::Select(select) => Some((of_request(&select.operand)?, &select.field)),
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            (of::INDEX, [map, name]) | (of::IN, [name, map]) => Some((of_request(map)?, text(name)?)),
            _ => None,
        },
        _ => None,
    }
}

/// Whether it can say yes or no; what cannot be told before it is evaluated may.
fn may_be_bool(node: &Node) -> bool {
    match &node.expr {
        Expr::Literal(literal) => matches!(literal, LiteralValue::Boolean(_)),
        Expr::List(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => false,
        Expr::Call(call) => match call.func_name.as_str() {
            of::CONDITIONAL => call.args.iter().skip(1).all(may_be_bool),
            name => !NO_BOOL.contains(&name),
        },
        Expr::Ident(_) | Expr::Select(_) | Expr::Comprehension(_) => true,
    }
}
