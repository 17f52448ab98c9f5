//! The authorization endpoint and its pages on the wire. Pages post to us; we answer with the next page or a redirect.
use super::browser::{self, Visit};
use super::endpoint::{BROWSER, Caller, Endpoint, OF_OUR_PAGE, PAGE, Readers, Route};
use super::wait;
use crate::{Authority, page};
use axum::extract::{Path, Request, State};
use axum::http::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use decision::CheckId;
use deputize_core::authorize::{self as rules, Answer, Asking, Browser, Decided, Redirect, ResponseMode};
use deputize_core::denial::Denial;
use deputize_core::endpoint::EndpointVersion;
use deputize_core::sign_in::{Credentials, forged, sign_in as check_password};
use deputize_core::ticket::{Page, Ticket};
use deputize_core::token_endpoint::{find_tenant, is_alias};
use oauth::{Form, Parameter, Parameters};
use std::sync::Arc;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        title: "Authorization",
        purpose: "A person signs in, agrees, and the application gets a code at its redirect URI.",
        routes: &[
            Route { path: "/{tenant}/oauth2/v2.0/authorize", handler: || any(authorize) },
            Route { path: "/{tenant}/oauth2/authorize", handler: || any(v1) },
        ],
        methods: &["GET", "POST"],
        parameters: &[&[rules::PARAMETERS, BROWSER]],
        caller: Caller::Browser,
        readers: Readers::None,
        notes: &[
            "The answer carries `code`, `state`, `iss` and `session_state`; a refusal `error`, `error_description`, `state` \
             and `iss`. What is wrong with tenant, client or redirect URI is told on a page, and leads nowhere.",
            "Under `common` and `organizations` the person's own tenant decides; only applications of many tenants may be \
             used there.",
            "A form that comes without cookies, as from another site, is asked for again with `GET`.",
            "v2.0 takes scopes; v1.0 takes one `resource`, which means what `{resource}/.default` means at v2.0.",
        ],
    },
    Endpoint {
        title: "Sign-in page",
        purpose: "The password, as the sign-in page posts it.",
        routes: &[Route { path: "/{tenant}/sign-in", handler: || any(sign_in) }],
        parameters: &[&[CREDENTIALS, PAGE, BROWSER]],
        ..OF_OUR_PAGE
    },
    Endpoint {
        title: "Page of accounts",
        purpose: "Which of the browser's accounts it is, as the page that asks posts it.",
        routes: &[Route { path: "/{tenant}/accounts", handler: || any(accounts) }],
        parameters: &[&[PICKED, PAGE, BROWSER]],
        ..OF_OUR_PAGE
    },
    Endpoint {
        title: "Consent page",
        purpose: "The person's decision, as the consent page posts it.",
        routes: &[Route { path: "/{tenant}/consent", handler: || any(consent) }],
        parameters: &[&[
            Parameters {
                when: "",
                each: &[
                    Parameter::optional("action", "`accept`; anything else declines."),
                    Parameter::optional("for_all", "An administrator's: consent for everyone in the tenant."),
                ],
            },
            PAGE,
            BROWSER,
        ]],
        ..OF_OUR_PAGE
    },
    Endpoint {
        title: "Second factor page",
        purpose: "A code, as the pages about the second factor post it.",
        routes: &[Route { path: "/{tenant}/second-factor", handler: || any(second_factor) }],
        parameters: &[&[
            Parameters {
                when: "",
                each: &[
                    Parameter::optional("code", "The newest code, or a recovery code."),
                    Parameter::optional(
                        "step",
                        "`enrol`, `continue` after the recovery codes, or none to show a code.",
                    ),
                ],
            },
            PAGE,
            BROWSER,
        ]],
        ..OF_OUR_PAGE
    },
    Endpoint {
        title: "Page that asks an administrator",
        purpose: "A person asks their administrator for consent.",
        routes: &[Route { path: "/{tenant}/ask-admin", handler: || any(ask_admin) }],
        parameters: &[&[
            Parameters {
                when: "",
                each: &[
                    Parameter::optional("action", "`ask`; anything else goes back to the application."),
                    Parameter::optional("reason", "Why the permissions are needed, for the administrator."),
                ],
            },
            PAGE,
            BROWSER,
        ]],
        ..OF_OUR_PAGE
    },
];

/// What a page of accounts posts.
pub(super) const PICKED: Parameters = Parameters {
    when: "",
    each: &[
        Parameter::optional("account", "`sid` of an account, or `other`."),
        Parameter::optional("sign_out", "`sid` of an account that signs out instead."),
    ],
};

/// What a sign-in page posts.
pub(super) const CREDENTIALS: Parameters = Parameters {
    when: "",
    each: &[
        Parameter::optional("username", "The name to sign in with."),
        Parameter::optional("password", "The password."),
    ],
};

/// What every answer is made from.
struct Shown<'a> {
    authority: &'a Authority,
    tenant: &'a str,
    request: &'a Form,
    browser: &'a Browser,
}

