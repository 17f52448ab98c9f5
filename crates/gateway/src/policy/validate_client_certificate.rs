//! `validate_client_certificate`: callers who opened the connection with one of these certificates.
//!
//! The handshake shows that a caller holds the key; whose it is, is decided here, for every request: a connection that was
//! opened, or resumed, before its certificate ended or was revoked is worth no more than the certificate.
mod identity;
mod told;

use super::{Decided, Part, Phase, Policy};
use crate::call::Call;
use crate::denial::Denial;
use crate::rotating::{Rotating, content};
use crate::secrets::{Held, Material};
use crate::settings::{SettingsError, Spanned, World, fault};
use decision::{CheckId, Timestamp};
use identity::{Identity, IdentityTable};
use jose::{Authorities, Distrust, PeerCertificate};
use schemars::JsonSchema;
use serde::Deserialize;
use serve::Shown;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
pub(crate) use told::ToldCertificates;

/// Calls over connections that were opened with a client certificate that these rules let by.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "validate_client_certificate")]
pub(crate) struct Table {
    /// Files in PEM with the certificate authorities of which one has to vouch for the certificate. They are read again when they
    /// change.
    #[serde(default)]
    authorities: Vec<Spanned<PathBuf>>,
    /// Files with what these authorities revoked, in PEM or DER, of every authority of a chain. They are read again when they
    /// change; once a list has ended, what it tells of is refused.
    #[serde(default)]
    revocation_lists: Vec<Spanned<PathBuf>>,
    /// Whether a trusted authority has to vouch for the certificate. Without that, every identity has a `thumbprint`: anybody can
    /// write the rest.
    #[serde(default = "yes")]
    validate_trust: bool,
    /// Whether a certificate that was revoked is refused, and one of which no list tells.
    #[serde(default = "yes")]
    validate_revocation: bool,
    /// Whether a certificate that has not begun is refused.
    #[serde(default = "yes")]
    validate_not_before: bool,
    /// Whether a certificate that has ended is refused.
    #[serde(default = "yes")]
    validate_not_after: bool,
    /// Whether calls go on though their certificate is refused, or though they have none: then this keeps nobody out.
    #[serde(default)]
    ignore_error: bool,
    /// The certificates that may call, of which one has to be meant; by default all that the other rules let by.
    #[serde(default)]
    identities: Vec<Spanned<IdentityTable>>,
}

const fn yes() -> bool {
    true
}

impl super::Table for Table {
    fn part(&self, at: &Range<usize>, world: &mut World<'_>) -> Result<Part, SettingsError> {
        world.asks_for_certificates(at)?;
        self.sound(at)?;
        let identities = self.identities.iter().map(|table| Identity::read(table, self.validate_trust));
        let identities: Vec<Identity> = identities.collect::<Result<_, _>>()?;
        let mut files = Vec::new();
        let of = |all: &[Spanned<PathBuf>], read: &dyn Fn(&[u8]) -> Result<(), jose::AuthoritiesError>| {
            for file in all {
                let wrong = |reason: String| {
                    fault(&file.span(), format!("`{}` {reason}", file.get_ref().display()), "give another file")
                };
                let held = content(&world.path(file.get_ref())).map_err(wrong)?;
                read(&held).map_err(|error| wrong(format!("cannot be used: {error}")))?;
            }
            Ok::<_, SettingsError>(())
        };
        of(&self.authorities, &|held| Authorities::read(held).map(drop))?;
        of(&self.revocation_lists, &|held| Authorities::default().add_revocation_lists(held))?;
        let (authorities, lists) = (self.authorities.len(), self.revocation_lists.len());
        files.extend(self.authorities.iter().chain(&self.revocation_lists).map(|file| world.path(file.get_ref())));
        for (table, identity) in self.identities.iter().zip(&identities) {
            if let Some(file) = &identity.issuer_file {
                let path = world.path(file);
                identity::issuer_of(&content(&path).unwrap_or_default()).ok_or_else(|| {
                    let problem = format!("`{}` holds no certificate in PEM", file.display());
                    fault(&table.span(), problem, "name the file of the issuer's certificate")
                })?;
                files.push(path);
            }
        }
        let flags = Flags {
            trust: self.validate_trust,
            not_before: self.validate_not_before,
            not_after: self.validate_not_after,
        };
        let read = move |held: &[Held]| {
            let mut held = held.iter();
            let mut trusted = Authorities::default();
            for one in held.by_ref().take(authorities) {
                trusted = trusted.join(Authorities::read(one).map_err(|error| error.to_string())?);
            }
            for one in held.by_ref().take(lists) {
                trusted.add_revocation_lists(one).map_err(|error| error.to_string())?;
            }
            let mut identities = identities.clone();
            for identity in identities.iter_mut().filter(|identity| identity.issuer_file.is_some()) {
                let issuer = held.next().and_then(|one| identity::issuer_of(one));
                identity.issuer_thumbprint = Some(issuer.ok_or("an issuer's file holds no certificate in PEM")?);
            }
            Ok(Rule { trusted, identities, flags })
        };
        let rule =
            Rotating::begin(Material::files(files), read).map_err(|reason| fault(at, reason, "give other files"))?;
        let rule = Arc::new(rule);
        world.keep_up_to_date(Arc::clone(&rule) as _);
        Ok(Part::Rule(Arc::new(ValidateClientCertificate { rule, ignore_error: self.ignore_error })))
    }

