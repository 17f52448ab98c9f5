//! Who may call: programs of this machine, and nobody's web page.
//!
//! A browser can be made to send a request anywhere, loopback included, and names can be made to resolve to it. So a call
//! with a foreign `Host`, with any `Origin`, or from a page of any site is refused, however harmless it looks.
use crate::answer::{self, Answer};
use crate::settings::{Bind, Callers};
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, StatusCode};
use serve::Caller;
use sha2::{Digest, Sha256};
use std::net::IpAddr;

/// Where callers show their credential at the APIs whose `Authorization` has the user's token.
pub(crate) const CALLER: HeaderName = HeaderName::from_static("x-caller-authorization");

/// What a listener demands of every call.
pub(crate) struct Access {
    /// Where the credential is shown.
    shown_in: HeaderName,
    /// The digest of what callers show; compared by digest, so that time tells nothing of the text.
    bearer: Option<[u8; 32]>,
    uids: Vec<u32>,
    hosts: Vec<String>,
    unix: bool,
}

/// Why a call is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// `Host` is none of ours.
    Host,
    /// A web page sent it.
    Page,
    /// It shows no credential, or a wrong one.
    Credential,
    /// Another user's program.
    User,
}

impl Refused {
    /// For the caller.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Host => {
                "the request is for another host; call the sidecar as 127.0.0.1 or localhost, or list the name under \
                 `callers.hosts`"
            }
            Self::Page => "the request comes from a web page; the sidecar serves programs only",
            Self::Credential => {
                "the caller shows no credential, or a wrong one; send the configured token as `Authorization: Bearer`"
            }
            Self::User => "the caller runs as another user; list its user id under `callers.uids`",
        }
    }

    /// For the caller, as an answer.
    pub(crate) fn answer(self) -> Answer {
        let status = match self {
            Self::Credential => StatusCode::UNAUTHORIZED,
            Self::Host | Self::Page | Self::User => StatusCode::FORBIDDEN,
        };
        let answer = answer::error(status, "access_denied", self.text());
        if self == Self::Credential { answer::challenged(answer) } else { answer }
    }

    /// What it is counted as.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Host => "ForeignHost",
            Self::Page => "WebPage",
            Self::Credential => "CallerCredential",
            Self::User => "CallerUser",
        }
    }
}

impl Access {
    pub(crate) fn new(callers: &Callers, bind: &Bind) -> Self {
        Self {
            shown_in: AUTHORIZATION,
            bearer: callers.bearer.as_ref().map(|bearer| digest(bearer.expose().as_bytes())),
            uids: callers.uids.clone(),
            hosts: callers.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            unix: matches!(bind, Bind::Unix(_)),
        }
    }

    /// For an API whose `Authorization` is the user's: the caller's own credential is shown in [`CALLER`].
    pub(crate) fn beside_users(callers: &Callers, bind: &Bind) -> Self {
        Self { shown_in: CALLER, ..Self::new(callers, bind) }
    }

    /// Whether this call is taken. `authority` is the request's own, which HTTP/2 has in place of `Host`.
    pub(crate) fn admit(
        &self,
        caller: Caller,
        authority: Option<&Authority>,
        headers: &HeaderMap,
    ) -> Result<(), Refused> {
        if self.unix && !self.uids.is_empty() && !caller.uid.is_some_and(|uid| self.uids.contains(&uid)) {
            return Err(Refused::User);
        }
        if headers.contains_key(ORIGIN) {
            return Err(Refused::Page);
        }
        if headers.get_all("sec-fetch-site").iter().any(|site| site != "none") {
            return Err(Refused::Page);
        }
        if !self.is_ours(caller, authority, headers) {
            return Err(Refused::Host);
        }
        let Some(expected) = &self.bearer else { return Ok(()) };
        let mut shown = headers.get_all(&self.shown_in).iter();
        let (Some(shown), None) = (shown.next(), shown.next()) else { return Err(Refused::Credential) };
        let token = shown.as_bytes().split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
        match token {
            Some((_, token)) if digest(token) == *expected => Ok(()),
            _ => Err(Refused::Credential),
        }
    }

    /// RFC 9112 section 3.2: one `Host`, and the request's own authority, if it has one, is held to the same rule.
    fn is_ours(&self, caller: Caller, authority: Option<&Authority>, headers: &HeaderMap) -> bool {
        // No page reaches a Unix socket, and programs write anything there.
        if self.unix {
            return true;
        }
        let mut named = headers.get_all(HOST).iter();
        let (first, second) = (named.next(), named.next());
        let ours = |host: &str| self.is_our_name(host, caller.reached);
        if second.is_some() || authority.is_some_and(|authority| !ours(authority.as_str())) {
            return false;
        }
        match first {
            Some(host) => host.to_str().is_ok_and(ours),
            None => authority.is_some(),
        }
    }

    /// `reached` is the address that the call came to: no page can make a name of it.
    fn is_our_name(&self, host: &str, reached: Option<IpAddr>) -> bool {
        // The address that nearly every call has: seen at once.
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map_or("", |(name, _)| name),
            None => host.rsplit_once(':').map_or(host, |(name, port)| {
                if port.bytes().all(|octet| octet.is_ascii_digit()) { name } else { host }
            }),
        };
        if name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let listed = || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name));
        match name.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
            // Leads to this machine from any page, and browsers do not count it as a local address.
            Ok(ip) if ip.is_unspecified() => false,
            Ok(ip) => ip.is_loopback() || reached.is_some_and(|reached| reached.to_canonical() == ip) || listed(),
            Err(_) => listed(),
        }
    }
}

