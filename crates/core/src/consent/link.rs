//! Where a missing consent can be given: addresses that a refusal shows, each only where following it mends the refusal
//! (spec/entra.md section 10.1 and 16 row 1).
use crate::authorize::combined;
use crate::denial::Denial;
use crate::directory::{Registration, TenantDirectory};
use crate::facts::{Facts, ResourceFacts, Target};
use crate::id::{AppId, TenantId};
use crate::model::Application;
use crate::ports::Ports;
use decision::CheckId;
use oauth::{Form, Scopes};
use serde::{Deserialize, Serialize};

/// Addresses at which a missing consent is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsentUrls {
    /// For an administrator, who agrees for everyone.
    pub admin_consent_url: String,
    /// For the user themselves, where they may agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent_url: Option<String>,
}

/// Adds the addresses to a refusal for want of consent.
pub(crate) fn attach(
    mut denial: Denial,
    facts: &Facts,
    ports: &Ports,
    tenant: &TenantDirectory,
    client: &Registration,
) -> Denial {
    let wants_consent = matches!(denial.id(), CheckId::ConsentGranted | CheckId::ConsentAdmin);
    let missing = denial.missing.clone().filter(|missing| wants_consent && !missing.is_empty());
    let (Some(missing), Target::Resource(resource)) = (missing, &facts.target) else { return denial };
    let base = format!("{}/{}", ports.host, tenant.tenant.id);
    let scope: Scopes = missing.iter().map(|value| format!("{}/{value}", resource.name)).collect();
    let query =
        Form::default().with("client_id", &client.application.app_id.to_string()).with("scope", &scope.to_string());
    let admin_consent_url = format!("{base}/v2.0/adminconsent?{}", query.encode());
    let by_user = tenant.tenant.settings.user_consent && denial.id() == CheckId::ConsentGranted;
    let user_may = |value: &str| resource.published.iter().any(|p| p.value == value && !p.admin_only);
    let consent_url = (by_user && missing.iter().all(user_may)).then(|| {
        let own = address(&client.application, &scope.to_string());
        let query = own.or_else(|| through_caller(facts, tenant, client, resource, &missing))?;
        Some(format!("{base}/oauth2/v2.0/authorize?{}", query.encode()))
    });
    denial.urls = Some(Box::new(ConsentUrls { admin_consent_url, consent_url: consent_url.flatten() }));
    denial
}

/// Where an administrator allows what an authorization request asks for.
pub(crate) fn consent_address(host: &str, tenant: TenantId, client: AppId, request: &Form) -> String {
    let query = Form::default().with("client_id", &client.to_string());
    match request.value("scope") {
        Some(scope) => format!("{host}/{tenant}/v2.0/adminconsent?{}", query.with("scope", scope).encode()),
        None => format!("{host}/{tenant}/adminconsent?{}", query.encode()),
    }
}

/// An authorization request of a web application. Others would need a challenge that only the application can make.
fn address(application: &Application, scope: &str) -> Option<Form> {
    let redirect_uri = application.web.redirect_uris.first()?;
    let request = Form::default().with("client_id", &application.app_id.to_string()).with("response_type", "code");
    Some(request.with("redirect_uri", redirect_uri).with("scope", scope).with("prompt", "consent"))
}

/// A middle tier has no page of its own: the client that called it asks for both, if the middle tier knows it
/// (`knownClientApplications`) and its registration names what is missing.
fn through_caller(
    facts: &Facts,
    tenant: &TenantDirectory,
    middle: &Registration,
    resource: &ResourceFacts,
    missing: &Scopes,
) -> Option<Form> {
    let claims = facts.proof.verified()?;
    let declared = resource.declared.as_ref().is_some_and(|declared| missing.difference(declared).is_empty());
    let caller = &tenant.app(claims.client().parse().ok()?)?.application;
    let both = declared && combined(caller, &middle.application);
    both.then(|| address(caller, &format!("{}/.default", middle.resource_name()))).flatten()
}
