//! The terms of an order, as an API asks for them.
use super::{LONGEST, Worker};
use crate::denial::Denial;
use crate::id::AppId;
use crate::model::Digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use decision::CheckId;
use oauth::{Form, Parameter, TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_JWT};
use serde::{Deserialize, Serialize};

/// Life of an order for which none is asked, in seconds.
const USUAL: i64 = 86_400;
/// The most redemptions.
const REDEMPTIONS: u32 = 10_000;
/// The most workers.
const WORKERS: usize = 8;
/// Bounds of a purpose, in characters (as OpenID Connect for Identity Assurance has them for its `purpose`).
const PURPOSE: std::ops::RangeInclusive<usize> = 3..=300;

/// What an order is asked for with.
pub const PARAMETERS: &[Parameter] = &[
    Parameter::required("requested_token_type", "`urn:deputize:params:oauth:token-type:work-order`."),
    Parameter::required(
        "subject_token",
        "The access token of a user that this client received; its audience is this client. ID tokens and app-only tokens are \
         refused.",
    ),
    Parameter::required("subject_token_type", "`urn:ietf:params:oauth:token-type:access_token` or `…:jwt`."),
    Parameter::required(
        "scope",
        "What the worker may ask for at most, of one API or of several (up to eight): what this client could itself get on \
         behalf of the user now. `{application ID URI}/.default` stands for all of that, as it is now.",
    ),
    Parameter::required(
        "may_act",
        "Who may redeem it, as JSON: `{\"sub\": \"{client id}\"}`, or an array of up to eight of these (RFC 8693 section 4.4). \
         With `\"cnf\": {\"x5t#S256\": \"…\"}` (RFC 8705) only with that certificate.",
    ),
    Parameter::required(
        "purpose",
        "Why, in 3 to 300 characters: the user reads it on the page of their work orders, and the audit trail keeps it.",
    ),
    Parameter::optional(
        "content_digest",
        "`sha-256=:…:` of the message that describes the work (as in RFC 9530): then the order is for that message alone.",
    ),
    Parameter::optional("redemptions", "How often it may be redeemed: 1 to 10000; 1 where it is left out."),
    Parameter::optional(
        "requested_expiry",
        "For how many seconds it works: up to 2592000, thirty days; 86400, one day, where it is left out.",
    ),
    Parameter::optional("audience", "Names APIs again that `scope` names; another one is refused."),
    Parameter::optional("resource", "The same as `audience`."),
    Parameter::optional("actor_token", "Not offered: the actor is the client that authenticates."),
];

/// The terms of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Who may redeem it.
    pub workers: Vec<Worker>,
    /// Why.
    pub purpose: String,
    /// SHA-256 of the message it is for.
    pub content: Option<Digest>,
    /// How often.
    pub redemptions: u32,
    /// For how long, in seconds.
    pub seconds: i64,
}

/// `may_act`: an actor's claims.
#[derive(Deserialize)]
struct Actor {
    sub: String,
    #[serde(default)]
    cnf: Option<Confirmation>,
}

/// `cnf` (RFC 7800). One of a kind that is not known here would bind to nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    #[serde(rename = "x5t#S256")]
    thumbprint: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Actors {
    One(Actor),
    Several(Vec<Actor>),
}

impl Terms {
    /// Reads the terms.
    ///
    /// # Errors
    /// With the parameter that is out of bounds.
    pub(crate) fn read(form: &Form) -> Result<Self, Denial> {
        if form.mentions("actor_token") {
            return Err(no_actor_token());
        }
        token_type(form)?;
        Ok(Self {
            workers: workers(form.value("may_act").unwrap_or_default())?,
            purpose: purpose(form.value("purpose").unwrap_or_default())?,
            content: match form.value("content_digest") {
                Some(text) => Some(content(text).ok_or_else(|| {
                    outside("`content_digest` as `sha-256=:` and 32 bytes in base64 and `:`", "another text")
                })?),
                None => None,
            },
            redemptions: number("redemptions", form.value("redemptions"), 1..=i64::from(REDEMPTIONS))?
                .map_or(1, |n| u32::try_from(n).unwrap_or(1)),
            seconds: number("requested_expiry", form.value("requested_expiry"), 1..=LONGEST)?.unwrap_or(USUAL),
        })
    }
}

/// Nobody is named as an actor but by themselves.
pub(crate) fn no_actor_token() -> Denial {
    let expected = "no `actor_token`, since the actor is the client that authenticates";
    Denial::new(CheckId::RequestWellFormed, expected, "one").fix("leave `actor_token` out")
}

fn token_type(form: &Form) -> Result<(), Denial> {
    if let Some(TOKEN_TYPE_ACCESS_TOKEN | TOKEN_TYPE_JWT) = form.value("subject_token_type") {
        return Ok(());
    }
    let expected = format!("`subject_token_type={TOKEN_TYPE_ACCESS_TOKEN}`");
    Err(Denial::new(CheckId::RequestWellFormed, expected, "another type")
        .fix("send a user's access token that this client received, and say so in `subject_token_type`"))
}

fn outside(expected: impl Into<String>, found: impl Into<String>) -> Denial {
    Denial::new(CheckId::WorkOrderTerms, expected, found)
}

