//! What a token says, judged in one pass, and the answer that repeats it.
use super::{Inactive, Times};
use crate::decode::json::{Fault, Reader, Value};
use bytes::Bytes;
use decision::Timestamp;

/// What this provider's tokens must say.
pub(super) struct Expected<'a> {
    /// With `{tenantid}` in it for an issuer that has many; `None` while nobody has said it.
    pub(super) issuer: Option<&'a str>,
    /// The tenants that may stand there.
    pub(super) tenants: &'a [String],
    /// Whom they are for; `None` where that is not asked.
    pub(super) audience: Option<&'a str>,
    /// The issuer that the key is kept for, where the key set says so.
    pub(super) key: Option<&'a str>,
}

/// Claims that are as they must be.
pub(super) struct Claims {
    /// `{"active":true,…}`, the claims as the token has them.
    pub(super) answer: Bytes,
    pub(super) times: Times,
}

/// The last moment of the year 9999.
const LAST: f64 = 253_402_300_799.0;
/// Names that the answer itself uses.
const RESERVED: [&str; 2] = ["active", "error"];

#[derive(Default)]
struct Read {
    iss: Option<String>,
    tid: Option<String>,
    aud: Option<bool>,
    exp: Option<f64>,
    iat: Option<f64>,
    nbf: Option<f64>,
    /// There is an `nbf` that is no moment.
    nbf_unread: bool,
}

impl Claims {
    /// Reads and judges claims that a signature proved.
    pub(super) fn read(text: &str, expected: &Expected<'_>, now: Timestamp) -> Result<Self, Inactive> {
        let mut read = Read::default();
        let mut answer = Vec::with_capacity(text.len() + 16);
        answer.extend_from_slice(br#"{"active":true"#);
        let mut reader = Reader::new(text);
        reader.space();
        let whole = reader.object(|reader, name| {
            let start = reader.name_at();
            read.claim(reader, &name, expected)?;
            if !RESERVED.contains(&&*name) {
                answer.push(b',');
                answer.extend_from_slice(reader.since(start).as_bytes());
            }
            Ok::<(), Fault>(())
        });
        whole.map_err(|_| Inactive::Claims)?;
        answer.push(b'}');
        let times = read.judge(expected, now)?;
        Ok(Self { answer: answer.into(), times })
    }
}

impl Read {
    fn claim(&mut self, reader: &mut Reader<'_>, name: &str, expected: &Expected<'_>) -> Result<(), Fault> {
        if name == "aud" {
            return self.audience(reader, expected.audience.unwrap_or_default());
        }
        match (name, reader.value()?) {
            ("iss", Value::Text(text)) => self.iss = Some(text.into_owned()),
            ("tid", Value::Text(text)) => self.tid = Some(text.into_owned()),
            ("exp", value) => self.exp = moment(&value),
            ("iat", value) => self.iat = moment(&value),
            ("nbf", value) => {
                self.nbf = moment(&value);
                self.nbf_unread = self.nbf.is_none();
            }
            _ => {}
        }
        Ok(())
    }

    /// A text, or a list of texts; anything else is no audience.
    fn audience(&mut self, reader: &mut Reader<'_>, expected: &str) -> Result<(), Fault> {
        reader.space();
        if reader.peek() != Some(b'[') {
            if let Value::Text(text) = reader.value()? {
                self.aud = Some(text == expected);
            }
            return Ok(());
        }
        let (mut texts_only, mut named) = (true, false);
        reader.list(|reader| {
            match reader.value()? {
                Value::Text(text) => named |= text == expected,
                _ => texts_only = false,
            }
            Ok(())
        })?;
        self.aud = texts_only.then_some(named);
        Ok(())
    }

    fn judge(&self, expected: &Expected<'_>, now: Timestamp) -> Result<Times, Inactive> {
        let iss = self.iss.as_deref().ok_or(Inactive::Missing("iss"))?;
        let exp = self.exp.ok_or(Inactive::Missing("exp"))?;
        let iat = self.iat.ok_or(Inactive::Missing("iat"))?;
        if self.nbf_unread {
            return Err(Inactive::Missing("nbf"));
        }
        if expected.audience.is_some() && self.aud.is_none() {
            return Err(Inactive::Missing("aud"));
        }
        let times = Times { exp, iat, nbf: self.nbf };
        times.judge(now)?;
        if !self.is_of(iss, expected) {
            return Err(Inactive::Issuer);
        }
        if expected.audience.is_some() && self.aud != Some(true) {
            return Err(Inactive::Audience);
        }
        Ok(times)
    }

    /// Byte for byte; where an issuer has many tenants, one of those that are listed, and the key's own.
    fn is_of(&self, iss: &str, expected: &Expected<'_>) -> bool {
        const TENANT: &str = "{tenantid}";
        let Some(issuer) = expected.issuer else { return false };
        let tid = self.tid.as_deref();
        let of = |pattern: &str| match tid {
            _ if !pattern.contains(TENANT) => pattern == iss,
            Some(tid) => pattern.replace(TENANT, tid) == iss,
            None => false,
        };
        let listed =
            !issuer.contains(TENANT) || tid.is_some_and(|tid| expected.tenants.iter().any(|known| known == tid));
        listed && of(issuer) && expected.key.is_none_or(of)
    }
}

/// A NumericDate (RFC 7519 section 2): a number, with or without a fraction. A text is none.
fn moment(value: &Value<'_>) -> Option<f64> {
    let Value::Number(number) = value else { return None };
    number.parse().ok().filter(|moment| (0.0..=LAST).contains(moment))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000);

