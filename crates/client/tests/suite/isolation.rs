//! X-14: whatever clients do at once, nobody gets a token that was meant for another request.
use crate::support::{Authority, Hands, NOON, build, jwt};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use client::{Client, CutOff, Endpoints, Error, GrantProfile, TokenCache};
use decision::Clock;
use oauth::{Scopes, Secret};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Values whose concatenations collide in every naive key.
const PIECES: [&str; 10] = ["a", "b", "ab", "ba", "aab", "a b", "a&scope=b", "|a", "a|", "0"];
const SCOPES: [&str; 8] = ["a", "b", "ab", "a/b", "b/a", "openid", "aa", "denied/a"];
const CLAIMS: [&str; 5] =
    ["{}", "{ }", r#"{"access_token":{"acrs":{"value":"c1"}}}"#, r#"{"access_token":{"acrs":{"value":"c2"}}}"#, "a"];
const MORE: [&str; 4] = ["a", "ab", "[]", r#"[{"type":"a"}]"#];
const LIFE: i64 = 900;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

#[derive(Clone)]
struct Ask {
    client: usize,
    grant: usize,
    subject: usize,
    scopes: Vec<&'static str>,
    claims: Option<&'static str>,
    resource: Option<&'static str>,
    details: Option<&'static str>,
}

impl Ask {
    fn any(dice: &mut Dice, clients: usize, subjects: usize) -> Self {
        let client = dice.roll(clients);
        Self {
            client,
            // The profile of the second half has none on behalf of users.
            grant: if client < 12 { dice.roll(3) } else { 1 + dice.roll(2) },
            subject: dice.roll(subjects),
            scopes: (0..=dice.roll(3)).map(|_| dice.pick(&SCOPES)).collect(),
            claims: (dice.roll(2) == 0).then(|| dice.pick(&CLAIMS)),
            resource: (dice.roll(3) == 0).then(|| dice.pick(&MORE)),
            details: (dice.roll(3) == 0).then(|| dice.pick(&MORE)),
        }
    }

    /// Mostly something asked lately, often with one field changed: a near miss is where a weak key would hit.
    fn likely(dice: &mut Dice, recent: &mut Vec<Self>, clients: usize, subjects: usize) -> Self {
        let fresh = Self::any(dice, clients, subjects);
        if recent.len() < 300 || dice.roll(20) == 0 {
            let at = dice.roll(300);
            recent.truncate(300);
            recent.push(fresh.clone());
            let last = recent.len() - 1;
            recent.swap(at.min(last), last);
            return fresh;
        }
        let known = recent[dice.roll(recent.len())].clone();
        match dice.roll(25) {
            0 if known.grant > 0 => Self { client: fresh.client, ..known },
            1 if known.client < 12 || fresh.grant > 0 => Self { grant: fresh.grant, ..known },
            2 => Self { subject: fresh.subject, ..known },
            3 => Self { scopes: fresh.scopes, ..known },
            4 => Self { claims: fresh.claims, ..known },
            5 => Self { resource: fresh.resource, ..known },
            6 => Self { details: fresh.details, ..known },
            7 => Self { resource: known.details, details: known.resource, ..known },
            _ => known,
        }
    }

    async fn send(
        &self,
        clients: &[(Client, BTreeMap<String, String>)],
        subjects: &[Secret],
        fresh: bool,
    ) -> Result<String, String> {
        let (client, subject) = (&clients[self.client].0, &subjects[self.subject]);
        let target = self.scopes.iter().copied().collect::<Scopes>().to_string();
        let ask = match self.grant {
            0 => client::Ask::on_behalf_of(subject, &target),
            1 => client::Ask::refresh(subject, &target),
            _ => client::Ask::application(&target),
        };
        let ask = self.claims.map_or(ask, |claims| ask.claims(claims));
        let ask = self.resource.map_or(ask, |resource| ask.resource(resource));
        let ask = self.details.map_or(ask, |details| ask.authorization_details(details));
        match client.ask(&ask.fresh(fresh)).await {
            Ok(answered) => {
                let said = URL_SAFE_NO_PAD.decode(answered.token.access_token.expose()).unwrap();
                Ok(String::from_utf8(said).unwrap())
            }
            Err(Error::Consent { body, .. }) => Err(body.error_description.clone()),
            Err(other) => panic!("{other}"),
        }
    }

    /// The parameters that the authority must have seen for this question: the model, made without the client's code.
    fn expected(
        &self,
        clients: &[(Client, BTreeMap<String, String>)],
        subjects: &[Secret],
    ) -> BTreeMap<String, String> {
        let mut all = clients[self.client].1.clone();
        let mut add = |name: &str, value: &str| all.insert(name.to_owned(), value.to_owned());
        match self.grant {
            0 => {
                add("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
                add("requested_token_use", "on_behalf_of");
                add("assertion", subjects[self.subject].expose());
            }
            1 => {
                add("grant_type", "refresh_token");
                add("refresh_token", subjects[self.subject].expose());
            }
            _ => {
                add("grant_type", "client_credentials");
            }
        }
        add("scope", &self.scopes.iter().copied().collect::<Scopes>().to_string());
        if let Some(claims) = self.claims {
            add("claims", claims);
        }
        // The second half of the clients asks in the profile that sends these, and for no users.
        if self.client >= 12 && self.grant == 2 {
            self.resource.map(|resource| add("resource", resource));
            self.details.map(|details| add("authorization_details", details));
        }
        all
    }
}

#[test]
fn x_14_no_interleaving_gives_anyone_anothers_answer() {
    #[expect(clippy::disallowed_methods, reason = "the size of this test is chosen outside it")]
    let operations = std::env::var("DEPUTIZE_CACHE_OPS").ok().and_then(|n| n.parse().ok()).unwrap_or(30_000_usize);
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let clock = Hands::at(NOON);
    let serial = Arc::new(AtomicU64::new(0));
    let authority = {
        let (clock, serial) = (Arc::clone(&clock), Arc::clone(&serial));
        Authority::new(move |url, form| {
            let seen: BTreeMap<&str, &str> = form.iter().chain([("url", url)]).collect();
            let answer = json!({"seen": seen, "at": clock.now().0, "serial": serial.fetch_add(1, SeqCst)}).to_string();
            if form.value("scope").is_some_and(|scope| scope.contains("denied")) {
                let body =
                    json!({"error": "invalid_grant", "suberror": "consent_required", "error_description": answer});
                return (400, body);
            }
            (200, json!({"token_type": "Bearer", "expires_in": LIFE, "access_token": URL_SAFE_NO_PAD.encode(answer)}))
        })
    };
    // Small enough that entries are pushed out all the time.
    let cache = TokenCache::new(512 * 1024);
    let clients: Vec<_> = (0..24)
        .map(|n| {
            let (path, id, secret) = (dice.pick(&["a", "ab", "a/b"]), dice.pick(&PIECES), dice.pick(&PIECES));
            let endpoints = match n % 2 {
                0 => Endpoints::entra(&format!("https://login.example/{path}")),
                _ => Endpoints::token_endpoint(format!("https://login.example/{path}")),
            };
            let model = [("url", endpoints.token.as_str()), ("client_id", id), ("client_secret", secret)];
            let model = model.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
            let profile = if n < 12 { GrantProfile::Entra } else { GrantProfile::ClientCredentials };
            let builder = Client::builder(endpoints, id).secret(Secret::new(secret)).cache(Arc::clone(&cache));
            let builder = builder.profile(profile);
            (build(builder, &authority, &clock), model)
        })
        .collect();
    // The same user with several tokens, users whose tokens are prefixes of each other, opaque tokens, short-lived ones.
    let mut subjects: Vec<Secret> = PIECES.map(Secret::new).into();
    let mut ends = HashMap::new();
    // They end one after the other for as long as this runs: 45 seconds pass in a thousand operations.
    let step = i64::try_from(operations).unwrap() * 45 / 10_000;
    for (n, piece) in PIECES.iter().enumerate() {
        let end = NOON + step.max(700) * i64::try_from(n + 1).unwrap();
        ends.insert(subjects.len(), end);
        subjects.push(jwt(piece, end));
    }
    let mut forgotten: HashMap<usize, u64> = HashMap::new();
    let mut answers = 0_usize;
    let mut recent = Vec::new();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        for _ in 0..operations {
            match dice.roll(40) {
                0 if dice.roll(8) == 0 => clock.forward(i64::try_from(dice.roll(30)).unwrap()),
                1 if dice.roll(5) == 0 => {
                    let subject = dice.roll(subjects.len());
                    cache.forget_subject(&subjects[subject]);
                    forgotten.insert(subject, serial.load(SeqCst));
                }
                3 if dice.roll(20) == 0 => {
                    // Nobody's: what is held stays, but for tokens that do not say whose they are.
                    let nobody = CutOff { user: Some("nobody".into()), ..CutOff::default() };
                    cache.cut_off(&[nobody], clock.now());
                    // Until it has settled, nothing that does not say whose it is would be kept.
                    clock.forward(3);
                }
                4 if dice.roll(200) == 0 => cache.flush(),
                2 => {
                    // Gone before the answer is there: whoever asks next must not suffer from it.
                    let ask = Ask::likely(&mut dice, &mut recent, clients.len(), subjects.len());
                    let mut gone = std::pin::pin!(ask.send(&clients, &subjects, dice.roll(2) == 0));
                    let first = std::future::poll_fn(|cx| std::task::Poll::Ready(gone.as_mut().poll(cx))).await;
                    drop(first);
                }
                rest => {
                    let concurrent = if rest < 8 { 1 + dice.roll(6) } else { 1 };
                    let ask = |_| Ask::likely(&mut dice, &mut recent, clients.len(), subjects.len());
                    let mut asks: Vec<_> = (0..concurrent).map(ask).collect();
                    // Often the same question twice at once, so that flights are shared.
                    asks.extend(asks.first().cloned().filter(|_| rest < 8));
                    let now = clock.now().0;
                    let mut send = |ask| {
                        let fresh = dice.roll(50) == 0;
                        Box::pin(Ask::send(ask, &clients, &subjects, fresh))
                    };
                    let mut sending: Vec<_> = asks.iter().map(&mut send).collect();
                    let mut results: Vec<_> = asks.iter().map(|_| None).collect();
                    std::future::poll_fn(|cx| {
                        for (future, result) in
                            sending.iter_mut().zip(&mut results).filter(|(_, result)| result.is_none())
                        {
                            if let std::task::Poll::Ready(answer) = future.as_mut().poll(cx) {
                                *result = Some(answer);
                            }
                        }
                        if results.iter().all(Option::is_some) {
                            std::task::Poll::Ready(())
                        } else {
                            std::task::Poll::Pending
                        }
                    })
                    .await;
                    for (ask, answer) in asks.iter().zip(results) {
                        answers += 1;
                        let denied = ask.scopes.iter().any(|scope| scope.contains("denied"));
                        let answer = answer.unwrap();
                        assert_eq!(answer.is_err(), denied);
                        let text = answer.unwrap_or_else(|refusal| refusal);
                        let answer: Value = serde_json::from_str(&text).unwrap();
                        assert_eq!(answer["seen"], json!(ask.expected(&clients, &subjects)), "someone else's answer");
                        let at = answer["at"].as_i64().unwrap();
                        assert!(now < at + if denied { 15 } else { LIFE - 120 }, "an answer past its life");
                        if let (0 | 1, Some(since)) = (ask.grant, forgotten.get(&ask.subject)) {
                            assert!(
                                answer["serial"].as_u64().unwrap() >= *since,
                                "an answer from before its subject was forgotten"
                            );
                        }
                        if let (0, false, Some(end)) = (ask.grant, denied, ends.get(&ask.subject)) {
                            assert!(now == at || now < *end, "an answer from the cache after its assertion has ended");
                        }
                    }
                }
            }
        }
    });
    let upstream = authority.calls();
    println!("{operations} operations, {answers} answers compared, {upstream} requests upstream, 0 cross answers");
    assert!(upstream < answers / 2, "the cache was hardly used, so little was shown");
}

/// R10, the cache's part: so many different users' tokens pass through a budget, and never weigh more than it, by the cache's
/// own account. What the account leaves out would show in the process's memory, which is compared where that can be read.
#[tokio::test]
async fn x_14_any_number_of_users_stays_within_the_budget() {
    const BUDGET: u64 = 4 * 1024 * 1024;
    #[expect(clippy::disallowed_methods, reason = "the size of this test is chosen outside it")]
    let users = std::env::var("DEPUTIZE_CACHE_OPS").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000_usize);
    let authority = Authority::new(|_, form| {
        let token = jwt(form.value("assertion").unwrap(), NOON + 3600).expose().repeat(6);
        (200, json!({"token_type": "Bearer", "expires_in": 3600, "access_token": token}))
    });
    let cache = TokenCache::new(BUDGET);
    let client = build(crate::support::orders().cache(Arc::clone(&cache)), &authority, &Hands::at(NOON));
    let mut filled = None;
    for n in 0..users {
        let user = Secret::new(format!("user-{n}"));
        client.ask(&client::Ask::on_behalf_of(&user, "a")).await.unwrap();
        let counters = cache.counters();
        assert!(counters.bytes <= BUDGET + BUDGET / 8, "{counters:?}");
        if n == 6_000 {
            filled = resident();
        }
    }
    let counters = cache.counters();
    assert!(counters.evictions > 0 && counters.bytes > BUDGET / 2, "it is used: {counters:?}");
    if let (Some(before), Some(after)) = (filled, resident()) {
        println!("{users} users, {counters:?}, {before} bytes resident when full, {after} at the end");
        assert!(after < before + 4 * BUDGET, "memory grows beside the account: {before} to {after}");
    }
}