    fn identifies(&self) -> bool {
        !self.ignore_error
    }

    fn told(&self) -> String {
        let mut told = vec![match self.identities.len() {
            0 => "any client certificate".to_owned(),
            1 => "one client certificate".to_owned(),
            many => format!("one of {many} client certificates"),
        }];
        if self.validate_trust {
            let files: Vec<String> = self.authorities.iter().map(|file| file.get_ref().display().to_string()).collect();
            told.push(format!("vouched for by {}", files.join(" or ")));
        }
        for (holds, text) in [
            (!self.validate_trust, "whoever vouches for it"),
            (self.validate_trust && !self.validate_revocation, "revoked or not"),
            (!self.validate_not_before, "begun or not"),
            (!self.validate_not_after, "ended or not"),
            (self.ignore_error, "and calls without it too"),
        ] {
            told.extend(holds.then(|| text.to_owned()));
        }
        told.join(", ")
    }
}

impl Table {
    /// What would be no check at all is refused.
    fn sound(&self, at: &Range<usize>) -> Result<(), SettingsError> {
        let wrong = |problem: &str, hint: &str| Err(fault(at, problem, hint));
        match (self.validate_trust, self.validate_revocation) {
            (true, _) if self.authorities.is_empty() => wrong(
                "nobody is named who vouches for certificates",
                "add `authorities`, or `validate_trust = false` and the `thumbprint` of each certificate in `identities`",
            ),
            (true, true) if self.revocation_lists.is_empty() => wrong(
                "nothing tells which certificates are revoked",
                "add `revocation_lists`, or say `validate_revocation = false`",
            ),
            (true, false) if !self.revocation_lists.is_empty() => {
                wrong("`revocation_lists` are not looked at", "drop them, or `validate_revocation = false`")
            }
            (false, true) => wrong(
                "whether a certificate is revoked, only who vouches for it can tell",
                "add `validate_revocation = false`, or drop `validate_trust = false`",
            ),
            (false, false) if !(self.authorities.is_empty() && self.revocation_lists.is_empty()) => {
                wrong("`authorities` are not asked", "drop them, or `validate_trust = false`")
            }
            (false, false) if self.identities.is_empty() => wrong(
                "every certificate passes, which is no check",
                "name certificates in `identities`, or drop `validate_trust = false`",
            ),
            _ => Ok(()),
        }
    }
}

struct ValidateClientCertificate {
    rule: Arc<Rotating<Rule>>,
    ignore_error: bool,
}

/// What the files hold, and what of it counts.
struct Rule {
    trusted: Authorities,
    identities: Vec<Identity>,
    flags: Flags,
}

#[derive(Clone, Copy)]
struct Flags {
    trust: bool,
    not_before: bool,
    not_after: bool,
}

