//! Every page, with friendly and with hostile names.
use super::consent::{admin, approvals, ask_admin, asked, consent, done, given};
use super::*;
use decision::CheckId;
use deputize_core::authorize::{CodeProblem, ConsentRequest, ResponseMode, SecondFactorRequest, Step};
use deputize_core::consent::approvals::{Approval, ApprovalsPage};
use deputize_core::consent::given::{Given, GivenPage};
use deputize_core::device::DeviceRequest;
use deputize_core::facts::Published;
use http::HeaderMap;

const CALLBACK: &str = "https://app.example/callback";
const HIDDEN: Hidden<'_> = Hidden { request: "client_id=1&state=a%26b", ticket: "sealed-ticket" };
const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u{202e}";

async fn parts(response: Response) -> (StatusCode, HeaderMap, String) {
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
}

fn asks_sign_in(name: &str) -> SignInRequest {
    SignInRequest { client_name: name.to_owned(), tenant_name: Some(name.to_owned()), hint: Some(name.to_owned()) }
}

fn asks_consent(name: &str, may_grant_for_all: bool) -> ConsentRequest {
    let published = |admin_only| Published {
        value: name.to_owned(),
        admin_only,
        display_name: name.to_owned(),
        description: name.to_owned(),
    };
    ConsentRequest {
        client_name: name.to_owned(),
        user_name: name.to_owned(),
        upn: name.to_owned(),
        tenant_name: name.to_owned(),
        publisher: deputize_core::consent::Publisher { name: name.to_owned(), domain: name.to_owned(), foreign: true },
        sections: vec![deputize_core::consent::Section {
            client: format!("{name}, another"),
            resource: name.to_owned(),
            permissions: vec![published(false), published(true)],
            roles: vec![published(true)],
            own_identity: Some(name.to_owned()),
        }],
        adds: vec![name.to_owned()],
        may_grant_for_all,
        ticket: String::new(),
    }
}

fn asks_code(name: &str, step: Step, problem: Option<CodeProblem>) -> SecondFactorRequest {
    SecondFactorRequest {
        client_name: name.to_owned(),
        tenant_name: name.to_owned(),
        upn: name.to_owned(),
        step,
        problem,
        ticket: name.to_owned(),
    }
}

fn allowed(name: &str) -> GivenPage {
    let ConsentRequest { publisher, sections, .. } = asks_consent(name, false);
    let given = Given {
        client_name: name.to_owned(),
        publisher,
        own: sections.clone(),
        for_all: sections,
        since: Some(decision::Timestamp(0)),
        hidden: Some((name.to_owned(), name.to_owned())),
    };
    GivenPage {
        user_name: name.to_owned(),
        upn: name.to_owned(),
        tenant_name: name.to_owned(),
        tenant: "t".to_owned(),
        applications: vec![given],
    }
}

fn waiting(name: &str) -> ApprovalsPage {
    let ConsentRequest { publisher, sections, adds, .. } = asks_consent(name, false);
    let request = Approval {
        user_name: name.to_owned(),
        upn: name.to_owned(),
        reason: name.to_owned(),
        created: decision::Timestamp(0),
        client_name: name.to_owned(),
        publisher,
        sections,
        adds,
        hidden: (name.to_owned(), name.to_owned()),
    };
    ApprovalsPage {
        user_name: name.to_owned(),
        upn: name.to_owned(),
        tenant_name: name.to_owned(),
        tenant: "t".to_owned(),
        requests: vec![request],
    }
}

fn refusal(name: &str) -> Denial {
    Denial::new(CheckId::ConsentAdmin, format!("`{name}`"), name).fix(format!("ask for `{name}`"))
}

fn answer(uri: &str, name: &str) -> Redirect {
    let parameters = Form::default().with("code", name).with("state", name);
    Redirect { uri: uri.to_owned(), mode: ResponseMode::FormPost, parameters }
}

fn listed(name: &str) -> [Account; 2] {
    let account = Account {
        session: deputize_core::id::SessionId::default(),
        user_name: name.to_owned(),
        upn: name.to_owned(),
        tenant_name: name.to_owned(),
    };
    [account.clone(), account]
}

fn asks_account(name: &str) -> AccountsRequest {
    AccountsRequest {
        client_name: name.to_owned(),
        tenant_name: Some(name.to_owned()),
        accounts: listed(name).to_vec(),
        ticket: name.to_owned(),
    }
}

fn asks_device(name: &str) -> DeviceRequest {
    DeviceRequest {
        client_name: name.to_owned(),
        tenant_name: name.to_owned(),
        upn: name.to_owned(),
        place: Some("2001:db8::1".parse().unwrap()),
        asked: 75,
        scope: name.to_owned(),
        ticket: name.to_owned(),
    }
}

