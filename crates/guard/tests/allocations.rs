//! P8: a decision that passes, or that fails, allocates nothing.
use decision::contract::{Claims, Contract, Presented, decide_claims};
use decision::{CheckId, Collect, Silent, Timestamp};
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn the_decision_allocates_nothing() {
    let contract: Contract = serde_json::from_value(json!({
        "audiences": ["api://billing"],
        "issuers": [{"issuer": "https://id.example/{tenantid}/v2.0", "metadata": "https://id.example/common", "tenants": "any"}],
        "routes": [{"method": "GET", "path": "/invoices/{id}", "scopes": ["Invoices.Read"], "roles": ["Reader"], "acrs": ["c1"]}],
    }))
    .unwrap();
    let claims: Claims = serde_json::from_value(json!({
        "iss": "https://id.example/t1/v2.0", "aud": ["x", "api://billing"], "exp": 2_000, "iat": 1_000, "nbf": 1_000, "sub": "s", "oid": "o", "tid": "t1",
        "azp": "orders", "scp": "openid Invoices.Read", "roles": ["Reader"], "acrs": ["c1"], "idtyp": "user", "ver": "2.0", "uti": "1",
    }))
    .unwrap();
    let decide = |now: i64, path: &str| {
        let token = Presented {
            typ: Some("JWT"),
            issuer: contract.issuer_of(&claims),
            claims: &claims,
            certificate: None,
            key: None,
        };
        decide_claims(&token, &contract, contract.route("GET", path), Timestamp(now), &mut Silent)
    };
    let region = Region::new(ALLOCATOR);
    let (passed, expired, unknown) = (decide(1_500, "/invoices/7"), decide(9_000, "/invoices/7"), decide(1_500, "/x"));
    let change = region.change();
    assert_eq!((passed, expired, unknown), (Ok(()), Err(CheckId::TokenExpired), Err(CheckId::RouteKnown)));
    assert_eq!((change.allocations, change.reallocations), (0, 0));

    // The instrument works: an explanation does allocate.
    let region = Region::new(ALLOCATOR);
    let token = Presented {
        typ: Some("JWT"),
        issuer: contract.issuer_of(&claims),
        claims: &claims,
        certificate: None,
        key: None,
    };
    let _ = decide_claims(
        &token,
        &contract,
        contract.route("GET", "/invoices/7"),
        Timestamp(1_500),
        &mut Collect::default(),
    );
    assert!(region.change().allocations > 10);
}
