//! Whose token is asked for, where "the user's" and "the application's" do not say it.
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use client::Random;
use oauth::Secret;
use serde_json::Value;

/// What a caller writes where the key is to be chosen here.
const ALLOCATE: &str = "AllocateForMe";
/// The characters of a session key: one that has fewer could be guessed, and stands for a user.
const SESSION_KEY: std::ops::RangeInclusive<usize> = 22..=256;
/// The longest confirmation.
const LONGEST_CONFIRMATION: usize = 4096;

/// Whom a token speaks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose<'a> {
    /// The application.
    Application,
    /// The user whose token came in; with a key, under which the work goes on later.
    User(&'a Secret, Option<&'a SessionKey>),
    /// The user for whom work was begun under this key.
    Session(&'a SessionKey),
    /// The user that the agent is.
    AgentUser(&'a AgentUser),
    /// The host's own identity of this client id.
    Host(&'a str),
}

impl<'a> Whose<'a> {
    /// What tells one user from another; nothing where it is none.
    pub(crate) fn user(self) -> Option<[&'a str; 2]> {
        match self {
            Self::Application | Self::Host(_) => None,
            Self::User(token, _) => Some(["token", token.expose()]),
            Self::Session(key) => Some(["session", key.secret().expose()]),
            Self::AgentUser(AgentUser::Name(name)) => Some(["name", name]),
            Self::AgentUser(AgentUser::Id(id)) => Some(["id", id]),
        }
    }
}

/// The key of work that outlives its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SessionKey {
    /// The caller's.
    Chosen(Secret),
    /// Made here, for the caller to keep.
    Allocated(Secret),
}

impl SessionKey {
    pub(crate) fn read(text: &str, random: &dyn Random) -> Result<Self, &'static str> {
        if text == ALLOCATE {
            let mut octets = zeroize::Zeroizing::new([0; 32]);
            random.fill(octets.as_mut());
            return Ok(Self::Allocated(Secret::new(URL_SAFE_NO_PAD.encode(octets))));
        }
        if SESSION_KEY.contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Ok(Self::Chosen(Secret::new(text)));
        }
        Err(
            "whoever has the key acts for the user, so nobody may guess it; send `AllocateForMe` and keep the key that is \
             answered, or one of your own of 22 to 256 characters without spaces",
        )
    }

    pub(crate) const fn secret(&self) -> &Secret {
        match self {
            Self::Chosen(key) | Self::Allocated(key) => key,
        }
    }
}

/// A user that an agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AgentUser {
    /// By user principal name.
    Name(String),
    /// By object id.
    Id(String),
}

impl AgentUser {
    pub(crate) fn named(name: &str) -> Result<Self, &'static str> {
        let sound =
            |text: &str| !text.is_empty() && !text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '@');
        let both = name.split_once('@').filter(|(user, domain)| name.len() <= 320 && sound(user) && sound(domain));
        both.map(|_| Self::Name(name.to_owned())).ok_or("this is no user principal name; write `agent@contoso.com`")
    }

    pub(crate) fn with_id(id: &str) -> Result<Self, &'static str> {
        let part =
            |part: &str, length: usize| part.len() == length && part.bytes().all(|octet| octet.is_ascii_hexdigit());
        let lengths = [8, 4, 4, 4, 12];
        let parts: Vec<&str> = id.split('-').collect();
        let sound = parts.len() == lengths.len() && parts.iter().zip(lengths).all(|(text, length)| part(text, length));
        let wrong = "this is no object id; send it as `00000000-0000-0000-0000-000000000000`";
        if sound { Ok(Self::Id(id.to_ascii_lowercase())) } else { Err(wrong) }
    }

    pub(crate) fn asked(&self) -> client::AgentUser<'_> {
        match self {
            Self::Name(name) => client::AgentUser::Name(name),
            Self::Id(id) => client::AgentUser::Id(id),
        }
    }
}

