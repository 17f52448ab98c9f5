//! Managed identity as a program uses it, against the endpoints that we serve; and what stands in for a client's secret.
use crate::managed_identity::{HEADER, machine, site, telling};
use crate::support::{Authority, Hands, NOON, build, issued, jwt};
use client::managed_identity::{AppService, Identity, Imds, ManagedIdentity};
use client::{AssertionOfIdentity, Client, Endpoints, Error, Sending, Transport};
use http::{HeaderValue, Request};
use oauth::Secret;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// The host, in the same process.
enum Host {
    Site(AppService),
    Machine(Imds),
    Broken(u16, &'static str),
}

struct Local {
    host: Host,
    calls: AtomicUsize,
    /// So many first calls are answered with what `not_yet` says.
    first: AtomicUsize,
    not_yet: Mutex<(u16, Option<&'static str>)>,
}

impl Local {
    fn new(host: Host) -> Arc<Self> {
        Arc::new(Self { host, calls: AtomicUsize::new(0), first: AtomicUsize::new(0), not_yet: Mutex::default() })
    }
}

impl Transport for Local {
    fn send(&self, request: Request<client::Body>) -> Sending<'_> {
        Box::pin(async move {
            if self.calls.fetch_add(1, SeqCst) < self.first.load(SeqCst) {
                let (status, after) = *self.not_yet.lock().unwrap();
                let answer = http::Response::builder().status(status);
                let answer = after.into_iter().fold(answer, |answer, after| answer.header("retry-after", after));
                return Ok(answer.body(Vec::new()).unwrap());
            }
            let (mut parts, _) = request.into_parts();
            let authority = parts.uri.authority().unwrap().to_string();
            parts.headers.insert("host", HeaderValue::from_str(&authority).unwrap());
            Ok(match &self.host {
                Host::Site(site) => site.answer(&parts).await,
                Host::Machine(machine) => machine.answer(&parts).await,
                Host::Broken(0, _) => return Err(client::Cause::Connect.into()),
                Host::Broken(status, body) => {
                    http::Response::builder().status(*status).body(body.as_bytes().to_vec()).unwrap()
                }
            })
        })
    }
}

fn at_site(local: &Arc<Local>, header: &str) -> ManagedIdentity {
    ManagedIdentity::site(
        "http://127.0.0.1:4000/msi/token",
        Secret::new(header),
        Arc::clone(local) as _,
        Hands::at(NOON),
    )
}

fn at_machine(local: &Arc<Local>) -> ManagedIdentity {
    ManagedIdentity::of_this_host(|_| None, Arc::clone(local) as _, Hands::at(NOON))
}

#[tokio::test]
async fn both_contracts_give_the_named_identitys_token_and_it_is_kept() {
    let authority = telling();
    let (one, other) = (Local::new(Host::Site(site(&authority))), Local::new(Host::Machine(machine(&authority))));
    for (me, local) in [(at_site(&one, HEADER), &one), (at_machine(&other), &other)] {
        for (identity, expected) in [
            (Identity::Default, "for-site"),
            (Identity::ClientId("worker".into()), "for-worker"),
            (Identity::ObjectId("worker-object".into()), "for-worker"),
            (Identity::ResourceId("/subscriptions/1/providers/worker".into()), "for-worker"),
        ] {
            for _ in 0..3 {
                let token = me.acquire(&identity, "api://billing").await.unwrap();
                assert_eq!(token.access_token.expose(), expected, "{identity:?}");
                assert_eq!(token.expires_at.0, NOON + 3_600);
            }
        }
        assert_eq!(local.calls.load(SeqCst), 4, "once for each name");
        assert!(!format!("{me:?}").contains(HEADER));
    }
}

/// The rules of both contracts for what passes: 404, 410 for 70 s, 429, 5xx, and `Retry-After`.
#[tokio::test(start_paused = true)]
async fn a_host_that_has_no_token_yet_is_asked_again() {
    let authority = telling();
    let began = tokio::time::Instant::now;
    for (not_yet, after, tries, seconds) in [
        (404, None, 3, 2.4),
        (429, None, 2, 0.8),
        (429, Some("5"), 2, 5.0),
        (503, Some("soon"), 5, 12.0),
        // Twice as long each time, 0.8, 1.6 … 25.6 s, and what is left of 70.
        (410, None, 8, 70.0),
    ] {
        let local = Local::new(Host::Machine(machine(&authority)));
        local.first.store(tries - 1, SeqCst);
        *local.not_yet.lock().unwrap() = (not_yet, after);
        let at = began();
        let token = at_machine(&local).acquire(&Identity::Default, "api://billing").await.unwrap();
        assert_eq!((token.access_token.expose(), local.calls.load(SeqCst)), ("for-site", tries), "{not_yet}");
        assert!((at.elapsed().as_secs_f64() - seconds).abs() < 0.1, "{not_yet}: {:?}", at.elapsed());
    }
    // For ever: five times within 12 s, and eight within 70 s.
    for (status, tries) in [(404, 5), (410, 8), (500, 5)] {
        let local = Local::new(Host::Broken(status, ""));
        assert!(at_machine(&local).acquire(&Identity::Default, "api://billing").await.is_err());
        assert_eq!(local.calls.load(SeqCst), tries, "{status}");
    }
    // A refusal is one, and longer than patience lasts is never waited.
    let refusing = Local::new(Host::Broken(400, r#"{"error":"invalid_resource"}"#));
    assert!(at_machine(&refusing).acquire(&Identity::Default, "api://billing").await.is_err());
    let local = Local::new(Host::Machine(machine(&authority)));
    local.first.store(1, SeqCst);
    *local.not_yet.lock().unwrap() = (429, Some("13"));
    assert!(at_machine(&local).acquire(&Identity::Default, "api://billing").await.is_err());
    assert_eq!((refusing.calls.load(SeqCst), local.calls.load(SeqCst)), (1, 1));
    // Nobody listens: no Azure machine. At a site the environment says that somebody will.
    let nobody = || Local::new(Host::Broken(0, ""));
    let (machine, site) = (nobody(), nobody());
    assert!(at_machine(&machine).acquire(&Identity::Default, "api://billing").await.is_err());
    assert!(at_site(&site, HEADER).acquire(&Identity::Default, "api://billing").await.is_err());
    assert_eq!((machine.calls.load(SeqCst), site.calls.load(SeqCst)), (1, 5));
}

#[tokio::test(start_paused = true)]
async fn a_hosts_refusal_is_told_and_its_absence_is_another_matter() {
    let authority = telling();
    let local = Local::new(Host::Site(site(&authority)));
    let refused =
        async |me: &ManagedIdentity, identity: Identity, resource: &str| match me.acquire(&identity, resource).await {
            Err(Error::Refused { status, body, .. }) => (status, body.error_description),
            other => panic!("{other:?}"),
        };
    let (status, text) = refused(&at_site(&local, "a guess"), Identity::Default, "api://billing").await;
    assert!(status == 401 && text.contains("X-IDENTITY-HEADER"), "{text}");
    let (status, text) = refused(&at_site(&local, HEADER), Identity::ClientId("nobody".into()), "api://billing").await;
    assert!(status == 400 && text.contains("no such identity"), "{text}");
    let (_, text) = refused(&at_site(&local, HEADER), Identity::Default, "api://nothing").await;
    assert!(text.contains("AADSTS500011"), "{text}");
    let machine = Local::new(Host::Machine(machine(&authority)));
    let (_, text) = refused(&at_machine(&machine), Identity::Default, "api://closed").await;
    assert_eq!(text, "no");
    for (status, body) in [(0, ""), (404, "{}"), (410, ""), (429, ""), (500, ""), (503, "x")] {
        let me = at_machine(&Local::new(Host::Broken(status, body)));
        assert!(
            matches!(
                me.acquire(&Identity::Default, "api://billing").await,
                Err(Error::Unreachable(_) | Error::Unreadable { .. })
            ),
            "{status}"
        );
    }
    for (status, body) in [(400, "no JSON"), (200, "{}"), (200, r#"{"token_type":"Bearer","access_token":""}"#)] {
        let me = at_machine(&Local::new(Host::Broken(status, body)));
        assert!(matches!(me.acquire(&Identity::Default, "api://billing").await, Err(Error::Answer(_))), "{body}");
    }
}

#[test]
fn the_environment_says_what_kind_of_host_it_is() {
    let shown = |variables: &[(&str, &str)]| {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let local = Local::new(Host::Broken(0, ""));
        format!("{:?}", ManagedIdentity::of_this_host(variable, local, Hands::at(NOON)))
    };
    let site = [("IDENTITY_ENDPOINT", "http://127.0.0.1:1/x"), ("IDENTITY_HEADER", "canary")];
    assert!(shown(&site).contains("Site") && !shown(&site).contains("canary"));
    assert!(shown(&site[..1]).contains("169.254.169.254"), "an endpoint alone is another contract");
    assert!(shown(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:2")]).contains("127.0.0.1:2"));
}

#[tokio::test]
async fn a_client_may_prove_itself_by_a_managed_identity_or_by_a_file() {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sent);
    let authority = Authority::new(move |_, form| {
        let value = |name: &str| form.value(name).unwrap_or_default().to_owned();
        assert_eq!(value("client_assertion_type"), oauth::CLIENT_ASSERTION_JWT_BEARER);
        assert!(!form.mentions("client_secret"));
        seen.lock().unwrap().push(value("client_assertion"));
        issued(&format!("with-{}", value("client_assertion")), 3_600)
    });
    let clock = Hands::at(NOON);
    let host = at_site(&Local::new(Host::Site(site(&telling()))), HEADER);
    let by_identity = AssertionOfIdentity { host, identity: Identity::Default, audience: "api://billing".into() };
    let file = std::env::temp_dir().join(format!("deputize-client-assertion-{}", std::process::id()));
    let [first, second] = [jwt("first", NOON + 9), jwt("second", NOON + 9)];
    std::fs::write(&file, format!("{}\n", first.expose())).unwrap();
    let builder = || Client::builder(Endpoints::entra("https://login.example/contoso"), "orders");
    let one = build(builder().assertion(Arc::new(by_identity)), &authority, &clock);
    let other = build(builder().cache(Arc::clone(one.cache())).assertion_file(&file), &authority, &clock);
    let token = async |client: &Client| client.client_credentials("api://billing/.default").await.unwrap();
    assert_eq!(token(&one).await.access_token.expose(), "with-for-site");
    let with = |assertion: &Secret| format!("with-{}", assertion.expose());
    assert_eq!(token(&other).await.access_token.expose(), with(&first), "another source shares nothing");
    assert_eq!(token(&other).await.access_token.expose(), with(&first));
    std::fs::write(&file, second.expose()).unwrap();
    clock.forward(3_600);
    assert_eq!(token(&other).await.access_token.expose(), with(&second));
    assert_eq!(sent.lock().unwrap().len(), 3);
    std::fs::remove_file(&file).unwrap();
    clock.forward(3_600);
    assert_eq!(token(&other).await.access_token.expose(), with(&second), "the last good one stays");
    let absent = build(builder().assertion_file("/nowhere/at/all"), &authority, &clock);
    assert!(matches!(absent.client_credentials("api://billing/.default").await, Err(Error::Request(_))), "never there");
    assert!(!format!("{one:?}{other:?}").contains("canary"));
}
