//! Every failure of On-Behalf-Of, in the order in which it is reported: one ordinary request, and one thing wrong with it.
#![cfg(test)]

use decision::{CheckId, Fixer, Timestamp};
use deputize_core::chain::Chain;
use deputize_core::denial::ErrorContext;
use deputize_core::endpoint::EndpointVersion;
use deputize_core::facts::{
    AccessFacts, Asked, AuthenticationFacts, CallerFacts, ClientFacts, Facts, MatchedSecret, ProofFacts, Published,
    ResourceFacts, SessionFacts, Target, TenantFacts, UserFacts,
};
use deputize_core::grant;
use deputize_core::id::{AppId, ObjectId, PrincipalId, SessionId, TenantId, UserId};
use deputize_core::model::{
    ClaimSet, Conditions, GrantControls, GroupMembershipClaims, Policy, PolicyState, Profile, SessionControls,
    TenantSettings,
};
use deputize_core::token::{AssertionFacts, ClientAssertionClaims, ClientAssertionFacts, TokenClaims};
use oauth::{ClaimsRequest, Scopes};
use proptest::prelude::*;
use uuid::Uuid;

const NOW: Timestamp = Timestamp(1_790_000_000);
const HOST: &str = "https://login.example.com";
const ORDERS: AppId = AppId(Uuid::from_u128(1));
const BILLING: AppId = AppId(Uuid::from_u128(2));
const WEB: AppId = AppId(Uuid::from_u128(3));

fn scopes(text: &str) -> Scopes {
    Scopes::from(text.to_owned())
}

fn orders() -> ClientFacts {
    ClientFacts {
        app_id: ORDERS,
        principal: PrincipalId(Uuid::from_u128(11)),
        display_name: "Orders".into(),
        enabled: true,
        profile: Profile::Entra,
        identifier_uris: vec!["api://orders".into()],
        confidential: true,
        public_allowed: false,
        one_time_assertions: false,
        fallback_public: false,
        one_time_federated: false,
        managed_identity: None,
        id_claims: ClaimSet::default(),
        memberships: GroupMembershipClaims::None,
    }
}

/// Orders asks for a token at Billing, on behalf of a user who came through Web.
fn ordinary_obo() -> Facts {
    let tenant = TenantId(Uuid::from_u128(10));
    Facts {
        host: HOST.into(),
        version: EndpointVersion::V2,
        tenant_requested: tenant.to_string(),
        tenant: Some(TenantFacts {
            id: tenant,
            enabled: true,
            domains: vec!["contoso.example".into()],
            settings: TenantSettings::default(),
        }),
        client_requested: ORDERS.to_string(),
        client: Some(orders()),
        authentication: AuthenticationFacts::Secret {
            matched: Some(secret(NOW.plus(-1000), NOW.plus(1000))),
            is_key_id: false,
        },
        cross_origin: false,
        proof: ProofFacts::OnBehalfOf {
            assertion: AssertionFacts::Verified(Box::new(TokenClaims {
                iss: format!("{HOST}/{tenant}/v2.0"),
                aud: ORDERS.to_string(),
                exp: NOW.0 + 600,
                nbf: NOW.0 - 600,
                iat: NOW.0 - 600,
                sub: "pairwise".into(),
                oid: UserId(Uuid::from_u128(12)).to_string(),
                tid: tenant.to_string(),
                ver: "2.0".into(),
                idtyp: "user".into(),
                azp: WEB.to_string(),
                scp: "access_as_user".into(),
                uti: "u1".into(),
                ..TokenClaims::default()
            })),
            caller: Some(Box::new(CallerFacts {
                client: ClientFacts { app_id: WEB, display_name: "Web".into(), ..orders() },
                resource: ResourceFacts {
                    app_id: ORDERS,
                    name: "api://orders".into(),
                    display_name: "Orders".into(),
                    published: vec![Published {
                        value: "access_as_user".into(),
                        admin_only: false,
                        display_name: "Orders".into(),
                        description: String::new(),
                    }],
                    asked: Asked::Default,
                    user_grant: scopes("access_as_user"),
                    ..ResourceFacts::default()
                },
            })),
        },
        oidc: Scopes::default(),
        target: Target::Resource(Box::new(ResourceFacts {
            app_id: BILLING,
            principal: PrincipalId(Uuid::from_u128(13)),
            name: "api://billing".into(),
            display_name: "Billing".into(),
            enabled: true,
            asked: Asked::Named(vec![("api://billing/Invoices.Read".into(), Some("Invoices.Read".into()))]),
            published: [("Invoices.Read", false), ("Invoices.Void", true)]
                .map(|(value, admin_only)| Published {
                    value: value.into(),
                    admin_only,
                    display_name: value.into(),
                    description: String::new(),
                })
                .into(),
            tenant_grant: scopes("Invoices.Read"),
            declared: Some(scopes("Invoices.Read")),
            user_roles: Some(vec!["Invoices.Reader".into()]),
            ..ResourceFacts::default()
        })),
        user: Some(UserFacts {
            id: UserId(Uuid::from_u128(12)),
            enabled: true,
            upn: "ada@contoso.example".into(),
            display_name: "Ada".into(),
            ..UserFacts::default()
        }),
        session: Some(SessionFacts {
            chain: Chain {
                session: SessionId(Uuid::from_u128(14)),
                session_ends: NOW.plus(86_400),
                auth_time: NOW.plus(-700),
                amr: vec!["pwd".into()],
                mfa_time: None,
                acrs: Vec::new(),
                grants: Vec::new(),
                actors: vec![WEB],
            },
            ended: false,
            grant_revoked: false,
            gone: None,
            address: None,
        }),
        policies: Vec::new(),
        access: AccessFacts::default(),
        claims: ClaimsRequest::default(),
        client_info: false,
        jitter: 0,
        times: 0,
        view: 0,
        trace: None,
        carried: Vec::new(),
    }
}

