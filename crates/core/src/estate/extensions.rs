//! What an application declares that Entra has no word for.
use super::declared::ApplicationDeclared;
use super::resolve::Work;
use super::rules;
use crate::id::TenantId;
use crate::model::{Extensions, OwnIdentity, Profile};
use serde_spanned::Spanned;

/// Settings that are deputize's own, as written.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ExtensionsDeclared {
    /// The rules for this application as a client.
    pub client_profile: Profile,
    /// The shape of tokens for this application as a resource.
    pub resource_profile: Profile,
    /// The algorithm of tokens for this resource.
    pub signing_algorithm: Option<Spanned<String>>,
    /// Whether tokens for this resource show the chain of actors in clear.
    pub act_claim: bool,
    /// Whether this client's assertions work once.
    pub one_time_assertions: bool,
    /// APIs that it calls as itself, since it cannot pass users on.
    pub own_identity: Vec<OwnIdentityDeclared>,
}

/// An API that an application calls as itself, as written.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnIdentityDeclared {
    /// The API: one of `requiredResourceAccess`.
    pub resource_app_id: Spanned<String>,
    /// Why no user can be passed on to it.
    pub reason: Spanned<String>,
}

impl Work<'_> {
    pub(super) fn extensions(&mut self, tenant: TenantId, declared: &ApplicationDeclared) -> Extensions {
        let written = &declared.deputize;
        if let Some(algorithm) = &written.signing_algorithm
            && let Err(hint) = rules::algorithm(algorithm.get_ref())
        {
            self.fault(algorithm.span(), format!("no key signs with `{}`", algorithm.get_ref()), hint);
        }
        Extensions {
            client_profile: written.client_profile,
            resource_profile: written.resource_profile,
            signing_algorithm: written.signing_algorithm.as_ref().map(|name| name.get_ref().clone()),
            act_claim: written.act_claim,
            one_time_assertions: written.one_time_assertions,
            own_identity: self.own_identity(tenant, declared),
        }
    }

    fn own_identity(&mut self, tenant: TenantId, declared: &ApplicationDeclared) -> Vec<OwnIdentity> {
        let mut all: Vec<OwnIdentity> = Vec::new();
        for own in &declared.deputize.own_identity {
            let (api, reason) = (&own.resource_app_id, own.reason.get_ref().trim());
            if let Err(hint) = rules::reason(reason) {
                self.fault(own.reason.span(), "this reason says nothing to who reads it", hint);
            }
            let Some(at) = self.app(tenant, api, true) else { continue };
            let Some(resource_app_id) = self.apps.get(at).map(|app| app.app_id) else { continue };
            // Administrators consent to what stands there: what they are not asked about is not visible to them.
            let asked = declared
                .required_resource_access
                .iter()
                .any(|required| self.called(tenant, required.resource_app_id.get_ref(), true).contains(&at));
            if !asked {
                let hint = "name it in `requiredResourceAccess` too, with the application permissions that are needed";
                let problem = format!("the application does not say that it needs `{}`", api.get_ref());
                self.fault(api.span(), problem, hint);
            }
            if all.iter().any(|known| known.resource_app_id == resource_app_id) {
                let problem = format!("`{}` stands in `ownIdentity` twice", api.get_ref());
                self.fault(api.span(), problem, "keep one of them");
                continue;
            }
            all.push(OwnIdentity { resource_app_id, reason: reason.to_owned() });
        }
        all
    }
}
