//! What an application proves itself with: secrets, certificates, other issuers' tokens. Several at once, each with its
//! dates, so that they are changed without a moment in which none works (M-10).
use super::body::{Members, Nullable, sent, unsound};
use crate::denial::Denial;
use crate::estate::registration::{TWO_YEARS, hint_of};
use crate::estate::rules::moment;
use crate::id::ObjectId;
use crate::issuance;
use crate::model::{Application, KeyCredential, PasswordCredential};
use crate::ports::Ports;
use crate::workload::{FederatedIdentityCredential, TOKEN_EXCHANGE};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::{CheckId, Timestamp};
use oauth::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

/// `addPassword`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct AddPassword {
    #[serde(deserialize_with = "sent")]
    password_credential: Option<Members<PasswordWritten>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct PasswordWritten {
    display_name: Option<String>,
    start_date_time: Option<String>,
    end_date_time: Option<String>,
}

/// `removePassword`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RemovePassword {
    key_id: ObjectId,
}

/// A certificate, as written. One that is there already is named by its `keyId` alone.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct KeyWritten {
    #[serde(default)]
    key_id: Option<ObjectId>,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    start_date_time: Option<String>,
    #[serde(default)]
    end_date_time: Option<String>,
    #[serde(rename = "type", default)]
    kind: Option<KeyType>,
    #[serde(default)]
    usage: Option<Usage>,
    /// Said of it, and not taken.
    #[serde(rename = "customKeyIdentifier", default)]
    _custom_key_identifier: Option<String>,
}

/// Graph's word for the one type that there is.
#[derive(Deserialize)]
enum KeyType {
    AsymmetricX509Cert,
}

/// Graph's word for the one usage that there is.
#[derive(Deserialize)]
enum Usage {
    Verify,
}

/// A federated credential, as written: all of it for a new one, or what changes.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct FederatedWritten {
    #[serde(deserialize_with = "sent")]
    name: Option<String>,
    #[serde(deserialize_with = "sent")]
    issuer: Option<String>,
    #[serde(deserialize_with = "sent")]
    subject: Option<String>,
    #[serde(deserialize_with = "sent")]
    description: Option<Nullable<String>>,
    #[serde(deserialize_with = "sent")]
    audiences: Option<Vec<String>>,
}

fn date(property: &str, text: Option<&String>, or: Timestamp) -> Result<Timestamp, Denial> {
    let Some(text) = text else { return Ok(or) };
    // Clients write fractions of a second, which count for nothing here.
    let whole = text.strip_suffix('Z').and_then(|text| text.split_once('.')).and_then(|(whole, fraction)| {
        let digits = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| format!("{whole}Z"))
    });
    let read = moment(text).or_else(|| moment(&whole?));
    read.ok_or_else(|| unsound(property, "write a moment in UTC, such as `2030-01-31T12:00:00Z`"))
}

impl AddPassword {
    /// The registration with one more secret, and what is shown of it: this once with its text.
    pub(super) fn apply(
        &self,
        before: &Application,
        ports: &Ports,
        now: Timestamp,
    ) -> Result<(Application, Value), Denial> {
        let default = PasswordWritten::default();
        let written = self.password_credential.as_ref().map_or(&default, |Members(written)| written);
        let start = date("startDateTime", written.start_date_time.as_ref(), now)?;
        let end = date("endDateTime", written.end_date_time.as_ref(), start.plus(TWO_YEARS))?;
        if end <= start.max(now) {
            return Err(unsound("endDateTime", "let it end after it begins, and later than now"));
        }
        let secret = Secret::new(URL_SAFE_NO_PAD.encode(issuance::random::<32>(ports)));
        let credential = PasswordCredential {
            key_id: ObjectId(issuance::random_uuid(ports)),
            display_name: written.display_name.clone().unwrap_or_default(),
            digest: ports.crypto.keyed_digest(secret.expose()),
            hint: hint_of(&secret),
            start_date_time: start,
            end_date_time: end,
        };
        let mut shown = shown_secret(&credential);
        if let Some(members) = shown.as_object_mut() {
            members.insert("secretText".to_owned(), secret.expose().into());
        }
        let mut after = before.clone();
        after.password_credentials.push(credential);
        Ok((after, shown))
    }
}

impl RemovePassword {
    /// The registration without the secret.
    pub(super) fn apply(&self, before: &Application) -> Result<Application, Denial> {
        let mut after = before.clone();
        after.password_credentials.retain(|known| known.key_id != self.key_id);
        if after.password_credentials.len() == before.password_credentials.len() {
            return Err(missing(format!("no secret `{}`", self.key_id)));
        }
        Ok(after)
    }
}