fn client(facts: &mut Facts) -> Option<&mut ClientFacts> {
    facts.client.as_mut()
}

fn claims(facts: &mut Facts) -> Option<&mut TokenClaims> {
    match &mut facts.proof {
        ProofFacts::OnBehalfOf { assertion: AssertionFacts::Verified(claims), .. } => Some(claims),
        _ => None,
    }
}

fn caller(facts: &mut Facts) -> Option<&mut CallerFacts> {
    match &mut facts.proof {
        ProofFacts::OnBehalfOf { caller, .. } => caller.as_deref_mut(),
        _ => None,
    }
}

fn resource(facts: &mut Facts) -> Option<&mut ResourceFacts> {
    match &mut facts.target {
        Target::Resource(resource) => Some(resource),
        _ => None,
    }
}

fn assertion(facts: &mut Facts, assertion: AssertionFacts) {
    facts.proof = ProofFacts::OnBehalfOf { assertion, caller: None };
}

fn secret(start: Timestamp, end: Timestamp) -> MatchedSecret {
    MatchedSecret { key_id: ObjectId(Uuid::from_u128(16)), start, end }
}

fn client_assertion() -> ClientAssertionClaims {
    ClientAssertionClaims {
        key_id: ObjectId(Uuid::from_u128(15)),
        thumbprint: "thumbprint".into(),
        iss: ORDERS.to_string(),
        sub: ORDERS.to_string(),
        aud: vec![format!("{HOST}/{}/oauth2/v2.0/token", TenantId(Uuid::from_u128(10)))],
        jti: Some("j1".into()),
        exp: NOW.plus(300),
        nbf: None,
        certificate_not_before: NOW.plus(-1000),
        certificate_not_after: NOW.plus(1000),
    }
}

fn asserting(facts: &mut Facts, change: impl FnOnce(&mut ClientAssertionClaims)) {
    let mut claims = client_assertion();
    change(&mut claims);
    facts.authentication = AuthenticationFacts::Assertion(ClientAssertionFacts::Verified(Box::new(claims)));
}

fn refused_assertion(facts: &mut Facts, check: CheckId) {
    facts.authentication =
        AuthenticationFacts::Assertion(ClientAssertionFacts::Refused { check, reason: "not so".into() });
}

