//! Asking an authority: one deadline, retries where they are safe, and answers read with tolerance.
use crate::client::Inner;
use crate::{Cause, Endpoints, Error, Pending, Scheme, Token, TransportError};
use decision::Timestamp;
use fetch::{Fetch, FetchBuilder};
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};
use oauth::{ErrorBody, Form};
use std::time::{Duration, UNIX_EPOCH};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;
use zeroize::Zeroizing;

/// A pause between two tries has this many milliseconds, and up to as many more; twice as many before each further try.
const PAUSE: u64 = 50;
/// What a log shows of an answer that is none.
const SHOWN: usize = 256;

/// Members of successes, which are secrets.
const TOKENS: [&str; 3] = ["access_token", "refresh_token", "id_token"];

/// How patiently an authority is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Further tries after one that failed in a way that another may mend (5xx, 408, 429, no connection, no answer, an answer
    /// that broke off).
    pub retries: u32,
    /// How long connecting may take; for the network that [`Upstream::fetch`] makes.
    pub connect: Duration,
    /// How long one try may take, connecting included.
    pub read: Duration,
    /// How long all tries and pauses may take together.
    pub total: Duration,
    /// After so many failures in a row the authority is left alone for a moment; 0 for never.
    pub rest_after: u32,
    /// The largest answer that is read.
    pub max_bytes: usize,
}

impl Default for Upstream {
    /// One retry, 2 s to connect, 3 s for a try, 5 s in all, rest after 5 failures, 1 MiB.
    fn default() -> Self {
        Self {
            retries: 1,
            connect: Duration::from_secs(2),
            read: Duration::from_secs(3),
            total: Duration::from_secs(5),
            rest_after: 5,
            max_bytes: 1024 * 1024,
        }
    }
}

impl Upstream {
    /// A network with these bounds, to be completed with proxies and authorities.
    pub fn fetch(&self) -> FetchBuilder {
        Fetch::builder().timeouts(self.connect, self.total).max_bytes(self.max_bytes)
    }
}

/// Whether asking twice may do harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// The same question can be asked again.
    Safe,
    /// What is redeemed is good once: it is sent again only if it cannot have arrived, or was turned away at the door.
    Once,
}

/// Makes the form of one try.
pub(crate) type FormMaker<'a> =
    dyn Fn(&'a Inner, &'a Endpoints, Timestamp) -> Pending<'a, Result<Form, Error>> + Send + Sync + 'a;

/// A form on its way.
#[derive(Clone, Copy)]
pub(crate) struct Posting<'a> {
    /// Where it goes.
    pub(crate) url: &'a str,
    pub(crate) endpoints: &'a Endpoints,
    pub(crate) form: &'a FormMaker<'a>,
    pub(crate) trace: &'a HeaderMap,
    pub(crate) repeat: Repeat,
    pub(crate) counts: Counts,
    pub(crate) deadline: Instant,
}

/// Which failures count before the authority is left alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts {
    /// Whatever says that it is down.
    All,
    /// That there is no connection: all else whoever made the token up may have brought about, and others are not to suffer for it.
    Unconnected,
}

impl Counts {
    fn counts(self, error: &Error) -> bool {
        match error {
            Error::Unreachable(error) => self == Self::All || error.cause == Cause::Connect,
            Error::Unreadable { status: 500.., .. } => self == Self::All,
            _ => false,
        }
    }
}

impl Inner {
    /// Posts a form to the token endpoint, in this trace, and reads the answer. The form is made anew for each try.
    pub(crate) async fn request_token<'a>(
        &'a self,
        form: &'a FormMaker<'a>,
        trace: &'a HeaderMap,
        repeat: Repeat,
        endpoints: &'a Endpoints,
        deadline: Instant,
    ) -> Result<Token, Error> {
        let counts = Counts::All;
        let posting = Posting { url: &endpoints.token, endpoints, form, trace, repeat, counts, deadline };
        self.post(posting, &|reply, now, scheme| read(reply, now, self.upstream.max_bytes, scheme)).await
    }

    /// Posts a form, again where that may help.
    pub(crate) async fn post<'a, T>(
        &'a self,
        posting: Posting<'a>,
        read: &(dyn Fn(Response<Vec<u8>>, Timestamp, Scheme) -> Result<T, Error> + Send + Sync + 'a),
    ) -> Result<T, Error> {
        let Posting { repeat, counts, deadline, .. } = posting;
        let mut tries = 0;
        loop {
            self.breaker.admit(self.clock.now())?;
            let end = deadline.min(Instant::now() + self.upstream.read);
            let answer = match timeout_at(end, self.ask_once(posting, read)).await {
                Ok(answer) => answer,
                Err(_) => Err(TransportError::from(Cause::Timeout).into()),
            };
            let mut dice = [0; 2];
            self.random.fill(&mut dice);
            match &answer {
                Err(error) if counts.counts(error) => self.breaker.failed(self.clock.now(), dice[0]),
                // It is our own fault, and says nothing of the authority.
                Err(Error::Request(_)) => {}
                // Whatever else comes of it, the authority is there.
                _ => self.breaker.succeeded(),
            }
            let error = match answer {
                Err(error) if tries < self.upstream.retries && may_be_repeated(&error, repeat) => error,
                answer => return answer,
            };
            let jitter = PAUSE + u64::from(u16::from_be_bytes(dice)) * PAUSE / u64::from(u16::MAX);
            let pause = Duration::from_millis(jitter << tries.min(6));
            let wished =
                error.retry_after().map_or(pause, |seconds| pause.max(Duration::from_secs(seconds.min(3_600))));
            if Instant::now() + wished >= deadline {
                return Err(error);
            }
            sleep(wished).await;
            tries += 1;
        }
    }

    async fn ask_once<'a, T>(
        &'a self,
        posting: Posting<'a>,
        read: &(dyn Fn(Response<Vec<u8>>, Timestamp, Scheme) -> Result<T, Error> + Send + Sync + 'a),
    ) -> Result<T, Error> {
        let Posting { url, endpoints, form, trace, .. } = posting;
        let now = self.clock.now();
        let form = form(self, endpoints, now).await?;
        let scheme = if form.mentions("req_cnf") { Scheme::Pop } else { Scheme::Bearer };
        let mut request = http::Request::post(url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(form.into_body())
            .map_err(|_| Error::Request("the endpoint is not a URL; correct the client's endpoints"))?;
        request.headers_mut().extend(trace.clone());
        let reply = self.transport.send(request).await?;
        read(reply, now, scheme)
    }
}

