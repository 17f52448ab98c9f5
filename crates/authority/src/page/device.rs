//! The pages about devices: where a person types the code that one shows, and where they approve it.
use super::{Hidden, send};
use askama::Template;
use axum::response::Response;
use deputize_core::device::DeviceRequest;
use deputize_core::limits::words;
use http::StatusCode;
use pages::{Page, Plain};

/// Asks for the code that the device shows. It is never filled in.
pub(crate) fn user_code(status: StatusCode, ticket: &str, error: Option<&str>) -> Response {
    let title = if error.is_some() { "Try again: enter code" } else { "Enter code" };
    send(Page::new(title, UserCode { ticket, error: error.map(Plain) }).status(status))
}

/// Names the application, the tenant and the place, and asks for more than one click.
pub(crate) fn approve(request: &DeviceRequest, answer: &str) -> Response {
    let place = request.place.map(|place| place.to_canonical().to_string());
    let asked = format!("{} ago", words(request.asked));
    let content = Approve {
        client: Plain(&request.client_name),
        tenant: Plain(&request.tenant_name),
        upn: Plain(&request.upn),
        place: place.as_deref().map(Plain),
        asked: Plain(&asked),
        hidden: Hidden { request: answer, ticket: &request.ticket },
    };
    send(Page::new("Sign in on a device?", content))
}

/// Says what came of it.
pub(crate) fn decided(approved: bool) -> Response {
    send(Page::new(if approved { "You are signed in" } else { "Nothing was allowed" }, Decided { approved }))
}

#[derive(Template)]
#[template(path = "user_code.html")]
struct UserCode<'a> {
    ticket: &'a str,
    error: Option<Plain<'a>>,
}

#[derive(Template)]
#[template(path = "device.html")]
struct Approve<'a> {
    client: Plain<'a>,
    tenant: Plain<'a>,
    upn: Plain<'a>,
    place: Option<Plain<'a>>,
    asked: Plain<'a>,
    hidden: Hidden<'a>,
}

#[derive(Template)]
#[template(path = "device_decided.html")]
struct Decided {
    approved: bool,
}
