//! Pages of people who are signed in to this authority itself: admin consent, what they allowed, and what waits for them.
use super::authorize::{CREDENTIALS, PICKED, see_other};
use super::browser::{self, Visit};
use super::endpoint::{BROWSER, Caller, Endpoint, OF_OUR_PAGE, PAGE, Readers, Route};
use super::wait;
use crate::{Authority, page};
use axum::extract::{Path, Request, State};
use axum::http::Method;
use axum::response::Response;
use axum::routing::any;
use deputize_core::account::{self, Account, AccountsRequest};
use deputize_core::authorize::{Browser, SignInRequest};
use deputize_core::consent::admin::{self, AdminAnswer, Version};
use deputize_core::consent::approvals::{self, ApprovalsAnswer};
use deputize_core::consent::given::{self, GivenAnswer};
use deputize_core::sign_in::{Credentials, forged, sign_in as check_password};
use deputize_core::ticket::{Page, Ticket};
use deputize_core::token_endpoint::find_tenant;
use deputize_core::work_order::page::{self as work_order, Decision, OrdersAnswer};
use deputize_core::work_order::presence;
use oauth::{Form, Parameter, Parameters};
use std::sync::Arc;

/// One of these pages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    AdminConsent(Version),
    Given,
    Approvals,
    WorkOrders,
}

