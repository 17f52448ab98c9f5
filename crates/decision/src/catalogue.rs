//! The one table of checks. To add a check, add an entry.
#![expect(clippy::unreadable_literal, reason = "AADSTS codes are looked up as they are written")]
use crate::Fixer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// What the catalogue knows of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The stable id, the same on all surfaces.
    pub id: &'static str,
    /// Microsoft Entra ID's code, where the entra profile answers with one (`spec/entra.md` section 10.3).
    pub aadsts: Option<u32>,
    /// The OAuth error code (RFC 6749 section 5.2, RFC 6750 section 3.1, RFC 9470 section 3).
    pub error: &'static str,
    /// Entra's `suberror`, set where the user must act.
    pub suberror: Option<&'static str>,
    /// The HTTP status.
    pub status: u16,
    /// Who can mend it, usually.
    pub fixer: Fixer,
    /// Azure API Management's reason, for surfaces that have one.
    pub reason: Option<&'static str>,
    /// What is checked, as a statement that holds when the check passes.
    pub title: &'static str,
    /// What to change, when nothing more exact is known.
    pub fix: &'static str,
}

macro_rules! catalogue {
    ($($name:ident: $id:literal, $aadsts:expr, $error:literal, $suberror:expr, $status:literal, $fixer:ident, $reason:expr,
        $title:literal, $fix:literal;)*) => {
        /// A question that a decision asks; its ids are stable and documented.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum CheckId {
            $(#[doc = $title] $name,)*
        }

        impl CheckId {
            /// Every check, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What the catalogue knows of this check.
            pub const fn entry(self) -> Entry {
                match self {
                    $(Self::$name => Entry { id: $id, aadsts: $aadsts, error: $error, suberror: $suberror, status: $status,
                        fixer: Fixer::$fixer, reason: $reason, title: $title, fix: $fix },)*
                }
            }
        }
    };
}

