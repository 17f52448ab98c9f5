//! An API that received a user's token asks as itself: recorded, and refused where the tenant says so. And everything by
//! which somebody could have another client refused, or be refused for nothing.
use super::delegation::{DOWN, SCOPE, good, spoiled};
use crate::world::estate::{CONTOSO, FABRIKAM, secret};
use crate::world::{NOON, World, app, form, now_or_never, obo, refused};
use decision::CheckId;
use deputize_core::audit::AuditRecord;
use deputize_core::endpoint::EndpointVersion;
use deputize_core::introspection;
use deputize_core::model::{DroppedUserContext, OwnIdentity};
use deputize_core::token_endpoint::{Refusal, TokenRequest};
use deputize_core::trace::{Carried, REMEMBERED, TraceId};
use oauth::{Form, Secret, TokenResponse};
use serde_json::json;

const TRACE: Option<TraceId> = Some(TraceId(7));
const AS_ITSELF: [(&str, &str); 2] = [("grant_type", "client_credentials"), ("scope", "api://billing/.default")];

fn refusing() -> World {
    let world = World::new();
    world.estate.edit(|estate| {
        for tenant in &mut estate.objects.tenants {
            tenant.settings.dropped_user_context = DroppedUserContext::Refuse;
        }
    });
    world
}

fn signed(name: &str, pairs: &[(&str, &str)]) -> Form {
    let (id, secret) = (app(name).to_string(), secret(name));
    form(&[&[("client_id", &*id), ("client_secret", &secret)][..], pairs].concat())
}

fn at<'a>(tenant: &'a str, form: &'a Form, trace: Option<TraceId>) -> TokenRequest<'a> {
    TokenRequest {
        version: EndpointVersion::V2,
        tenant,
        form,
        basic: None,
        origin: None,
        correlation: None,
        address: None,
        trace,
    }
}

impl World {
    fn traced(&self, name: &str, trace: Option<TraceId>, pairs: &[(&str, &str)]) -> Result<TokenResponse, Refusal> {
        let form = signed(name, pairs);
        let request = at("contoso.example", &form, trace);
        now_or_never(deputize_core::token_endpoint::answer(&self.ports, request)).map(|answered| answered.response)
    }

    fn last(&self) -> AuditRecord {
        self.ledger.read(|state| state.audit.last().cloned().unwrap())
    }

    fn received(&self) -> Secret {
        self.tokens("ada", "web", SCOPE).access_token
    }

    fn introspects(&self, name: &str, token: &Secret, trace: Option<TraceId>) -> bool {
        let form = signed(name, &[("token", token.expose())]);
        let (_, told) = now_or_never(introspection::answer(&self.ports, at("contoso.example", &form, trace))).unwrap();
        told["active"] == true
    }

    fn declare(&self, name: &str, api: &str) {
        let own = OwnIdentity { resource_app_id: app(api), reason: "Billing's export is a file transfer".into() };
        self.estate.edit(|estate| estate.app(name).deputize.own_identity.push(own));
    }
}

#[test]
fn a_dropped_user_is_recorded_or_refused_and_a_declared_edge_never() {
    for (policy, declared, expected) in [
        (DroppedUserContext::Record, false, Ok(())),
        (DroppedUserContext::Record, true, Ok(())),
        (DroppedUserContext::Refuse, false, Err(CheckId::UserPassedOn)),
        (DroppedUserContext::Refuse, true, Ok(())),
    ] {
        let world = World::new();
        world.estate.edit(|estate| estate.objects.tenants[0].settings.dropped_user_context = policy);
        if declared {
            world.declare("orders", "billing");
        }
        world.traced("orders", TRACE, &obo(world.received().expose(), DOWN)).unwrap();
        let answer = world.traced("orders", TRACE, &AS_ITSELF);
        assert_eq!(answer.map(drop).map_err(|refusal| refusal.check), expected, "{policy:?} {declared}");
        let record = world.last();
        assert_eq!(record.dropped_user, Some(Carried::Exchanged(app("billing"))));
        assert_eq!((record.trace, record.refused), (TRACE, expected.err()));
        assert_eq!(record.own_identity.as_deref(), declared.then_some("Billing's export is a file transfer"));
    }
}

#[test]
fn a_refusal_says_what_to_do_and_who_can() {
    let world = refusing();
    world.traced("orders", TRACE, &obo(world.received().expose(), DOWN)).unwrap();
    let refusal = world.traced("orders", TRACE, &AS_ITSELF).unwrap_err();
    let body = &refusal.body;
    assert_eq!((refusal.status, body.error.as_str(), body.error_codes[0]), (400, "unauthorized_client", 7_000_114));
    for words in ["on_behalf_of", "`deputize.ownIdentity`", "00000000000000000000000000000007", "60 seconds"] {
        assert!(body.error_description.contains(words), "{words}: {}", body.error_description);
    }
}

#[test]
fn only_the_same_api_in_the_same_trace_is_refused() {
    let world = refusing();
    world.traced("orders", TRACE, &obo(world.received().expose(), DOWN)).unwrap();
    for (what, trace, scope, recorded) in [
        ("another trace", Some(TraceId(8)), "api://billing/.default", None),
        ("no trace", None, "api://billing/.default", None),
        ("another API", TRACE, "api://legacy/.default", Some(Carried::Exchanged(app("billing")))),
    ] {
        let pairs = [("grant_type", "client_credentials"), ("scope", scope)];
        world.traced("orders", trace, &pairs).unwrap_or_else(|refusal| panic!("{what}: {refusal:?}"));
        assert_eq!(world.last().dropped_user, recorded, "{what}");
    }
    world.traced("daemon", TRACE, &AS_ITSELF).unwrap();
    assert_eq!(world.last().dropped_user, None, "what Orders received, the daemon did not");
    world.advance(REMEMBERED - 1);
    assert_eq!(refused(world.traced("orders", TRACE, &AS_ITSELF)), CheckId::UserPassedOn);
    world.advance(1);
    world.traced("orders", TRACE, &AS_ITSELF).unwrap();
}