    fn expected() -> Expected<'static> {
        Expected { issuer: Some("https://id.example"), tenants: &[], audience: Some("me"), key: None }
    }

    fn judged(text: &str) -> Result<String, Inactive> {
        Claims::read(text, &expected(), NOW).map(|claims| String::from_utf8(claims.answer.to_vec()).unwrap())
    }

    fn with(name: &str, value: &str) -> Result<String, Inactive> {
        let mut claims =
            vec![("iss", r#""https://id.example""#), ("aud", r#""me""#), ("exp", "1800000100"), ("iat", "1799999900")];
        claims.retain(|(known, _)| *known != name);
        if !value.is_empty() {
            claims.push((name, value));
        }
        let claims: Vec<String> = claims.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        judged(&format!("{{{}}}", claims.join(",")))
    }

    #[test]
    fn claims_are_repeated_in_the_tokens_order_without_the_names_of_the_answer() {
        let text = r#"{ "z" : [1, 2], "active":false,"iss":"https://id.example","error":"no","aud":["x","me"],"exp":1800000100.5,"iat":1799999900,"a\u0062":{"active":1}}"#;
        assert_eq!(
            judged(text).unwrap(),
            r#"{"active":true,"z" : [1, 2],"iss":"https://id.example","aud":["x","me"],"exp":1800000100.5,"iat":1799999900,"a\u0062":{"active":1}}"#
        );
        assert!(
            !judged(&text.replace("\"error\"", r#""\u0065rror""#)).unwrap().contains("rror"),
            "however it is spelled"
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        for name in ["iss", "exp", "iat", "aud"] {
            assert_eq!(with(name, ""), Err(Inactive::Missing(name)));
            for other in ["null", "true", "{}", "[1]"] {
                assert_eq!(with(name, other), Err(Inactive::Missing(name)), "{other}");
            }
        }
        for name in ["exp", "iat", "nbf"] {
            for other in [r#""1800000000""#, "-1", "253402300800", "1e30"] {
                assert_eq!(with(name, other), Err(Inactive::Missing(name)), "{other}");
            }
        }
        assert_eq!(with("iss", r#"["https://id.example"]"#), Err(Inactive::Missing("iss")));
    }

    #[test]
    fn times_have_a_leeway_of_a_minute() {
        assert!(with("exp", "1799999941").is_ok(), "59 s ago");
        assert_eq!(with("exp", "1799999939"), Err(Inactive::Expired), "61 s ago");
        assert!(with("nbf", "1800000059").is_ok());
        assert_eq!(with("nbf", "1800000061"), Err(Inactive::Immature));
        assert!(with("iat", "1800000059.5").is_ok());
        assert_eq!(with("iat", "1800000061"), Err(Inactive::Immature));
        let text = r#"{"iss":"https://id.example","aud":"me","iat":1800000030,"exp":1800000030}"#;
        assert_eq!(judged(text), Err(Inactive::Immature), "it ends when it begins");
    }

    #[test]
    fn issuer_and_audience_are_compared_byte_for_byte() {
        for other in ["https://id.example/", "HTTPS://id.example", "snafu", ""] {
            assert_eq!(with("iss", &format!("{other:?}")), Err(Inactive::Issuer), "{other}");
        }
        for other in [r#""ME""#, r#""me ""#, r#""me other""#, "[]", r#"["them"]"#, r#""""#] {
            assert_eq!(with("aud", other), Err(Inactive::Audience), "{other}");
        }
    }

    #[test]
    fn j_19_an_issuer_of_many_tenants_is_trusted_for_those_that_are_listed() {
        let tenants = ["one".to_owned()];
        let judged = |tid: &str, iss: &str, tenants: &[String], key: Option<&str>| {
            let expected =
                Expected { issuer: Some("https://login.example/{tenantid}/v2.0"), tenants, audience: None, key };
            let text =
                format!(r#"{{"iss":"https://login.example/{iss}/v2.0","exp":1800000100,"iat":1799999900{tid}}}"#);
            Claims::read(&text, &expected, NOW).map(drop)
        };
        assert_eq!(judged(r#","tid":"one""#, "one", &tenants, None), Ok(()));
        let template = Some("https://login.example/{tenantid}/v2.0");
        assert_eq!(judged(r#","tid":"one""#, "one", &tenants, template), Ok(()));
        for (tid, iss, tenants, key) in [
            (r#","tid":"two""#, "two", tenants.as_slice(), None),
            (r#","tid":"one""#, "two", &tenants, None),
            (r#","tid":"two""#, "one", &tenants, None),
            ("", "one", &tenants, None),
            (r#","tid":"one""#, "{tenantid}", &tenants, None),
            (r#","tid":"one""#, "one", &[], None),
            (r#","tid":"one""#, "one", &tenants, Some("https://login.example/two/v2.0")),
        ] {
            assert_eq!(judged(tid, iss, tenants, key), Err(Inactive::Issuer), "{tid} {iss}");
        }
    }
}