catalogue! {
    RequestWellFormed: "request.well_formed", Some(90023), "invalid_request", None, 400, Caller, None,
        "the request is well formed",
        "send each parameter once, form-encoded in UTF-8, within the size limits";
    ParameterPresent: "request.parameter_present", Some(900144), "invalid_request", None, 400, Caller, None,
        "every required parameter is present",
        "add the missing parameter";
    GrantSupported: "request.grant_supported", Some(70003), "unsupported_grant_type", None, 400, Caller, None,
        "the grant type is one the authority offers",
        "use a grant type that the metadata document lists";
    GrantOnTenant: "request.grant_on_tenant", Some(90124), "invalid_request", None, 400, Caller, None,
        "the grant is offered on this tenant alias",
        "use the tenant id or domain in place of the alias";
    ResourceParameterAllowed: "request.resource_parameter", Some(901002), "invalid_request", None, 400, Caller, None,
        "`resource` stands beside `scope` on the v2 endpoint",
        "name the resource in `scope`, as `{application ID URI}/.default` or `{application ID URI}/{scope}`";
    AssertionKindAccepted: "request.assertion_kind", Some(50027), "invalid_request", None, 400, Caller, None,
        "the assertion is of a kind this grant accepts",
        "send an access token issued for this client";
    TenantKnown: "tenant.known", Some(90002), "invalid_request", None, 400, Caller, None,
        "the tenant exists",
        "check the tenant id or domain in the authority URL";
    TenantEnabled: "tenant.enabled", Some(90002), "invalid_request", None, 400, Operator, None,
        "the tenant is enabled",
        "enable the tenant";
    ClientKnown: "client.known", Some(700016), "unauthorized_client", None, 400, CallerAdmin, None,
        "the application is registered in this tenant",
        "check `client_id`, or create a service principal for it in this tenant";
    ClientEnabled: "client.enabled", Some(7000112), "unauthorized_client", None, 400, TenantAdmin, None,
        "the application is enabled",
        "set `accountEnabled = true` on its service principal";
    ClientAudience: "client.audience", Some(50194), "invalid_request", None, 400, CallerAdmin, None,
        "an application that is used under an alias is one of many tenants",
        "use the tenant's id or domain in the URL, or set `signInAudience` to `AzureADMultipleOrgs`";
    ClientCredentialPresent: "client.credential_present", Some(7000218), "invalid_client", None, 401, CallerAdmin, None,
        "a confidential client proves who it is",
        "send `client_secret` or a `client_assertion`";
    ClientCredentialSingle: "client.credential_single", Some(90023), "invalid_request", None, 400, CallerAdmin, None,
        "one mechanism authenticates the client",
        "send exactly one of HTTP Basic, `client_secret` and `client_assertion`, for one client id";
    ClientSecretCorrect: "client.secret_correct", Some(7000215), "invalid_client", None, 401, CallerAdmin, None,
        "the client secret is one of the application's",
        "send the secret's value, not its id";
    ClientSecretCurrent: "client.secret_current", Some(7000222), "invalid_client", None, 401, CallerAdmin, None,
        "the client secret is within its dates",
        "create a new secret for the application";
    ClientAssertionTyped: "client.assertion_typed", Some(5002727), "invalid_request", None, 400, CallerAdmin, None,
        "the client assertion's header is acceptable",
        "set `typ` to `JWT` or leave it out";
    ClientAssertionAlgorithm: "client.assertion_algorithm", Some(5002730), "invalid_request", None, 400, CallerAdmin, None,
        "the client assertion's algorithm fits the key",
        "sign with RS256 or PS256 and an RSA key";
    ClientAssertionKey: "client.assertion_key", Some(7000274), "invalid_client", None, 401, CallerAdmin, None,
        "the client assertion names a registered certificate",
        "register the certificate, or send the thumbprint of a registered one";
    ClientAssertionSignature: "client.assertion_signature", Some(700027), "invalid_client", None, 401, CallerAdmin, None,
        "the client assertion's signature is valid",
        "sign with the private key of the certificate whose thumbprint is sent";
    ClientAssertionCurrent: "client.assertion_current", Some(700024), "invalid_client", None, 401, CallerAdmin, None,
        "the client assertion is within its times",
        "set `exp` up to ten minutes ahead, and check the clock";
    ClientAssertionClaims: "client.assertion_claims", Some(50027), "invalid_request", None, 400, CallerAdmin, None,
        "the client assertion's claims are right",
        "set `iss` and `sub` to the client id and `aud` to the token endpoint";
    ClientAssertionOnce: "client.assertion_once", Some(700027), "invalid_client", None, 401, CallerAdmin, None,
        "a one-time client assertion is used once",
        "send a new `jti` with each assertion";
    ClientCertificateCurrent: "client.certificate_current", Some(1000502), "invalid_client", None, 401, CallerAdmin, None,
        "the client's certificate is within its dates",
        "register a new certificate";
    ClientCertificateTrusted: "client.certificate_trusted", Some(7000274), "invalid_client", None, 401, CallerAdmin, None,
        "the client's certificate is of a trusted subject, vouched for by its certificate authority",
        "send the whole chain in `x5c`, of a certificate whose subject and authority stand in `trustedCertificateSubjects`";
    ClientCertificateRevoked: "client.certificate_revoked", Some(7000214), "invalid_client", None, 401, CallerAdmin, None,
        "the client's certificate is not revoked",
        "use another certificate; this one stands in `revokedCertificateIdentifiers`";
    ClientAuthorityRevoked: "client.authority_revoked", Some(7000277), "invalid_client", None, 401, CallerAdmin, None,
        "no certificate authority of the client's chain is revoked",
        "use a certificate of another authority; one of this chain stands in `revokedCertificateIdentifiers`";
    FederatedIssuer: "client.federated_issuer", Some(700211), "invalid_client", None, 401, CallerAdmin, None,
        "the assertion's issuer is one of the application's federated identity credentials",
        "add a federated identity credential with exactly this `issuer`, a trailing slash included; what an application signs \
         itself has its client id as `iss`";
    FederatedSubject: "client.federated_subject", Some(700213), "invalid_client", None, 401, CallerAdmin, None,
        "the assertion's subject is the one of a federated identity credential of that issuer",
        "add a federated identity credential with exactly this `subject`";
    FederatedAudience: "client.federated_audience", Some(700212), "invalid_client", None, 401, CallerAdmin, None,
        "the assertion's audience is the one of the federated identity credential",
        "get a token for `api://AzureADTokenExchange` from the issuer, or correct `audiences`";
    FederatedAppOnly: "client.federated_app_only", Some(700229), "invalid_client", None, 401, CallerAdmin, None,
        "a token of this authority that serves as an assertion is app-only",
        "get the assertion with client credentials or as a managed identity; a user's token proves no application";
    FederatedKeys: "client.federated_keys", Some(90033), "temporarily_unavailable", None, 503, Operator, None,
        "the keys of the assertion's issuer are at hand",
        "check that the authority can reach the issuer's metadata and keys, and that the metadata names the same issuer";
    ClientConfidential: "client.confidential", Some(700025), "invalid_client", None, 401, CallerAdmin, None,
        "the client is of the kind that the request needs",
        "public clients send no credential; this grant needs a confidential client";
    ClientPublicAllowed: "client.public_allowed", Some(7000218), "invalid_client", None, 401, CallerAdmin, None,
        "a request without a credential comes from a public client",
        "send the application's credential, or set `isFallbackPublicClient`";
    ClientOrigin: "client.origin", Some(9002326), "invalid_request", None, 400, CallerAdmin, None,
        "a cross-origin request comes from a registered single-page application",
        "register the redirect URI under `spa`";
    ClientOriginPresent: "client.origin_present", Some(9002327), "invalid_request", None, 400, Caller, None,
        "what a single-page application got is used from its pages",
        "redeem it in the browser, which sends `Origin`; for a server, register the redirect URI under `web`";
    AssertionForm: "assertion.form", Some(50027), "invalid_request", None, 400, Caller, None,
        "the assertion is a well-formed token",
        "send the access token exactly as it was received";
    AssertionSignature: "assertion.signature", Some(50013), "invalid_grant", None, 400, Caller, None,
        "the assertion is signed by this authority",
        "send a token that this authority issued, unaltered";
    AssertionCurrent: "assertion.current", Some(500133), "invalid_grant", None, 400, Caller, None,
        "the assertion has not expired",
        "have the client renew its token and call again";
    AssertionNotBefore: "assertion.not_before", Some(50013), "invalid_grant", None, 400, Operator, None,
        "the assertion is valid already",
        "check the clocks";
    AssertionIssuer: "assertion.issuer", Some(50013), "invalid_grant", None, 400, Caller, None,
        "the assertion's issuer fits its version and this tenant",
        "use the tenant that issued the assertion";
    AssertionAudience: "assertion.audience", Some(500131), "invalid_grant", None, 400, Caller, None,
        "the assertion was issued for this client",
        "have the caller ask for a token for this API, or use this API's own client id";
    AssertionAccessToken: "assertion.access_token", Some(240002), "invalid_grant", None, 400, Caller, None,
        "the assertion is an access token",
        "send the access token, not the ID token";
    AssertionUser: "assertion.user", Some(7000114), "unauthorized_client", None, 400, Caller, None,
        "the assertion carries a user",
        "app-only callers get tokens with client credentials; On-Behalf-Of is for users";
    AssertionBinding: "assertion.binding", Some(50013), "invalid_grant", None, 400, Caller, None,
        "a sender-constrained assertion comes with its proof",
        "send the proof of possession";
    ResourceKnown: "resource.known", Some(500011), "invalid_resource", None, 400, TenantAdmin, None,
        "the resource has a service principal in this tenant",
        "register the API in this tenant, or correct its application ID URI";
    ResourceProvisioned: "resource.provisioned", Some(650052), "invalid_resource", None, 400, TenantAdmin, None,
        "the APIs that the application needs have service principals in this tenant",
        "add the API to this tenant: an administrator consents to it, or it is declared among `servicePrincipals`";
    RequiredAccessSound: "client.required_access", Some(65005), "invalid_resource", None, 400, CallerAdmin, None,
        "the application's `requiredResourceAccess` names what exists",
        "correct `requiredResourceAccess` of the application";
    RequiredAccessPresent: "client.required_access_present", Some(650056), "invalid_resource", None, 400, CallerAdmin, None,
        "the application's registration asks for permissions",
        "add the permissions that the application needs to `requiredResourceAccess`";
    ResourceEnabled: "resource.enabled", Some(50001), "invalid_resource", None, 400, TenantAdmin, None,
        "the resource is enabled",
        "set `accountEnabled = true` on its service principal";
    ResourceSingle: "resource.single", Some(700022), "invalid_scope", None, 400, Caller, None,
        "one resource is asked for",
        "ask for one token per resource";
    ResourceSingleInCode: "resource.single_in_code", Some(28000), "invalid_scope", None, 400, Caller, None,
        "a code is redeemed for one resource",
        "name one resource's scopes when redeeming the code";
    ScopeValid: "scope.valid", Some(70011), "invalid_scope", None, 400, Caller, None,
        "the scope exists at the resource",
        "ask for scopes that the resource publishes";
    ScopePresent: "scope.present", Some(28003), "invalid_scope", None, 400, Caller, None,
        "a scope is asked for",
        "add `scope`";
    ScopeWithinGrant: "scope.within_grant", Some(70011), "invalid_scope", None, 400, Caller, None,
        "the scope is within what was granted",
        "ask for what was granted, or sign in again for more";
    ResourceDeclared: "resource.declared", Some(650057), "invalid_resource", None, 400, CallerAdmin, None,
        "the client declares the resource",
        "add the API to `requiredResourceAccess` of the application";
    SelfToken: "resource.not_self", Some(90009), "invalid_request", None, 400, Caller, None,
        "an application asks for a token for itself by its client id",
        "use `{client id}/.default`";
    ConsentGranted: "consent.granted", Some(65001), "invalid_grant", Some("consent_required"), 400, TenantAdmin, None,
        "the user or an administrator has consented",
        "consent to the missing permission";
    ConsentAdmin: "consent.admin", Some(90094), "invalid_grant", Some("consent_required"), 400, TenantAdmin, None,
        "an administrator has consented to an administrators' permission",
        "ask an administrator to consent";
    ConsentRequested: "consent.requested", Some(90095), "invalid_grant", Some("consent_required"), 400, TenantAdmin, None,
        "an administrator has approved the user's request",
        "approve the request, or wait until an administrator does";
    TenantNamed: "tenant.named", Some(50059), "invalid_request", None, 400, Caller, None,
        "the tenant is named where an alias says nothing",
        "use the tenant's id or domain in the URL";
    ConsentDeclined: "consent.declined", Some(65004), "access_denied", None, 400, Caller, None,
        "the user accepted",
        "sign in again and accept";
    UserKnown: "user.known", Some(50034), "invalid_grant", None, 400, TenantAdmin, None,
        "the user exists in the tenant",
        "sign in as a user of this tenant";
    UserGuest: "user.guest", Some(50020), "invalid_grant", None, 400, TenantAdmin, None,
        "a user of another tenant is a guest of this one",
        "invite the person as a guest, or sign in with an account of this organization";
    UserEnabled: "user.enabled", Some(50057), "invalid_grant", None, 400, TenantAdmin, None,
        "the user is enabled",
        "set `accountEnabled = true` on the user";
    UserNotRevoked: "user.not_revoked", Some(50173), "invalid_grant", Some("bad_token"), 400, Caller, None,
        "the user's sessions have not been revoked since",
        "sign in again";
    SessionAlive: "session.alive", Some(50132), "invalid_grant", Some("bad_token"), 400, Caller, None,
        "the sign-in session lives",
        "sign in again";
    UserAssigned: "user.assigned", Some(50105), "invalid_grant", None, 400, TenantAdmin, None,
        "the user is assigned to an application that requires it",
        "assign the user, or a group of theirs, to the application";
    UserPassedOn: "user.passed_on", Some(7000114), "unauthorized_client", None, 400, CallerAdmin, None,
        "an application that acts for a user does not ask as itself",
        "exchange the user's token on behalf of the user, or declare in `deputize.ownIdentity` why the application cannot pass users on";
    ClientAssigned: "client.assigned", Some(501051), "invalid_grant", None, 400, TenantAdmin, None,
        "the application is assigned to a resource that requires it",
        "grant the application an app role of the resource";
    UserPassword: "user.password", Some(50126), "invalid_grant", None, 400, Caller, None,
        "the password is right",
        "check the user name and password";
    SignInCapacity: "sign_in.capacity", Some(90033), "temporarily_unavailable", None, 503, Caller, None,
        "no more people sign in at once than can be checked",
        "wait a few seconds and sign in again";
    SignInNeeded: "session.present", Some(50058), "login_required", None, 400, Caller, None,
        "a sign-in session exists where none may be asked for",
        "send the user to sign in";
    MfaSatisfied: "access.mfa", Some(50076), "interaction_required", Some("basic_action"), 400, Caller, None,
        "conditional access: multi-factor authentication",
        "sign in again with the claims of this error";
    MfaEnrolled: "access.mfa_enrolled", Some(50079), "interaction_required", Some("basic_action"), 400, Caller, None,
        "conditional access: a second factor is set up",
        "sign in again with the claims of this error, and set up a second factor";
    MfaCurrent: "access.mfa_current", Some(50078), "interaction_required", Some("basic_action"), 400, Caller, None,
        "conditional access: the second factor was shown recently",
        "sign in again with the claims of this error";
    AccountChosen: "session.chosen", Some(16000), "interaction_required", Some("basic_action"), 400, Caller, None,
        "it is clear which of the browser's accounts is meant",
        "send `login_hint`, or ask without `prompt=none` so that the person picks";
    SignInRecent: "access.sign_in_frequency", Some(70043), "invalid_grant", Some("bad_token"), 400, Caller, None,
        "conditional access: the sign-in is recent",
        "sign in again";
    SecondFactorShown: "second_factor.shown", Some(50074), "interaction_required", Some("basic_action"), 400, Caller, None,
        "the user shows a second factor where it is asked for",
        "let the user sign in on the pages, and type the newest code";
    SecondFactorSetUp: "second_factor.set_up", Some(50072), "interaction_required", Some("basic_action"), 400, Caller, None,
        "the user sets up a second factor where it is asked for",
        "let the user sign in on the pages";
    SecondFactorPace: "second_factor.pace", Some(50053), "temporarily_unavailable", None, 429, Caller, None,
        "not too many wrong codes came one after another",
        "wait as long as the page says, and type the newest code";
    ContextSatisfied: "access.context", Some(50076), "interaction_required", Some("basic_action"), 400, Caller, None,
        "conditional access: the authentication context",
        "sign in again with the claims of this error";
    AccessNotBlocked: "access.not_blocked", Some(53003), "interaction_required", Some("message_only"), 400, TenantAdmin, None,
        "conditional access does not block",
        "change the policy, or use what it allows";
    EssentialClaim: "access.essential_claim", Some(50076), "interaction_required", Some("basic_action"), 400, Caller, None,
        "an essential claim that was asked for can be met",
        "sign in again with the claims of this error";
    ChainDepth: "chain.depth", Some(90023), "invalid_request", None, 400, Operator, None,
        "the chain of delegation is not too deep",
        "shorten the chain, or raise `chain.max_depth`";
    ChainLoop: "chain.loop", Some(90023), "invalid_request", None, 400, CallerAdmin, None,
        "the chain of delegation does not return to an API it came through",
        "pass the needed data along, or allow the loop by policy";
    CodeValid: "code.valid", Some(70008), "invalid_grant", None, 400, Caller, None,
        "the authorization code is known and current",
        "start the sign-in again";
    CodeUnused: "code.unused", Some(54005), "invalid_grant", None, 400, Caller, None,
        "the authorization code has not been redeemed",
        "start the sign-in again; a code works once";
    CodeTenant: "code.tenant", Some(700005), "invalid_grant", None, 400, Caller, None,
        "the code is redeemed in the tenant that issued it",
        "use the same tenant at both endpoints";
    CodeClient: "code.client", Some(70008), "invalid_grant", None, 400, Caller, None,
        "the code is redeemed by the client it was issued to",
        "redeem with the client id that asked for it; the code is void now";
    CodeRedirectUri: "code.redirect_uri", Some(50011), "invalid_grant", None, 400, Caller, None,
        "`redirect_uri` is the one of the authorization request",
        "send the same `redirect_uri` again";
    PkceMatches: "code.pkce", Some(501481), "invalid_grant", None, 400, Caller, None,
        "the code verifier matches the challenge",
        "send the `code_verifier` whose SHA-256 was the challenge";
    PkceChallenge: "authorize.pkce", Some(50147), "invalid_request", None, 400, Caller, None,
        "a PKCE challenge with S256 is sent",
        "send `code_challenge` (43 characters) and `code_challenge_method=S256`";
    DeviceCodeKnown: "device.known", Some(70018), "bad_verification_code", None, 400, Caller, None,
        "the device code is one of this authority's, and this client's",
        "send the `device_code` of this client's latest device authorization, unaltered";
    DeviceCodeCurrent: "device.current", Some(70019), "expired_token", None, 400, Caller, None,
        "the device code has not expired",
        "start again: ask for a new device code and show the new user code";
    DeviceApproved: "device.approved", Some(70016), "authorization_pending", None, 400, Caller, None,
        "someone has approved the device",
        "wait for `interval` seconds and ask again, while the person signs in on another device";
    DevicePatient: "device.patient", Some(70016), "slow_down", None, 400, Caller, None,
        "the device waits between its requests",
        "add five seconds to the interval, and keep to it";
    DeviceDeclined: "device.not_declined", Some(65004), "authorization_declined", None, 400, Caller, None,
        "the person accepted the device",
        "start again, and have the person accept";
    DeviceUnused: "device.unused", Some(70018), "bad_verification_code", None, 400, Caller, None,
        "the device code has not been redeemed",
        "start again; a device code works once";
    UserCodeKnown: "device.user_code", Some(70018), "invalid_request", None, 400, Caller, None,
        "the code is one that a device shows now",
        "read the code on the device again, or have the device show a new one";
    AttemptsLimited: "limits.attempts", Some(50053), "temporarily_unavailable", None, 429, Caller, None,
        "the caller is not wrong more often than people are",
        "wait as long as the answer says, and try again";
    RequestsLimited: "limits.requests", Some(90055), "temporarily_unavailable", None, 429, CallerAdmin, None,
        "the client asks no more often than it may",
        "keep tokens until they end instead of asking for each call, and wait as long as `Retry-After` says";
    ClientLoop: "client.loop", Some(50196), "temporarily_unavailable", None, 400, CallerAdmin, None,
        "the client does not ask for the same thing again and again",
        "keep tokens until they end, stop when the same answer comes back, and wait a minute";
    RefreshValid: "refresh.valid", Some(9002313), "invalid_grant", None, 400, Caller, None,
        "the refresh token is one of this authority's",
        "sign in again";
    RefreshClient: "refresh.client", Some(9002313), "invalid_grant", None, 400, Caller, None,
        "the refresh token is used by the client it was issued to",
        "use the client that got it";
    RefreshCurrent: "refresh.current", Some(700082), "invalid_grant", Some("bad_token"), 400, Caller, None,
        "the refresh token has not expired",
        "sign in again";
    RefreshSpaCurrent: "refresh.spa_current", Some(700084), "invalid_grant", Some("bad_token"), 400, Caller, None,
        "a single-page application's refresh token is within 24 hours of the sign-in",
        "sign in again, silently if a session lives";
    RefreshUnused: "refresh.unused", Some(50173), "invalid_grant", Some("bad_token"), 400, Caller, None,
        "a rotated refresh token is used once",
        "sign in again; the family of this token is revoked";
    WorkOrderTerms: "work_order.terms", None, "invalid_request", None, 400, Caller, None,
        "the terms of a work order are whole and within bounds",
        "correct the parameter; the reference of the token endpoint says what each may be";
    WorkOrderWorker: "work_order.worker_known", None, "invalid_request", None, 400, CallerAdmin, None,
        "the worker of a work order is an enabled confidential application of this tenant",
        "name the client id of the worker's registration, and give that application a credential";
    WorkOrderCapacity: "work_order.capacity", None, "temporarily_unavailable", None, 429, CallerAdmin, None,
        "no more work orders are outstanding than a user and a tenant may have",
        "let workers redeem what is queued, revoke orders that are not needed, and ask for shorter lives";
    WorkOrderKnown: "work_order.known", None, "invalid_grant", None, 400, Caller, None,
        "the work order is one of this authority's, whole and unaltered",
        "send the handle exactly as it was issued; one that ended some time ago is forgotten";
    WorkOrderClient: "work_order.client", None, "invalid_grant", None, 400, Caller, None,
        "a work order is redeemed by a worker that it names",
        "redeem it as the worker it was made for, or have the API make one for this worker";
    WorkOrderKey: "work_order.key", None, "invalid_grant", None, 400, Caller, None,
        "a work order is redeemed with the key that it is bound to",
        "authenticate with the certificate whose thumbprint the order names, or have the API make an order for this one";
    WorkOrderCurrent: "work_order.current", None, "invalid_grant", None, 400, Caller, None,
        "the work order has not ended",
        "have the user start the work again";
    WorkOrderUnused: "work_order.redemptions", None, "invalid_grant", None, 400, Caller, None,
        "a work order is redeemed no more often than it allows",
        "keep the token until it ends, or have the API ask for more redemptions";
    WorkOrderRevoked: "work_order.not_revoked", None, "invalid_grant", None, 400, Caller, None,
        "the work order has not been revoked",
        "stop this work: the user, the API or the worker took the order back";
    WorkOrderAudience: "work_order.audience", None, "invalid_target", None, 400, Caller, None,
        "the API that is asked for is one that the work order allows",
        "ask for an API of the order, or have the order made for this one";
    WorkOrderContent: "work_order.content", None, "invalid_grant", None, 400, Caller, None,
        "the work is the one that the order was made for",
        "send `content_digest` of the message exactly as it was queued; if it was altered, drop it";
    RevocationKind: "revocation.kind", None, "unsupported_token_type", None, 400, Caller, None,
        "the token is of a kind that its client can revoke",
        "revoke the refresh token, or let the access token end by itself";
    RedirectUriRegistered: "authorize.redirect_uri", Some(50011), "invalid_request", None, 400, CallerAdmin, None,
        "`redirect_uri` is registered",
        "register exactly this redirect URI for the application";
    ResponseTypeSupported: "authorize.response_type", Some(700054), "unsupported_response_type", None, 400, Caller, None,
        "the response type is `code`, or an ID token that the application is registered for",
        "use `response_type=code`";
    ResponseModeSupported: "authorize.response_mode", Some(90023), "invalid_request", None, 400, Caller, None,
        "the response mode is supported",
        "use `query`, `fragment` or `form_post`";
    PromptSatisfiable: "authorize.prompt", Some(90023), "invalid_request", None, 400, Caller, None,
        "`prompt` is one that exists",
        "use `login`, `none`, `consent` or `select_account`";
    InteractionForged: "interaction.genuine", Some(90023), "invalid_request", None, 403, Caller, None,
        "a posted page is the one this browser was shown",
        "go back and start again";
    InstanceKnown: "discovery.instance", Some(50049), "invalid_instance", None, 400, Caller, None,
        "the authorization endpoint is on this host",
        "use this authority's own host";
    StoreAvailable: "store.available", Some(90033), "temporarily_unavailable", None, 503, Operator, None,
        "the store answers",
        "check the disk and the database; the request may be repeated";
    TokenPresent: "token.present", None, "invalid_request", None, 401, Caller, Some("TokenNotPresent"),
        "one bearer token is sent in `Authorization`",
        "send `Authorization: Bearer` and the token, once";
    TokenSize: "token.size", None, "invalid_token", None, 401, CallerAdmin, Some("JwtInvalid"),
        "the token is within the size limit",
        "ask for fewer groups or roles in the token";
    TokenForm: "token.form", None, "invalid_token", None, 401, Caller, Some("JwtInvalid"),
        "the token is a well-formed signed JWT",
        "send the access token exactly as it was received";
    TokenAlgorithm: "token.algorithm", None, "invalid_token", None, 401, Caller, Some("TokenSignatureInvalid"),
        "the algorithm is the one bound to the key",
        "send a token from the configured issuer";
    TokenKey: "token.key", None, "invalid_token", None, 401, Caller, Some("TokenSignatureKeyNotFound"),
        "the signing key is one of the issuer's",
        "send a token from the configured issuer; if it rotated keys just now, try again";
    TokenSignature: "token.signature", None, "invalid_token", None, 401, Caller, Some("TokenSignatureInvalid"),
        "the signature is valid",
        "send the token unaltered";
    TokenIssuer: "token.issuer", None, "invalid_token", None, 401, Caller, Some("TokenIssuerNotAllowed"),
        "the issuer is one that the API trusts",
        "get the token from an issuer that the API trusts";
    TokenType: "token.type", None, "invalid_token", None, 401, Caller, Some("TokenTypeNotAllowed"),
        "the token is an access token",
        "send an access token; ID tokens and assertions are for others";
    TokenClaims: "token.claims", None, "invalid_token", None, 401, Caller, Some("TokenClaimNotFound"),
        "the required claims are present and of the right type",
        "send a token from the configured issuer";
    TokenExpired: "token.not_expired", None, "invalid_token", None, 401, Caller, Some("TokenExpired"),
        "the token has not expired",
        "renew the token";
    TokenNotBefore: "token.not_before", None, "invalid_token", None, 401, Operator, Some("TokenNotYetValid"),
        "the token is valid already",
        "check the clocks";
    TokenLifetime: "token.lifetime", None, "invalid_token", None, 401, Operator, Some("TokenLifetimeNotAllowed"),
        "the token's times and lifetime are sane",
        "check the issuer's token lifetime and clock";
    TokenAudience: "token.audience", None, "invalid_token", None, 401, Caller, Some("TokenAudienceNotAllowed"),
        "the token was issued for this API",
        "ask for a token for this API; from another API, exchange the token on behalf of the user";
    TokenActive: "token.active", None, "invalid_token", None, 401, Caller, Some("JwtInvalid"),
        "the issuer says that the token is active",
        "get a new token";
    TokenTenant: "token.tenant", None, "invalid_token", None, 401, ApiOwner, Some("TokenClaimValueNotAllowed"),
        "the tenant is one that the API accepts",
        "add the tenant to the contract, or sign in to an accepted one";
    TokenBinding: "token.binding", None, "invalid_token", None, 401, Caller, Some("TokenClaimValueNotAllowed"),
        "a sender-constrained token comes with its proof",
        "send the proof of possession";
    DpopProof: "dpop.proof", None, "invalid_dpop_proof", None, 401, Caller, Some("DpopProofInvalid"),
        "a token that is sent as `DPoP` comes with one good proof of its key, for this request",
        "send one `DPoP` field with a proof for this method, this address and this token, made just now";
    DpopNonce: "dpop.nonce", None, "use_dpop_nonce", None, 401, Caller, Some("DpopNonceRequired"),
        "the proof has a nonce that was given out lately",
        "make a new proof with the nonce of the answer's `DPoP-Nonce`";
    DpopOnce: "dpop.once", None, "invalid_dpop_proof", None, 401, Caller, Some("DpopProofReplayed"),
        "the proof was not used before",
        "make a new proof, with a `jti` of its own, for each request";
    DpopCapacity: "dpop.capacity", None, "temporarily_unavailable", None, 429, Caller, Some("DpopProofsExhausted"),
        "there were no more proofs lately than can be remembered",
        "make fewer requests with this key, and try again later";
    TokenClient: "token.client", None, "insufficient_scope", None, 403, ApiOwner, Some("TokenClaimValueNotAllowed"),
        "the calling application is one that the API accepts",
        "add the application to the contract";
    GroupsOwn: "groups.own_user", None, "insufficient_scope", None, 403, Caller, Some("TokenClaimValueNotAllowed"),
        "the groups that are asked for are those of the token's own user",
        "ask for the user of the token, under the token's tenant";
    GroupsDeclared: "groups.declared", None, "insufficient_scope", None, 403, CallerAdmin, Some("TokenClaimValueNotAllowed"),
        "the application's tokens name groups",
        "set `groupMembershipClaims` of the application";
    TokenRevoked: "token.not_revoked", None, "invalid_token", None, 401, Caller, Some("TokenRevoked"),
        "the token has not been cut off",
        "sign in again";
    CutOffsCurrent: "cut_offs.current", None, "temporarily_unavailable", None, 503, Operator, Some("CutOffsUnavailable"),
        "cut-offs of the issuer arrive, where the route is not served without",
        "check that the API can reach the issuer's stream of events, and has the app role to read it";
    RouteKnown: "route.known", None, "insufficient_scope", None, 403, ApiOwner, Some("OperationNotFound"),
        "the route is part of the contract",
        "add the route to the contract";
    ScopeSufficient: "scope.sufficient", None, "insufficient_scope", None, 403, Caller, Some("TokenClaimValueNotAllowed"),
        "the token has the scope that the route needs",
        "ask for a token with the scope";
    RoleSufficient: "role.sufficient", None, "insufficient_scope", None, 403, TenantAdmin, Some("TokenClaimValueNotAllowed"),
        "the subject has the app role that the route needs",
        "assign the app role";
    UserRequired: "subject.user", None, "insufficient_scope", None, 403, Caller, Some("TokenClaimValueNotAllowed"),
        "the route is called for a user",
        "call on behalf of a user, not app-only";
    AppOnlyRequired: "subject.app", None, "insufficient_scope", None, 403, Caller, Some("TokenClaimValueNotAllowed"),
        "the route is called by an application itself",
        "call with client credentials";
    ContextSufficient: "context.sufficient", None, "insufficient_user_authentication", None, 401, Caller, Some("TokenClaimValueNotAllowed"),
        "the user authenticated strongly enough",
        "sign in again with the claims of the challenge";
    DirectoryRoute: "directory.route", None, "invalid_request", None, 404, Caller, None,
        "the address is one of the directory API",
        "use an address that the reference of the directory API lists";
    DirectoryMethod: "directory.method", None, "invalid_request", None, 405, Caller, None,
        "the address takes this method",
        "use a method that `Allow` names";
    DirectoryMediaType: "directory.media_type", None, "invalid_request", None, 415, Caller, None,
        "what is sent is JSON",
        "send `Content-Type: application/json`";
    DirectorySize: "directory.size", None, "invalid_request", None, 413, Caller, None,
        "what is sent is within the size limit",
        "send at most 65536 bytes: change fewer properties at once";
    DirectoryBody: "directory.body", None, "invalid_request", None, 400, Caller, None,
        "what is sent is one JSON object of properties that can be written",
        "send properties that the reference of the directory API lists, each once and of its type";
    DirectoryQuery: "directory.query", None, "invalid_request", None, 400, Caller, None,
        "the query options are ones that are understood",
        "use `$top` and `$skiptoken`, and follow `@odata.nextLink`";
    DirectoryObject: "directory.object", None, "invalid_request", None, 404, Caller, None,
        "the object stands in this tenant",
        "check the id, and the tenant in the address";
    DirectoryStanding: "directory.standing", None, "insufficient_scope", None, 403, TenantAdmin, None,
        "the caller may change or read the object: as an administrator, or as an owner of the registration",
        "ask an administrator, or have them make you an owner of the registration";
    DirectoryPrivileged: "directory.privileged", None, "insufficient_scope", None, 403, TenantAdmin, None,
        "who changes an application with power over the directory is an administrator",
        "ask an administrator: whoever holds this application's credentials holds its power";
    DirectoryProperty: "directory.property", None, "insufficient_scope", None, 403, TenantAdmin, None,
        "the properties that change are the caller's to change",
        "ask an administrator to change these properties";
    DirectorySound: "directory.sound", None, "invalid_request", None, 400, Caller, None,
        "the object as it would be keeps the rules of its kind",
        "correct the property";
    DirectoryUnique: "directory.unique", None, "invalid_request", None, 409, Caller, None,
        "names that must be unique are free",
        "choose another name";
    DirectoryContended: "directory.contended", None, "temporarily_unavailable", None, 409, Caller, None,
        "the object holds still while it is changed",
        "send the change again, later: nothing of it was made, because others kept changing the same object";
    GatewayRequest: "gateway.request", None, "invalid_request", None, 400, Caller, None,
        "the request has one reading: of its path, its host, its fields and the length of its body",
        "send the path without encoded dots and slashes, one `Host`, and the length of the body once";
    GatewayMethod: "gateway.method", None, "invalid_request", None, 405, Caller, None,
        "the method is one that is forwarded",
        "use another method than `TRACE` and `CONNECT`";
    GatewayMisdirected: "gateway.misdirected", None, "invalid_request", None, 421, Caller, None,
        "the connection was opened for the host that is asked for",
        "open a connection for this host, and show the certificate there";
    GatewayCredentialSingle: "gateway.credential_single", None, "invalid_request", None, 400, Caller, None,
        "the request carries one credential",
        "send one `Authorization` field, and no token elsewhere";
    GatewayOperation: "gateway.operation", None, "invalid_request", None, 404, Caller, Some("OperationNotFound"),
        "the request is for an operation of an API",
        "check the host, the path and the method, or add the operation to the gateway's configuration";
    GatewayWebSocket: "gateway.websocket", None, "invalid_request", None, 400, Caller, None,
        "the request that opens a WebSocket is as RFC 6455 has it",
        "send a `GET` over HTTP/1.1 without a body, with `Connection: Upgrade`, `Sec-WebSocket-Version: 13` and one key";
    GatewayOrigin: "gateway.origin", None, "access_denied", None, 403, ApiOwner, None,
        "the page that opens a WebSocket is one that may",
        "list the page's origin in `allowed_origins` of `cors`";
    GatewayBodyTimely: "gateway.body_timely", None, "invalid_request", None, 408, Caller, Some("ClientConnectionFailure"),
        "the body of the request comes whole and in time",
        "send the body faster, and whole";
    GatewayBodySize: "gateway.body_size", None, "invalid_request", None, 413, Caller, Some("RequestBodyTooLarge"),
        "the body of the request is no longer than what is looked at before it is forwarded",
        "send a shorter body, or have `max_body_bytes` of `authorize_by` raised";
    SignInSession: "sign_in.session", None, "invalid_token", None, 401, Caller, None,
        "the request comes with a session of a person who signed in",
        "sign in at `/.auth/login/…`; programs send what they got there in `X-ZUMO-AUTH`";
    SignInSite: "sign_in.same_site", None, "access_denied", None, 403, ApiOwner, None,
        "the page that uses a session is one of this site",
        "send the request from a page of this site, with its `Origin`; or list the other origin in `cors` with `allow_credentials`";
    SignInLanding: "sign_in.landing", None, "invalid_request", None, 400, Caller, None,
        "a sign-in goes on to a page of this site, or to one that is listed",
        "give a path such as `/orders`, in its one spelling, or add the address to `redirect_uris` of `[sign_in]`";
    SignInAnswer: "sign_in.answer", None, "invalid_request", None, 400, Caller, None,
        "the answer of the provider belongs to a sign-in that this browser began, and ends it for the first time",
        "begin the sign-in again, and end it in the same browser within the hour";
    SignInAccepted: "sign_in.accepted", None, "access_denied", None, 403, Caller, None,
        "the provider signs the person in",
        "sign in again, and agree to what is asked; the gateway's log has the provider's code";
    SignInIdentity: "sign_in.identity", None, "invalid_token", None, 401, Operator, None,
        "the ID token is signed by the provider, for this gateway, of this sign-in, and valid now",
        "sign in again; if it stays so, check `metadata`, `issuer` and `client_id` of the provider's `[[authority]]`, and the clock";
    SignInAvailable: "sign_in.available", None, "temporarily_unavailable", None, 503, Operator, None,
        "the provider that signs people in answers",
        "try again later; check that the gateway can reach the provider";
    SignInSize: "sign_in.size", None, "server_error", None, 502, Operator, None,
        "the tokens of a sign-in fit into a session",
        "ask the provider for fewer groups and claims in its tokens";
    SignInRefresh: "sign_in.refresh", None, "access_denied", None, 403, Caller, None,
        "the session can be refreshed",
        "sign in again; with `offline_access` among the provider's `scopes` sessions can be refreshed";
    ManagementRequest: "management.request", None, "invalid_request", None, 400, Caller, None,
        "the request is one that the management API has",
        "send what the reference of the management API has, and nothing else";
    ManagementFound: "management.found", None, "invalid_request", None, 404, Caller, None,
        "what the request names is there",
        "check the name; lists say what there is";
    ManagementCondition: "management.condition", None, "invalid_request", None, 412, Caller, None,
        "what is changed is the version that the caller has seen",
        "read it again, and send the change with its `ETag` in `If-Match`";
    ManagementConflict: "management.conflict", None, "invalid_request", None, 409, Caller, None,
        "the change fits what is there, in the file and in the database",
        "choose another name, or change first what the message names";
    ManagementStore: "management.store", None, "temporarily_unavailable", None, 503, Operator, None,
        "the database of the management API can be read and written",
        "check its disk and its permissions, then send the request again: nothing of it was done";
    SubscriptionKeyPresent: "subscription.key_present", None, "invalid_request", None, 401, Caller, Some("SubscriptionKeyNotFound"),
        "the request carries a subscription key",
        "send the key of a subscription to this API";
    SubscriptionKeyValid: "subscription.key_valid", None, "invalid_token", None, 401, Caller, Some("SubscriptionKeyInvalid"),
        "the subscription key is one key of an active subscription to this API",
        "send the key of an active subscription to this API";
    CallerAddressKnown: "caller.address_known", None, "access_denied", None, 403, Operator, Some("FailedToParseCallerIP"),
        "the address that the request comes from can be read",
        "have the trusted proxy send addresses in `X-Forwarded-For`";
    CallerAddressAllowed: "caller.address_allowed", None, "access_denied", None, 403, ApiOwner, Some("CallerIpNotAllowed"),
        "the address that the request comes from is allowed",
        "add the address to `ip_filter`, if it is meant to call";
    CallerAddressNotBlocked: "caller.address_not_blocked", None, "access_denied", None, 403, ApiOwner, Some("CallerIpBlocked"),
        "the address that the request comes from is not forbidden",
        "remove the address from `ip_filter`, if it is meant to call";
    CertificatePresent: "certificate.present", None, "invalid_request", None, 401, Caller, Some("ClientCertificateNotFound"),
        "the caller opened the connection with a certificate",
        "open the connection with a client certificate";
    CertificateNotBefore: "certificate.not_before", None, "access_denied", None, 401, Caller, Some("ClientCertificateNotYetValid"),
        "the caller's certificate has begun",
        "wait until the certificate begins, or check the clocks";
    CertificateNotAfter: "certificate.not_after", None, "access_denied", None, 401, Caller, Some("ClientCertificateExpired"),
        "the caller's certificate has not ended",
        "renew the certificate";
    CertificateTrusted: "certificate.trusted", None, "access_denied", None, 401, Caller, Some("ClientCertificateNotTrusted"),
        "a certificate authority that the API trusts vouches for the caller's certificate as that of a client",
        "open the connection with a client certificate of a trusted authority, and the certificates between the two";
    CertificateNotRevoked: "certificate.not_revoked", None, "access_denied", None, 401, Caller, Some("ClientCertificateRevoked"),
        "no certificate of the caller's chain is revoked",
        "get another certificate";
    CertificateRevocationKnown: "certificate.revocation_known", None, "temporarily_unavailable", None, 503, Operator, Some("ClientCertificateRevocationUnknown"),
        "a current list of each authority of the caller's chain tells what it revoked",
        "put current lists of these authorities into the files of `revocation_lists`";
    CertificateIdentity: "certificate.identity", None, "access_denied", None, 401, ApiOwner, Some("ClientCertificateIdentityNotMatched"),
        "the caller's certificate is one of those that the API names",
        "open the connection with another certificate, or add this one to `identities`";
    HeaderPresent: "header.present", None, "invalid_request", None, 400, Caller, Some("HeaderNotFound"),
        "a field that the API demands is there",
        "send the field";
    HeaderAllowed: "header.allowed", None, "invalid_request", None, 400, Caller, Some("HeaderValueNotAllowed"),
        "a field that the API demands has an accepted value",
        "send an accepted value";
    ClaimPresent: "claim.present", None, "invalid_token", None, 401, Caller, Some("TokenClaimNotFound"),
        "the token has the claim that the API demands",
        "get a token with the claim";
    ClaimAllowed: "claim.allowed", None, "invalid_token", None, 401, Caller, Some("TokenClaimValueNotAllowed"),
        "the claim that the API demands has the values that it demands",
        "get a token with the values";
    ConditionHolds: "condition.holds", None, "access_denied", None, 403, ApiOwner, Some("ConditionNotMet"),
        "the condition of the API holds for the request",
        "read the condition, which the answer names: it looks at claims of the token, and at the request";
    AuthorizerAllows: "authorizer.allows", None, "access_denied", None, 403, ApiOwner, Some("AuthorizerRefused"),
        "the service that decides on requests allows this one",
        "ask whoever keeps that service why it refuses";
    AuthorizerAvailable: "authorizer.available", None, "temporarily_unavailable", None, 503, Operator, Some("AuthorizerUnavailable"),
        "the service that decides on requests does decide",
        "try again later; check that the gateway can reach the address of `authorize_by`, and what that answers";
    SendRequestValues: "send_request.values", None, "invalid_request", None, 400, Caller, Some("RequestValueUnusable"),
        "what another service is to be told of the request stands there, once and as a text that fits",
        "send what the answer names, once; or get a token with the claim that it names";
    SendRequestExpected: "send_request.expected", None, "access_denied", None, 502, ApiOwner, Some("AnswerNotExpected"),
        "the service that is asked about the request answers as the API expects",
        "compare what it answers with `expect_status`, `expression` and `set_headers` of `send_request`; the gateway's log says what was found";
    SendRequestAnswered: "send_request.answered", None, "temporarily_unavailable", None, 503, Operator, Some("AnswerUnavailable"),
        "the service that is asked about the request answers",
        "try again later; check that the gateway can reach the address of `send_request`, and what that answers";
    LimitRate: "limit.rate", None, "temporarily_unavailable", None, 429, Caller, Some("RateLimitExceeded"),
        "there were no more calls lately than the API allows",
        "call again after the seconds that the answer names";
    LimitQuota: "limit.quota", None, "access_denied", None, 403, ApiOwner, Some("QuotaExceeded"),
        "some of the quota is left that the subscription has, or whoever has the same key",
        "wait for the next window, or ask for a larger quota";
    IntrospectionAvailable: "introspection.available", None, "temporarily_unavailable", None, 503, Operator, Some("IntrospectionUnavailable"),
        "the issuer says what the token is worth when it is asked",
        "try again later; check that the gateway can reach the introspection endpoint, and its credential there";
    SecretAvailable: "secret.available", None, "temporarily_unavailable", None, 503, Operator, Some("SecretUnavailable"),
        "the secrets and certificates that the request needs have been fetched",
        "try again later; the gateway's log says which one, and check the vault or the command that it comes from";
    OnwardAvailable: "onward.available", None, "temporarily_unavailable", None, 503, Operator, Some("OnwardCredentialUnavailable"),
        "the authority that issues the onward credential answers",
        "try again later; check that the gateway can reach the authority";
    OnwardAccepted: "onward.accepted", None, "server_error", None, 502, Operator, Some("OnwardCredentialRefused"),
        "the authority gives the gateway the onward credential",
        "check the gateway's credential at the authority, and the target of `onward`; the gateway's log has the authority's code";
    OnwardIdentity: "onward.identity", None, "server_error", None, 502, Operator, Some("OnwardIdentityRefused"),
        "the host gives the gateway a token of the managed identity",
        "assign the identity to the host, or correct the id and the `resource` of `managed_identity`; the gateway's log has the host's code";
    OnwardConsent: "onward.consent", None, "interaction_required", Some("consent_required"), 403, TenantAdmin, Some("OnwardConsentRequired"),
        "the user or an administrator has consented that the gateway calls the service",
        "consent to what the gateway asks for on behalf of users, then call again";
    OnwardSubject: "onward.subject", None, "invalid_token", None, 401, Caller, Some("OnwardSubjectRefused"),
        "the authority takes the user's token in exchange",
        "sign in again, and call with a new token";
    UpstreamReachable: "upstream.reachable", None, "server_error", None, 502, ApiOwner, Some("BackendConnectionFailure"),
        "the service behind the gateway answers as HTTP has it",
        "check that the service runs, and its address in the gateway's configuration";
    UpstreamAvailable: "upstream.available", None, "temporarily_unavailable", None, 503, ApiOwner, Some("BackendUnavailable"),
        "an address of the service behind the gateway is up",
        "check that the service runs, and what its log says; it is tried again after `Retry-After`";
    UpstreamTimely: "upstream.timely", None, "temporarily_unavailable", None, 504, ApiOwner, Some("Timeout"),
        "the service behind the gateway answers in time",
        "try again later";
    UpstreamCapacity: "upstream.capacity", None, "temporarily_unavailable", None, 503, ApiOwner, Some("BackendOverloaded"),
        "the service behind the gateway has room for the request",
        "try again in a second";
    UpstreamShare: "upstream.share", None, "temporarily_unavailable", None, 429, Caller, Some("CallerOverShare"),
        "the caller leaves room for others at a service that is busy",
        "wait for the answers to the requests that are under way, read them, and send fewer at once";
    KeysAvailable: "keys.available", None, "temporarily_unavailable", None, 503, Operator, Some("KeysUnavailable"),
        "the issuer's keys are at hand",
        "check that the API can reach the issuer's metadata and keys";
}

impl CheckId {
    /// The check with this id.
    pub fn named(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|c| c.entry().id == id)
    }
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.entry().id)
    }
}

impl Serialize for CheckId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.entry().id)
    }
}

impl<'de> Deserialize<'de> for CheckId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let id = std::borrow::Cow::<str>::deserialize(from)?;
        Self::named(&id).ok_or_else(|| serde::de::Error::custom(format!("no check has the id `{id}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::CheckId;
    use std::collections::HashSet;

    #[test]
    fn ids_are_unique_and_can_be_looked_up() {
        let ids: HashSet<_> = CheckId::ALL.iter().map(|c| c.entry().id).collect();
        assert_eq!(ids.len(), CheckId::ALL.len());
        assert!(CheckId::ALL.iter().all(|c| CheckId::named(c.entry().id) == Some(*c)));
    }

    #[test]
    fn every_refusal_that_asks_the_user_to_act_has_a_suberror() {
        for check in CheckId::ALL.iter().map(|c| c.entry()) {
            assert!(check.error != "interaction_required" || check.suberror.is_some(), "{}", check.id);
        }
    }
}