fn digest(octets: &[u8]) -> [u8; 32] {
    Sha256::digest(octets).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use oauth::Secret;

    fn access(bind: &str, bearer: Option<&str>) -> Access {
        let hosts = ["Texas", "10.9.9.9", "0.0.0.0"].map(str::to_owned).into();
        let callers = Callers { bearer: bearer.map(Secret::new), uids: vec![1000], hosts, ..Callers::default() };
        Access::new(&callers, &Bind::parse(bind).unwrap())
    }

    /// A caller of user 1000 on a socket; over a network it reached 10.1.2.3.
    fn caller() -> Caller {
        Caller { uid: Some(1000), address: None, reached: Some([10, 1, 2, 3].into()) }
    }

    fn asked(access: &Access, headers: &[(&'static str, &str)]) -> Result<(), Refused> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        access.admit(caller(), None, &map)
    }

    #[test]
    fn a_call_by_another_name_is_refused() {
        let local = access("127.0.0.1:3000", None);
        for ours in ["127.0.0.1:3000", "localhost", "LOCALHOST:3000", "[::1]:3000", "127.0.0.1", "texas:3000"] {
            assert_eq!(asked(&local, &[("host", ours)]), Ok(()), "{ours}");
        }
        for foreign in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:3000",
            "10.0.0.1",
            "",
            "[evil",
            "a@localhost",
        ] {
            assert_eq!(asked(&local, &[("host", foreign)]), Err(Refused::Host), "{foreign}");
        }
        assert_eq!(asked(&local, &[]), Err(Refused::Host));
        assert_eq!(asked(&local, &[("host", "localhost"), ("host", "evil.example")]), Err(Refused::Host));
        let foreign: Authority = "evil.example".parse().unwrap();
        let mut host = HeaderMap::new();
        assert_eq!(local.admit(caller(), Some(&foreign), &host), Err(Refused::Host), "HTTP/2");
        host.insert(HOST, "localhost".parse().unwrap());
        assert_eq!(local.admit(caller(), Some(&foreign), &host), Err(Refused::Host), "they disagree");
        assert_eq!(asked(&access("unix:/run/a", None), &[("host", "anything")]), Ok(()));
    }

    #[test]
    fn the_address_that_was_reached_is_a_name_and_the_one_that_is_every_address_is_none() {
        let open = access("0.0.0.0:3000", None);
        for ours in
            ["10.1.2.3:3000", "10.1.2.3", "[::ffff:10.1.2.3]:3000", "10.9.9.9", "127.0.0.1", "[::ffff:127.0.0.1]"]
        {
            assert_eq!(asked(&open, &[("host", ours)]), Ok(()), "{ours}");
        }
        // Browsers take all of these for addresses of this machine.
        for foreign in [
            "0.0.0.0:3000",
            "0.0.0.0",
            "[::]:3000",
            "[::ffff:0.0.0.0]",
            "0",
            "0:3000",
            "127.1",
            "2130706433",
            "0x7f.1",
            "10.1.2.4",
        ] {
            assert_eq!(asked(&open, &[("host", foreign)]), Err(Refused::Host), "{foreign}");
        }
        let headers = HeaderMap::from_iter([(HOST, "10.1.2.3:3000".parse().unwrap())]);
        let elsewhere = Caller { reached: Some([10, 1, 2, 4].into()), ..caller() };
        assert_eq!(open.admit(elsewhere, None, &headers), Err(Refused::Host));
    }

    #[test]
    fn no_web_page_drives_the_sidecar() {
        let local = access("127.0.0.1:3000", None);
        for page in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "http://localhost:3000"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "same-origin"),
        ] {
            assert_eq!(asked(&local, &[("host", "localhost"), page]), Err(Refused::Page), "{page:?}");
        }
        assert_eq!(asked(&local, &[("host", "localhost"), ("sec-fetch-site", "none")]), Ok(()));
    }

    #[test]
    fn a_configured_credential_is_demanded() {
        let guarded = access("0.0.0.0:3000", Some("s3cret"));
        let with = |value: &str| asked(&guarded, &[("host", "localhost"), ("authorization", value)]);
        assert_eq!((with("Bearer s3cret"), with("bearer s3cret")), (Ok(()), Ok(())));
        for wrong in ["Bearer s3cre", "Bearer s3cret ", "Bearer", "Basic s3cret", "s3cret", "Bearer  s3cret"] {
            assert_eq!(with(wrong), Err(Refused::Credential), "{wrong:?}");
        }
        assert_eq!(asked(&guarded, &[("host", "localhost")]), Err(Refused::Credential));
        let twice = [("host", "localhost"), ("authorization", "Bearer s3cret"), ("authorization", "Bearer x")];
        assert_eq!(asked(&guarded, &twice), Err(Refused::Credential));
    }

    #[test]
    fn over_a_socket_listed_users_call() {
        let socket = access("unix:/run/a", None);
        let of = |uid| socket.admit(Caller { uid, ..Caller::default() }, None, &HeaderMap::new());
        assert_eq!((of(Some(1000)), of(Some(1001)), of(None)), (Ok(()), Err(Refused::User), Err(Refused::User)));
    }
}
