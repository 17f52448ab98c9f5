//! Devices on the wire: the endpoint they begin at, and the pages on which a person types their code and approves them.
use super::browser::Visit;
use super::endpoint::{BROWSER, CORRELATION, Caller, Endpoint, OF_OUR_PAGE, PAGE, Readers, Route};
use super::form::{BodyError, posted, query};
use super::refusal::{Correlation, refusal, with_id};
use super::{json, wait};
use crate::page::device as page;
use crate::{Authority, ClientAddress};
use axum::extract::{Path, Request, State};
use axum::http::header::{HeaderValue, LOCATION, ORIGIN};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use decision::CheckId;
use deputize_core::denial::Denial;
use deputize_core::device::{self as rules, BegunV1, DeviceDecided};
use deputize_core::endpoint::EndpointVersion;
use deputize_core::token_endpoint::TokenRequest;
use oauth::{Form, Parameter, Parameters, Place};

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        title: "Device authorization",
        purpose: "A device without a browser begins: it gets a code to show (RFC 8628).",
        routes: &[
            Route { path: "/{tenant}/oauth2/v2.0/devicecode", handler: || any(begin) },
            Route { path: "/{tenant}/oauth2/devicecode", handler: || any(v1) },
        ],
        methods: &["POST"],
        parameters: &[rules::PARAMETERS, &[CORRELATION]],
        caller: Caller::Program,
        readers: Readers::None,
        notes: &[
            "Codes live for 15 minutes; devices ask every `interval` seconds, else they are told `slow_down`.",
            "The v1.0 answer says `verification_url` for `verification_uri`, and its numbers are texts.",
        ],
    },
    Endpoint {
        title: "Page that takes a device's code",
        purpose: "A person types the code that their device shows.",
        routes: &[Route { path: "/device", handler: || any(device) }],
        methods: &["GET", "POST"],
        parameters: &[&[
            Parameters {
                when: "",
                each: &[Parameter::optional("user_code", "The code, as typed; a code in the address is not read.")],
            },
            PAGE,
            BROWSER,
        ]],
        ..OF_OUR_PAGE
    },
    Endpoint {
        title: "Page that approves a device",
        purpose: "Where the sign-in for a device comes back to, and where the person's decision is posted.",
        routes: &[Route { path: "/device/approve", handler: || any(approve) }],
        methods: &["GET", "POST"],
        parameters: &[&[
            Parameters {
                when: "As it comes back",
                each: &[
                    Parameter::depends("code", "The sign-in's code.").at(Place::Query),
                    Parameter::depends("state", "Which device, in which browser.").at(Place::Query),
                    Parameter::depends("error", "Why there is no code.").at(Place::Query),
                    Parameter::optional("error_description", "The same in words.").at(Place::Query),
                ],
            },
            Parameters {
                when: "As it is posted",
                each: &[
                    Parameter::optional("action", "`continue`; anything else declines."),
                    Parameter::depends(
                        "own",
                        "The person says that they began this themselves; without it nothing is approved.",
                    ),
                ],
            },
            PAGE,
            BROWSER,
        ]],
        ..OF_OUR_PAGE
    },
];