/// Every page, filled with a name.
fn every(name: &str) -> [Response; 21] {
    let hidden = Hidden { request: name, ticket: name };
    let code = |step, problem| second_factor(&asks_code(name, step, problem), "/t/second-factor", hidden, CALLBACK);
    [
        code(Step::Verify, Some(CodeProblem::Wrong)),
        code(Step::Enrol(vec![7; 20]), None),
        code(Step::RecoveryCodes(vec![oauth::Secret::new("ABCDE-23456")]), None),
        ask_admin(&asks_consent(name, false), "/t/ask-admin", hidden, CALLBACK),
        asked(CALLBACK),
        admin(&asks_consent(name, true), "/t/adminconsent/decide", hidden, CALLBACK),
        done(name),
        given(&allowed(name)),
        approvals(&waiting(name)),
        sign_in(&asks_sign_in(name), "/t/login", Hidden { request: name, ticket: name }, Some(name), CALLBACK),
        consent(&asks_consent(name, true), "/t/consent", Hidden { request: name, ticket: name }, CALLBACK),
        error(403, &refusal(name), Some(name), Some(("/t/back", name))),
        form_post(&answer(CALLBACK, name)),
        sign_out(&listed(name)[..1], "/t/logout", name, name),
        sign_out(&listed(name), "/t/logout", name, name),
        signed_out(Some(CALLBACK), &["https://app.example/told?sid=1".to_owned()]),
        accounts(&asks_account(name), "/t/accounts", hidden, CALLBACK),
        device::user_code(StatusCode::OK, name, Some(name)),
        device::approve(&asks_device(name), name),
        device::decided(true),
        reference(&refusal(name)),
    ]
}

#[tokio::test]
async fn m_04_hostile_names_are_escaped_on_every_page() {
    for page in every(HOSTILE) {
        let (_, _, body) = parts(page).await;
        assert!(!body.contains("<script>") && !body.contains("<img"), "{body}");
        assert!(!body.contains("\"'>"), "no attribute ends early: {body}");
        let visible = body.lines().filter(|line| !line.starts_with("<input"));
        assert!(!visible.collect::<String>().contains('\u{202e}'), "{body}");
    }
    let (_, _, body) = parts(consent(&asks_consent(HOSTILE, true), "/", HIDDEN, CALLBACK)).await;
    assert!(body.contains("&#60;script&#62;alert(1)&#60;/script&#62;&#34;&#39;&#62;"), "{body}");
}

#[tokio::test]
async fn a_11_every_page_has_the_headers() {
    for page in every("Contoso") {
        let (_, headers, body) = parts(page).await;
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe-"), "{policy}");
        assert_eq!(policy.contains("script-src 'self'"), body.contains("<script"), "{policy}");
        assert_eq!(headers["x-frame-options"], "DENY");
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert!(headers["content-type"].to_str().unwrap().starts_with("text/html"));
        assert!(body.contains("<h1>") && body.contains("</html>"), "{body}");
    }
}

#[tokio::test]
async fn forms_may_lead_to_the_client_only() {
    let pages = [
        sign_in(&asks_sign_in("x"), "/", HIDDEN, None, CALLBACK),
        consent(&asks_consent("x", false), "/", HIDDEN, CALLBACK),
        form_post(&answer(CALLBACK, "x")),
    ];
    let back = Form::default().with("post_logout_redirect_uri", CALLBACK).encode();
    for page in pages.into_iter().chain([sign_out(&listed("x"), "/", "x", &back)]) {
        let (_, headers, _) = parts(page).await;
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("form-action 'self' https://app.example https:;"), "{policy}");
    }
}

