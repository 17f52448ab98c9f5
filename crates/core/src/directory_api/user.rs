//! Users: what administrators see and change of them. Passwords and what people may do are not among it.
use super::body::{Nullable, sent, unsound};
use crate::denial::Denial;
use crate::estate::rules;
use crate::id::UserId;
use crate::model::User;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// A change of a user.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Patch {
    #[serde(deserialize_with = "sent")]
    account_enabled: Option<bool>,
    #[serde(deserialize_with = "sent")]
    display_name: Option<String>,
    #[serde(deserialize_with = "sent")]
    given_name: Option<Nullable<String>>,
    #[serde(deserialize_with = "sent")]
    surname: Option<Nullable<String>>,
    #[serde(deserialize_with = "sent")]
    mail: Option<Nullable<String>>,
}

impl Patch {
    /// The user as they would be.
    pub(super) fn apply(&self, before: &User) -> Result<User, Denial> {
        let mut after = before.clone();
        if let Some(enabled) = self.account_enabled {
            after.account_enabled = enabled;
        }
        if let Some(name) = &self.display_name {
            after.display_name.clone_from(name);
        }
        let texts = [
            (&mut after.given_name, &self.given_name),
            (&mut after.surname, &self.surname),
            (&mut after.mail, &self.mail),
        ];
        for (property, written) in texts {
            if let Some(Nullable(text)) = written {
                property.clone_from(text);
            }
        }
        rules::shown(&after.display_name).map_err(|rule| unsound("displayName", rule))?;
        for (name, text) in [("givenName", &after.given_name), ("surname", &after.surname), ("mail", &after.mail)] {
            text.as_deref().map_or(Ok(()), rules::shown).map_err(|rule| unsound(name, rule))?;
        }
        Ok(after)
    }
}

/// What is shown of a user.
pub(super) fn shown(user: &User) -> Value {
    json!({
        "id": user.id,
        "userPrincipalName": user.user_principal_name,
        "displayName": user.display_name,
        "givenName": user.given_name,
        "surname": user.surname,
        "mail": user.mail,
        "accountEnabled": user.account_enabled,
        "userType": if user.home.is_some() { "Guest" } else { "Member" },
        "signInSessionsValidFromDateTime": user.sign_in_sessions_valid_from.to_string(),
        "isTenantAdmin": user.is_tenant_admin,
    })
}

/// The name of a user's second factor, of which there is at most one.
pub(super) fn second_factor(user: UserId) -> Uuid {
    Uuid::new_v5(&user.0, b"softwareOathMethod")
}
