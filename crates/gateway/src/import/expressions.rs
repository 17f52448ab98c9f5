//! Policy expressions made readable for an XML parser: API Management takes C# with its quotes and comparisons as they are.
use std::borrow::Cow;

/// Where an expression does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unended {
    /// Its line, from 1.
    pub(super) line: usize,
}

/// The document with the inside of each `@(…)` and `@{…}` escaped. Lines stay where they are.
pub(super) fn escaped(text: &str) -> Result<Cow<'_, str>, Unended> {
    let mut read = 0;
    let mut made = String::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        if let Some(end) = skipped(rest) {
            at += end;
        } else if let Some(length) = expression(rest) {
            let length = length
                .map_err(|Endless| Unended { line: 1 + text.get(..at).map_or(0, |t| t.matches('\n').count()) })?;
            made.push_str(text.get(read..at).unwrap_or_default());
            escape(text.get(at..at + length).unwrap_or_default(), &mut made);
            at += length;
            read = at;
        } else {
            match rest.chars().next() {
                Some(character) => at += character.len_utf8(),
                None => break,
            }
        }
    }
    if read == 0 {
        return Ok(Cow::Borrowed(text));
    }
    made.push_str(text.get(read..).unwrap_or_default());
    Ok(Cow::Owned(made))
}

/// The length of a comment or of a literal section, in which nothing is an expression.
fn skipped(rest: &str) -> Option<usize> {
    [("<!--", "-->"), ("<![CDATA[", "]]>")].into_iter().find_map(|(open, close)| {
        let inside = rest.strip_prefix(open)?;
        // What does not end is the parser's to complain about.
        Some(inside.find(close).map_or(rest.len(), |end| open.len() + end + close.len()))
    })
}

/// What was begun does not end.
struct Endless;

/// The length of the expression that begins here.
fn expression(rest: &str) -> Option<Result<usize, Endless>> {
    let open = rest.strip_prefix('@')?.chars().next().filter(|open| matches!(open, '(' | '{'))?;
    let close = if open == '(' { ')' } else { '}' };
    let mut depth = 0_usize;
    let mut at = 1;
    loop {
        let Some(inside) = rest.get(at..).filter(|inside| !inside.is_empty()) else { return Some(Err(Endless)) };
        if let Some(length) = quoted(inside) {
            let Ok(length) = length else { return Some(Err(Endless)) };
            at += length;
            continue;
        }
        let character = inside.chars().next()?;
        at += character.len_utf8();
        if character == open {
            depth += 1;
        } else if character == close {
            depth -= 1;
            if depth == 0 {
                return Some(Ok(at));
            }
        }
    }
}

/// The length of a text, a character or a comment of C# that begins here. A quote may be written as XML has it.
fn quoted(rest: &str) -> Option<Result<usize, Endless>> {
    if let Some(comment) = rest.strip_prefix("/*") {
        return Some(comment.find("*/").map(|end| end + 4).ok_or(Endless));
    }
    // `https://` stands in texts, which are read below.
    if rest.starts_with("//") {
        return Some(rest.find('\n').ok_or(Endless));
    }
    let verbatim = rest.starts_with('@') && quote(rest.get(1..)?).is_some();
    let start = usize::from(verbatim);
    let (mark, length) = quote(rest.get(start..)?)?;
    let mut at = start + length;
    loop {
        let Some(inside) = rest.get(at..).filter(|inside| !inside.is_empty()) else { return Some(Err(Endless)) };
        if !verbatim && inside.starts_with('\\') {
            at += 1 + inside.chars().nth(1).map_or(0, char::len_utf8);
        } else if let Some((_, length)) = quote(inside).filter(|(found, _)| *found == mark) {
            at += length;
            // Twice is one of its own.
            match rest.get(at..).and_then(quote).filter(|(found, _)| verbatim && *found == mark) {
                Some((_, again)) => at += again,
                None => return Some(Ok(at)),
            }
        } else {
            at += inside.chars().next().map_or(1, char::len_utf8);
        }
    }
}

/// The quotation mark that stands here, and its length.
fn quote(rest: &str) -> Option<(char, usize)> {
    [("\"", '"'), ("&quot;", '"'), ("'", '\''), ("&apos;", '\'')]
        .into_iter()
        .find_map(|(written, mark)| rest.starts_with(written).then_some((mark, written.len())))
}

fn escape(expression: &str, made: &mut String) {
    for (at, character) in expression.char_indices() {
        match character {
            '"' => made.push_str("&quot;"),
            '<' => made.push_str("&lt;"),
            '&' if !is_entity(expression.get(at..).unwrap_or_default()) => made.push_str("&amp;"),
            other => made.push(other),
        }
    }
}

/// Some authors escape by themselves.
fn is_entity(rest: &str) -> bool {
    ["&amp;", "&lt;", "&gt;", "&quot;", "&apos;", "&#"].iter().any(|entity| rest.starts_with(entity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inside_of_expressions_is_escaped_and_nothing_else() {
        for (text, made) in [
            ("<a b=\"c\"/>", "<a b=\"c\"/>"),
            ("<a b=\"@(x(\"y\"))\"/>", "<a b=\"@(x(&quot;y&quot;))\"/>"),
            ("<a>@(1 < 2 && true)</a>", "<a>@(1 &lt; 2 &amp;&amp; true)</a>"),
            ("<a b=\"@(x(&quot;)&quot;) &amp;&amp; y)\"/>", "<a b=\"@(x(&quot;)&quot;) &amp;&amp; y)\"/>"),
            ("<a b=\"@(\")\" + @\"\\\" + ')')\"/>", "<a b=\"@(&quot;)&quot; + @&quot;\\&quot; + ')')\"/>"),
            ("<a>@{ return \"}\"; // }\n }</a>", "<a>@{ return &quot;}&quot;; // }\n }</a>"),
            ("<a>@(\"a\\\"b)\")</a>", "<a>@(&quot;a\\&quot;b)&quot;)</a>"),
            ("<a>@(/* ) */ 1)</a>", "<a>@(/* ) */ 1)</a>"),
            ("<!-- @(\" --><a/>", "<!-- @(\" --><a/>"),
            ("<a><![CDATA[ @(\" ]]></a>", "<a><![CDATA[ @(\" ]]></a>"),
            ("<a>ada@example.com</a>", "<a>ada@example.com</a>"),
            ("<a b=\"@(\"\u{e5}\")\"/>", "<a b=\"@(&quot;\u{e5}&quot;)\"/>"),
            ("<a b=\"@($\"https://{x(\"y\")}/\")\"/>", "<a b=\"@($&quot;https://{x(&quot;y&quot;)}/&quot;)\"/>"),
        ] {
            assert_eq!(escaped(text).unwrap(), made, "{text}");
        }
    }

    #[test]
    fn an_expression_that_does_not_end_is_told_by_its_line() {
        for text in ["<a>\n@(x", "<a>\n@(\"x)</a>", "\n@{ { }", "\n@(/* )", "\n@('\\", "\n@(\"\\", "\n@(@\"\"\")"] {
            assert_eq!(escaped(text), Err(Unended { line: 2 }), "{text}");
        }
    }
}
