//! A world: five identity providers, a sidecar with all of them, and an application that asks it.
use bytes::Bytes;
use decision::{Clock, Timestamp};
use fetch::{Allow, Fetch};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use jose::{Algorithm, SigningKey};
use serde_json::{Value, json};
use sidecar::{Bind, Bound, File, Listeners, Metrics, Ports, Probe, Settings, Sidecar, Texas};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use telemetry::Push;
use testkit::{Issuer, SetClock};

pub(crate) const NOON: Timestamp = Timestamp(1_800_000_000);
pub(crate) const PROVIDERS: [&str; 5] = ["entra_id", "tokenx", "maskinporten", "idporten", "ansattporten"];
pub(crate) const ENCODINGS: [Encoding; 2] = [Encoding::Json, Encoding::Form];
/// A private key as a platform hands it over (RFC 7517 appendix A.2): no test waits for a new one.
pub(crate) const JWK: &str = r#"{"kty":"EC","crv":"P-256","alg":"ES256","kid":"registered","use":"sig",
    "d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;

pub(crate) type Issuers = HashMap<&'static str, Issuer>;
pub(crate) type Variables = HashMap<String, String>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Form,
}

/// What the application is answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn token(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// The status, the code and the text of an error.
    pub(crate) fn error(&self) -> (u16, String, String) {
        let json = self.json();
        let text = |name: &str| json[name].as_str().unwrap_or_else(|| panic!("no {name}: {self:?}")).to_owned();
        (self.status, text("error"), text("error_description"))
    }
}

pub(crate) fn invalid_request(text: impl Into<String>) -> (u16, String, String) {
    (400, "invalid_request".to_owned(), text.into())
}

pub(crate) struct World {
    pub(crate) clock: SetClock,
    pub(crate) issuers: Issuers,
    pub(crate) sidecar: Arc<Sidecar>,
    pub(crate) url: String,
    pub(crate) probe: String,
    pub(crate) metrics: String,
    pub(crate) push: Option<Push>,
    fetch: Fetch,
    _listeners: Listeners,
}

/// What the variables of a provider are called: its switch, its client id, its key, and the beginning of its addresses.
pub(crate) fn names(provider: &str) -> (&'static str, &'static str, Option<&'static str>, &'static str) {
    match provider {
        "entra_id" => ("AZURE_ENABLED", "AZURE_APP_CLIENT_ID", Some("AZURE_APP_JWK"), "AZURE_OPENID_CONFIG_"),
        "tokenx" => ("TOKEN_X_ENABLED", "TOKEN_X_CLIENT_ID", Some("TOKEN_X_PRIVATE_JWK"), "TOKEN_X_"),
        "maskinporten" => {
            ("MASKINPORTEN_ENABLED", "MASKINPORTEN_CLIENT_ID", Some("MASKINPORTEN_CLIENT_JWK"), "MASKINPORTEN_")
        }
        "idporten" => ("IDPORTEN_ENABLED", "IDPORTEN_AUDIENCE", None, "IDPORTEN_"),
        "ansattporten" => ("ANSATTPORTEN_ENABLED", "ANSATTPORTEN_AUDIENCE", None, "ANSATTPORTEN_"),
        other => panic!("{other}"),
    }
}

/// The variables that a platform injects for these providers, with every address stated.
pub(crate) fn explicit(issuers: &Issuers) -> Variables {
    let mut variables = HashMap::new();
    for (name, issuer) in issuers {
        let (enabled, id, key, prefix) = names(name);
        variables.insert(enabled.to_owned(), "true".to_owned());
        variables.insert(id.to_owned(), "default".to_owned());
        variables.insert(format!("{prefix}ISSUER"), issuer.url());
        variables.insert(format!("{prefix}JWKS_URI"), issuer.jwks_url());
        if let Some(key) = key {
            variables.insert(key.to_owned(), JWK.to_owned());
            variables.insert(format!("{prefix}TOKEN_ENDPOINT"), issuer.token_url());
        }
    }
    variables
}