impl Place {
    /// What follows the tenant in its path.
    const fn path(self) -> &'static str {
        match self {
            Self::AdminConsent(Version::V1) => "adminconsent",
            Self::AdminConsent(Version::V2) => "v2.0/adminconsent",
            Self::Given => "consents",
            Self::Approvals => "consent-requests",
            Self::WorkOrders => "work-orders",
        }
    }

    /// What stands for it where people sign in to it.
    const fn word(self) -> &'static str {
        match self {
            Self::AdminConsent(Version::V1) => "adminconsent-v1",
            Self::AdminConsent(Version::V2) => "adminconsent",
            Self::Given => "consents",
            Self::Approvals => "consent-requests",
            Self::WorkOrders => "work-orders",
        }
    }

    fn named(word: &str) -> Option<Self> {
        let all = [
            Self::AdminConsent(Version::V1),
            Self::AdminConsent(Version::V2),
            Self::Given,
            Self::Approvals,
            Self::WorkOrders,
        ];
        all.into_iter().find(|place| place.word() == word)
    }
}

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        title: "Admin consent",
        purpose: "An administrator agrees for everyone to all that an application's registration asks for.",
        routes: &[Route { path: "/{tenant}/adminconsent", handler: || any(admin_consent_v1) }],
        methods: &["GET", "POST"],
        parameters: &[admin::PARAMETERS_V1, &[BROWSER]],
        caller: Caller::Browser,
        readers: Readers::None,
        notes: &["The tenant is named: under an alias it is AADSTS50059."],
    },
    Endpoint {
        title: "Admin consent to named permissions",
        purpose: "An administrator agrees for everyone to the permissions that the request names.",
        routes: &[Route { path: "/{tenant}/v2.0/adminconsent", handler: || any(admin_consent_v2) }],
        methods: &["GET", "POST"],
        parameters: &[admin::PARAMETERS_V2, &[BROWSER]],
        caller: Caller::Browser,
        readers: Readers::None,
        notes: &["The tenant is named: under an alias it is AADSTS50059."],
    },
    Endpoint {
        title: "Admin consent page",
        purpose: "The administrator's decision, as the page posts it.",
        routes: &[
            Route { path: "/{tenant}/adminconsent/decide", handler: || any(admin_decided_v1) },
            Route { path: "/{tenant}/v2.0/adminconsent/decide", handler: || any(admin_decided_v2) },
        ],
        parameters: &[&[
            Parameters { when: "", each: &[Parameter::optional("action", "`accept`; anything else declines.")] },
            PAGE,
            BROWSER,
        ]],
        ..OF_OUR_PAGE
    },
    Endpoint {
        title: "What I allowed",
        purpose: "Which applications act for the person who is signed in; a posted form takes it back from one.",
        routes: &[Route { path: "/{tenant}/consents", handler: || any(given) }],
        methods: &["GET", "POST"],
        parameters: &[&[PAGE, BROWSER]],
        ..OF_OUR_PAGE
    },
    Endpoint {
        title: "What waits for an administrator",
        purpose: "Requests for consent; a posted form decides one.",
        routes: &[Route { path: "/{tenant}/consent-requests", handler: || any(approvals) }],
        methods: &["GET", "POST"],
        parameters: &[&[
            Parameters {
                when: "",
                each: &[Parameter::depends("action", "`approve` or `deny`, where a form is posted.")],
            },
            PAGE,
            BROWSER,
        ]],
        ..OF_OUR_PAGE
    },
    Endpoint {
        title: "Work that is done for me",
        purpose: "The work orders of the person who is signed in, and which of them wait for the person; a posted form decides one.",
        routes: &[Route { path: "/{tenant}/work-orders", handler: || any(work_orders) }],
        methods: &["GET", "POST"],
        parameters: &[&[
            Parameters {
                when: "",
                each: &[Parameter::depends("action", "`approve` or `revoke`, where a form is posted.")],
            },
            PAGE,
            BROWSER,
        ]],
        ..OF_OUR_PAGE
    },
    Endpoint {
        title: "Presence for a work order",
        purpose: "Where the sign-in of a person comes back to who lets a waiting work order go on.",
        routes: &[Route { path: "/work-orders/present", handler: || any(present) }],
        methods: &["GET"],
        parameters: &[&[
            Parameters {
                when: "",
                each: &[
                    Parameter::depends("code", "The sign-in's code.").at(oauth::Place::Query),
                    Parameter::depends("state", "Which order, in which browser.").at(oauth::Place::Query),
                    Parameter::depends("error", "Why there is no code.").at(oauth::Place::Query),
                    Parameter::optional("error_description", "The same in words.").at(oauth::Place::Query),
                ],
            },
            BROWSER,
        ]],
        ..OF_OUR_PAGE
    },
    Endpoint {
        title: "Sign-in page of these pages",
        purpose: "The password, for the page that `place` names: `adminconsent`, `adminconsent-v1`, `consents`, `consent-requests`, \
                  `work-orders`.",
        routes: &[Route { path: "/{tenant}/sign-in/{place}", handler: || any(sign_in) }],
        parameters: &[&[CREDENTIALS, PAGE, BROWSER]],
        ..OF_OUR_PAGE
    },
    Endpoint {
        title: "Page of accounts of these pages",
        purpose: "Which of the browser's accounts it is, for the page that `place` names.",
        routes: &[Route { path: "/{tenant}/accounts/{place}", handler: || any(picked) }],
        parameters: &[&[PICKED, PAGE, BROWSER]],
        ..OF_OUR_PAGE
    },
];

/// What every page is made from.
struct At<'a> {
    authority: &'a Authority,
    /// As in the URL.
    tenant: &'a str,
    place: Place,
    form: &'a Form,
    browser: &'a Browser,
}

pub(super) async fn admin_consent_v1(authority: State<Authority>, tenant: Path<String>, request: Request) -> Response {
    open(authority, tenant, request, Place::AdminConsent(Version::V1)).await
}

pub(super) async fn admin_consent_v2(authority: State<Authority>, tenant: Path<String>, request: Request) -> Response {
    open(authority, tenant, request, Place::AdminConsent(Version::V2)).await
}

pub(super) async fn admin_decided_v1(authority: State<Authority>, tenant: Path<String>, request: Request) -> Response {
    admin_decided(authority, tenant, request, Version::V1).await
}

pub(super) async fn admin_decided_v2(authority: State<Authority>, tenant: Path<String>, request: Request) -> Response {
    admin_decided(authority, tenant, request, Version::V2).await
}

