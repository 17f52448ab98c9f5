//! A JSON reader that knows where it is. The texts of its faults are part of the API: applications show them to people and
//! compare them, so no library may change them (RFC 8259 for what is JSON).
use std::borrow::Cow;

/// Lists and objects may nest this deep.
const DEEPEST: usize = 127;

/// What is wrong with a text, and how much of it had been read then.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Whether it is JSON at all: what is not has another prefix than what is JSON of another shape.
    pub(crate) syntax: bool,
    pub(crate) text: Cow<'static, str>,
    pub(crate) at: usize,
}

impl Fault {
    /// JSON, but of another shape than is asked for.
    pub(crate) fn shape(text: impl Into<Cow<'static, str>>, at: usize) -> Self {
        Self { syntax: false, text: text.into(), at }
    }

    /// The same inside a field.
    pub(crate) fn within(mut self, field: &str) -> Self {
        self.text = format!("{field}: {}", self.text).into();
        self
    }
}

/// Any value; what is inside lists and objects was read over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(Cow<'a, str>),
    List,
    Map,
}

pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// Where the name of the member begins that was read last.
    name_at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0, name_at: 0 }
    }

    /// How much was read so far.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// Where the name of the member begins that [`Reader::object`] stands in front of.
    pub(crate) const fn name_at(&self) -> usize {
        self.name_at
    }

    /// What was read since.
    pub(crate) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Reads white space.
    pub(crate) fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Nothing but white space is left.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        self.space();
        if self.peek().is_none() { Ok(()) } else { Err(self.here("trailing characters")) }
    }

    /// Reads an object; `member` is called with each name, in front of its value, and reads that.
    pub(crate) fn object<E: From<Fault>>(
        &mut self,
        mut member: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open()?;
        self.space();
        if self.take(b'}') {
            self.depth -= 1;
            return Ok(());
        }
        loop {
            self.space();
            match self.peek() {
                Some(b'"') => {}
                Some(b'}') => return Err(self.here("trailing comma").into()),
                Some(_) => return Err(self.here("key must be a string").into()),
                None => return Err(self.cut("EOF while parsing a value").into()),
            }
            let name_at = self.at;
            let name = self.string()?;
            self.name_at = name_at;
            self.space();
            if !self.take(b':') {
                return Err(self.wanted("expected `:`", "EOF while parsing an object").into());
            }
            member(self, name)?;
            self.space();
            if self.take(b'}') {
                self.depth -= 1;
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.wanted("expected `,` or `}`", "EOF while parsing an object").into());
            }
        }
    }

    /// Reads any value.
    pub(crate) fn value(&mut self) -> Result<Value<'a>, Fault> {
        self.space();
        match self.peek() {
            None => Err(self.cut("EOF while parsing a value")),
            Some(b'"') => self.string().map(Value::Text),
            Some(b'{') => self.object(|reader, _| reader.value().map(drop)).map(|()| Value::Map),
            Some(b'[') => self.list(|reader| reader.value().map(drop)).map(|()| Value::List),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'n') => self.word("null").map(|()| Value::Null),
            Some(b't') => self.word("true").map(|()| Value::Bool(true)),
            Some(b'f') => self.word("false").map(|()| Value::Bool(false)),
            Some(_) => Err(self.here("expected value")),
        }
    }

    /// Reads a list; `element` is called in front of each of its values, and reads that.
    pub(crate) fn list(&mut self, mut element: impl FnMut(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        self.open()?;
        self.space();
        if self.take(b']') {
            self.depth -= 1;
            return Ok(());
        }
        loop {
            self.space();
            if self.peek() == Some(b']') {
                return Err(self.here("trailing comma"));
            }
            element(self)?;
            self.space();
            if self.take(b']') {
                self.depth -= 1;
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.wanted("expected `,` or `]`", "EOF while parsing a list"));
            }
        }
    }

    /// The next octet, unread.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn open(&mut self) -> Result<(), Fault> {
        if self.depth == DEEPEST {
            return Err(self.here("recursion limit exceeded"));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn take(&mut self, octet: u8) -> bool {
        let is_next = self.peek() == Some(octet);
        self.at += usize::from(is_next);
        is_next
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.at += 1;
        let start = self.at;
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        let plain = rest.iter().position(|octet| matches!(octet, b'"' | b'\\' | 0..=0x1f)).unwrap_or(rest.len());
        self.at += plain;
        let text = self.since(start);
        if self.take(b'"') {
            return Ok(Cow::Borrowed(text));
        }
        let mut text = text.to_owned();
        loop {
            match self.next_char() {
                None => return Err(self.cut("EOF while parsing a string")),
                Some('"') => return Ok(Cow::Owned(text)),
                Some('\\') => text.push(self.escape()?),
                Some(control @ '\0'..='\x1f') => {
                    let fault = "control character (\\u0000-\\u001F) found while parsing a string";
                    // A line break counts for the line that it ends.
                    let at = self.at - usize::from(control == '\n');
                    return Err(Fault { syntax: true, text: fault.into(), at });
                }
                Some(plain) => text.push(plain),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        Ok(match self.next_char() {
            Some(same @ ('"' | '\\' | '/')) => same,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => return self.unicode(),
            Some(_) => return Err(self.read("invalid escape")),
            None => return Err(self.cut("EOF while parsing a string")),
        })
    }

    fn unicode(&mut self) -> Result<char, Fault> {
        let first = self.hex()?;
        if !(0xd800..0xe000).contains(&first) {
            return char::from_u32(first).ok_or_else(|| self.read("invalid unicode code point"));
        }
        let lone = "lone leading surrogate in hex escape";
        if first >= 0xdc00 || !(self.take(b'\\') && self.take(b'u')) {
            return Err(self.read(lone));
        }
        let second = self.hex()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(self.read(lone));
        }
        let pair = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        char::from_u32(pair).ok_or_else(|| self.read("invalid unicode code point"))
    }

    fn hex(&mut self) -> Result<u32, Fault> {
        let mut number = 0;
        for _ in 0..4 {
            let Some(next) = self.next_char() else { return Err(self.cut("EOF while parsing a string")) };
            number = number * 16 + next.to_digit(16).ok_or_else(|| self.read("invalid escape"))?;
        }
        Ok(number)
    }

    fn number(&mut self) -> Result<Value<'a>, Fault> {
        let start = self.at;
        self.take(b'-');
        let leading = self.peek();
        let whole = self.digits();
        if whole == 0 || (leading == Some(b'0') && whole > 1) {
            return Err(self.wanted("invalid number", "EOF while parsing a value"));
        }
        if self.take(b'.') && self.digits() == 0 {
            return Err(self.wanted("invalid number", "EOF while parsing a value"));
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            if self.digits() == 0 {
                return Err(self.wanted("invalid number", "EOF while parsing a value"));
            }
        }
        Ok(Value::Number(self.since(start)))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        for octet in word.bytes() {
            if !self.take(octet) {
                return Err(self.wanted("expected ident", "EOF while parsing a value"));
            }
        }
        Ok(())
    }

    fn next_char(&mut self) -> Option<char> {
        let next = self.text.get(self.at..)?.chars().next()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// A fault in what comes next.
    fn here(&self, text: &'static str) -> Fault {
        Fault { syntax: true, text: text.into(), at: self.at + 1 }
    }

    /// A fault in what was read last.
    fn read(&self, text: &'static str) -> Fault {
        Fault { syntax: true, text: text.into(), at: self.at }
    }

    /// The text ends too early.
    fn cut(&self, text: &'static str) -> Fault {
        Fault { syntax: true, text: text.into(), at: self.text.len() }
    }

    fn wanted(&self, text: &'static str, at_end: &'static str) -> Fault {
        if self.peek().is_none() { self.cut(at_end) } else { self.here(text) }
    }
}

/// ` at line L column C`: both count from 1, and point at what was read last.
pub(crate) fn place(text: &[u8], at: usize) -> String {
    let read = text.get(..at).unwrap_or(text);
    let line = read.split(|octet| *octet == b'\n').count();
    let column = read.iter().rev().take_while(|octet| **octet != b'\n').count();
    format!(" at line {line} column {column}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Result<Value<'_>, Fault> {
        let mut reader = Reader::new(text);
        let value = reader.value()?;
        reader.end().map(|()| value)
    }

    #[test]
    fn what_another_reader_takes_is_taken_and_nothing_else() {
        let texts = [
            "null",
            "true",
            "false",
            "0",
            "-0",
            "10.25e-3",
            "1E+9",
            "\"\"",
            r#""a\u00e9\n\"""#,
            "[]",
            "[1,[2,{}]]",
            "{}",
            r#"{"a":{"b":[null]}}"#,
            " \n\t{ } \r\n",
            r#""\ud83d\ude00""#,
            "\"é\"",
            "",
            " ",
            "nul",
            "tru e",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            r#""\ud83d""#,
            r#""\udc00\ud83d""#,
            "\"\n\"",
            "[1,]",
            "[1 2]",
            "[",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\":1,}",
            "{a:1}",
            "{1:1}",
            "{} {}",
            "nan",
            "'a'",
            "1 //",
            "\u{feff}{}",
        ];
        for text in texts {
            let other = serde_json::from_str::<serde_json::Value>(text);
            assert_eq!(whole(text).is_ok(), other.is_ok(), "{text:?}: {:?} {other:?}", whole(text));
        }
        assert!(whole(&"[".repeat(200_000)).is_err(), "no stack is exhausted");
    }

    #[test]
    fn texts_are_read_with_their_escapes() {
        for text in [r#""plain""#, r#""a\/b\\\"\b\f\n\r\t""#, r#""\u0041\u00e9\ud83d\ude00""#] {
            let other: String = serde_json::from_str(text).unwrap();
            assert_eq!(whole(text), Ok(Value::Text(other.into())), "{text}");
        }
    }

    #[test]
    fn places_count_lines_and_the_octets_of_the_last() {
        let text = b"{\n \"a\": 1";
        assert_eq!(place(text, 0), " at line 1 column 0");
        assert_eq!(place(text, 1), " at line 1 column 1");
        assert_eq!(place(text, text.len()), " at line 2 column 7");
    }
}
