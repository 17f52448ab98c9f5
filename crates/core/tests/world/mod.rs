//! A whole world in memory: two tenants, their applications and people, and ports that keep the promises of
//! `deputize_core::ports` and `deputize_core::ledger` without network, disk or keys.
mod crypto;
pub(crate) mod estate;
mod ledger;

pub(crate) use crypto::{FakeCrypto, thumbprint};
pub(crate) use estate::{Estate, app, principal, user};
pub(crate) use ledger::FakeLedger;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::{CheckId, Clock, Timestamp};
use deputize_core::authorize::{self, Answer, Browser, Decided, SecondFactorRequest, SecondFactorShown, Step};
use deputize_core::client_auth::Basic;
use deputize_core::denial::Denial;
use deputize_core::device::{self, DeviceDecided};
use deputize_core::endpoint::EndpointVersion;
use deputize_core::ledger::SessionRecord;
use deputize_core::ports::Ports;
use deputize_core::sign_in::{self, Credentials};
use deputize_core::ticket::{Page, Ticket};
use deputize_core::token_endpoint::{self, Refusal, TokenRequest};
use oauth::{Form, Secret, TokenResponse};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Waker};

pub(crate) const HOST: &str = "https://login.example.com";
/// When every world begins.
pub(crate) const NOON: Timestamp = Timestamp(1_790_000_000);
/// A verifier, and everyone's: what matters is who holds the code.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const WEB_REDIRECT: &str = "https://app.example.com/cb";
pub(crate) const PHONE_REDIRECT: &str = "http://localhost:8400";

/// A clock that stands still until it is moved.
pub(crate) struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) struct World {
    pub(crate) ports: Ports,
    pub(crate) estate: Arc<Estate>,
    pub(crate) ledger: Arc<FakeLedger>,
    pub(crate) crypto: Arc<FakeCrypto>,
    clock: Arc<SetClock>,
}

/// Every port here answers at once, so a future is ready when it is first polled.
pub(crate) fn now_or_never<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a port of this world waits"),
    }
}

pub(crate) fn form(pairs: &[(&str, &str)]) -> Form {
    pairs.iter().fold(Form::default(), |form, (name, value)| form.with(name, value))
}

pub(crate) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

