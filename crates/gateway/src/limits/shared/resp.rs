//! What is said to Valkey, and what it may answer (RESP2): no more than its scripts and its login need, so that an answer costs a few
//! hundred bytes at most, whoever gives it.

/// The longest line, and the longest text, of an answer.
const LONGEST: usize = 512;
/// So many numbers are in an answer at most.
const MOST: usize = 16;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Numbers(Vec<i64>),
    Text(String),
    /// It did not do it, and says why.
    Refused(String),
}

/// What no server answers that does what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what it answers is not understood")]
pub(super) struct Nonsense;

/// Adds a command of these words.
pub(super) fn command(words: &[&[u8]], to: &mut Vec<u8>) {
    to.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        to.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        to.extend_from_slice(word);
        to.extend_from_slice(b"\r\n");
    }
}

/// The first answer and its length, if all of it is there.
pub(super) fn reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, Nonsense> {
    let Some((kind, head, length)) = line(bytes)? else { return Ok(None) };
    let text = || String::from_utf8_lossy(head).into_owned();
    Ok(Some(match kind {
        b'+' => (Reply::Text(text()), length),
        b'-' => (Reply::Refused(text()), length),
        b':' => (Reply::Numbers(vec![number(head)?]), length),
        b'$' => {
            let size = usize::try_from(number(head)?).ok().filter(|size| *size <= LONGEST).ok_or(Nonsense)?;
            let Some(rest) = bytes.get(length..).filter(|rest| rest.len() >= size + 2) else { return Ok(None) };
            let (text, end) = rest.split_at_checked(size).ok_or(Nonsense)?;
            if !end.starts_with(b"\r\n") {
                return Err(Nonsense);
            }
            (Reply::Text(String::from_utf8_lossy(text).into_owned()), length + size + 2)
        }
        b'*' => {
            let size = usize::try_from(number(head)?).ok().filter(|size| *size <= MOST).ok_or(Nonsense)?;
            let (mut numbers, mut end) = (Vec::with_capacity(size), length);
            for _ in 0..size {
                let Some((kind, head, length)) = line(bytes.get(end..).unwrap_or_default())? else { return Ok(None) };
                if kind != b':' {
                    return Err(Nonsense);
                }
                numbers.push(number(head)?);
                end += length;
            }
            (Reply::Numbers(numbers), end)
        }
        _ => return Err(Nonsense),
    }))
}

/// A line: its kind, what follows that, and how long it is with its end.
type Line<'b> = (u8, &'b [u8], usize);

/// The first line, if all of it is there.
fn line(bytes: &[u8]) -> Result<Option<Line<'_>>, Nonsense> {
    let seen = bytes.get(..LONGEST).unwrap_or(bytes);
    let Some(end) = seen.windows(2).position(|pair| pair == b"\r\n") else {
        return if seen.len() < LONGEST { Ok(None) } else { Err(Nonsense) };
    };
    let (kind, head) = seen.get(..end).and_then(<[u8]>::split_first).ok_or(Nonsense)?;
    Ok(Some((*kind, head, end + 2)))
}

fn number(digits: &[u8]) -> Result<i64, Nonsense> {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(Nonsense)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commands_say_how_long_their_words_are() {
        let mut bytes = Vec::new();
        command(&[b"GET", b"a\r\nb", b""], &mut bytes);
        assert_eq!(bytes, b"*3\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n$0\r\n\r\n");
    }

    #[test]
    fn answers_are_read_once_they_are_whole() {
        let text = |text: &str| Reply::Text(text.to_owned());
        for (bytes, expected) in [
            ("+OK\r\n", text("OK")),
            ("-ERR no\r\n", Reply::Refused("ERR no".to_owned())),
            (":-7\r\n", Reply::Numbers(vec![-7])),
            ("$4\r\na\r\nb\r\n", text("a\r\nb")),
            ("*3\r\n:1\r\n:2\r\n:30\r\n", Reply::Numbers(vec![1, 2, 30])),
            ("*0\r\n", Reply::Numbers(Vec::new())),
        ] {
            for end in 0..bytes.len() {
                assert_eq!(reply(&bytes.as_bytes()[..end]), Ok(None), "{:?}", &bytes[..end]);
            }
            let more = format!("{bytes}:1\r\n");
            assert_eq!(reply(more.as_bytes()), Ok(Some((expected, bytes.len()))), "{bytes:?}");
        }
    }

    #[test]
    fn nothing_is_waited_for_that_could_not_be_an_answer() {
        let (long, deep) = ("+".to_owned() + &"a".repeat(600), "*1\r\n".repeat(100_000));
        for bytes in [
            "HTTP/1.1 400 Bad Request\r\n",
            "\r\n",
            ":1x\r\n",
            ":99999999999999999999\r\n",
            "$-1\r\n",
            "$513\r\n",
            "$9223372036854775807\r\n",
            "$1\r\nabc",
            "*17\r\n",
            "*1000000000\r\n",
            "*-1\r\n",
            "*1\r\n$1\r\na\r\n",
            "*2\r\n:1\r\n*1\r\n",
            "_\r\n",
            &long,
            &deep,
        ] {
            assert_eq!(reply(bytes.as_bytes()), Err(Nonsense), "{:?}", &bytes[..bytes.len().min(40)]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_nonsense_or_wait_for_little_more(bytes in proptest::collection::vec(any::<u8>(), 0..3_000)) {
            if reply(&bytes) == Ok(None) {
                prop_assert!(bytes.len() <= LONGEST * (MOST + 1));
            }
        }
    }
}