pub(crate) fn fetch() -> Fetch {
    let allow = Allow { plain_loopback: true, loopback: true, ..Allow::default() };
    let patience = Duration::from_secs(20);
    Fetch::builder().allow(allow).timeouts(patience, patience).build().unwrap()
}

fn ports(clock: &SetClock) -> Ports {
    let fetch = fetch();
    let numbers = Mutex::new(testkit::Random::seeded(7));
    let random = move |bytes: &mut [u8]| {
        let mut numbers = numbers.lock().unwrap();
        bytes.fill_with(|| u8::try_from(numbers.below(256)).unwrap());
    };
    let network = Arc::new(fetch.clone());
    Ports {
        metadata: network.clone(),
        tokens: network.clone(),
        host: network,
        streams: fetch,
        clock: Arc::new(clock.clone()),
        random: Arc::new(random),
    }
}

impl World {
    /// Every provider, with every address stated.
    pub(crate) async fn new() -> Self {
        Self::with(&PROVIDERS, explicit, None).await
    }

    /// A sidecar that nobody told of any provider.
    pub(crate) async fn bare() -> Self {
        Self::with(&[], |_| HashMap::new(), None).await
    }

    /// These providers, told of by these variables and this file.
    pub(crate) async fn with(
        providers: &[&'static str],
        variables: impl FnOnce(&Issuers) -> Variables,
        file: Option<&str>,
    ) -> Self {
        let clock = SetClock::at(NOON);
        let mut issuers = HashMap::new();
        for name in providers {
            issuers.insert(*name, Issuer::start(clock.clone(), Algorithm::ES256).await.unwrap());
        }
        let variables = variables(&issuers);
        let file = file.map(|text| toml::from_str::<File>(text).unwrap());
        let settings = Settings::read(&|name| variables.get(name).cloned(), file).unwrap();
        Self::of(settings, clock, issuers).await
    }

    pub(crate) async fn of(settings: Settings, clock: SetClock, issuers: Issuers) -> Self {
        let fetch = fetch();
        let sidecar = Sidecar::new(&settings, ports(&clock)).unwrap();
        Self::serving(settings, clock, issuers, sidecar, fetch).await
    }

    /// The same world, after the configuration was read again: with another sidecar, at other addresses.
    pub(crate) async fn renewed(self, settings: Settings) -> Self {
        let sidecar = self.sidecar.renewed(&settings, ports(&self.clock)).unwrap();
        Self::serving(settings, self.clock, self.issuers, sidecar, self.fetch).await
    }

    async fn serving(
        settings: Settings,
        clock: SetClock,
        issuers: Issuers,
        sidecar: Arc<Sidecar>,
        fetch: Fetch,
    ) -> Self {
        let mut listeners = Listeners::new();
        let bind = async || Bound::bind(&Bind::parse("127.0.0.1:0").unwrap()).await.unwrap();
        let (api, probe, metrics) = (bind().await, bind().await, bind().await);
        let place = api.address().unwrap();
        let [url, probe_url, metrics_url] =
            [&api, &probe, &metrics].map(|bound| format!("http://{}", bound.address().unwrap()));
        listeners.add(api, None, Arc::new(Texas::new(Arc::clone(&sidecar), &settings.callers, &place)));
        listeners.add(probe, None, Arc::new(Probe::new(Arc::clone(&sidecar))));
        listeners.add(metrics, None, Arc::new(Metrics::new(Arc::clone(&sidecar))));
        Self {
            clock,
            issuers,
            sidecar,
            url,
            probe: probe_url,
            metrics: metrics_url,
            push: settings.push,
            fetch,
            _listeners: listeners,
        }
    }

    pub(crate) fn issuer(&self, name: &str) -> &Issuer {
        &self.issuers[name]
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now().0
    }

    /// Posts to the API.
    pub(crate) async fn post(&self, path: &str, fields: Value, encoding: Encoding) -> Answered {
        let (kind, body) = match encoding {
            Encoding::Json => ("application/json", fields.to_string()),
            Encoding::Form => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                for (name, value) in fields.as_object().unwrap() {
                    form.append_pair(name, &value.as_str().map_or_else(|| value.to_string(), str::to_owned));
                }
                ("application/x-www-form-urlencoded", form.finish())
            }
        };
        self.send(Method::POST, path, &[("content-type", kind)], body).await
    }