fn policy(facts: &mut Facts, grant_controls: GrantControls) {
    facts.policies.push(Policy {
        id: ObjectId(Uuid::from_u128(16)),
        tenant: TenantId(Uuid::from_u128(10)),
        display_name: "Strong".into(),
        state: PolicyState::Enabled,
        conditions: Conditions::default(),
        grant_controls,
        session_controls: SessionControls::default(),
    });
}

/// What is wrong, and what the wire says of it.
struct Failure {
    step: &'static str,
    what: &'static str,
    spoil: fn(&mut Facts),
    check: CheckId,
    code: u32,
    error: &'static str,
    status: u16,
    suberror: Option<&'static str>,
    fixer: Fixer,
}

macro_rules! failures {
    ($($step:literal $what:literal: $spoil:expr => $check:ident $code:literal $error:literal $status:literal
        $suberror:expr, $fixer:ident;)*) => {
        vec![$(Failure {
            step: $step, what: $what, spoil: $spoil, check: CheckId::$check, code: $code, error: $error, status: $status,
            suberror: $suberror, fixer: Fixer::$fixer,
        },)*]
    };
}

const CONSENT: Option<&str> = Some("consent_required");
const BAD: Option<&str> = Some("bad_token");
const ACT: Option<&str> = Some("basic_action");