/// The claims of a token of this world.
pub(crate) fn claims(token: &Secret) -> Map<String, Value> {
    let payload = token.expose().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

impl World {
    pub(crate) fn new() -> Self {
        let estate = Arc::new(Estate::contoso());
        let ledger = Arc::new(FakeLedger::over(estate.clone()));
        let crypto = Arc::new(FakeCrypto::new());
        let clock = Arc::new(SetClock(AtomicI64::new(NOON.0)));
        let ports = Ports {
            host: HOST.into(),
            directory: estate.clone(),
            ledger: ledger.clone(),
            crypto: crypto.clone(),
            clock: clock.clone(),
            limits: Arc::default(),
            loops: Arc::default(),
        };
        Self { ports, estate, ledger, crypto, clock }
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Asks the token endpoint of a tenant.
    pub(crate) fn token_at(&self, tenant: &str, form: &Form, basic: Option<&Basic>) -> Result<TokenResponse, Refusal> {
        let request = TokenRequest {
            version: EndpointVersion::V2,
            tenant,
            form,
            basic,
            origin: None,
            correlation: None,
            address: None,
            trace: None,
        };
        now_or_never(token_endpoint::answer(&self.ports, request)).map(|answered| answered.response)
    }

    /// As a page of this origin asks.
    pub(crate) fn token_from(&self, origin: &str, pairs: &[(&str, &str)]) -> Result<TokenResponse, Refusal> {
        let form = form(pairs);
        let origin = Some(origin);
        let request = TokenRequest {
            version: EndpointVersion::V2,
            tenant: "contoso.example",
            form: &form,
            basic: None,
            origin,
            correlation: None,
            address: None,
            trace: None,
        };
        now_or_never(token_endpoint::answer(&self.ports, request)).map(|answered| answered.response)
    }

    pub(crate) fn token(&self, pairs: &[(&str, &str)]) -> Result<TokenResponse, Refusal> {
        self.token_at("contoso.example", &form(pairs), None)
    }

    /// As a confidential client of this world, by its secret; or as a public one.
    pub(crate) fn token_as(&self, name: &str, pairs: &[(&str, &str)]) -> Result<TokenResponse, Refusal> {
        let id = app(name).to_string();
        let mut all = vec![("client_id", id.as_str())];
        let secret = estate::secret(name);
        if !matches!(name, "phone" | "gadget") {
            all.push(("client_secret", &secret));
        }
        all.extend(pairs);
        self.token(&all)
    }

    /// Signs a person in, through the sign-in rules.
    pub(crate) fn try_sign_in(&self, upn: &str, password: &str) -> Result<Browser, Denial> {
        let ticket = Ticket::new(&self.ports, Page::SignIn, "cookie", None, &Form::default(), self.now());
        let typed = Credentials { username: upn, password, address: None, browser: "cookie", accounts: &[] };
        now_or_never(sign_in::sign_in(&self.ports, None, app("web"), typed, &ticket, self.now())).map(|signed_in| {
            Browser {
                accounts: vec![signed_in.session.clone()],
                session: Some(signed_in.session),
                cookie: signed_in.cookie.expose().to_owned(),
                ..Browser::default()
            }
        })
    }

    pub(crate) fn sign_in(&self, name: &str) -> Browser {
        self.try_sign_in(&estate::upn(name), &estate::password(name)).unwrap()
    }

    pub(crate) fn authorize_at(&self, segment: &str, request: &Form, browser: &Browser) -> Answer {
        now_or_never(authorize::authorize(&self.ports, segment, request, browser))
    }

    pub(crate) fn authorize(&self, request: &Form, browser: &Browser) -> Answer {
        self.authorize_at("contoso.example", request, browser)
    }

    pub(crate) fn decide(&self, request: &Form, browser: &Browser, ticket: &str, agree: (bool, bool)) -> Answer {
        let decided = Decided { accepted: agree.0, for_all: agree.1, ticket };
        now_or_never(authorize::decided(&self.ports, "contoso.example", request, browser.clone(), decided))
    }

    /// Asks the token endpoint from an address.
    pub(crate) fn token_seen_at(&self, address: &str, form: &Form) -> Result<TokenResponse, Refusal> {
        let address = Some(address.parse().unwrap());
        let request = TokenRequest {
            version: EndpointVersion::V2,
            tenant: "contoso.example",
            form,
            basic: None,
            origin: None,
            correlation: None,
            address,
            trace: None,
        };
        now_or_never(token_endpoint::answer(&self.ports, request)).map(|answered| answered.response)
    }

    /// Posts a page about the second factor; answers with what comes next, and the browser as it is then.
    pub(crate) fn show(
        &self,
        request: &Form,
        browser: &Browser,
        page: &SecondFactorRequest,
        code: &str,
    ) -> (Answer, Browser) {
        let shown = SecondFactorShown { page: page.step.page(), code, ticket: &page.ticket };
        let stepped =
            now_or_never(authorize::second_factor(&self.ports, "contoso.example", request, browser.clone(), shown));
        let session =
            browser.session.as_ref().map(|session| Arc::new(self.ledger.read(|s| s.sessions[&session.id].clone())));
        (stepped.answer, Browser { session, ..browser.clone() })
    }

    /// The code that the person's device shows now, or some steps later.
    pub(crate) fn device(&self, secret: &[u8], later: i64) -> String {
        use deputize_core::ports::Crypto as _;
        let step = u64::try_from(self.now().0 / 30 + later).unwrap();
        format!("{:06}", self.crypto.one_time_code(secret, step))
    }

    /// Walks through the pages for a second factor with a device that holds this secret, or will hold the one that is shown.
    pub(crate) fn step_up(&self, request: &Form, browser: &Browser, secret: &mut Option<Vec<u8>>) -> (Answer, Browser) {
        let (mut answer, mut browser) = (self.authorize(request, browser), browser.clone());
        while let Answer::SecondFactor(page) = &answer {
            let code = match &page.step {
                Step::Enrol(new) => {
                    *secret = Some(new.clone());
                    self.device(new, 0)
                }
                Step::Verify => self.device(secret.as_ref().unwrap(), 0),
                Step::RecoveryCodes(_) => String::new(),
            };
            assert_eq!(page.problem, None);
            (answer, browser) = self.show(request, &browser, page, &code);
        }
        (answer, browser)
    }

    /// A code for an application, with PKCE.
    pub(crate) fn code(&self, browser: &Browser, name: &str, scope: &str) -> String {
        parameter(&self.authorize(&request(name, scope), browser), "code").unwrap()
    }

    pub(crate) fn redeem(&self, name: &str, code: &str) -> Result<TokenResponse, Refusal> {
        self.token_as(
            name,
            &[
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", redirect_of(name)),
                ("code_verifier", VERIFIER),
            ],
        )
    }

    /// The code of a device of `name`, which the person of this browser has approved.
    pub(crate) fn approved_device(&self, browser: &Browser, name: &str, scope: &str) -> Secret {
        let (id, secret) = (app(name).to_string(), estate::secret(name));
        let request = TokenRequest {
            version: EndpointVersion::V2,
            tenant: "contoso.example",
            form: &form(&[("client_id", &id), ("client_secret", &secret), ("scope", scope)]),
            basic: None,
            origin: None,
            correlation: None,
            address: None,
            trace: None,
        };
        let begun = now_or_never(device::begin(&self.ports, request)).unwrap();
        let ticket = device::ticket(&self.ports, browser);
        let asking = now_or_never(device::enter(&self.ports, browser, &ticket, &begun.user_code)).unwrap();
        let asking = Form::decode(asking.split_once('?').unwrap().1.as_bytes()).unwrap();
        let Answer::Redirect(redirect) = self.authorize(&asking, browser) else { panic!("{asking:?}") };
        let answer = redirect.parameters;
        let page = now_or_never(device::returned(&self.ports, browser, &answer)).unwrap();
        let decided = DeviceDecided { accepted: true, own: true, ticket: &page.ticket };
        assert!(now_or_never(device::decided(&self.ports, browser, &answer, decided)).unwrap());
        begun.device_code
    }

    /// The whole way: sign in, authorize, redeem.
    pub(crate) fn tokens(&self, person: &str, name: &str, scope: &str) -> TokenResponse {
        let browser = self.sign_in(person);
        self.redeem(name, &self.code(&browser, name, scope)).unwrap()
    }

    pub(crate) fn obo(&self, name: &str, assertion: &Secret, scope: &str) -> Result<TokenResponse, Refusal> {
        self.token_as(name, &obo(assertion.expose(), scope))
    }

    pub(crate) fn refresh(&self, name: &str, token: &Secret) -> Result<TokenResponse, Refusal> {
        self.token_as(name, &[("grant_type", "refresh_token"), ("refresh_token", token.expose())])
    }

    pub(crate) fn userinfo(&self, token: &Secret) -> Result<Map<String, Value>, Denial> {
        now_or_never(deputize_core::userinfo::userinfo(&self.ports, token.expose()))
    }

    /// The session of a browser as the ledger has it now.
    pub(crate) fn session(&self, browser: &Browser) -> SessionRecord {
        let known = browser.session.as_ref().unwrap();
        self.ledger.read(|state| state.sessions[&known.id].clone())
    }

    /// What the tokens of an answer stand on, sealed.
    pub(crate) fn chain(&self, token: &Secret) -> deputize_core::chain::Chain {
        use deputize_core::ports::Crypto as _;
        let aio = claims(token)["aio"].as_str().unwrap().to_owned();
        deputize_core::chain::Chain::decode(&self.crypto.open(&aio).unwrap()).unwrap()
    }
}

/// An ordinary authorization request.
pub(crate) fn request(name: &str, scope: &str) -> Form {
    form(&[
        ("client_id", &app(name).to_string()),
        ("response_type", "code"),
        ("redirect_uri", redirect_of(name)),
        ("scope", scope),
        ("state", "s1"),
        ("nonce", "n1"),
        ("code_challenge", &challenge(VERIFIER)),
        ("code_challenge_method", "S256"),
    ])
}

/// A request with some parameters replaced, added or (empty) left out.
pub(crate) fn altered(request: &Form, changes: &[(&str, &str)]) -> Form {
    let kept = request.iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    let kept = kept.fold(Form::default(), |form, (name, value)| form.with(name, value));
    changes.iter().filter(|(_, value)| !value.is_empty()).fold(kept, |form, (name, value)| form.with(name, value))
}

pub(crate) fn obo<'a>(assertion: &'a str, scope: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("requested_token_use", "on_behalf_of"),
        ("assertion", assertion),
        ("scope", scope),
    ]
}

fn redirect_of(name: &str) -> &'static str {
    match name {
        "phone" => PHONE_REDIRECT,
        "gadget" => "http://127.0.0.1:7000/cb",
        _ => WEB_REDIRECT,
    }
}

/// A parameter of an answer that goes to the client.
pub(crate) fn parameter(answer: &Answer, name: &str) -> Option<String> {
    match answer {
        Answer::Redirect(redirect) => redirect.parameters.value(name).map(str::to_owned),
        _ => None,
    }
}

/// The check that a token request failed, after proving that its body says the same as the catalogue.
pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<T, Refusal>) -> CheckId {
    let refusal = answer.unwrap_err();
    assert_eq!(refusal.status, refusal.check.entry().status);
    assert!(refusal.status < 500, "{refusal:?}");
    refusal.check
}