/// What binds a token to a key, as the authority reads it: base64url of `{"kid": …}`, as libraries make it.
pub(crate) fn confirmation(text: &str) -> Result<String, &'static str> {
    let octets = Some(text).filter(|text| text.len() <= LONGEST_CONFIRMATION);
    let octets = octets.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let names = match octets.and_then(|octets| serde_json::from_slice(&octets).ok()) {
        Some(Value::Object(members)) => {
            let kid = members.get("kid").and_then(Value::as_str).is_some_and(|kid| !kid.is_empty());
            let jwk = members.get("jwk").and_then(Value::as_object);
            let private = ["d", "k"].iter().any(|name| jwk.is_some_and(|jwk| jwk.contains_key(*name)));
            if private {
                return Err("this is a private key; keep it, and send its public half");
            }
            kid || jwk.is_some()
        }
        _ => false,
    };
    if names {
        Ok(text.to_owned())
    } else {
        Err("it names no key; send base64url of `{\"kid\": \"the key's thumbprint\"}`")
    }
}

/// A client id: of an agent, or of an identity of the host.
pub(crate) fn client_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seven(octets: &mut [u8]) {
        octets.fill(7);
    }

    #[test]
    fn a_session_key_is_one_that_nobody_guesses() {
        let read = |text: &str| SessionKey::read(text, &seven);
        let allocated = read("AllocateForMe").unwrap();
        assert_eq!(allocated.secret().expose().len(), 43, "32 octets of randomness");
        assert!(matches!(allocated, SessionKey::Allocated(_)));
        for good in ["d9b1c2f0-5a3e-4d4e-8a52-1f0c5a0f2f77", &"k".repeat(22), &"k".repeat(256)] {
            assert_eq!(read(good), Ok(SessionKey::Chosen(Secret::new(good))));
        }
        for bad in [
            "",
            "job-1",
            "allocateforme",
            "AllocateForMe ",
            &"k".repeat(21),
            &"k".repeat(257),
            &"k ".repeat(20),
            &"\u{e5}".repeat(30),
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(!format!("{:?}", read(&"canary".repeat(5))).contains("canary"));
    }

    #[test]
    fn an_agents_user_is_named_in_one_way() {
        assert_eq!(AgentUser::named("agent@contoso.example"), Ok(AgentUser::Name("agent@contoso.example".into())));
        for bad in ["", "@", "a@", "@b", "a", "a@b@c", "a b@c", "a@b\n", &format!("{}@b", "a".repeat(320))] {
            assert!(AgentUser::named(bad).is_err(), "{bad:?}");
        }
        let id = "0C1B6D0E-4a6d-4d0b-8a52-1f0c5a0f2f77";
        assert_eq!(AgentUser::with_id(id), Ok(AgentUser::Id(id.to_ascii_lowercase())));
        for bad in
            ["", "x", "ada@contoso.example", &id[1..], &format!("{id}0"), &id.replace('-', ""), &id.replace('0', "g")]
        {
            assert!(AgentUser::with_id(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_confirmation_names_a_key_and_is_none() {
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        for good in [r#"{"kid":"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"}"#, r#"{"jwk":{"kty":"EC","x":"1"}}"#] {
            assert_eq!(confirmation(&encoded(good)), Ok(encoded(good)));
        }
        for bad in
            ["{}", "[]", r#"{"kid":""}"#, r#"{"kid":1}"#, r#"{"jwk":"x"}"#, "x", r#"{"jwk":{"kty":"EC","d":"1"}}"#]
        {
            assert!(confirmation(&encoded(bad)).is_err(), "{bad}");
        }
        for bad in ["", "x", r#"{"kid":"a"}"#, "a b", &encoded(&format!(r#"{{"kid":"{}"}}"#, "k".repeat(4_000)))] {
            assert!(confirmation(bad).is_err(), "{bad}");
        }
    }
}
