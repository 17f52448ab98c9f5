//! What an application says about its tokens: Graph's `optionalClaims`, `groupMembershipClaims` and token lifetime policies.
use serde::{Deserialize, Serialize};

/// Claims that tokens carry beyond the usual ones (Graph's `optionalClaims`). Access tokens follow their resource, ID tokens
/// their client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct OptionalClaims {
    /// In access tokens for this application.
    pub access_token: Vec<OptionalClaim>,
    /// In ID tokens for this application.
    pub id_token: Vec<OptionalClaim>,
}

impl OptionalClaims {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.access_token.is_empty() && self.id_token.is_empty()
    }
}

/// One optional claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OptionalClaim {
    /// Which.
    pub name: ClaimName,
    /// How: `use_guid`, `include_user_token`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additional_properties: Vec<String>,
    /// Entra's word for a claim that the application relies on. It changes nothing: what is known is always said.
    #[serde(default)]
    pub essential: bool,
}

/// The optional claims that can be answered truthfully (spec/entra.md section 9.1). None is one that a validator decides by
/// who issued what to whom: those are never optional.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum ClaimName {
    /// 0 for a member of the tenant, 1 for a guest.
    Acct,
    /// The satisfied authentication contexts.
    Acrs,
    /// With `use_guid`: `aud` of v1.0 tokens is the client id, whatever name was asked for.
    Aud,
    /// When the user proved who they are.
    AuthTime,
    /// The user's mail address; never an identity.
    Email,
    /// The user's last name.
    FamilyName,
    /// The user's first name.
    GivenName,
    /// Group ids, chosen by `groupMembershipClaims`.
    Groups,
    /// `app` or `user`: always there.
    Idtyp,
    /// The network address of the user's browser at its last sign-in; v1.0 access tokens always say it.
    Ipaddr,
    /// What to send as `login_hint` or `logout_hint`.
    LoginHint,
    /// The name to sign in with, in v1.0 tokens too.
    PreferredUsername,
    /// The sign-in session.
    Sid,
    /// The name to sign in with.
    Upn,
    /// What the client can handle, if it said so.
    XmsCc,
}

/// A set of optional claims, as decisions carry it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimSet(u16);

impl ClaimSet {
    /// Whether a claim is in it.
    pub fn has(self, name: ClaimName) -> bool {
        self.0 >> (name as u8) & 1 == 1
    }
}

impl<'a> FromIterator<&'a OptionalClaim> for ClaimSet {
    fn from_iter<I: IntoIterator<Item = &'a OptionalClaim>>(claims: I) -> Self {
        Self(claims.into_iter().fold(0, |bits, claim| bits | 1 << (claim.name as u8)))
    }
}

/// Which groups of the user stand in tokens (Graph's `groupMembershipClaims`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupMembershipClaims {
    /// None.
    #[default]
    None,
    /// Those that are security groups: here all are.
    SecurityGroup,
    /// Those that are assigned to the application.
    ApplicationGroup,
    /// All.
    All,
}

impl GroupMembershipClaims {
    /// Whether it is the default.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// How long tokens live (Graph's `tokenLifetimePolicy`). What the tenant's settings say goes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenLifetimePolicy {
    /// Of access tokens for the application.
    pub access_token_lifetime: TimeSpan,
}

/// A length of time as Entra's policies write it: `D.HH:MM:SS` or `HH:MM:SS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeSpan {
    /// In seconds.
    pub seconds: i64,
}

impl TryFrom<String> for TimeSpan {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let wrong = "a time span looks like `08:00:00` or `1.00:00:00`";
        let (days, clock) = text.split_once('.').unwrap_or(("0", &text));
        let digits = |part: &str, most: i64| {
            let plain = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            part.parse::<i64>().ok().filter(|number| plain && *number <= most).ok_or(wrong)
        };
        let mut parts = clock.split(':');
        let mut next = |most| digits(parts.next().unwrap_or_default(), most);
        let (hours, minutes, seconds) = (next(23)?, next(59)?, next(59)?);
        let days = digits(days, 99)?;
        if parts.next().is_some() {
            return Err(wrong);
        }
        Ok(Self { seconds: ((days * 24 + hours) * 60 + minutes) * 60 + seconds })
    }
}

impl From<TimeSpan> for String {
    fn from(TimeSpan { seconds }: TimeSpan) -> Self {
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        let clock = format!("{:02}:{:02}:{:02}", rest / 3_600, rest / 60 % 60, rest % 60);
        if days == 0 { clock } else { format!("{days}.{clock}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans_are_read_as_they_are_written() {
        for (text, seconds) in [("00:10:00", 600), ("8:00:00", 28_800), ("1.00:00:00", 86_400), ("0.23:59:59", 86_399)]
        {
            let span = TimeSpan::try_from(text.to_owned()).unwrap();
            assert_eq!(span.seconds, seconds, "{text}");
            assert_eq!(TimeSpan::try_from(String::from(span)), Ok(span));
        }
        for bad in [
            "",
            "3600",
            "24:00:00",
            "00:60:00",
            "1:2",
            "1:2:3:4",
            "-1:00:00",
            "a:b:c",
            "1.2.00:00:00",
            "+1:00:00",
            "001:00:00",
        ] {
            assert!(TimeSpan::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
