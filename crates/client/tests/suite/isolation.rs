//! X-14: whatever clients do at once, nobody gets a token that was meant for another request.
use crate::support::{Authority, Hands, NOON, build, jwt};
use client::{Client, Endpoints, Error, TokenCache};
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
}

impl Ask {
    fn any(dice: &mut Dice, clients: usize, subjects: usize) -> Self {
        Self {
            client: dice.roll(clients),
            grant: dice.roll(3),
            subject: dice.roll(subjects),
            scopes: (0..=dice.roll(3)).map(|_| dice.pick(&SCOPES)).collect(),
            claims: (dice.roll(2) == 0).then(|| dice.pick(&CLAIMS)),
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
        match dice.roll(20) {
            0 => Self { client: fresh.client, ..known },
            1 => Self { grant: fresh.grant, ..known },
            2 => Self { subject: fresh.subject, ..known },
            3 => Self { scopes: fresh.scopes, ..known },
            4 => Self { claims: fresh.claims, ..known },
            _ => known,
        }
    }

    async fn send(
        &self,
        clients: &[(Client, BTreeMap<String, String>)],
        subjects: &[Secret],
    ) -> Result<String, String> {
        let (client, subject) = (&clients[self.client].0, &subjects[self.subject]);
        let answer = match self.grant {
            0 => client.on_behalf_of(subject, &self.scopes, self.claims).await,
            1 => client.refresh(subject, &self.scopes, self.claims).await,
            _ => client.client_credentials(&self.scopes.join(" ")).await,
        };
        match answer {
            Ok(token) => Ok(token.access_token.expose().to_owned()),
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
        if let (Some(claims), 0 | 1) = (self.claims, self.grant) {
            add("claims", claims);
        }
        all
    }
}

#[test]
fn x_14_no_interleaving_gives_anyone_anothers_answer() {
    #[expect(clippy::disallowed_methods, reason = "the size of this test is chosen outside it")]
    let operations = std::env::var("DEPUTIZE_CACHE_OPS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000_usize);
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
            (200, json!({"token_type": "Bearer", "expires_in": LIFE, "access_token": answer}))
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
            let builder = Client::builder(endpoints, id).secret(Secret::new(secret)).cache(Arc::clone(&cache));
            (build(builder, &authority, &clock), model)
        })
        .collect();
    // The same user with several tokens, users whose tokens are prefixes of each other, opaque tokens, short-lived ones.
    let mut subjects: Vec<Secret> = PIECES.map(Secret::new).into();
    let mut ends = HashMap::new();
    for (n, piece) in PIECES.iter().enumerate() {
        let end = NOON + 700 * i64::try_from(n + 1).unwrap();
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
                2 => {
                    // Gone before the answer is there: whoever asks next must not suffer from it.
                    let ask = Ask::likely(&mut dice, &mut recent, clients.len(), subjects.len());
                    let mut gone = std::pin::pin!(ask.send(&clients, &subjects));
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
                    let mut sending: Vec<_> = asks.iter().map(|ask| Box::pin(ask.send(&clients, &subjects))).collect();
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
        let authorization_details = maybe();
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
            binding,
        };
        let tokens = [subject, actor].map(|token| token.map(Secret::expose));
        let plain = format!("{fields:?} {tokens:?}");
        let known = keys.entry(fields.key()).or_insert_with(|| plain.clone());
        assert_eq!(*known, plain, "two different requests share a key");
    }
    let order = |text: &str| KeyFields { scopes: Some(text), ..KeyFields::default() }.key();
    assert_eq!(order("a b"), order("b  a b"));
}