/// `/{tenant}/consents`: who acts for me; a posted form takes it back.
pub(super) async fn given(
    State(authority): State<Authority>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response {
    if request.method() != Method::POST {
        return open(State(authority), Path(tenant), request, Place::Given).await;
    }
    let visit = match Visit::from_our_page(&authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    let (original, ticket) = (visit.original(), visit.form.value("ticket").unwrap_or_default());
    let answer = given::withdraw(&authority.ports, &tenant, &original, &visit.browser, ticket).await;
    let form = Form::default();
    let at = At { authority: &authority, tenant: &tenant, place: Place::Given, form: &form, browser: &visit.browser };
    at.given(answer)
}

/// `/{tenant}/consent-requests`: what waits for an administrator; a posted form decides one.
pub(super) async fn approvals(
    State(authority): State<Authority>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response {
    if request.method() != Method::POST {
        return open(State(authority), Path(tenant), request, Place::Approvals).await;
    }
    let visit = match Visit::from_our_page(&authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    let (original, ticket) = (visit.original(), visit.form.value("ticket").unwrap_or_default());
    let approved = match visit.form.value("action") {
        Some("approve") => true,
        Some("deny") => false,
        _ => return page::error(403, &forged(), None, None),
    };
    let reviewed = approvals::reviewed(&authority.ports, &tenant, &original, &visit.browser, approved, ticket);
    let answer = reviewed.await;
    let form = Form::default();
    let at =
        At { authority: &authority, tenant: &tenant, place: Place::Approvals, form: &form, browser: &visit.browser };
    at.approvals(answer)
}

/// `/{tenant}/work-orders`: what is done for me; a posted form decides about one.
pub(super) async fn work_orders(
    State(authority): State<Authority>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response {
    if request.method() != Method::POST {
        return open(State(authority), Path(tenant), request, Place::WorkOrders).await;
    }
    let visit = match Visit::from_our_page(&authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    let (original, ticket) = (visit.original(), visit.form.value("ticket").unwrap_or_default());
    let decision = match visit.form.value("action") {
        Some("approve") => Decision::Approve,
        Some("revoke") => Decision::Revoke,
        _ => return page::error(403, &forged(), None, None),
    };
    let decided = work_order::decided(&authority.ports, &tenant, &original, &visit.browser, (decision, ticket));
    let answer = decided.await;
    let form = Form::default();
    let at =
        At { authority: &authority, tenant: &tenant, place: Place::WorkOrders, form: &form, browser: &visit.browser };
    at.work_orders(answer)
}

/// Where a person who lets an order go on comes back to.
pub(super) async fn present(State(authority): State<Authority>, request: Request) -> Response {
    let visit = match Visit::from_anywhere(&authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    match presence::returned(&authority.ports, &visit.browser, &visit.form).await {
        Ok(tenant) => see_other(&format!("/{tenant}/work-orders")),
        Err(denial) => page::error(denial.status(), &denial, None, None),
    }
}

async fn open(
    State(authority): State<Authority>,
    Path(tenant): Path<String>,
    request: Request,
    place: Place,
) -> Response {
    let posted = request.method() == Method::POST;
    let visit = match Visit::from_anywhere(&authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    let again = At { authority: &authority, tenant: &tenant, place, form: &visit.form, browser: &visit.browser };
    if posted && !visit.bound() && !again.tenant_path().is_empty() {
        return see_other(&format!("{}/{}?{}", again.tenant_path(), place.path(), visit.form.encode()));
    }
    let mut response = match account::at_page(&authority.ports, &tenant, visit.browser.clone()).await {
        Ok((browser, accounts)) => {
            let at = At { authority: &authority, tenant: &tenant, place, form: &visit.form, browser: &browser };
            if accounts.is_empty() { at.show().await } else { at.accounts(accounts) }
        }
        Err(denial) => page::error(denial.status(), &denial, None, None),
    };
    visit.keep(&mut response);
    response
}

/// Opens one of these pages for the account that was picked, or for somebody else.
pub(super) async fn picked(
    State(authority): State<Authority>,
    Path((tenant, word)): Path<(String, String)>,
    request: Request,
) -> Response {
    let visit = match Visit::from_our_page(&authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    let (original, ports) = (visit.original(), &authority.ports);
    let Some(place) = Place::named(&word) else { return page::error(403, &forged(), None, None) };
    let at = At { authority: &authority, tenant: &tenant, place, form: &original, browser: &visit.browser };
    if visit.form.mentions("sign_out") {
        let again = format!("{}/{}?{}", at.tenant_path(), place.path(), original.encode());
        return super::logout::leave(&authority, &visit, &original, &again).await;
    }
    let text = visit.form.value("ticket").unwrap_or_default();
    let ticket = Ticket::open(ports, text, Page::Accounts, &visit.browser.cookie, None, &original, ports.now());
    let named = visit.form.value("account").unwrap_or_default();
    let session = match account::taken(ports, &visit.browser, named, ticket).await {
        Ok(session) => session,
        Err(denial) => return page::error(denial.status(), &denial, None, None),
    };
    let browser = Browser { session, ..visit.browser.clone() };
    At { browser: &browser, ..at }.show().await
}

async fn admin_decided(
    State(authority): State<Authority>,
    Path(tenant): Path<String>,
    request: Request,
    version: Version,
) -> Response {
    let visit = match Visit::from_our_page(&authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    let original = visit.original();
    let Visit { form, browser, .. } = visit;
    let accepted = form.value("action") == Some("accept");
    let ticket = form.value("ticket").unwrap_or_default();
    let answer = admin::decided(&authority.ports, &tenant, version, &original, &browser, accepted, ticket).await;
    let place = Place::AdminConsent(version);
    At { authority: &authority, tenant: &tenant, place, form: &original, browser: &browser }.admin(answer)
}

/// Signs in to one of these pages.
pub(super) async fn sign_in(
    State(authority): State<Authority>,
    Path((tenant, word)): Path<(String, String)>,
    request: Request,
) -> Response {
    let visit = match Visit::from_our_page(&authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    let original = visit.original();
    let Visit { form, browser, jar, .. } = visit;
    let (ports, now) = (&authority.ports, authority.ports.now());
    let text = form.value("ticket").unwrap_or_default();
    let ticket = Ticket::open(ports, text, Page::SignIn, &browser.cookie, None, &original, now);
    let snapshot = ports.directory.snapshot();
    let (Some(place), Some(ticket), Some(directory)) = (Place::named(&word), ticket, find_tenant(&snapshot, &tenant))
    else {
        return page::error(403, &forged(), None, None);
    };
    let typed = Credentials {
        username: form.value("username").unwrap_or_default().trim(),
        password: form.value("password").unwrap_or_default(),
        address: browser.address,
        browser: &browser.cookie,
        accounts: &browser.accounts.clone(),
    };
    match check_password(ports, Some(directory), None, typed, &ticket, now).await {
        Ok(signed_in) => {
            let browser = Browser { session: Some(Arc::clone(&signed_in.session)), fresh: true, ..browser };
            let at = At { authority: &authority, tenant: &tenant, place, form: &original, browser: &browser };
            let mut response = at.show().await;
            jar.signed_in(&mut response, &signed_in);
            response
        }
        Err(denial) => {
            let Some((status, text)) = browser::typed_again(&denial) else {
                return page::error(denial.status(), &denial, None, None);
            };
            let request = SignInRequest {
                client_name: "your account".to_owned(),
                tenant_name: Some(directory.tenant.display_name.clone()),
                hint: Some(typed.username.to_owned()),
            };
            let at = At { authority: &authority, tenant: &tenant, place, form: &original, browser: &browser };
            let mut response = at.sign_in(&request, Some(&text));
            *response.status_mut() = status;
            wait(&mut response, denial.retry_after);
            response
        }
    }
}

impl At<'_> {
    async fn show(&self) -> Response {
        let ports = &self.authority.ports;
        match self.place {
            Place::AdminConsent(version) => {
                self.admin(admin::asked(ports, self.tenant, version, self.form, self.browser).await)
            }
            Place::Given => self.given(given::given(ports, self.tenant, self.browser).await),
            Place::Approvals => self.approvals(approvals::approvals(ports, self.tenant, self.browser).await),
            Place::WorkOrders => self.work_orders(work_order::orders(ports, self.tenant, self.browser).await),
        }
    }

    fn sign_in(&self, request: &SignInRequest, error: Option<&str>) -> Response {
        let ports = &self.authority.ports;
        let ticket = Ticket::new(ports, Page::SignIn, &self.browser.cookie, None, self.form, ports.now()).seal(ports);
        let hidden = page::Hidden { request: &self.form.encode(), ticket: &ticket };
        let action = format!("{}/sign-in/{}", self.tenant_path(), self.place.word());
        page::sign_in(request, &action, hidden, error, self.form.value("redirect_uri").unwrap_or_default())
    }

    fn accounts(&self, accounts: Vec<Account>) -> Response {
        let (ports, snapshot) = (&self.authority.ports, self.authority.ports.directory.snapshot());
        let ticket = Ticket::new(ports, Page::Accounts, &self.browser.cookie, None, self.form, ports.now()).seal(ports);
        let request = AccountsRequest {
            client_name: "your account".to_owned(),
            tenant_name: find_tenant(&snapshot, self.tenant).map(|tenant| tenant.tenant.display_name.clone()),
            accounts,
            ticket,
        };
        let hidden = page::Hidden { request: &self.form.encode(), ticket: &request.ticket };
        let action = format!("{}/accounts/{}", self.tenant_path(), self.place.word());
        page::accounts(&request, &action, hidden, self.form.value("redirect_uri").unwrap_or_default())
    }

    /// The tenant by its id: the path that was called says nothing of where to post, `//elsewhere` would be another host.
    fn tenant_path(&self) -> String {
        let snapshot = self.authority.ports.directory.snapshot();
        find_tenant(&snapshot, self.tenant).map(|tenant| format!("/{}", tenant.tenant.id)).unwrap_or_default()
    }

    fn admin(&self, answer: AdminAnswer) -> Response {
        match answer {
            AdminAnswer::SignIn(request) => self.sign_in(&request, None),
            AdminAnswer::Consent(request) => {
                let hidden = page::Hidden { request: &self.form.encode(), ticket: &request.ticket };
                let action = format!("{}/{}/decide", self.tenant_path(), self.place.path());
                let back = self.form.value("redirect_uri").unwrap_or_default();
                page::consent::admin(&request, &action, hidden, back)
            }
            AdminAnswer::Redirect(to) => see_other(&to),
            AdminAnswer::Done(client) => page::consent::done(&client),
            AdminAnswer::Page(denial, back) => {
                let back = back.as_deref().map(|href| (href, "Return to the application"));
                page::error(denial.status(), &denial, None, back)
            }
        }
    }

    fn given(&self, answer: GivenAnswer) -> Response {
        match answer {
            GivenAnswer::SignIn(request) => self.sign_in(&request, None),
            GivenAnswer::Show(given) => page::consent::given(&given),
            GivenAnswer::Page(denial) => page::error(denial.status(), &denial, None, None),
        }
    }

    fn approvals(&self, answer: ApprovalsAnswer) -> Response {
        match answer {
            ApprovalsAnswer::SignIn(request) => self.sign_in(&request, None),
            ApprovalsAnswer::Show(shown) => page::consent::approvals(&shown),
            ApprovalsAnswer::Page(denial) => page::error(denial.status(), &denial, None, None),
        }
    }

    fn work_orders(&self, answer: OrdersAnswer) -> Response {
        match answer {
            OrdersAnswer::SignIn(request) => self.sign_in(&request, None),
            OrdersAnswer::Show(shown) => page::work_orders::orders(&shown),
            OrdersAnswer::Go(to) => see_other(&to),
            OrdersAnswer::Page(denial) => page::error(denial.status(), &denial, None, None),
        }
    }
}