/// RFC 8628 section 3.1.
pub(super) async fn begin(
    State(authority): State<Authority>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response {
    start(authority, EndpointVersion::V2, tenant, request).await
}

/// The same beside the v1.0 endpoints: by `resource`.
pub(super) async fn v1(State(authority): State<Authority>, Path(tenant): Path<String>, request: Request) -> Response {
    start(authority, EndpointVersion::V1, tenant, request).await
}

async fn start(authority: Authority, version: EndpointVersion, tenant: String, request: Request) -> Response {
    let (in_url, address) = (query(&request), ClientAddress::of(&request));
    let correlation = Correlation::of_query(&request);
    let origin = request.headers().get(ORIGIN).map(|origin| String::from_utf8_lossy(origin.as_bytes()).into_owned());
    let read = async { Ok::<_, BodyError>((in_url.map_err(BodyError::Form)?, posted(request).await?)) }.await;
    let (in_url, form) = match read {
        Ok(read) => read,
        Err(error) => {
            return refusal(&authority, error.status(), &error.denial(), &correlation);
        }
    };
    let correlation = correlation.or(&form);
    // The language may stand in either.
    let form = match in_url.value("mkt") {
        Some(market) if !form.mentions("mkt") => form.with("mkt", market),
        _ => form,
    };
    let request = TokenRequest {
        version,
        tenant: &tenant,
        form: &form,
        basic: None,
        origin: origin.as_deref(),
        correlation: correlation.plain(),
        address,
        trace: None,
    };
    let mut response = match rules::begin(&authority.ports, request).await {
        Ok(begun) => {
            let mut response = match version {
                EndpointVersion::V1 => json(StatusCode::OK, &BegunV1::from(&begun)),
                EndpointVersion::V2 => json(StatusCode::OK, &begun),
            };
            with_id(&mut response, &begun.decision);
            response
        }
        Err(refusal) => {
            let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
            let mut response = json(status, &refusal.body);
            wait(&mut response, refusal.retry_after);
            with_id(&mut response, refusal.body.trace_id.as_deref().unwrap_or_default());
            response
        }
    };
    correlation.echo(&mut response);
    response
}

/// The page on which the code is typed. A code in the address is ignored: it is the person who must have read it.
pub(super) async fn device(State(authority): State<Authority>, request: Request) -> Response {
    if request.method() == Method::POST {
        return enter(&authority, request).await;
    }
    match Visit::from_anywhere(&authority, request).await {
        Ok(visit) => ask(&authority, &visit, StatusCode::OK, None),
        Err(response) => *response,
    }
}

fn ask(authority: &Authority, visit: &Visit, status: StatusCode, error: Option<&str>) -> Response {
    let ticket = rules::ticket(&authority.ports, &visit.browser);
    let mut response = page::user_code(status, &ticket, error);
    visit.keep(&mut response);
    response
}

async fn enter(authority: &Authority, request: Request) -> Response {
    let visit = match Visit::from_our_page(authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    let value = |name| visit.form.value(name).unwrap_or_default();
    match rules::enter(&authority.ports, &visit.browser, value("ticket"), value("user_code")).await {
        Ok(location) => see_other(&location),
        Err(denial) if denial.id() == CheckId::UserCodeKnown => {
            let text = "No device shows this code now. Look at your device again: codes work for 15 minutes.";
            ask(authority, &visit, StatusCode::OK, Some(text))
        }
        Err(denial) if denial.id() == CheckId::AttemptsLimited => {
            let text = format!("Too many wrong codes. Expected {}.", denial.check.expected);
            let mut response = ask(authority, &visit, StatusCode::TOO_MANY_REQUESTS, Some(&text));
            wait(&mut response, denial.retry_after);
            response
        }
        Err(denial) => refused(&denial),
    }
}

/// Where the authorization request for a device comes back to, and where the person's decision is posted.
pub(super) async fn approve(State(authority): State<Authority>, request: Request) -> Response {
    if request.method() == Method::POST {
        return decide(&authority, request).await;
    }
    let visit = match Visit::from_anywhere(&authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    match rules::returned(&authority.ports, &visit.browser, &visit.form).await {
        Ok(request) => page::approve(&request, &visit.form.encode()),
        Err(denial) => refused(&denial),
    }
}

async fn decide(authority: &Authority, request: Request) -> Response {
    let visit = match Visit::from_our_page(authority, request).await {
        Ok(visit) => visit,
        Err(response) => return *response,
    };
    let answer: Form = visit.original();
    let decided = DeviceDecided {
        accepted: visit.form.value("action") == Some("continue"),
        own: visit.form.mentions("own"),
        ticket: visit.form.value("ticket").unwrap_or_default(),
    };
    match rules::decided(&authority.ports, &visit.browser, &answer, decided).await {
        Ok(approved) => page::decided(approved),
        Err(denial) => refused(&denial),
    }
}

fn refused(denial: &Denial) -> Response {
    crate::page::error(denial.status(), denial, None, Some(("/device", "Enter a code")))
}

fn see_other(location: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response.headers_mut().insert("cache-control", HeaderValue::from_static("no-store"));
    response
}