impl Rule {
    fn judge(&self, certificate: &PeerCertificate, now: Timestamp) -> Result<(), CheckId> {
        let Flags { trust, not_before, not_after } = self.flags;
        let (from, to) = (certificate.not_before(), certificate.not_after());
        if not_before && now < from {
            return Err(CheckId::CertificateNotBefore);
        }
        if not_after && now > to {
            return Err(CheckId::CertificateNotAfter);
        }
        let vouched = if trust {
            // Where its own times do not count, it is judged as within them; those of its issuers count all the same.
            let vouched = self.trusted.vouch(certificate, now.max(from).min(to));
            Some(vouched.map_err(|distrust| match distrust {
                Distrust::Revoked => CheckId::CertificateNotRevoked,
                Distrust::RevocationUnknown => CheckId::CertificateRevocationKnown,
                Distrust::Untrusted | Distrust::Expired | Distrust::NotYetValid => CheckId::CertificateTrusted,
            })?)
        } else {
            None
        };
        let meant = |identity: &Identity| identity.is(certificate, vouched.as_ref());
        if self.identities.is_empty() || self.identities.iter().any(meant) {
            Ok(())
        } else {
            Err(CheckId::CertificateIdentity)
        }
    }
}

impl Policy for ValidateClientCertificate {
    fn phase(&self) -> Phase {
        Phase::Identify
    }

    fn decide(&self, call: &mut Call) -> Decided {
        let judged = match (&call.certificate, self.rule.current()) {
            // Shown to another host, over a connection that is used for this one too.
            (Some(certificate), _) if !certificate.is_for(call.request.host()) => {
                return Decided::Deny(Box::new(Denial::of(CheckId::GatewayMisdirected)));
            }
            (None, _) => Err(CheckId::CertificatePresent),
            (_, None) => Err(CheckId::SecretAvailable),
            (Some(certificate), Some(rule)) => certificate.judged(&rule, call.now),
        };
        match judged {
            Err(check) if !self.ignore_error => Decided::Deny(Box::new(Denial::of(check))),
            _ => Decided::Pass,
        }
    }
}

/// The certificate of a connection or a request, and what was decided about it.
pub(crate) struct Certificate {
    read: Option<PeerCertificate>,
    /// The host that it was shown to.
    host: Option<Box<str>>,
    /// By rule: what was decided, and in which second. A signature is verified once in a second, not for every request.
    judged: Mutex<Vec<Judged>>,
    /// How many bytes it takes where it outlives its request.
    octets: u64,
}

/// By which rule, in which second, and what. Rules that are replaced, and their lists, are kept by nobody's certificate.
type Judged = (Weak<Rule>, Timestamp, Result<(), CheckId>);

/// How many rules a certificate remembers.
const RULES: usize = 16;

impl Certificate {
    /// That of a request's connection, read once for all of its requests.
    pub(crate) fn of(shown: &Shown) -> Option<Arc<Self>> {
        let host = shown.server_name().map(Into::into);
        shown.read(|chain| Self { read: PeerCertificate::read(chain), host, judged: Mutex::default(), octets: 0 })
    }

    /// Whether it was shown to this host, as far as the handshake named one.
    fn is_for(&self, host: &str) -> bool {
        self.host.as_deref().is_none_or(|name| name.trim_end_matches('.').eq_ignore_ascii_case(host))
    }

    /// What tokens that are bound to it carry.
    pub(crate) fn x5t_s256(&self) -> Option<&str> {
        self.read.as_ref().map(PeerCertificate::x5t_s256)
    }

    fn judged(&self, rule: &Arc<Rule>, now: Timestamp) -> Result<(), CheckId> {
        // One that cannot be read is none that anybody vouches for.
        let certificate = self.read.as_ref().ok_or(CheckId::CertificateTrusted)?;
        // As long as it is remembered, no other rule has its place in memory.
        let is = |of: &Weak<Rule>| std::ptr::eq(of.as_ptr(), Arc::as_ptr(rule));
        let known = || self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((.., decided)) = known().iter().find(|(of, at, _)| is(of) && *at == now) {
            return *decided;
        }
        let decided = rule.judge(certificate, now);
        let mut known = known();
        known.retain(|(of, at, _)| !is(of) && *at == now);
        known.truncate(RULES - 1);
        known.push((Arc::downgrade(rule), now, decided));
        decided
    }
}