/// What is not there.
pub(super) fn missing(found: impl Into<String>) -> Denial {
    Denial::new(CheckId::DirectoryObject, "an object of this tenant", found)
}

/// The certificates as they would be.
pub(super) fn key_credentials(
    before: &Application,
    written: &[Members<KeyWritten>],
    ports: &Ports,
    now: Timestamp,
) -> Result<Vec<KeyCredential>, Denial> {
    let property = "keyCredentials";
    let mut credentials: Vec<KeyCredential> = Vec::new();
    for Members(one) in written {
        let KeyWritten { kind: None | Some(KeyType::AsymmetricX509Cert), usage: None | Some(Usage::Verify), .. } = one;
        let held = before.key_credentials.iter().find(|known| Some(known.key_id) == one.key_id);
        let (key, not_before, not_after) = match (&one.key, held) {
            (Some(text), _) => {
                let read = ports.crypto.certificate(text).map_err(|rule| unsound(property, rule))?;
                if read.not_after <= now {
                    return Err(unsound(
                        property,
                        format!("the certificate ended at {}: make a new one", read.not_after),
                    ));
                }
                (read.key, read.not_before, read.not_after)
            }
            (None, Some(held)) => (held.key.clone(), held.start_date_time, held.end_date_time),
            (None, None) => return Err(unsound(property, "give `key`, or the `keyId` of a certificate that is there")),
        };
        if held.is_some_and(|held| held.key != key) {
            return Err(unsound(property, "another certificate has another `keyId`: leave it out"));
        }
        let name = held.map(|held| held.display_name.clone()).unwrap_or_default();
        credentials.push(KeyCredential {
            key_id: one.key_id.unwrap_or_else(|| ObjectId(issuance::random_uuid(ports))),
            display_name: one.display_name.clone().unwrap_or(name),
            start_date_time: date("startDateTime", one.start_date_time.as_ref(), not_before)?,
            end_date_time: date("endDateTime", one.end_date_time.as_ref(), not_after)?,
            key,
        });
    }
    Ok(credentials)
}

impl FederatedWritten {
    /// A new one. Its audience is by default the one that everybody uses.
    pub(super) fn create(&self, ports: &Ports) -> Result<FederatedIdentityCredential, Denial> {
        let required = |value: &Option<String>, name: &str| {
            value.clone().ok_or_else(|| unsound(name, "a federated credential has `name`, `issuer` and `subject`"))
        };
        Ok(FederatedIdentityCredential {
            id: ObjectId(issuance::random_uuid(ports)),
            name: required(&self.name, "name")?,
            issuer: required(&self.issuer, "issuer")?,
            subject: required(&self.subject, "subject")?,
            description: self.description.as_ref().and_then(|Nullable(text)| text.clone()).unwrap_or_default(),
            audiences: self.audiences.clone().unwrap_or_else(|| vec![TOKEN_EXCHANGE.to_owned()]),
        })
    }

    /// The same after a change. Its name is part of its address, and stays.
    pub(super) fn apply(&self, known: &mut FederatedIdentityCredential) -> Result<(), Denial> {
        if self.name.as_ref().is_some_and(|name| *name != known.name) {
            return Err(unsound("name", "it cannot be renamed: add another one, and take this one away"));
        }
        if let Some(issuer) = &self.issuer {
            known.issuer.clone_from(issuer);
        }
        if let Some(subject) = &self.subject {
            known.subject.clone_from(subject);
        }
        if let Some(Nullable(description)) = &self.description {
            known.description = description.clone().unwrap_or_default();
        }
        if let Some(audiences) = &self.audiences {
            known.audiences.clone_from(audiences);
        }
        Ok(())
    }
}

/// What is shown of a secret.
pub(super) fn shown_secret(secret: &PasswordCredential) -> Value {
    json!({
        "keyId": secret.key_id,
        "displayName": secret.display_name,
        "hint": secret.hint,
        "startDateTime": secret.start_date_time.to_string(),
        "endDateTime": secret.end_date_time.to_string(),
        "secretText": null,
        "customKeyIdentifier": null,
    })
}

/// What is shown of a certificate.
pub(super) fn shown_key(key: &KeyCredential) -> Value {
    json!({
        "keyId": key.key_id,
        "displayName": key.display_name,
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
        "startDateTime": key.start_date_time.to_string(),
        "endDateTime": key.end_date_time.to_string(),
        "key": null,
        "customKeyIdentifier": null,
    })
}
