//! What an application declares about its tokens: optional claims, groups, lifetimes. What cannot be answered truthfully is
//! refused here, in its line, instead of being left out of every token.
use super::resolve::Work;
use crate::model::{ClaimName, GroupMembershipClaims, OptionalClaim, OptionalClaims, TimeSpan, TokenLifetimePolicy};
use serde_spanned::Spanned;

/// The shortest and the longest life that a policy may say: ten minutes and a day (spec/entra.md section 9.3).
pub(crate) const LIFETIMES: std::ops::RangeInclusive<i64> = 600..=86_400;

/// Graph's `optionalClaims`, as written.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct OptionalClaimsDeclared {
    /// In access tokens for this application.
    pub access_token: Vec<OptionalClaimDeclared>,
    /// In ID tokens for this application.
    pub id_token: Vec<OptionalClaimDeclared>,
    /// There are no SAML tokens here.
    pub saml2_token: Vec<OptionalClaimDeclared>,
}

/// One optional claim, as written.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OptionalClaimDeclared {
    /// Its name.
    pub name: Spanned<String>,
    /// Where it comes from: always from what the authority knows itself.
    #[serde(default)]
    pub source: Option<Spanned<String>>,
    /// It changes nothing.
    #[serde(default)]
    pub essential: bool,
    /// How it is written.
    #[serde(default)]
    pub additional_properties: Vec<Spanned<String>>,
}

/// A token lifetime policy, as written.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LifetimeDeclared {
    /// `D.HH:MM:SS`.
    pub access_token_lifetime: Spanned<String>,
}

/// The kind of token that a claim is wanted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Access,
    Id,
}

impl Work<'_> {
    pub(super) fn optional_claims(
        &mut self,
        declared: &OptionalClaimsDeclared,
        memberships: GroupMembershipClaims,
    ) -> OptionalClaims {
        for claim in &declared.saml2_token {
            self.fault(claim.name.span(), "there are no SAML tokens here", "drop `saml2Token`");
        }
        let all = declared.access_token.iter().chain(&declared.id_token);
        let groups = all.filter(|claim| claim.name.get_ref() == "groups").map(|claim| claim.name.span());
        for at in groups.filter(|_| memberships.is_none()).collect::<Vec<_>>() {
            let hint =
                "say which with `groupMembershipClaims = \"ApplicationGroup\"`, `\"SecurityGroup\"` or `\"All\"`";
            self.fault(at, "no groups are named", hint);
        }
        OptionalClaims {
            access_token: self.claims(&declared.access_token, Kind::Access),
            id_token: self.claims(&declared.id_token, Kind::Id),
        }
    }

    fn claims(&mut self, declared: &[OptionalClaimDeclared], kind: Kind) -> Vec<OptionalClaim> {
        let mut claims: Vec<OptionalClaim> = Vec::new();
        for claim in declared {
            let written = claim.name.get_ref();
            if let Some(source) = &claim.source {
                let hint = "drop `source`: claims come from what the authority knows of users itself";
                self.fault(source.span(), format!("`{written}` cannot come from `{}`", source.get_ref()), hint);
            }
            let name = match named(written, kind) {
                Ok(name) => name,
                Err(hint) => {
                    self.fault(claim.name.span(), format!("the optional claim `{written}` cannot be given"), hint);
                    continue;
                }
            };
            if claims.iter().any(|known| known.name == name) {
                self.fault(claim.name.span(), format!("`{written}` is declared twice"), "keep one of them");
            }
            for property in &claim.additional_properties {
                if let Err(hint) = written_as(name, property.get_ref()) {
                    let problem = format!("`{written}` has no property `{}` here", property.get_ref());
                    self.fault(property.span(), problem, hint);
                }
            }
            if name == ClaimName::Aud && claim.additional_properties.is_empty() {
                let hint =
                    "write `additionalProperties = [\"use_guid\"]`, which makes it the client id in v1.0 tokens too";
                self.fault(claim.name.span(), "`aud` stands in every token", hint);
            }
            let properties = claim.additional_properties.iter().map(|property| property.get_ref().clone()).collect();
            claims.push(OptionalClaim { name, additional_properties: properties, essential: claim.essential });
        }
        claims
    }

    pub(super) fn lifetime(&mut self, declared: &LifetimeDeclared) -> Option<TokenLifetimePolicy> {
        let text = &declared.access_token_lifetime;
        let hint = "write ten minutes to a day, such as `00:10:00`, `08:00:00` or `1.00:00:00`";
        match TimeSpan::try_from(text.get_ref().clone()) {
            Ok(span) if LIFETIMES.contains(&span.seconds) => Some(TokenLifetimePolicy { access_token_lifetime: span }),
            _ => {
                self.fault(text.span(), format!("`{}` is no lifetime of access tokens", text.get_ref()), hint);
                None
            }
        }
    }
}

/// Whether an optional claim can be had: in access tokens, or in ID tokens.
///
/// # Errors
/// With why not, and what to do instead.
pub fn optional_claim(name: &str, in_id_token: bool) -> Result<(), String> {
    named(name, if in_id_token { Kind::Id } else { Kind::Access }).map(drop)
}

/// A claim by its name, or why it cannot be had.
pub(crate) fn named(name: &str, kind: Kind) -> Result<ClaimName, String> {
    let of_access = |name| match kind {
        Kind::Access => Ok(name),
        Kind::Id => Err("it belongs to access tokens: declare it under `accessToken`".to_owned()),
    };
    match name {
        "acct" => Ok(ClaimName::Acct),
        "acrs" => Ok(ClaimName::Acrs),
        "aud" => of_access(ClaimName::Aud),
        "auth_time" => Ok(ClaimName::AuthTime),
        "email" => Ok(ClaimName::Email),
        "family_name" => Ok(ClaimName::FamilyName),
        "given_name" => Ok(ClaimName::GivenName),
        "groups" => Ok(ClaimName::Groups),
        // ID tokens never have it: that is how the kinds are told apart.
        "idtyp" => of_access(ClaimName::Idtyp),
        "ipaddr" => Ok(ClaimName::Ipaddr),
        "login_hint" => Ok(ClaimName::LoginHint),
        "preferred_username" => Ok(ClaimName::PreferredUsername),
        "sid" => Ok(ClaimName::Sid),
        "upn" => Ok(ClaimName::Upn),
        "xms_cc" => of_access(ClaimName::XmsCc),
        "ctry" | "tenant_ctry" | "tenant_region_scope" => Err("the directory knows no countries".into()),
        "verified_primary_email" | "verified_secondary_email" | "xms_edov" => {
            Err("the directory knows no verified addresses: use `email`, never as an identity".into())
        }
        _ => Err("the claims that can be given are acct, acrs, aud, auth_time, email, family_name, given_name, groups, idtyp, \
                  ipaddr, login_hint, preferred_username, sid, upn and xms_cc"
            .into()),
    }
}

/// Whether a claim can be written in this way.
pub(crate) fn written_as(name: ClaimName, property: &str) -> Result<(), &'static str> {
    match (name, property) {
        (ClaimName::Aud, "use_guid") | (ClaimName::Idtyp, "include_user_token") => Ok(()),
        (ClaimName::Groups, _) => Err("groups are named by their ids: drop it"),
        (ClaimName::Aud, _) => Err("write `use_guid`"),
        (ClaimName::Idtyp, _) => Err("write `include_user_token`, or nothing: tokens always say it"),
        _ => Err("drop it"),
    }
}