pub(super) async fn authorize(
    State(authority): State<Authority>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response {
    begin(&authority, EndpointVersion::V2, &tenant, request).await
}

pub(super) async fn v1(State(authority): State<Authority>, Path(tenant): Path<String>, request: Request) -> Response {
    begin(&authority, EndpointVersion::V1, &tenant, request).await
}

async fn begin(authority: &Authority, version: EndpointVersion, tenant: &str, request: Request) -> Response {
    let posted = request.method() == Method::POST;
    let mut visit = match Visit::from_anywhere(authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    visit.form = version.taken(visit.form);
    if let Some(tenant) = segment(authority, tenant).filter(|_| posted && !visit.bound()) {
        return see_other(&EndpointVersion::of(&visit.form).authorize_path(&tenant, &visit.form));
    }
    let answer = rules::authorize(&authority.ports, tenant, &visit.form, &visit.browser).await;
    let shown = Shown { authority, tenant, request: &visit.form, browser: &visit.browser };
    let mut response = shown.answer(answer, None);
    visit.keep(&mut response);
    response
}

pub(super) async fn sign_in(
    State(authority): State<Authority>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response {
    let visit = match Visit::from_our_page(&authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    let original = visit.original();
    let Visit { form, mut browser, jar, .. } = visit;
    let ports = &authority.ports;
    let now = ports.now();
    let ticket = form
        .value("ticket")
        .and_then(|ticket| Ticket::open(ports, ticket, Page::SignIn, &browser.cookie, None, &original, now));
    let Some(ticket) = ticket else { return page::error(403, &forged(), None, None) };
    let proved = match rules::prove(ports, &tenant, &original, None) {
        Ok(proved) => proved,
        Err(denial) => return page::error(400, &denial, None, None),
    };
    let typed = Credentials {
        username: form.value("username").unwrap_or_default().trim(),
        password: form.value("password").unwrap_or_default(),
        address: browser.address,
        browser: &browser.cookie,
        accounts: &browser.accounts.clone(),
    };
    let client = proved.client.application.app_id;
    match check_password(ports, proved.tenant.as_deref(), client, typed, &ticket, now).await {
        Ok(signed_in) => {
            browser = Browser { session: Some(Arc::clone(&signed_in.session)), fresh: true, ..browser };
            let answer = rules::authorize(ports, &tenant, &original, &browser).await;
            let shown = Shown { authority: &authority, tenant: &tenant, request: &original, browser: &browser };
            let mut response = shown.answer(answer, None);
            jar.signed_in(&mut response, &signed_in);
            response
        }
        Err(denial) => {
            let Some((status, text)) = browser::typed_again(&denial) else {
                return page::error(denial.status(), &denial, None, None);
            };
            let request = rules::SignInRequest {
                client_name: proved.client.application.display_name.clone(),
                tenant_name: proved.tenant.as_ref().map(|tenant| tenant.tenant.display_name.clone()),
                hint: Some(typed.username.to_owned()),
            };
            let shown = Shown { authority: &authority, tenant: &tenant, request: &original, browser: &browser };
            let mut response = shown.answer(Answer::SignIn(request), Some(&text));
            *response.status_mut() = status;
            wait(&mut response, denial.retry_after);
            response
        }
    }
}

pub(super) async fn consent(
    State(authority): State<Authority>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response {
    let visit = match Visit::from_our_page(&authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    let original = visit.original();
    let Visit { form, browser, .. } = visit;
    let decided = Decided {
        accepted: form.value("action") == Some("accept"),
        for_all: form.mentions("for_all"),
        ticket: form.value("ticket").unwrap_or_default(),
    };
    // The person has just signed in or just looked at the page: `prompt=login` is not asked twice.
    let browser = Browser { fresh: true, ..browser };
    let answer = rules::decided(&authority.ports, &tenant, &original, browser.clone(), decided).await;
    Shown { authority: &authority, tenant: &tenant, request: &original, browser: &browser }.answer(answer, None)
}

/// The pages about the second factor post here.
pub(super) async fn second_factor(
    State(authority): State<Authority>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response {
    let visit = match Visit::from_our_page(&authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    let original = visit.original();
    let Visit { form, browser, jar, .. } = visit;
    let posted = rules::SecondFactorShown {
        page: match form.value("step") {
            Some("enrol") => Page::Enrolment,
            Some("continue") => Page::RecoveryCodes,
            _ => Page::SecondFactor,
        },
        code: form.value("code").unwrap_or_default(),
        ticket: form.value("ticket").unwrap_or_default(),
    };
    let stepped = rules::second_factor(&authority.ports, &tenant, &original, browser.clone(), posted).await;
    let shown = Shown { authority: &authority, tenant: &tenant, request: &original, browser: &browser };
    let mut response = shown.answer(stepped.answer, None);
    if let (Some(secret), Some(session)) = (&stepped.cookie, &browser.session) {
        jar.strengthened(&mut response, session.id, secret);
    }
    response
}

/// The page of accounts posts here: which one it is, or that one signs out.
pub(super) async fn accounts(
    State(authority): State<Authority>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response {
    let visit = match Visit::from_our_page(&authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    let (original, ports) = (visit.original(), &authority.ports);
    if visit.form.mentions("sign_out") {
        let Some(segment) = segment(&authority, &tenant) else { return page::error(403, &forged(), None, None) };
        let again = EndpointVersion::of(&original).authorize_path(&segment, &original);
        return super::logout::leave(&authority, &visit, &original, &again).await;
    }
    let (ticket, account) = (visit.form.value("ticket").unwrap_or_default(), visit.form.value("account"));
    let answer = rules::picked(ports, &tenant, &original, &visit.browser, account.unwrap_or_default(), ticket).await;
    Shown { authority: &authority, tenant: &tenant, request: &original, browser: &visit.browser }.answer(answer, None)
}

pub(super) async fn ask_admin(
    State(authority): State<Authority>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response {
    let visit = match Visit::from_our_page(&authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    let original = visit.original();
    let Visit { form, browser, .. } = visit;
    let asking = Asking {
        asks: form.value("action") == Some("ask"),
        reason: form.value("reason").unwrap_or_default(),
        ticket: form.value("ticket").unwrap_or_default(),
    };
    let answer = rules::asked(&authority.ports, &tenant, &original, &browser, asking).await;
    Shown { authority: &authority, tenant: &tenant, request: &original, browser: &browser }.answer(answer, None)
}

impl Shown<'_> {
    fn answer(&self, answer: Answer, error: Option<&str>) -> Response {
        let ports = &self.authority.ports;
        match answer {
            Answer::Redirect(to) => redirect(&to),
            Answer::SignIn(request) => {
                let ticket =
                    Ticket::new(ports, Page::SignIn, &self.browser.cookie, None, self.request, ports.now()).seal(ports);
                let hidden = page::Hidden { request: &self.request.encode(), ticket: &ticket };
                page::sign_in(&request, &format!("/{}/sign-in", self.tenant), hidden, error, self.form_action())
            }
            Answer::Accounts(request) => {
                let hidden = page::Hidden { request: &self.request.encode(), ticket: &request.ticket };
                page::accounts(&request, &format!("/{}/accounts", self.tenant), hidden, self.form_action())
            }
            Answer::Consent(request) => {
                let hidden = page::Hidden { request: &self.request.encode(), ticket: &request.ticket };
                page::consent::consent(&request, &format!("/{}/consent", self.tenant), hidden, self.form_action())
            }
            Answer::SecondFactor(request) => {
                let hidden = page::Hidden { request: &self.request.encode(), ticket: &request.ticket };
                page::second_factor(&request, &format!("/{}/second-factor", self.tenant), hidden, self.form_action())
            }
            Answer::AskAdmin(request) => {
                let hidden = page::Hidden { request: &self.request.encode(), ticket: &request.ticket };
                page::consent::ask_admin(&request, &format!("/{}/ask-admin", self.tenant), hidden, self.form_action())
            }
            Answer::Asked(back) => page::consent::asked(&target(&back)),
            Answer::Page(denial, back) => {
                let href = back.as_ref().map(target);
                page::error(
                    denial.status(),
                    &denial,
                    None,
                    href.as_deref().map(|href| (href, "Return to the application")),
                )
            }
        }
    }

    /// Browsers hold redirects after a posted form against `form-action`, so the client's address must be in it.
    fn form_action(&self) -> &str {
        self.request.value("redirect_uri").unwrap_or_default()
    }
}

/// A tenant as our own addresses name it: the path that was called says nothing of where to go on, `//elsewhere` would be
/// another host.
fn segment(authority: &Authority, called: &str) -> Option<String> {
    let found = find_tenant(&authority.ports.directory.snapshot(), called).map(|found| found.tenant.id.to_string());
    found.or_else(|| is_alias(called).then(|| called.to_owned()))
}

fn redirect(to: &Redirect) -> Response {
    if to.mode == ResponseMode::FormPost {
        return page::form_post(to);
    }
    see_other(&target(to))
}

/// 303: the browser goes on with GET and leaves behind what was posted.
pub(super) fn see_other(location: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let Ok(location) = HeaderValue::from_str(location) else {
        let denial = Denial::new(CheckId::RedirectUriRegistered, "an address that a header can carry", "another one");
        return page::error(400, &denial, None, None);
    };
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    response
}

fn target(to: &Redirect) -> String {
    let parameters = to.parameters.encode();
    match to.mode {
        ResponseMode::Fragment => format!("{}#{parameters}", to.uri),
        _ if to.uri.contains('?') => format!("{}&{parameters}", to.uri),
        _ => format!("{}?{parameters}", to.uri),
    }
}