/// In the order of spec/entra.md section 6.3. Where several failures replace the same fact, those that replace it whole
/// stand before those that change a part of it.
#[expect(clippy::unreadable_literal, reason = "AADSTS codes are looked up as they are written")]
fn failures() -> Vec<Failure> {
    failures! {
        "1a" "the tenant is unknown": |f| f.tenant = None => TenantKnown 90002 "invalid_request" 400 None, Caller;
        "1a" "the tenant is disabled": |f| if let Some(t) = &mut f.tenant { t.enabled = false } => TenantEnabled 90002 "invalid_request" 400 None, Operator;
        "1b" "the client is unknown": |f| f.client = None => ClientKnown 700016 "unauthorized_client" 400 None, CallerAdmin;
        "1c" "the client is disabled": |f| if let Some(c) = client(f) { c.enabled = false } => ClientEnabled 7000112 "unauthorized_client" 400 None, TenantAdmin;
        "1d" "two mechanisms": |f| f.authentication = AuthenticationFacts::Several { found: "two".into() } => ClientCredentialSingle 90023 "invalid_request" 400 None, CallerAdmin;
        "1d" "no credential": |f| {
            f.authentication = AuthenticationFacts::Nothing;
            if let Some(c) = client(f) { c.public_allowed = false }
        } => ClientCredentialPresent 7000218 "invalid_client" 401 None, CallerAdmin;
        "1d" "an unknown type of assertion": |f| f.authentication = AuthenticationFacts::AssertionType { found: "saml".into() } => ClientAssertionTyped 5002727 "invalid_request" 400 None, CallerAdmin;
        "1d" "a public client sends a secret": |f| if let Some(c) = client(f) { c.confidential = false } => ClientConfidential 700025 "invalid_client" 401 None, CallerAdmin;
        "1d" "the secret is wrong": |f| f.authentication = AuthenticationFacts::Secret { matched: None, is_key_id: false } => ClientSecretCorrect 7000215 "invalid_client" 401 None, CallerAdmin;
        "1d" "the secret's id is sent": |f| f.authentication = AuthenticationFacts::Secret { matched: None, is_key_id: true } => ClientSecretCorrect 7000215 "invalid_client" 401 None, CallerAdmin;
        "1d" "the secret has expired": |f| f.authentication = AuthenticationFacts::Secret { matched: Some(secret(NOW.plus(-9), NOW)), is_key_id: false } => ClientSecretCurrent 7000222 "invalid_client" 401 None, CallerAdmin;
        "1d" "the secret is not valid yet": |f| f.authentication = AuthenticationFacts::Secret { matched: Some(secret(NOW.plus(1), NOW.plus(9))), is_key_id: false } => ClientSecretCurrent 7000222 "invalid_client" 401 None, CallerAdmin;
        "1d" "the client assertion's typ": |f| refused_assertion(f, CheckId::ClientAssertionTyped) => ClientAssertionTyped 5002727 "invalid_request" 400 None, CallerAdmin;
        "1d" "the client assertion's algorithm": |f| refused_assertion(f, CheckId::ClientAssertionAlgorithm) => ClientAssertionAlgorithm 5002730 "invalid_request" 400 None, CallerAdmin;
        "1d" "the client assertion's key": |f| refused_assertion(f, CheckId::ClientAssertionKey) => ClientAssertionKey 7000274 "invalid_client" 401 None, CallerAdmin;
        "1d" "the client assertion's signature": |f| refused_assertion(f, CheckId::ClientAssertionSignature) => ClientAssertionSignature 700027 "invalid_client" 401 None, CallerAdmin;
        "1d" "the client assertion's issuer": |f| asserting(f, |c| c.iss = WEB.to_string()) => ClientAssertionClaims 50027 "invalid_request" 400 None, CallerAdmin;
        "1d" "the client assertion's subject": |f| asserting(f, |c| c.sub = WEB.to_string()) => ClientAssertionClaims 50027 "invalid_request" 400 None, CallerAdmin;
        "1d" "the client assertion's audience": |f| asserting(f, |c| c.aud = vec!["https://other.example/token".into()]) => ClientAssertionClaims 50027 "invalid_request" 400 None, CallerAdmin;
        "1d" "a list of audiences": |f| asserting(f, |c| c.aud.push("https://other.example/token".into())) => ClientAssertionClaims 50027 "invalid_request" 400 None, CallerAdmin;
        "1d" "no audience": |f| asserting(f, |c| c.aud.clear()) => ClientAssertionClaims 50027 "invalid_request" 400 None, CallerAdmin;
        "1d" "an old client assertion": |f| asserting(f, |c| c.exp = NOW.plus(-60)) => ClientAssertionCurrent 700024 "invalid_client" 401 None, CallerAdmin;
        "1d" "a client assertion for a year": |f| asserting(f, |c| c.exp = NOW.plus(31_536_000)) => ClientAssertionCurrent 700024 "invalid_client" 401 None, CallerAdmin;
        "1d" "a client assertion of tomorrow": |f| asserting(f, |c| c.nbf = Some(NOW.plus(61))) => ClientAssertionCurrent 700024 "invalid_client" 401 None, CallerAdmin;
        "1d" "an expired certificate": |f| asserting(f, |c| c.certificate_not_after = NOW) => ClientCertificateCurrent 1000502 "invalid_client" 401 None, CallerAdmin;
        "1d" "a certificate not valid yet": |f| asserting(f, |c| c.certificate_not_before = NOW.plus(1)) => ClientCertificateCurrent 1000502 "invalid_client" 401 None, CallerAdmin;
        "1d" "a one-time client assertion without id": |f| {
            asserting(f, |c| c.jti = None);
            if let Some(c) = client(f) { c.one_time_assertions = true }
        } => ClientAssertionOnce 700027 "invalid_client" 401 None, CallerAdmin;
        "1e" "a public client": |f| {
            f.authentication = AuthenticationFacts::Nothing;
            if let Some(c) = client(f) { c.public_allowed = true }
        } => ClientConfidential 700025 "invalid_client" 401 None, CallerAdmin;
        "2a" "the assertion does not parse": |f| assertion(f, AssertionFacts::Malformed { reason: "two segments".into() }) => AssertionForm 50027 "invalid_request" 400 None, Caller;
        "2a" "the assertion is of another kind": |f| assertion(f, AssertionFacts::OtherKind { typ: "dpop+jwt".into() }) => AssertionKindAccepted 50027 "invalid_request" 400 None, Caller;
        "2b" "the assertion's signature": |f| assertion(f, AssertionFacts::Unverified { reason: "wrong".into() }) => AssertionSignature 50013 "invalid_grant" 400 None, Caller;
        "2c" "the assertion has expired": |f| if let Some(c) = claims(f) { c.exp = NOW.0 - 60 } => AssertionCurrent 500133 "invalid_grant" 400 None, Caller;
        "2c" "the assertion is not valid yet": |f| if let Some(c) = claims(f) { c.nbf = NOW.0 + 61 } => AssertionNotBefore 50013 "invalid_grant" 400 None, Operator;
        "2d" "a v1 issuer in a v2 assertion": |f| if let Some(c) = claims(f) { c.iss = format!("{HOST}/{}/", c.tid) } => AssertionIssuer 50013 "invalid_grant" 400 None, Caller;
        "2d" "a v2 issuer in a v1 assertion": |f| if let Some(c) = claims(f) { c.ver = "1.0".into() } => AssertionIssuer 50013 "invalid_grant" 400 None, Caller;
        "2d" "another host": |f| if let Some(c) = claims(f) { c.iss = format!("https://evil.example/{}/v2.0", c.tid) } => AssertionIssuer 50013 "invalid_grant" 400 None, Caller;
        "2d" "another tenant": |f| if let Some(c) = claims(f) { c.tid = Uuid::from_u128(99).to_string() } => AssertionIssuer 50013 "invalid_grant" 400 None, Caller;
        "2e" "another audience": |f| if let Some(c) = claims(f) { c.aud = BILLING.to_string() } => AssertionAudience 500131 "invalid_grant" 400 None, Caller;
        "2e" "no audience": |f| if let Some(c) = claims(f) { c.aud.clear() } => AssertionAudience 500131 "invalid_grant" 400 None, Caller;
        "3a" "an ID token": |f| if let Some(c) = claims(f) { c.idtyp.clear(); c.azp.clear(); c.scp.clear() } => AssertionAccessToken 240002 "invalid_grant" 400 None, Caller;
        "3b" "an app-only token": |f| if let Some(c) = claims(f) { c.idtyp = "app".into(); c.scp.clear() } => AssertionUser 7000114 "unauthorized_client" 400 None, Caller;
        "3b" "an app-only token with a scope": |f| if let Some(c) = claims(f) { c.idtyp = "app".into() } => AssertionUser 7000114 "unauthorized_client" 400 None, Caller;
        "3b" "a user token without scope": |f| if let Some(c) = claims(f) { c.scp.clear() } => AssertionUser 7000114 "unauthorized_client" 400 None, Caller;
        "3b" "a bound assertion without proof": |f| if let Some(c) = claims(f) { c.cnf = Some(serde_json::json!({"jkt": "x"})) } => AssertionBinding 50013 "invalid_grant" 400 None, Caller;
        "3b" "a null binding": |f| if let Some(c) = claims(f) { c.cnf = Some(serde_json::Value::Null) } => AssertionBinding 50013 "invalid_grant" 400 None, Caller;
        "4" "no scope": |f| f.target = Target::Missing => ScopePresent 28003 "invalid_scope" 400 None, Caller;
        "4" "a resource parameter alone": |f| f.target = Target::ResourceParameter => ResourceParameterAllowed 901002 "invalid_request" 400 None, Caller;
        "4a" "an unknown resource": |f| f.target = Target::Unknown { name: "api://x".into() } => ResourceKnown 500011 "invalid_resource" 400 None, TenantAdmin;
        "4b" "two resources": |f| f.target = Target::Several { names: vec!["api://a".into(), "api://b".into()] } => ResourceSingle 700022 "invalid_scope" 400 None, Caller;
        "4c" "a scope that cannot be one": |f| f.target = Target::Invalid { scope: "x".into(), reason: "no resource".into() } => ScopeValid 70011 "invalid_scope" 400 None, Caller;
        "4a" "a disabled resource": |f| if let Some(r) = resource(f) { r.enabled = false } => ResourceEnabled 50001 "invalid_resource" 400 None, TenantAdmin;
        "4a" "itself, by URI": |f| if let Some(r) = resource(f) { r.self_by_uri = true } => SelfToken 90009 "invalid_request" 400 None, Caller;
        "4c" ".default beside a name": |f| if let Some(r) = resource(f) { r.asked = Asked::Mixed } => ScopeValid 70011 "invalid_scope" 400 None, Caller;
        "4c" "an unpublished scope": |f| if let Some(r) = resource(f) { r.asked = Asked::Named(vec![("api://billing/x".into(), None)]) } => ScopeValid 70011 "invalid_scope" 400 None, Caller;
        "4d" "neither declared nor consented": |f| if let Some(r) = resource(f) { r.declared = None; r.tenant_grant = scopes(""); r.user_grant = scopes("") } => ResourceDeclared 650057 "invalid_resource" 400 None, CallerAdmin;
        "5a" "no consent": |f| if let Some(r) = resource(f) { r.tenant_grant = scopes(""); r.user_grant = scopes("") } => ConsentGranted 65001 "invalid_grant" 400 CONSENT, TenantAdmin;
        "5b" "an administrators' scope consented to by the user": |f| if let Some(r) = resource(f) {
            r.asked = Asked::Named(vec![("api://billing/Invoices.Void".into(), Some("Invoices.Void".into()))]);
            r.user_grant = scopes("Invoices.Void");
        } => ConsentAdmin 90094 "invalid_grant" 400 CONSENT, TenantAdmin;
        "5b" "the caller's consent was taken back": |f| if let Some(c) = caller(f) { c.resource.user_grant = scopes("") } => ConsentGranted 65001 "invalid_grant" 400 CONSENT, TenantAdmin;
        "5c" "the user is gone": |f| f.user = None => UserKnown 50034 "invalid_grant" 400 None, TenantAdmin;
        "5c" "the user is disabled": |f| if let Some(u) = &mut f.user { u.enabled = false } => UserEnabled 50057 "invalid_grant" 400 None, TenantAdmin;
        "5c" "no session": |f| f.session = None => SessionAlive 50132 "invalid_grant" 400 BAD, Caller;
        "5c" "the user is revoked": |f| if let Some(u) = &mut f.user { u.valid_from = NOW } => UserNotRevoked 50173 "invalid_grant" 400 BAD, Caller;
        "5c" "the authorization is revoked": |f| if let Some(s) = &mut f.session { s.grant_revoked = true } => UserNotRevoked 50173 "invalid_grant" 400 BAD, Caller;
        "5c" "who acted before is gone": |f| if let Some(s) = &mut f.session { s.gone = Some(WEB) } => UserNotRevoked 50173 "invalid_grant" 400 BAD, Caller;
        "5c" "the session has ended": |f| if let Some(s) = &mut f.session { s.ended = true } => SessionAlive 50132 "invalid_grant" 400 BAD, Caller;
        "5c" "the session has run out": |f| if let Some(s) = &mut f.session { s.chain.session_ends = NOW } => SessionAlive 50132 "invalid_grant" 400 BAD, Caller;
        "5d" "a user who is not assigned at the middle tier": |f| if let Some(c) = caller(f) { c.resource.assignment_required = true } => UserAssigned 50105 "invalid_grant" 400 None, TenantAdmin;
        "5d" "an unassigned user": |f| if let Some(r) = resource(f) { r.assignment_required = true; r.user_roles = None } => UserAssigned 50105 "invalid_grant" 400 None, TenantAdmin;
        "5e" "a deep chain": |f| if let Some(s) = &mut f.session { s.chain.actors = (100..200).map(|n| AppId(Uuid::from_u128(n))).collect() } => ChainDepth 90023 "invalid_request" 400 None, Operator;
        "5e" "a loop": |f| if let Some(s) = &mut f.session { s.chain.actors.push(BILLING) } => ChainLoop 90023 "invalid_request" 400 None, CallerAdmin;
        "6" "a block": |f| policy(f, GrantControls::block()) => AccessNotBlocked 53003 "interaction_required" 400 Some("message_only"), TenantAdmin;
        "6" "a second factor, and none is set up": |f| policy(f, GrantControls::mfa()) => MfaEnrolled 50079 "interaction_required" 400 ACT, Caller;
        "6" "multi-factor authentication": |f| { policy(f, GrantControls::mfa()); if let Some(u) = &mut f.user { u.second_factor = true } } => MfaSatisfied 50076 "interaction_required" 400 ACT, Caller;
        "6" "an authentication context": |f| policy(f, GrantControls::context("c1")) => ContextSatisfied 50076 "interaction_required" 400 ACT, Caller;
        "6" "an essential context": |f| f.claims = asked(r#"{"access_token":{"acrs":{"essential":true,"value":"c2"}}}"#) => ContextSatisfied 50076 "interaction_required" 400 ACT, Caller;
        "6" "any context, essentially": |f| f.claims = asked(r#"{"access_token":{"acrs":{"essential":true}}}"#) => ContextSatisfied 50076 "interaction_required" 400 ACT, Caller;
        "6" "an essential moment in words": |f| f.claims = asked(r#"{"access_token":{"nbf":{"essential":true,"value":"soon"}}}"#) => RequestWellFormed 90023 "invalid_request" 400 None, Caller;
        "6" "an essential later moment": |f| f.claims = asked(r#"{"access_token":{"nbf":{"essential":true,"value":"4000000000"}}}"#) => EssentialClaim 50076 "interaction_required" 400 ACT, Caller;
    }
}

fn asked(claims: &str) -> ClaimsRequest {
    ClaimsRequest::parse(claims).unwrap()
}

fn refusal(facts: &Facts) -> deputize_core::denial::Denial {
    grant::decide(facts, NOW).verdict.expect_err("must be refused")
}

const CONTEXT: ErrorContext<'_> =
    ErrorContext { host: HOST, decision: "decision-id", correlation: "correlation-id", now: NOW };

#[test]
fn the_ordinary_request_is_granted() {
    let granted = grant::decide(&ordinary_obo(), NOW).verdict.unwrap();
    assert_eq!(granted.admitted.scopes().to_string(), "Invoices.Read");
    assert_eq!(granted.admitted.roles(), ["Invoices.Reader"]);
    assert_eq!(granted.admitted.chain().unwrap().actors, [ORDERS, WEB]);
    let mut by_certificate = ordinary_obo();
    asserting(&mut by_certificate, |_| {});
    assert!(grant::decide(&by_certificate, NOW).verdict.is_ok());
}

#[test]
fn each_failure_has_its_documented_error_code_and_fixer() {
    for Failure { step, what, spoil, check, code, error, status, suberror, fixer } in failures() {
        let mut facts = ordinary_obo();
        spoil(&mut facts);
        let outcome = grant::decide(&facts, NOW);
        assert!(outcome.writes.is_empty(), "{step} {what}: a refusal writes nothing");
        let denial = outcome.verdict.expect_err(what);
        assert_eq!(denial.id(), check, "{step} {what}");
        assert_eq!((denial.status(), denial.check.fixer), (status, fixer), "{step} {what}");
        let body = denial.body(Profile::Entra, &CONTEXT);
        assert_eq!((body.error.as_str(), body.suberror.as_deref()), (error, suberror), "{step} {what}");
        assert_eq!(body.error_codes, [code], "{step} {what}");
        assert!(body.error_description.starts_with(&format!("AADSTS{code}: ")), "{step} {what}");
        assert!(
            body.error_description.ends_with(
                "\r\nTrace ID: decision-id\r\nCorrelation ID: correlation-id\r\nTimestamp: 2026-09-21 14:13:20Z"
            ),
            "{}",
            body.error_description
        );
        assert_eq!(body.error_uri, Some(format!("{HOST}/error?code={code}")));
        let hint = body.deputize_hint.unwrap();
        assert_eq!(hint["check"], check.entry().id, "{step} {what}");
        assert!(hint["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{step} {what}");
        assert!(!denial.check.expected.is_empty() && !denial.check.actual.is_empty(), "{step} {what}");
        let challenge = matches!(
            check,
            CheckId::MfaSatisfied | CheckId::MfaEnrolled | CheckId::ContextSatisfied | CheckId::EssentialClaim
        );
        assert_eq!(body.claims.is_some(), challenge, "{step} {what}");
        if let Some(claims) = &body.claims {
            assert!(ClaimsRequest::parse(claims).is_some(), "{claims}");
        }
    }
}

#[test]
fn of_two_failures_the_earlier_is_reported() {
    let failures = failures();
    for (n, earlier) in failures.iter().enumerate() {
        // Two of one step may spoil the same fact, and so mend each other.
        for later in failures[n + 1..].iter().filter(|later| later.step != earlier.step) {
            let mut facts = ordinary_obo();
            (later.spoil)(&mut facts);
            (earlier.spoil)(&mut facts);
            let (first, second) = ((earlier.step, earlier.what), (later.step, later.what));
            assert_eq!(refusal(&facts).id(), earlier.check, "{first:?} before {second:?}");
        }
    }
}

#[test]
fn a_consent_error_names_the_edge_and_who_mends_it() {
    let mut facts = ordinary_obo();
    if let Some(resource) = resource(&mut facts) {
        resource.tenant_grant = scopes("");
    }
    let denial = refusal(&facts);
    assert_eq!(denial.missing, Some(scopes("Invoices.Read")));
    let body = denial.body(Profile::Entra, &CONTEXT);
    for part in [
        "Orders",
        "Billing",
        "api://billing/Invoices.Read",
        &ORDERS.to_string(),
        &UserId(Uuid::from_u128(12)).to_string(),
    ] {
        assert!(body.error_description.contains(part), "{part} is missing in {}", body.error_description);
    }
    assert_eq!(body.deputize_hint.unwrap()["fixer"], "tenant-admin");
}

#[test]
fn the_audience_is_compared_as_each_profile_says() {
    for (aud, entra, native) in [
        ("api://orders", true, true),
        ("API://ORDERS", true, false),
        ("api://orders/", true, false),
        ("api://order", false, false),
        ("api://orders.evil", false, false),
        (" api://orders", false, false),
        ("api://orders api://billing", false, false),
        ("*", false, false),
        ("api://or\u{0501}ers", false, false),
    ] {
        for (profile, fits) in [(Profile::Entra, entra), (Profile::Native, native)] {
            let mut facts = ordinary_obo();
            claims(&mut facts).unwrap().aud = aud.into();
            client(&mut facts).unwrap().profile = profile;
            assert_eq!(grant::decide(&facts, NOW).verdict.is_ok(), fits, "{aud} in {profile:?}");
        }
    }
}

/// RFC 6749 sections 4.1.2.1 and 5.2, RFC 8707 section 2, OpenID Connect Core section 3.1.2.6.
const STANDARD: [&str; 11] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
    "access_denied",
    "temporarily_unavailable",
    "interaction_required",
    "login_required",
];

#[test]
fn the_native_profile_answers_with_standard_codes_and_check_ids() {
    for failure in failures() {
        let mut facts = ordinary_obo();
        (failure.spoil)(&mut facts);
        let denial = refusal(&facts);
        let body = denial.body(Profile::Native, &CONTEXT);
        assert!(STANDARD.contains(&body.error.as_str()), "{}: {}", failure.what, body.error);
        assert!(body.error_codes.is_empty() && body.suberror.is_none() && body.error_uri.is_none());
        assert!(!body.error_description.contains("AADSTS"), "{}", body.error_description);
        assert!(body.error_description.starts_with(denial.id().entry().id), "{}", body.error_description);
        // RFC 6749 section 5.2: what `error_description` may hold.
        let allowed = |c: char| matches!(c, ' '..='~') && c != '"' && c != '\\';
        assert!(body.error_description.chars().all(allowed), "{}", body.error_description);
    }
    let mut app_only = ordinary_obo();
    claims(&mut app_only).unwrap().idtyp = "app".into();
    assert_eq!(refusal(&app_only).body(Profile::Native, &CONTEXT).error, "invalid_grant", "X-04");
}

#[test]
fn facts_survive_json_and_decide_the_same() {
    for failure in failures() {
        let mut facts = ordinary_obo();
        (failure.spoil)(&mut facts);
        let copy: Facts = serde_json::from_str(&serde_json::to_string(&facts).unwrap()).unwrap();
        assert_eq!(copy, facts, "{}", failure.what);
        assert_eq!(grant::decide(&copy, NOW), grant::decide(&facts, NOW), "{}", failure.what);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    /// Any mixture of failures, at any moment.
    #[test]
    fn facts_with_many_failures_survive_json_and_decide_the_same(
        which in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        seconds in -100_000_i64..100_000,
    ) {
        let failures = failures();
        let mut facts = ordinary_obo();
        for index in which {
            (index.get(&failures).spoil)(&mut facts);
        }
        let copy: Facts = serde_json::from_value(serde_json::to_value(&facts).unwrap()).unwrap();
        prop_assert_eq!(&copy, &facts);
        prop_assert_eq!(grant::decide(&copy, NOW.plus(seconds)), grant::decide(&facts, NOW.plus(seconds)));
    }
}