/// Reads an answer of the token endpoint. Strict about size and redirects only.
pub(crate) fn read(
    reply: Response<Vec<u8>>,
    asked_at: Timestamp,
    max_bytes: usize,
    scheme: Scheme,
) -> Result<Token, Error> {
    Token::read(&success(reply, asked_at, max_bytes)?, asked_at, scheme)
}

/// The body of an answer that is none of refusal.
pub(crate) fn success(
    reply: Response<Vec<u8>>,
    asked_at: Timestamp,
    max_bytes: usize,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (head, body) = reply.into_parts();
    let body = Zeroizing::new(body);
    if head.status.is_redirection() {
        return Err(TransportError::from(Cause::Redirect).into());
    }
    if body.len() > max_bytes {
        return Err(TransportError::from(Cause::TooLarge).into());
    }
    if head.status == StatusCode::OK {
        return Ok(body);
    }
    let (status, retry_after) = (head.status.as_u16(), retry_after(&head.headers, asked_at));
    match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(mut body) if !body.error.is_empty() => {
            // A refusal that has tokens in it contradicts itself: it is passed on, and they are not.
            body.more.retain(|name, _| !TOKENS.contains(&name.as_str()));
            Err(Error::refused(status, retry_after, body))
        }
        _ if head.status.is_success() => Err(Error::Answer("its status is not 200 (RFC 6749 section 5.1)")),
        _ => {
            debug!(upstream.status = status, upstream.body = %shown(&body), "an authority's error could not be read");
            Err(Error::Unreadable { status, retry_after })
        }
    }
}

fn may_be_repeated(error: &Error, repeat: Repeat) -> bool {
    match (error, repeat) {
        (Error::Unreachable(error), Repeat::Safe) => {
            matches!(error.cause, Cause::Connect | Cause::Timeout | Cause::Broken)
        }
        (Error::Unreachable(error), Repeat::Once) => error.cause == Cause::Connect,
        (_, Repeat::Safe) => error.status().is_some_and(|status| status >= 500 || matches!(status, 408 | 429)),
        (_, Repeat::Once) => error.status() == Some(429),
    }
}

/// Seconds to wait, however they are written (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let date = || {
        let moment = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?.as_secs();
        Some(moment.saturating_sub(now.0.unsigned_abs()))
    };
    text.parse().ok().or_else(date)
}

/// The beginning of a body for a log: without control characters, and without what could be a token.
fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..4 * SHOWN).unwrap_or(body)).into_owned();
    let mut shown = String::new();
    for word in text.split_inclusive(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        let word = if word.len() > 40 { "…" } else { word };
        for c in word.chars() {
            let escaped: String = if c.is_control() { c.escape_default().collect() } else { c.to_string() };
            if shown.len() + escaped.len() > SHOWN {
                return shown;
            }
            shown.push_str(&escaped);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_log_shows_of_a_body_is_short_escaped_and_no_token() {
        let token = format!("eyJ{}", "a.B-_9".repeat(40));
        let body = format!("<html>\r\n\u{1b}[31m{token} {}", "word ".repeat(200));
        let shown = shown(body.as_bytes());
        assert!(shown.len() <= SHOWN && shown.len() > 200, "{shown}");
        assert!(shown.starts_with("<html>\\r\\n\\u{1b}[…") && !shown.contains("eyJ"), "{shown}");
        assert!(!shown.chars().any(char::is_control));
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = Timestamp(784_111_777);
        let read = |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]), now);
        assert_eq!(read("7"), Some(7));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:40 GMT"), Some(3));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:30 GMT"), Some(0));
        assert_eq!(read("soon"), None);
        assert_eq!(read("-1"), None);
    }
}
