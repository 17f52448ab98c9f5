//! What a request for a token looks like: authorities differ, so it is data (spec: RFC 6749, 7523, 8693, Entra's On-Behalf-Of).
use crate::ask::Kind;
use crate::client::Inner;
use crate::credential::Credential;
use crate::{Endpoints, Error, Scheme};
use decision::Timestamp;
use http::HeaderMap;
use oauth::{Form, GrantType, Secret, TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_JWT};

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// Entra's grant for users that agents are.
const USER_FIC: &str = "user_fic";

/// How an authority wants to be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GrantProfile {
    /// Microsoft Entra ID, and ours: client credentials, and On-Behalf-Of by the JWT bearer grant. `resource` and
    /// `authorization_details` are not sent.
    #[default]
    Entra,
    /// Token exchange (RFC 8693), as TokenX has it: the target is an `audience`. The application's own tokens come by client
    /// credentials.
    ///
    /// ```
    /// # mod authority { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/authority.rs")); }
    /// # use authority::*;
    /// # run(async {
    /// use client::{Ask, GrantProfile};
    /// let orders = builder().secret(Secret::new("…")).profile(GrantProfile::TokenExchange);
    /// let orders = orders.build(network(), clock(), random());
    /// let inbound = Secret::new("the user's token");
    /// orders.ask(&Ask::on_behalf_of(&inbound, "dev-gcp:billing:invoices")).await?;
    /// # Ok(()) });
    /// ```
    TokenExchange,
    /// The same where the user's token is named an access token and not a JWT (RFC 8693 section 3), as Keycloak wants it.
    AccessTokenExchange,
    /// The JWT bearer grant as an authorization of its own (RFC 7523 section 2.1), as Maskinporten has it: everything stands
    /// in an assertion that the client's key signs. Tokens for the application only.
    JwtBearer,
    /// Client credentials with `resource` (RFC 8707) and `authorization_details` (RFC 9396). Tokens for the application only.
    ClientCredentials,
}

impl GrantProfile {
    /// The name of the grant in keys: profiles share no tokens.
    pub(crate) const fn grant(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (_, Kind::Refresh) => "refresh_token",
            (_, Kind::AgentUser) => "user_fic",
            (
                Self::Entra | Self::TokenExchange | Self::AccessTokenExchange | Self::ClientCredentials,
                Kind::Application,
            ) => "client_credentials",
            (Self::Entra, Kind::User) => "on_behalf_of",
            (Self::TokenExchange, Kind::User) => "token_exchange",
            (Self::AccessTokenExchange, Kind::User) => "access_token_exchange",
            (Self::JwtBearer, _) => "jwt_bearer",
            (Self::ClientCredentials, Kind::User) => "unsupported",
        }
    }

    /// Whether a user's token is exchanged by RFC 8693.
    pub const fn is_token_exchange(self) -> bool {
        matches!(self, Self::TokenExchange | Self::AccessTokenExchange)
    }

    /// Whether the target is one audience, and not a set of scopes.
    pub(crate) const fn is_audience(self, kind: Kind) -> bool {
        self.is_token_exchange() && matches!(kind, Kind::User)
    }

    /// What a user's token is said to be. What is not of a JWT's form is not said to be one.
    fn subject_token_type(self, subject: &str) -> &'static str {
        let is_jwt = self == Self::TokenExchange && subject.split('.').count() == 3;
        if is_jwt { TOKEN_TYPE_JWT } else { TOKEN_TYPE_ACCESS_TOKEN }
    }
}