fn workers(text: &str) -> Result<Vec<Worker>, Denial> {
    let expected = "`may_act` as JSON: `{\"sub\": \"{client id}\"}`, or an array of one to eight of these, each with no `cnf` \
                    or with `{\"x5t#S256\": \"…\"}`";
    let wrong = |found: &str| outside(expected, found);
    let actors = match serde_json::from_str(text) {
        Ok(Actors::One(actor)) => vec![actor],
        Ok(Actors::Several(actors)) => actors,
        Err(_) => return Err(wrong("another text")),
    };
    if actors.is_empty() || actors.len() > WORKERS {
        return Err(wrong(&format!("{} of them", actors.len())));
    }
    let worker = |actor: Actor| {
        let client: AppId = actor.sub.parse().map_err(|_| wrong("a `sub` that is no client id"))?;
        let thumbprint = actor.cnf.map(|cnf| cnf.thumbprint);
        let sound = |text: &String| URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32);
        if thumbprint.as_ref().is_some_and(|text| !sound(text)) {
            return Err(wrong("an `x5t#S256` that is not SHA-256 in base64url"));
        }
        Ok(Worker { client, thumbprint })
    };
    actors.into_iter().map(worker).collect()
}

fn purpose(text: &str) -> Result<String, Denial> {
    let length = text.chars().count();
    if PURPOSE.contains(&length) {
        return Ok(text.to_owned());
    }
    let expected = format!("`purpose` of {} to {} characters", PURPOSE.start(), PURPOSE.end());
    Err(outside(expected, format!("one of {length}")))
}

/// `sha-256=:…:` (RFC 9530 section 2): nothing else.
pub(crate) fn content(text: &str) -> Option<Digest> {
    let bytes = STANDARD.decode(text.strip_prefix("sha-256=:")?.strip_suffix(':')?).ok()?;
    Some(Digest(bytes.try_into().ok()?))
}

fn number(name: &str, text: Option<&str>, within: std::ops::RangeInclusive<i64>) -> Result<Option<i64>, Denial> {
    let Some(text) = text else { return Ok(None) };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && within.contains(&number) => Ok(Some(number)),
        _ => Err(outside(format!("`{name}` as a number from {} to {}", within.start(), within.end()), "another text")),
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Terms, content};
    use decision::CheckId;
    use oauth::Form;

    const WORKER: &str = "6a9b1c2d-0000-4000-8000-00000000000a";

    fn terms(changes: &[(&str, &str)]) -> Result<Terms, CheckId> {
        let may_act = format!("{{\"sub\":\"{WORKER}\"}}");
        let whole = [
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("may_act", may_act.as_str()),
            ("purpose", "export"),
        ];
        let kept = whole.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        let form = kept.chain(changes).fold(Form::default(), |form, (name, value)| form.with(name, value));
        Terms::read(&form).map_err(|denial| denial.id())
    }

    #[test]
    fn what_is_left_out_is_as_narrow_as_it_can_be() {
        let read = terms(&[]).unwrap();
        assert_eq!((read.redemptions, read.seconds, read.content, read.workers.len()), (1, 86_400, None, 1));
        assert_eq!(read.workers[0].thumbprint, None);
    }

    #[test]
    fn terms_out_of_bounds_are_refused_and_never_cut_to_fit() {
        let long = "x".repeat(301);
        let beyond = (LONGEST + 1).to_string();
        let nine = format!("[{}]", vec![format!("{{\"sub\":\"{WORKER}\"}}"); 9].join(","));
        let short = format!("{{\"sub\":\"{WORKER}\",\"cnf\":{{\"x5t#S256\":\"YWJj\"}}}}");
        let jkt = format!("{{\"sub\":\"{WORKER}\",\"cnf\":{{\"jkt\":\"{}\"}}}}", "A".repeat(43));
        let both = format!("{{\"sub\":\"{WORKER}\",\"cnf\":{{\"x5t#S256\":\"{0}\",\"jkt\":\"{0}\"}}}}", "A".repeat(43));
        for (name, values) in [
            ("purpose", &["", "xx", long.as_str()][..]),
            ("redemptions", &["0", "10001", "-1", "+1", "1.5", "x"]),
            ("requested_expiry", &["0", beyond.as_str(), "-5"]),
            ("content_digest", &["sha-256=:AAAA:", "sha-512=:AAAA:", "md5=:AAAA:", "AAAA"]),
            (
                "may_act",
                &[
                    "",
                    "{}",
                    "[]",
                    "ada",
                    "{\"sub\":\"orders\"}",
                    nine.as_str(),
                    short.as_str(),
                    jkt.as_str(),
                    both.as_str(),
                ],
            ),
        ] {
            for value in values {
                assert_eq!(terms(&[(name, value)]), Err(CheckId::WorkOrderTerms), "{name}={value}");
            }
        }
        for kind in ["", "urn:ietf:params:oauth:token-type:id_token", "urn:ietf:params:oauth:token-type:refresh_token"]
        {
            assert_eq!(terms(&[("subject_token_type", kind)]), Err(CheckId::RequestWellFormed), "{kind}");
        }
        assert_eq!(terms(&[("actor_token", "x")]), Err(CheckId::RequestWellFormed));
    }

    #[test]
    fn a_digest_is_read_as_rfc_9530_writes_it() {
        let text = format!("sha-256=:{}=:", "A".repeat(43));
        assert_eq!(content(&text).map(|digest| digest.0), Some([0; 32]));
        assert!(content(&text.replace("sha-256", "SHA-256")).is_none());
    }
}