#[test]
fn an_api_cannot_fall_back_to_its_own_rights_where_the_users_do_not_suffice() {
    let world = refusing();
    let token = world.received();
    let unconsented = world.traced("orders", TRACE, &obo(token.expose(), "api://billing/Invoices.Approve"));
    assert_eq!(refused(unconsented), CheckId::ConsentGranted);
    assert_eq!(refused(world.traced("orders", TRACE, &AS_ITSELF)), CheckId::UserPassedOn);
    // Nor where the user's token has expired meanwhile.
    world.advance(86_400);
    let later = Some(TraceId(9));
    assert_eq!(refused(world.traced("orders", later, &obo(token.expose(), DOWN))), CheckId::AssertionCurrent);
    assert_eq!(refused(world.traced("orders", later, &AS_ITSELF)), CheckId::UserPassedOn);
}

#[test]
fn who_asks_what_a_users_token_is_worth_has_received_it() {
    let world = refusing();
    let token = world.received();
    assert!(world.introspects("orders", &token, TRACE));
    assert_eq!(refused(world.traced("orders", TRACE, &AS_ITSELF)), CheckId::UserPassedOn);
    assert_eq!(world.last().dropped_user, Some(Carried::Introspected));
    // Tokens that are not for the caller, or that carry nobody, say nothing; and without a trace nothing is written.
    let app_only = world.traced("daemon", None, &[AS_ITSELF[0], ("scope", "api://orders/.default")]).unwrap();
    let known = || world.ledger.read(|state| state.traces.len());
    let before = known();
    assert!(!world.introspects("billing", &token, Some(TraceId(8))), "A-24");
    assert!(world.introspects("orders", &app_only.access_token, Some(TraceId(8))));
    assert!(world.introspects("orders", &token, None));
    assert_eq!(known(), before);
}

#[test]
fn what_others_say_is_recorded_and_never_refused() {
    let world = refusing();
    // Orders gets a user's token for Billing; whether it arrives there, only the two know.
    world.traced("orders", TRACE, &obo(world.received().expose(), DOWN)).unwrap();
    world.traced("billing", TRACE, &[AS_ITSELF[0], ("scope", "api://orders/.default")]).unwrap();
    assert_eq!(world.last().dropped_user, Some(Carried::Addressed));
}

#[test]
fn nobody_can_have_another_client_refused() {
    let world = refusing();
    let (token, all) = good(&world);
    let contoso = CONTOSO.to_string();
    // Somebody else with the user's token, in the name of a client that needs no credential.
    world.estate.edit(|estate| estate.app("orders").is_fallback_public_client = true);
    let id = app("orders").to_string();
    let unproven = form(&[&[("client_id", &*id)][..], &obo(token.expose(), DOWN)].concat());
    let wrong = form(&[&[("client_id", &*id), ("client_secret", "guess")][..], &obo(token.expose(), DOWN)].concat());
    for (what, form, check) in
        [("unproven", unproven, CheckId::ClientConfidential), ("wrong", wrong, CheckId::ClientSecretCorrect)]
    {
        let answer = now_or_never(deputize_core::token_endpoint::answer(&world.ports, at(&contoso, &form, TRACE)));
        assert_eq!(refused(answer), check, "{what}");
    }
    // Assertions that never were for Orders, or are of nobody.
    let forged = spoiled(&all, json!({"aud": app("billing").to_string()}));
    assert_eq!(refused(world.traced("orders", TRACE, &obo(forged.expose(), DOWN))), CheckId::AssertionAudience);
    let nobody = spoiled(&all, json!({"idtyp": "app"}));
    assert_eq!(refused(world.traced("orders", TRACE, &obo(nobody.expose(), DOWN))), CheckId::AssertionUser);
    let damaged = format!("{}A", token.expose());
    assert_eq!(refused(world.traced("orders", TRACE, &obo(&damaged, DOWN))), CheckId::AssertionSignature);
    assert!(world.ledger.read(|state| state.traces.iter().all(|user| user.client != app("orders"))));
    world.traced("orders", TRACE, &AS_ITSELF).unwrap();
}

#[test]
fn traces_do_not_cross_tenants() {
    let world = refusing();
    world.traced("orders", TRACE, &obo(world.received().expose(), DOWN)).unwrap();
    // The same application, in another tenant, for another service principal of itself.
    let pairs = [AS_ITSELF[0], ("scope", &*format!("{}/.default", app("orders")))];
    let form = signed("orders", &pairs);
    let fabrikam = FABRIKAM.to_string();
    let request = at(&fabrikam, &form, TRACE);
    now_or_never(deputize_core::token_endpoint::answer(&world.ports, request)).unwrap();
    assert_eq!(world.last().dropped_user, None);
    assert!(world.ledger.read(|state| state.traces.iter().all(|user| user.tenant == CONTOSO)));
}

#[test]
fn requests_without_a_trace_cost_nothing() {
    let world = World::new();
    world.traced("orders", None, &obo(world.received().expose(), DOWN)).unwrap();
    world.traced("orders", None, &AS_ITSELF).unwrap();
    assert!(world.ledger.read(|state| state.traces.is_empty()));
    assert_eq!(world.last().at, NOON);
}
