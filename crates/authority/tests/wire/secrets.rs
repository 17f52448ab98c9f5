//! A-18 where it can be asserted without a stopwatch: what is compared does not depend on what is right. The stopwatch is
//! `benches/timing.rs`.
use crate::world::World;
use crate::world::estate::{CONTOSO, app, secret};
use decision::Timestamp;
use deputize_core::client_auth::{Presented, gather};
use deputize_core::facts::AuthenticationFacts;
use deputize_core::model::Digest;
use deputize_core::ports::Directory;

#[tokio::test]
async fn every_registered_secret_is_compared_and_each_bit_of_it_counts() {
    let world = World::new().await;
    let snapshot = world.store.snapshot();
    let mut client = (**snapshot.tenant(CONTOSO).unwrap().app(app("web")).unwrap()).clone();
    let right = client.application.password_credentials[0].clone();
    let ends = |n: usize| Timestamp(1_000 + i64::try_from(n).unwrap());
    // The same secret, registered four times: had the comparison left early, the first would have been answered.
    client.application.password_credentials = [2, 0, 3, 1]
        .map(|n| {
            let mut credential = right.clone();
            credential.end_date_time = ends(n);
            credential
        })
        .into();
    let crypto = world.crypto();
    let matched = |client: &deputize_core::directory::Registration, text: &str| match gather(
        Presented::Secret(text),
        Some(client),
        crypto,
        Timestamp(0),
    ) {
        AuthenticationFacts::Secret { matched, .. } => matched.map(|secret| secret.end),
        other => panic!("{other:?}"),
    };
    assert_eq!(matched(&client, &secret("web")), Some(ends(3)), "the longest-lived of all that match");
    for bit in 0..256 {
        let mut wrong = right.clone();
        let Digest(mut bytes) = wrong.digest;
        bytes[bit / 8] ^= 1 << (bit % 8);
        wrong.digest = Digest(bytes);
        client.application.password_credentials = vec![wrong];
        assert_eq!(matched(&client, &secret("web")), None, "bit {bit}");
    }
    // Digests are compared, so a right beginning is no nearer than a wrong one.
    client.application.password_credentials = vec![right.clone()];
    let text = secret("web");
    for length in 0..text.len() {
        let near = crypto.keyed_digest(&text[..length]);
        let shared = near.0.iter().zip(right.digest.0).filter(|(a, b)| **a == *b).count();
        assert!(shared < 8 && matched(&client, &text[..length]).is_none(), "{length}: {shared} bytes alike");
    }
}
