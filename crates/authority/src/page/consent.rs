//! Pages about consent: asking the user, asking an administrator, what was allowed and what waits.
use super::{Hidden, leads, send};
use askama::Template;
use axum::response::Response;
use decision::Timestamp;
use deputize_core::authorize::ConsentRequest;
use deputize_core::consent::approvals::{Approval, ApprovalsPage};
use deputize_core::consent::given::{Given, GivenPage};
use deputize_core::consent::{Publisher, Section as Words};
use deputize_core::facts::Published;
use http::StatusCode;
use pages::{Page, Plain};

/// Says who wants to act for the user, and what it may do then. `form_action` is the redirect URI.
pub(crate) fn consent(request: &ConsentRequest, action: &str, hidden: Hidden<'_>, form_action: &str) -> Response {
    let content =
        Consent { offered: Offered::from(request), may_grant_for_all: request.may_grant_for_all, action, hidden };
    send(Page::new("Permissions requested", content).form_action(&[form_action]))
}

/// Says that only an administrator may agree, and lets the person ask for it. `form_action` is the redirect URI.
pub(crate) fn ask_admin(request: &ConsentRequest, action: &str, hidden: Hidden<'_>, form_action: &str) -> Response {
    let content = AskAdmin { offered: Offered::from(request), action, hidden };
    send(Page::new("Approval required", content).form_action(&[form_action]).status(StatusCode::BAD_REQUEST))
}

/// Says that an administrator was asked. `back` is a registered address.
pub(crate) fn asked(back: &str) -> Response {
    send(Page::new("Request sent", Asked { back: Some(back).filter(|href| leads(href)) }))
}

/// Says what an administrator would grant for everyone. `form_action` is the redirect URI.
pub(crate) fn admin(request: &ConsentRequest, action: &str, hidden: Hidden<'_>, form_action: &str) -> Response {
    let content = Admin { offered: Offered::from(request), action, hidden };
    send(Page::new("Permissions requested for your organization", content).form_action(&[form_action]))
}

/// Says that an administrator consented.
pub(crate) fn done(client: &str) -> Response {
    send(Page::new("Permissions granted", Done { client: Plain(client) }))
}

/// Says who acts for the user.
pub(crate) fn given(page: &GivenPage) -> Response {
    let content = GivenOut {
        tenant: Plain(&page.tenant_name),
        user: Plain(&page.user_name),
        upn: Plain(&page.upn),
        action: format!("/{}/consents", page.tenant),
        applications: page.applications.iter().map(Application::from).collect(),
    };
    send(Page::new("Applications that act for you", content))
}

/// Says what waits for an administrator.
pub(crate) fn approvals(page: &ApprovalsPage) -> Response {
    let content = Approvals {
        tenant: Plain(&page.tenant_name),
        user: Plain(&page.user_name),
        upn: Plain(&page.upn),
        action: format!("/{}/consent-requests", page.tenant),
        requests: page.requests.iter().map(|request| Waiting::of(request, &page.tenant_name)).collect(),
    };
    send(Page::new("Requests for consent", content))
}

#[derive(Template)]
#[template(path = "consent.html")]
struct Consent<'a> {
    offered: Offered<'a>,
    may_grant_for_all: bool,
    action: &'a str,
    hidden: Hidden<'a>,
}

#[derive(Template)]
#[template(path = "ask_admin.html")]
struct AskAdmin<'a> {
    offered: Offered<'a>,
    action: &'a str,
    hidden: Hidden<'a>,
}

#[derive(Template)]
#[template(path = "asked.html")]
struct Asked<'a> {
    back: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "admin_consent.html")]
struct Admin<'a> {
    offered: Offered<'a>,
    action: &'a str,
    hidden: Hidden<'a>,
}

#[derive(Template)]
#[template(path = "admin_consented.html")]
struct Done<'a> {
    client: Plain<'a>,
}

#[derive(Template)]
#[template(path = "given.html")]
struct GivenOut<'a> {
    tenant: Plain<'a>,
    user: Plain<'a>,
    upn: Plain<'a>,
    action: String,
    applications: Vec<Application<'a>>,
}

#[derive(Template)]
#[template(path = "approvals.html")]
struct Approvals<'a> {
    tenant: Plain<'a>,
    user: Plain<'a>,
    upn: Plain<'a>,
    action: String,
    requests: Vec<Waiting<'a>>,
}