    pub(crate) async fn token(&self, provider: &str, target: &str, encoding: Encoding) -> Answered {
        self.post("/api/v1/token", json!({ "identity_provider": provider, "target": target }), encoding).await
    }

    pub(crate) async fn exchange(&self, provider: &str, target: &str, user: &str, encoding: Encoding) -> Answered {
        let fields = json!({ "identity_provider": provider, "target": target, "user_token": user });
        self.post("/api/v1/token/exchange", fields, encoding).await
    }

    /// Introspects: always 200.
    pub(crate) async fn introspect(&self, provider: &str, token: &str, encoding: Encoding) -> Value {
        let fields = json!({ "identity_provider": provider, "token": token });
        let answered = self.post("/api/v1/introspect", fields, encoding).await;
        assert_eq!(answered.status, 200, "{answered:?}");
        answered.json()
    }

    pub(crate) async fn is_active(&self, provider: &str, token: &str) -> bool {
        self.introspect(provider, token, Encoding::Json).await["active"] == true
    }

    /// Why a token is not active, which both encodings are told alike.
    pub(crate) async fn inactive(&self, provider: &str, token: &str) -> String {
        let mut told = Vec::new();
        for encoding in ENCODINGS {
            let answer = self.introspect(provider, token, encoding).await;
            assert_eq!((&answer["active"], answer.as_object().unwrap().len()), (&json!(false), 2), "{answer}");
            told.push(answer["error"].as_str().unwrap().to_owned());
        }
        assert_eq!(told[0], told[1]);
        told.remove(0)
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: impl Into<Bytes>,
    ) -> Answered {
        let answered = self.at(&format!("{}{path}", self.url), method, headers, body).await;
        if !answered.text.is_empty() {
            assert_eq!(answered.headers[CONTENT_TYPE], "application/json", "exactly so");
            assert_eq!(answered.headers["cache-control"], "no-store");
            assert_eq!(answered.headers["pragma"], "no-cache");
        }
        answered
    }

    pub(crate) async fn get(&self, url: &str) -> Answered {
        self.at(url, Method::GET, &[], "").await
    }

    async fn at(
        &self,
        url: &str,
        method: Method,
        headers: &[(&'static str, &str)],
        body: impl Into<Bytes>,
    ) -> Answered {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let answer = self.fetch.send(method, url, map, body.into()).await.unwrap();
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        Answered { status: answer.status.as_u16(), headers: answer.headers, text }
    }
}

/// The tokens of ten questions that are asked at once.
pub(crate) async fn at_once<F: Future<Output = Answered>>(ask: impl Fn() -> F) -> [String; 10] {
    let mut asked = std::array::from_fn::<_, 10, _>(|_| Box::pin(ask()));
    let mut answers: [Option<Answered>; 10] = Default::default();
    std::future::poll_fn(|context| {
        for (question, answer) in asked.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let Poll::Ready(answered) = question.as_mut().poll(context)
            {
                *answer = Some(answered);
            }
        }
        if answers.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    answers.map(|answer| answer.unwrap().token())
}

/// What a token says, verified by nobody.
pub(crate) fn claims(token: &str) -> Value {
    Value::Object(jose::Token::parse(token).unwrap().peek().unwrap())
}

/// A key that no issuer has.
pub(crate) fn stranger(kid: &str) -> SigningKey {
    SigningKey::generate(Algorithm::ES256).unwrap().named(kid)
}

/// An address of this machine that is not loopback, if it has one. Nothing is sent.
pub(crate) async fn own_address() -> Option<std::net::IpAddr> {
    let socket = tokio::net::UdpSocket::bind("0.0.0.0:0").await.ok()?;
    socket.connect("192.0.2.1:9").await.ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback())
}
