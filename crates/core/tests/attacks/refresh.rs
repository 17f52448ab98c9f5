//! Refresh tokens, the rotation of each profile, and how long they live.
use crate::world::estate::{CONTOSO, service_principal};
use crate::world::{World, app, claims, principal, refused};
use decision::CheckId;
use oauth::Secret;
use std::sync::Barrier;

const SCOPE: &str = "api://orders/access_as_user offline_access openid";

fn first(world: &World, client: &str) -> Secret {
    world.tokens("ada", client, SCOPE).refresh_token.unwrap()
}

fn next(world: &World, client: &str, token: &Secret) -> Secret {
    world.refresh(client, token).unwrap().refresh_token.unwrap()
}

#[test]
fn a_12_in_the_native_profile_a_replayed_refresh_token_revokes_its_family() {
    for client in ["strict", "gadget"] {
        let world = World::new();
        let one = first(&world, client);
        let two = next(&world, client, &one);
        let three = next(&world, client, &two);
        assert_eq!(refused(world.refresh(client, &one)), CheckId::RefreshUnused, "at once: no grace");
        for token in [one, two, three] {
            assert_eq!(refused(world.refresh(client, &token)), CheckId::UserNotRevoked);
        }
    }
}

#[test]
fn a_12_of_64_parallel_rotations_in_the_native_profile_one_succeeds() {
    let world = World::new();
    for _ in 0..10 {
        let token = first(&world, "strict");
        let start = Barrier::new(64);
        let won: usize = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..64)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        usize::from(world.refresh("strict", &token).is_ok())
                    })
                })
                .collect();
            tries.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(won, 1);
    }
}

#[test]
fn a_12_a_public_client_of_the_entra_profile_gets_a_sibling_for_ten_seconds() {
    let world = World::new();
    let one = first(&world, "phone");
    let two = next(&world, "phone", &one);
    world.advance(10);
    let sibling = next(&world, "phone", &one);
    assert!(sibling != two && sibling != one);
    assert!(world.refresh("phone", &sibling).is_ok());
    world.advance(1);
    assert_eq!(refused(world.refresh("phone", &one)), CheckId::RefreshUnused);
    for token in [two, sibling] {
        assert_eq!(refused(world.refresh("phone", &token)), CheckId::UserNotRevoked, "the whole family, siblings too");
    }
}

#[test]
fn a_confidential_client_of_the_entra_profile_may_use_a_refresh_token_again() {
    let world = World::new();
    let one = first(&world, "web");
    let two = next(&world, "web", &one);
    world.advance(86_400);
    assert!(world.refresh("web", &one).is_ok() && world.refresh("web", &two).is_ok());
}

#[test]
fn a_13_a_refresh_token_is_its_clients_own() {
    let world = World::new();
    let token = first(&world, "web");
    assert_eq!(refused(world.refresh("rival", &token)), CheckId::RefreshClient);
    assert!(world.refresh("web", &token).is_ok(), "a stranger's try costs its owner nothing");
    let web = app("web").to_string();
    let bare = [("client_id", &*web), ("grant_type", "refresh_token"), ("refresh_token", token.expose())];
    assert_eq!(refused(world.token(&bare)), CheckId::ClientCredentialPresent);
    world.estate.edit(|estate| estate.app("web").is_fallback_public_client = true);
    assert_eq!(refused(world.token(&bare)), CheckId::ClientCredentialPresent, "got with a credential, used with one");
    for text in
        ["", "1.", "1.AAAA", &token.expose()[..20], &format!("{}A", token.expose()), &token.expose().to_uppercase()]
    {
        let check = if text.is_empty() { CheckId::ParameterPresent } else { CheckId::RefreshValid };
        assert_eq!(
            refused(world.token_as("web", &[("grant_type", "refresh_token"), ("refresh_token", text)])),
            check,
            "{text}"
        );
    }
}

#[test]
fn a_13_a_native_client_refreshes_within_what_was_granted() {
    let world = World::new();
    for (scope, check) in [
        ("api://orders/access_as_user", None),
        ("openid", None),
        ("openid email", Some(CheckId::ScopeWithinGrant)),
        ("api://orders/access_as_user profile", Some(CheckId::ScopeWithinGrant)),
        ("api://vault/Vault.Read", Some(CheckId::ScopeWithinGrant)),
        ("api://orders/Orders.Write", Some(CheckId::ScopeWithinGrant)),
        ("api://orders/nonsense", Some(CheckId::ScopeValid)),
    ] {
        let token = first(&world, "strict");
        let answer = world.token_as(
            "strict",
            &[("grant_type", "refresh_token"), ("refresh_token", token.expose()), ("scope", scope)],
        );
        match check {
            None => assert!(answer.is_ok(), "{scope}: {answer:?}"),
            Some(check) => assert_eq!(refused(answer), check, "{scope}"),
        }
    }
}