/// The process's memory, where the system tells it.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    text.split(' ').nth(1)?.parse::<u64>().ok().map(|pages| pages * 4096)
}

#[test]
fn every_field_of_a_key_counts_and_none_runs_into_another() {
    use client::KeyFields;
    let [one, two] = ["a", "ab"].map(Secret::new);
    let scopes = ["", "a", "b", "a b", "ab"];
    let mut keys = HashMap::new();
    let mut dice = Dice(7);
    for _ in 0..50_000 {
        let mut text = || dice.pick(&["", "a", "b", "ab", "\0"]);
        let (issuer, client, credential, grant) = (text(), text(), text(), text());
        let mut maybe = || Some(text()).filter(|text| *text != "\0");
        let (tenant, target, claims, resource, binding) = (maybe(), maybe(), maybe(), maybe(), maybe());
        let (authorization_details, fmi_path, user) = (maybe(), maybe(), maybe().zip(maybe()));
        let mut token = || [None, Some(&one), Some(&two)][dice.roll(3)];
        let (subject, actor) = (token(), token());
        let scopes = [None, Some(0), Some(1), Some(2), Some(3), Some(4)][dice.roll(6)].map(|n: usize| scopes[n]);
        let fields = KeyFields {
            issuer,
            client,
            credential,
            tenant,
            grant,
            subject,
            actor,
            target,
            scopes,
            claims,
            resource,
            authorization_details,
            fmi_path,
            binding,
            user,
        };
        let tokens = [subject, actor].map(|token| token.map(Secret::expose));
        let plain = format!("{fields:?} {tokens:?}");
        let known = keys.entry(fields.key()).or_insert_with(|| plain.clone());
        assert_eq!(*known, plain, "two different requests share a key");
    }
    let order = |text: &str| KeyFields { scopes: Some(text), ..KeyFields::default() }.key();
    assert_eq!(order("a b"), order("b  a b"));
}
