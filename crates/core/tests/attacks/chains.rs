//! Chains: how long they and what they give last, how deep they go, and that they do not return.
use super::delegation::{DOWN, SCOPE, good, spoiled};
use crate::world::{NOON, World, app, claims, refused};
use decision::CheckId;
use serde_json::json;

#[test]
fn x_09_an_assertion_is_refused_after_its_expiry_and_the_skew() {
    let world = World::new();
    let (token, all) = good(&world);
    let expires = all["exp"].as_i64().unwrap();
    world.advance(expires + 59 - NOON.0);
    assert!(world.obo("orders", &token, DOWN).is_ok());
    world.advance(1);
    assert_eq!(refused(world.obo("orders", &token, DOWN)), CheckId::AssertionCurrent);
    for exp in [i64::MIN, -1, 0] {
        assert_eq!(
            refused(world.obo("orders", &spoiled(&all, json!({"exp": exp})), DOWN)),
            CheckId::AssertionCurrent,
            "{exp}"
        );
    }
    let fresh = World::new();
    let (_, all) = good(&fresh);
    assert!(fresh.obo("orders", &spoiled(&all, json!({"nbf": NOON.0 + 60})), DOWN).is_ok());
    for nbf in [NOON.0 + 61, i64::MAX] {
        assert_eq!(
            refused(fresh.obo("orders", &spoiled(&all, json!({"nbf": nbf})), DOWN)),
            CheckId::AssertionNotBefore,
            "{nbf}"
        );
    }
    let start = std::sync::Barrier::new(64);
    let served: usize = std::thread::scope(|scope| {
        let (fresh, start, all) = (&fresh, &start, &all);
        let tries: Vec<_> = (0..64)
            .map(|_| {
                scope.spawn(move || {
                    let token = spoiled(all, json!({"exp": NOON.0 + 1}));
                    start.wait();
                    usize::from(fresh.obo("orders", &token, DOWN).is_ok())
                })
            })
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(served, 64, "decided at one moment each");
}

#[test]
fn x_10_what_is_got_on_behalf_of_a_user_ends_with_the_root_session() {
    let world = World::new();
    world.estate.edit(|estate| estate.tenant().settings.session_seconds = 1_000);
    let root = world.tokens("ada", "web", SCOPE);
    let ends = NOON.plus(1_000).0;
    assert_eq!(claims(&root.access_token)["exp"], ends);
    assert_eq!(claims(root.id_token.as_ref().unwrap())["exp"], ends);
    world.advance(400);
    let down = world.obo("orders", &root.access_token, "api://billing/Invoices.Read offline_access openid").unwrap();
    assert_eq!(claims(&down.access_token)["exp"], ends);
    assert_eq!((down.expires_in, down.ext_expires_in), (600, Some(600)));
    world.advance(600);
    // The assertion itself is within its skew still; its session is not.
    assert_eq!(refused(world.obo("orders", &root.access_token, DOWN)), CheckId::SessionAlive);
    assert_eq!(refused(world.refresh("orders", &down.refresh_token.unwrap())), CheckId::RefreshCurrent);
}

#[test]
fn x_10_in_the_native_profile_a_token_never_outlives_its_assertion() {
    let world = World::new();
    let (token, all) = good(&world);
    let expires = all["exp"].as_i64().unwrap();
    world.advance(expires - 10 - NOON.0);
    let vault = "api://vault/Vault.Read";
    let down = world.obo("orders", &token, vault).unwrap();
    assert_eq!((&claims(&down.access_token)["exp"], down.expires_in), (&json!(expires), 10));
    world.advance(10);
    assert_eq!(
        refused(world.obo("orders", &token, vault)),
        CheckId::AssertionCurrent,
        "no token that is dead when it is born"
    );
    let entra = world.obo("orders", &token, DOWN).unwrap();
    assert!(entra.expires_in >= 3_600, "the entra profile follows policy and session");
}

#[test]
fn x_11_a_chain_does_not_return_to_where_it_came_through() {
    let world = World::new();
    let (token, _) = good(&world);
    let down = world.obo("orders", &token, DOWN).unwrap().access_token;
    let back = |world: &World| world.obo("billing", &down, "api://orders/access_as_user");
    assert_eq!(refused(back(&world)), CheckId::ChainLoop);
    world.estate.edit(|estate| estate.tenant().settings.allow_chain_loops = true);
    assert!(back(&world).is_ok(), "unless the tenant says so");
}

#[test]
fn x_11_a_chain_has_an_end() {
    for (setting, longest) in [(5, 5), (2, 2), (0, 0), (100, 7), (255, 7)] {
        let world = World::new();
        world.estate.edit(|estate| {
            estate.tenant().settings.allow_chain_loops = true;
            estate.tenant().settings.max_chain_depth = setting;
        });
        let (mut token, _) = good(&world);
        let mut hops = 0;
        let check = loop {
            let (from, to) = if hops % 2 == 0 { ("orders", DOWN) } else { ("billing", "api://orders/access_as_user") };
            match world.obo(from, &token, to) {
                Ok(answer) => token = answer.access_token,
                Err(refusal) => break refusal.check,
            }
            hops += 1;
        };
        assert_eq!((check, hops), (CheckId::ChainDepth, longest), "max_chain_depth = {setting}");
    }
}

#[test]
fn x_11_a_chain_of_a_hundred_is_refused_however_it_was_made() {
    use deputize_core::ports::Crypto as _;
    let world = World::new();
    let (token, all) = good(&world);
    let mut chain = world.chain(&token);
    chain.actors = [app("web"), app("orders")].repeat(50);
    let sealed = world.crypto.seal(&chain.encode());
    assert_eq!(refused(world.obo("orders", &spoiled(&all, json!({"aio": sealed})), DOWN)), CheckId::ChainDepth);
}