/// Who asks whom for what: the part that all pages about consent share.
struct Offered<'a> {
    tenant: Plain<'a>,
    client: Plain<'a>,
    /// Whose application it is, if another organization's.
    stranger: Option<(Plain<'a>, Plain<'a>)>,
    user: Plain<'a>,
    upn: Plain<'a>,
    sections: Vec<Section<'a>>,
    adds: Vec<Plain<'a>>,
}

/// What one application may do at one API.
struct Section<'a> {
    /// Who acts, if not the application that asks.
    other: Option<Plain<'a>>,
    resource: Plain<'a>,
    permissions: Vec<Permission<'a>>,
    roles: Vec<Permission<'a>>,
    /// Why it calls the API as itself, where it cannot pass a user on.
    own_identity: Option<Plain<'a>>,
}

struct Permission<'a> {
    name: Plain<'a>,
    description: Option<Plain<'a>>,
    admin_only: bool,
}

/// An application that acts for the user.
struct Application<'a> {
    client: Plain<'a>,
    stranger: Option<(Plain<'a>, Plain<'a>)>,
    since: Option<String>,
    own: Vec<Section<'a>>,
    for_all: Vec<Section<'a>>,
    hidden: Option<Hidden<'a>>,
}

/// A request for an administrator's consent.
struct Waiting<'a> {
    offered: Offered<'a>,
    reason: Plain<'a>,
    created: String,
    hidden: Hidden<'a>,
}

impl<'a> Section<'a> {
    fn of(section: &'a Words, client: &str) -> Self {
        Self {
            other: (section.client != client).then_some(Plain(&section.client)),
            resource: Plain(&section.resource),
            permissions: section.permissions.iter().map(Permission::from).collect(),
            roles: section.roles.iter().map(Permission::from).collect(),
            own_identity: section.own_identity.as_deref().map(Plain),
        }
    }
}

impl<'a> From<&'a Published> for Permission<'a> {
    fn from(published: &'a Published) -> Self {
        let Published { value, admin_only, display_name, description } = published;
        Self {
            name: Plain(if display_name.is_empty() { value } else { display_name }),
            description: (!description.is_empty() && description != display_name).then_some(Plain(description)),
            admin_only: *admin_only,
        }
    }
}

fn stranger(publisher: &Publisher) -> Option<(Plain<'_>, Plain<'_>)> {
    publisher.foreign.then_some((Plain(&publisher.name), Plain(&publisher.domain)))
}

impl<'a> From<&'a ConsentRequest> for Offered<'a> {
    fn from(request: &'a ConsentRequest) -> Self {
        Self {
            tenant: Plain(&request.tenant_name),
            client: Plain(&request.client_name),
            stranger: stranger(&request.publisher),
            user: Plain(&request.user_name),
            upn: Plain(&request.upn),
            sections: request.sections.iter().map(|section| Section::of(section, &request.client_name)).collect(),
            adds: request.adds.iter().map(|name| Plain(name)).collect(),
        }
    }
}

impl<'a> From<&'a Given> for Application<'a> {
    fn from(given: &'a Given) -> Self {
        let sections = |all: &'a [Words]| all.iter().map(|section| Section::of(section, &given.client_name)).collect();
        Self {
            client: Plain(&given.client_name),
            stranger: stranger(&given.publisher),
            since: given.since.map(day),
            own: sections(&given.own),
            for_all: sections(&given.for_all),
            hidden: given.hidden.as_ref().map(|(request, ticket)| Hidden { request, ticket }),
        }
    }
}

impl<'a> Waiting<'a> {
    fn of(request: &'a Approval, tenant: &'a str) -> Self {
        let client = request.client_name.as_str();
        Self {
            offered: Offered {
                tenant: Plain(tenant),
                client: Plain(client),
                stranger: stranger(&request.publisher),
                user: Plain(&request.user_name),
                upn: Plain(&request.upn),
                sections: request.sections.iter().map(|section| Section::of(section, client)).collect(),
                adds: request.adds.iter().map(|name| Plain(name)).collect(),
            },
            reason: Plain(&request.reason),
            created: day(request.created),
            hidden: Hidden { request: &request.hidden.0, ticket: &request.hidden.1 },
        }
    }
}

/// `2030-01-31`.
fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}