/// A question that has left its caller. It makes a new form for each try.
pub(crate) struct Question {
    pub(crate) kind: Kind,
    pub(crate) subject: Option<Secret>,
    pub(crate) target: String,
    pub(crate) claims: Option<String>,
    pub(crate) resource: Option<String>,
    pub(crate) authorization_details: Option<String>,
    pub(crate) fmi_path: Option<String>,
    pub(crate) confirmation: Option<String>,
    /// A parameter that names the user that an agent is.
    pub(crate) agent_user: Option<(&'static str, String)>,
    pub(crate) trace: HeaderMap,
}

impl Question {
    /// The form, with a fresh assertion where the client proves itself with one. The order of the fields is Texas's.
    pub(crate) async fn form(&self, client: &Inner, endpoints: &Endpoints, now: Timestamp) -> Result<Form, Error> {
        let unsupported = Error::Request("the provider's grant profile has no tokens on behalf of users");
        if client.profile != GrantProfile::Entra && (self.confirmation.is_some() || self.kind == Kind::AgentUser) {
            return Err(Error::Request("the provider's grant profile has neither bound tokens nor agents' users"));
        }
        let subject = self.subject.as_ref().map_or("", Secret::expose);
        let begin = |grant: &str| Form::default().with("grant_type", grant);
        let form = match (client.profile, self.kind) {
            (_, Kind::Refresh) => {
                let form = client.authenticated(begin(GrantType::RefreshToken.as_str()), endpoints, now).await?;
                let form = form.with("refresh_token", subject);
                if self.target.is_empty() { form } else { form.with("scope", &self.target) }
            }
            (
                GrantProfile::Entra
                | GrantProfile::TokenExchange
                | GrantProfile::AccessTokenExchange
                | GrantProfile::ClientCredentials,
                Kind::Application,
            ) => {
                let form = client.authenticated(begin(GrantType::ClientCredentials.as_str()), endpoints, now).await?;
                let form = form.with("scope", &self.target);
                match (client.profile, &self.fmi_path) {
                    (GrantProfile::Entra, Some(path)) => form.with("fmi_path", path),
                    (GrantProfile::Entra, None) => form,
                    _ => self.with_resource(form),
                }
            }
            (GrantProfile::Entra, Kind::User) => {
                let form = client.authenticated(begin(GrantType::JwtBearer.as_str()), endpoints, now).await?;
                form.with("scope", &self.target).with("requested_token_use", "on_behalf_of").with("assertion", subject)
            }
            (_, Kind::AgentUser) => {
                let form = client.authenticated(begin(USER_FIC), endpoints, now).await?;
                let form = form.with("scope", &self.target).with("user_federated_identity_credential", subject);
                self.agent_user.iter().fold(form, |form, (name, user)| form.with(name, user))
            }
            (profile @ (GrantProfile::TokenExchange | GrantProfile::AccessTokenExchange), Kind::User) => {
                let form = begin(TOKEN_EXCHANGE);
                // An assertion names the client already.
                let form = match &client.credential {
                    signed @ (Credential::Key { .. } | Credential::Certificate { .. }) => {
                        signed.authenticate(form, client, endpoints, now).await?
                    }
                    Credential::Files(files) if files.signs() => {
                        client.credential.authenticate(form, client, endpoints, now).await?
                    }
                    _ => client.authenticated(form, endpoints, now).await?,
                };
                let form = form.with("subject_token_type", profile.subject_token_type(subject));
                form.with("subject_token", subject).with("audience", &self.target)
            }
            (GrantProfile::JwtBearer, Kind::Application) => {
                let assertion = client.credential.authorization(self, client, endpoints, now).await?;
                begin(GrantType::JwtBearer.as_str()).with("assertion", assertion.expose())
            }
            (GrantProfile::JwtBearer | GrantProfile::ClientCredentials, Kind::User) => return Err(unsupported),
        };
        let form = match &self.confirmation {
            Some(confirmation) => form.with("token_type", Scheme::Pop.as_str()).with("req_cnf", confirmation),
            None => form,
        };
        Ok(match &self.claims {
            Some(claims) => form.with("claims", claims),
            None => form,
        })
    }

    fn with_resource(&self, form: Form) -> Form {
        let optional = [("resource", &self.resource), ("authorization_details", &self.authorization_details)];
        optional.into_iter().fold(form, |form, (name, value)| match value {
            Some(value) => form.with(name, value),
            None => form,
        })
    }
}

impl Inner {
    /// A form with the client's id and proof.
    pub(crate) async fn authenticated(&self, form: Form, endpoints: &Endpoints, now: Timestamp) -> Result<Form, Error> {
        let form = form.with("client_id", &self.client_id);
        self.credential.authenticate(form, self, endpoints, now).await
    }
}
