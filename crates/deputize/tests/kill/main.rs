//! R2, R3 and R16 on the real process: the built binary, over HTTPS, killed with SIGKILL at any moment.
#![cfg(test)]

mod authority;
mod proof;
mod traffic;
mod wire;

use authority::Place;
use proof::{Figures, Proof};
use std::sync::atomic::Ordering;
use std::time::Duration;
use testkit::Random;
use tokio::time::{sleep, timeout};
use wire::{Credential, Kind, PUBLIC, STRICT, WEB};

const PEOPLE: [&str; 2] = ["ada@contoso.example", "bob@contoso.example"];
/// For each kill, with all that is looked at after it.
const LONGEST: Duration = Duration::from_mins(1);

/// How long the proof runs is the caller's choice.
fn number(name: &str, otherwise: u32) -> u32 {
    #[expect(clippy::disallowed_methods, reason = "how long the proof runs is the caller's choice")]
    let wanted = std::env::var(name);
    wanted.map_or(otherwise, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_minus_nine_during_redemptions_and_refreshes() {
    let kills = number("DEPUTIZE_KILLS", 4);
    let seed = number("DEPUTIZE_SEED", std::process::id());
    println!("DEPUTIZE_KILLS={kills} DEPUTIZE_SEED={seed}");
    timeout(LONGEST * (kills + 2), kill_loop(kills, Random::seeded(seed.into()))).await.expect("the loop ends in time");
}

async fn kill_loop(kills: u32, mut random: Random) {
    let mut place = Place::new(6);
    let mut proof = Proof::default();
    let mut starts = Vec::new();
    let mut young = 0;
    let (mut running, mut wire, _) = place.start_ready().await;
    for person in PEOPLE.iter().cycle().take(kills as usize) {
        let cookies = wire.sign_in(person).await;
        let mut traffic = traffic::begin(&wire, &cookies);
        let alive = 100 + random.below(500) as u64;
        sleep(Duration::from_millis(alive)).await;
        assert!(traffic.try_join_next().is_none(), "traffic ended before the kill");
        wire.killed.store(true, Ordering::SeqCst);
        running.kill();
        let mut told = traffic::Told::default();
        while let Some(one) = traffic.join_next().await {
            told.join(one.unwrap());
        }
        proof.join(&wire, place.audit());
        if random.below(4) == 0 {
            // Once more while it starts, perhaps while it recovers from the kill before.
            let starting = place.start();
            sleep(Duration::from_millis(random.below(60) as u64)).await;
            starting.kill();
            young += 1;
        }
        let took;
        (running, wire, took) = place.start_ready().await;
        starts.push(took);
        // Who was told that they are signed in still are.
        told.fresh.push((&WEB, wire.code(&cookies, &WEB).await.expect("the authority lives")));
        proof.check(&wire, told).await;
    }
    proof.check_all(&wire).await;
    wire.killed.store(true, Ordering::SeqCst);
    running.kill();
    proof.join(&wire, place.audit());

    let Figures { redemptions, rotations, untold, tokens, unanswered } = proof.figures();
    assert!(redemptions > 0 && rotations > 0, "nothing was tried");
    starts.sort_unstable();
    let median = starts.get(starts.len() / 2).copied().unwrap_or_default();
    println!(
        "{kills} kills and {young} while starting: {redemptions} codes redeemed, {rotations} native tokens rotated, {tokens} \
         tokens received, each in the audit trail; {unanswered} requests died unanswered, {untold} of their commits stood; \
         double uses 0, lost 0; ready again after {median:?} (median)"
    );
}

/// So many at once for one code or token.
const AT_ONCE: usize = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_success_per_code_and_per_rotation() {
    let rounds = number("DEPUTIZE_CODES", 20);
    timeout(Duration::from_mins(1) + Duration::from_secs(1) * rounds, contests(rounds)).await.expect("in time");
}

async fn contests(rounds: u32) {
    let mut place = Place::new(7);
    let (running, wire, _) = place.start_ready().await;
    let cookies = wire.sign_in(PEOPLE[0]).await;
    let code = async |client| Credential::new(client, Kind::Code, wire.code(&cookies, client).await.unwrap());
    for round in 0..rounds {
        let client = [&WEB, &PUBLIC, &STRICT][round as usize % 3];
        let mut contested = code(client).await;
        let heir = contested.present(&wire, AT_ONCE).await.expect("exactly one success");
        let again = wire.redeem(client, Kind::Refresh, &heir).await;
        assert!(matches!(again, Some(Err(()))), "replays revoke what stems from it");

        let token = code(&STRICT).await.present(&wire, 1).await.unwrap();
        let mut contested = Credential::new(&STRICT, Kind::Refresh, token);
        let heir = contested.present(&wire, AT_ONCE).await.expect("exactly one success");
        let again = wire.redeem(&STRICT, Kind::Refresh, &heir).await;
        assert!(matches!(again, Some(Err(()))), "a replay revokes the family");
    }
    running.kill();
    let tokens = place.audit().iter().filter(|record| record.token.is_some()).count();
    assert_eq!(tokens, rounds as usize * 3, "issued: one for each contest, and one for each token contested");
    println!("{rounds} codes and {rounds} native tokens, {AT_ONCE} at once for each: one success each");
}
