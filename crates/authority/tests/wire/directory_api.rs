//! The directory API on the wire. Carol is an administrator of Contoso, Bob owns the registration of Billing, Ada owns
//! nothing, Ivan is an administrator of Fabrikam; `daemon` may change all registrations, `rival` may read them, `orders` may
//! change its own.
mod registrations;
mod rules;
mod table;
mod tokens;
mod users;

use crate::world::browser::{Browser, authorize_path, request};
use crate::world::estate::{CONTOSO, FABRIKAM, app, grant, principal, user};
use crate::world::{Answer, World, client_credentials, redeem_form, text};
use axum::body::Body;
use axum::http::Request;
use deputize_core::built_in;
use deputize_core::id::{ObjectId, TenantId};
use deputize_core::model::{Assignee, RoleAssignment};
use deputize_core::workload::FederatedIdentityCredential;
use serde_json::Value;
use store::Object;
use uuid::Uuid;

pub(super) const FEDERATED: ObjectId = ObjectId(Uuid::from_u128(0xfed));
const ALL: &str = "Application.ReadWrite.All User.ReadWrite.All UserAuthenticationMethod.ReadWrite.All \
                   DelegatedPermissionGrant.ReadWrite.All Application.Read.All User.Read.All \
                   UserAuthenticationMethod.Read.All";

pub(super) async fn world() -> World {
    World::with(|plan| {
        plan.app("billing").owners = vec![user("bob"), user("carol")];
        for name in ["billing", "orders"] {
            plan.app(name).federated_identity_credentials.push(FederatedIdentityCredential {
                id: FEDERATED,
                name: "pipeline".to_owned(),
                issuer: "https://issuer.example".to_owned(),
                subject: name.to_owned(),
                description: String::new(),
                audiences: vec!["api://AzureADTokenExchange".to_owned()],
            });
        }
        plan.users.iter_mut().find(|it| it.id == user("ivan")).unwrap().is_tenant_admin = true;
        for client in ["web", "web@fabrikam"] {
            let mut grant = grant(client, "", ALL);
            grant.resource_id = built_in::PRINCIPAL;
            plan.others.push(Object::Grant(grant));
        }
        for (name, role) in [
            ("daemon", built_in::APPLICATION_WRITE),
            ("rival", built_in::APPLICATION_READ),
            ("orders", built_in::APPLICATION_OWNED),
        ] {
            plan.others.push(Object::Assignment(RoleAssignment {
                tenant: CONTOSO,
                assignee: Assignee::ServicePrincipal(principal(name)),
                resource_id: built_in::PRINCIPAL,
                app_role_id: built_in::role(role),
            }));
        }
    })
    .await
}

impl World {
    /// A token of a person for the directory, with everything that they agreed to.
    pub(super) async fn token_of(&self, name: &str) -> String {
        self.access_token("web", name, "api://deputize/.default").await
    }

    /// An application's own.
    pub(super) async fn token_of_app(&self, name: &str) -> String {
        text(&self.token(client_credentials(name, "api://deputize/.default")).await.ok(), "access_token")
    }

    /// Ivan's, in Fabrikam.
    pub(super) async fn token_of_ivan(&self) -> String {
        let mut browser = Browser::default();
        let path = authorize_path(&request("web", "api://deputize/.default"));
        let page = browser.get(self, &path.replace(&CONTOSO.to_string(), &FABRIKAM.to_string())).await;
        let code = browser.sign_in(self, page, "ivan").await.redirected().1.value("code").unwrap().to_owned();
        let answer = self.token_at(&FABRIKAM.to_string(), redeem_form("web", &code)).await;
        text(&answer.ok(), "access_token")
    }

    pub(super) async fn directory(&self, method: &str, path: &str, token: &str, body: Option<&Value>) -> Answer {
        self.directory_at(CONTOSO, method, path, Some(token), body).await
    }

    pub(super) async fn directory_at(
        &self,
        tenant: TenantId,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/{tenant}/v1.0/{path}"));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request.body(body).unwrap()).await
    }
}

impl Answer {
    /// Status, Graph's word and the check of a refusal, which must have the whole shape of Graph's errors.
    pub(super) fn denied(&self) -> (u16, String, String) {
        let body = self.json();
        let error = &body["error"];
        assert!(self.header("cache-control").contains("no-store"), "{body}");
        assert!(!text(error, "message").is_empty(), "{body}");
        let inner = &error["innerError"];
        assert_eq!(self.header("request-id"), text(inner, "request-id"));
        for name in ["date", "client-request-id", "fixer", "fix"] {
            assert!(!text(inner, name).is_empty(), "{name}: {body}");
        }
        assert!(!body.to_string().contains("canary-"), "a secret in {body}");
        let challenged = self.headers.contains_key("www-authenticate");
        assert_eq!(challenged, matches!(self.status.as_u16(), 401 | 403), "{body}");
        (self.status.as_u16(), text(error, "code"), text(inner, "check"))
    }
}

pub(super) fn application(name: &str) -> String {
    format!("applications/{}", app(name))
}