#[tokio::test]
async fn the_sign_in_page_asks_and_brings_back_what_it_was_shown_for() {
    let (status, _, body) = parts(sign_in(&asks_sign_in("ada@contoso.example"), "/t/login", HIDDEN, None, "")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains(r#"<form method="post" action="/t/login""#), "{body}");
    assert!(body.contains(r#"name="request" value="client_id=1&#38;state=a%26b""#), "{body}");
    assert!(body.contains(r#"name="ticket" value="sealed-ticket""#), "{body}");
    assert!(body.contains(r#"name="username" value="ada@contoso.example" autocomplete="username""#), "{body}");
    assert!(body.contains(r#"name="password" autocomplete="current-password""#), "{body}");
    assert!(!body.contains("role=\"alert\"") && !body.contains("aria-invalid"), "{body}");
    let (_, _, body) = parts(sign_in(&asks_sign_in("ada"), "/t/login", HIDDEN, Some("Not right."), "")).await;
    assert!(body.contains(r#"role="alert" id="error">Not right.<"#), "{body}");
}

#[tokio::test]
async fn the_consent_page_names_who_what_and_for_whom() {
    let mut asked = asks_consent("x", false);
    asked.client_name = "Orders".to_owned();
    asked.sections = vec![deputize_core::consent::Section {
        client: "Orders".to_owned(),
        resource: "Billing".to_owned(),
        permissions: vec![Published {
            value: "Invoices.Read".to_owned(),
            admin_only: false,
            display_name: String::new(),
            description: "Read what you were billed".to_owned(),
        }],
        roles: Vec::new(),
        own_identity: Some("files carry no user".to_owned()),
    }];
    let (_, _, body) = parts(consent(&asked, "/t/consent", HIDDEN, CALLBACK)).await;
    let own = "as itself, not for you</b>: <bdi>files carry no user</bdi>";
    for word in ["Orders", "Billing", "Invoices.Read", "Read what you were billed", own] {
        assert!(body.contains(word), "{word}: {body}");
    }
    assert!(body.contains(r#"name="action" value="accept""#) && body.contains(r#"name="action" value="cancel""#));
    assert!(!body.contains("for_all"), "only administrators are offered it");
    let (_, _, body) = parts(consent(&asks_consent("x", true), "/t/consent", HIDDEN, CALLBACK)).await;
    assert!(body.contains(r#"type="checkbox" id="for_all" name="for_all""#), "{body}");
}

#[tokio::test]
async fn an_error_names_the_check_and_who_can_mend_it() {
    let denial = Denial::new(CheckId::ConsentAdmin, "consent to `Invoices.Approve`", "none");
    let (status, _, body) = parts(error(400, &denial, Some("decision-7"), Some(("/t/x", "Back")))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    for part in [
        "<code>Invoices.Approve</code>",
        "An administrator of the tenant",
        "Ask an administrator to consent",
        "<code>consent.admin</code>",
        "<code>AADSTS90094</code>",
        "<code>decision-7</code>",
        r#"href="/t/x">Back</a>"#,
    ] {
        assert!(body.contains(part), "{part}: {body}");
    }
    let (status, ..) = parts(error(7, &denial, None, None)).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_09_no_link_leads_where_it_must_not() {
    for href in ["javascript:alert(1)", "JAVASCRIPT:alert(1)", "//evil.example", "/\\evil.example", "data:text/html,x"]
    {
        let (_, _, signed_out) = parts(signed_out(Some(href), &[])).await;
        assert!(!signed_out.contains("<a "), "{href}");
        let (_, _, error) = parts(error(400, &refusal("x"), None, Some((href, "Back")))).await;
        assert!(!error.contains("<a "), "{href}");
    }
}

#[tokio::test]
async fn a_posted_answer_works_with_and_without_scripts() {
    let (_, _, body) = parts(form_post(&answer(CALLBACK, "a\"b"))).await;
    assert!(body.contains(r#"<form method="post" action="https://app.example/callback""#), "{body}");
    assert!(body.contains(r#"name="code" value="a&#34;b""#), "{body}");
    assert!(body.contains(r#"<button class="button">Continue</button>"#), "{body}");
    assert!(body.contains(pages::SCRIPT_PATH), "{body}");
}

#[tokio::test]
async fn the_pages_about_the_second_factor_work_without_scripts_and_say_what_to_do() {
    let page =
        |step, problem| parts(second_factor(&asks_code("Contoso", step, problem), "/t/second-factor", HIDDEN, ""));
    let (status, _, body) = page(Step::Enrol(b"12345678901234567890".to_vec()), None).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("<svg") && body.contains("<code>GEZD</code> <code>GNBV</code>"), "{body}");
    assert!(
        body.contains("otpauth://totp/Contoso:Contoso?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&#38;issuer="),
        "{body}"
    );
    assert!(body.contains(r#"name="step" value="enrol""#) && body.contains("one-time-code"), "{body}");
    let (status, headers, body) = page(Step::Verify, Some(CodeProblem::TooSoon(90))).await;
    assert_eq!((status, &headers["retry-after"]), (StatusCode::TOO_MANY_REQUESTS, &http::HeaderValue::from(90)));
    assert!(body.contains("Wait 90 seconds") && body.contains(r#"name="step" value="verify""#), "{body}");
    let (_, _, body) = page(Step::Verify, Some(CodeProblem::TooSoon(3_600))).await;
    assert!(body.contains("Wait 60 minutes"), "{body}");
    let (_, _, body) = page(Step::RecoveryCodes(vec![oauth::Secret::new("ABCDE-23456")]), None).await;
    assert!(body.contains("<li><code>ABCDE-23456</code></li>") && body.contains(r#"value="continue""#), "{body}");
}