#[test]
fn an_entra_client_refreshes_for_another_resource_with_consent_only() {
    let world = World::new();
    let token = first(&world, "web");
    let ask = |scope: &str| {
        world.token_as("web", &[("grant_type", "refresh_token"), ("refresh_token", token.expose()), ("scope", scope)])
    };
    let answer = ask("api://billing/Invoices.Read").unwrap();
    assert_eq!(claims(&answer.access_token)["aud"], app("billing").to_string());
    assert_eq!(refused(ask("api://orders/Orders.Write")), CheckId::ConsentGranted);
    assert_eq!(refused(ask("api://vault/Vault.Read")), CheckId::ResourceDeclared);
    let both = ask("api://billing/Invoices.Read api://orders/access_as_user").unwrap();
    assert_eq!(claims(&both.access_token)["aud"], app("billing").to_string(), "the first scope's resource");
}

#[test]
fn a_narrowed_refresh_does_not_narrow_the_next_one() {
    let world = World::new();
    let one = world.tokens("ada", "strict", SCOPE).refresh_token.unwrap();
    let narrow = [("grant_type", "refresh_token"), ("refresh_token", one.expose()), ("scope", "openid")];
    let two = world.token_as("strict", &narrow).unwrap().refresh_token.unwrap();
    let whole = world.refresh("strict", &two).unwrap();
    assert_eq!(claims(&whole.access_token)["scp"], "access_as_user");
}

#[test]
fn a_refresh_token_dies_of_old_age_and_with_its_session() {
    let world = World::new();
    world.estate.edit(|estate| {
        estate.tenant().settings.refresh_token_seconds = 1_000;
        estate.tenant().settings.session_seconds = 2_500;
    });
    let one = first(&world, "web");
    world.advance(999);
    let two = next(&world, "web", &one);
    world.advance(1);
    assert_eq!(refused(world.refresh("web", &one)), CheckId::RefreshCurrent);
    world.advance(900);
    let three = next(&world, "web", &two);
    world.advance(600);
    assert_eq!(refused(world.refresh("web", &three)), CheckId::RefreshCurrent, "sliding, but never past the session");
    assert_eq!(world.now().since(crate::world::NOON), 2_500);
}

#[test]
fn a_refresh_token_from_on_behalf_of_is_the_middle_tiers_and_ends_with_the_root_session() {
    let world = World::new();
    let browser = world.sign_in("ada");
    let root = world.redeem("web", &world.code(&browser, "web", SCOPE)).unwrap();
    let answer = world.obo("orders", &root.access_token, "api://billing/Invoices.Read offline_access").unwrap();
    let token = answer.refresh_token.unwrap();
    assert_eq!(refused(world.refresh("web", &token)), CheckId::RefreshClient);
    assert_eq!(refused(world.refresh("billing", &token)), CheckId::RefreshClient);
    let again = world.refresh("orders", &token).unwrap();
    assert_eq!(world.chain(&again.access_token).actors, [app("orders"), app("web")], "the chain goes on");
    let other =
        [("grant_type", "refresh_token"), ("refresh_token", token.expose()), ("scope", "api://legacy/Legacy.Read")];
    assert!(world.token_as("orders", &other).is_ok(), "the next resource, as azure-identity asks");
    let record = world
        .ledger
        .read(|ledger| ledger.refresh.values().find(|record| record.client == app("orders")).cloned().unwrap());
    assert_eq!((record.session, record.actors.as_slice()), (world.session(&browser).id, &[app("web")][..]));
    assert!(record.expires <= world.session(&browser).expires);
    world.ledger.write(vec![deputize_core::ledger::Write::RevokeSession(record.session)]).unwrap();
    assert_eq!(refused(world.refresh("orders", &token)), CheckId::SessionAlive);
    assert_eq!(refused(world.obo("orders", &root.access_token, "api://billing/Invoices.Read")), CheckId::SessionAlive);
}

#[test]
fn an_application_that_leaves_the_tenant_takes_its_tokens_along() {
    let world = World::new();
    let token = first(&world, "web");
    world.estate.edit(|estate| estate.objects.principals.retain(|known| known.id != principal("web")));
    assert_eq!(refused(world.refresh("web", &token)), CheckId::ClientKnown);
    world.estate.edit(|estate| estate.objects.principals.push(service_principal(CONTOSO, "web")));
    assert!(world.refresh("web", &token).is_ok());
}
