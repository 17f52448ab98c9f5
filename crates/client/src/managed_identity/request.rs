//! What both endpoints ask of a request before anything else.
use super::Identity;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use oauth::Form;
use serde_json::Value;

/// Why a request is not looked at: the status, and a sentence that says what to change.
pub(super) type Unfit = (StatusCode, &'static str);

/// How an identity is named, and what by.
type Naming = (&'static str, fn(String) -> Identity);
const NAMES: [Naming; 5] = [
    ("client_id", Identity::ClientId),
    ("object_id", Identity::ObjectId),
    ("principal_id", Identity::ObjectId),
    ("mi_res_id", Identity::ResourceId),
    ("msi_res_id", Identity::ResourceId),
];

/// Only who speaks to us directly, and means us.
pub(super) fn direct(request: &Parts, hosts: &[String]) -> Result<(), Unfit> {
    if request.method != Method::GET {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "send the request with GET"));
    }
    let forwarded = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "via"];
    if forwarded.iter().any(|name| request.headers.contains_key(*name)) {
        return Err((
            StatusCode::BAD_REQUEST,
            "requests through a proxy are not answered; leave this address to `NO_PROXY`",
        ));
    }
    // A page in a browser says where it comes from; a program has no reason to.
    if ["origin", "referer", "sec-fetch-site"].iter().any(|name| request.headers.contains_key(*name)) {
        return Err((StatusCode::BAD_REQUEST, "requests of a page in a browser are not answered"));
    }
    // HTTP/2 has the name in the target.
    let authority = request.uri.authority().map(http::uri::Authority::as_str);
    let mut named = request.headers.get_all(HOST).iter().map(HeaderValue::to_str);
    let (first, second) = (named.next(), named.next());
    let host = match (first, authority) {
        (Some(Ok(host)), _) => host,
        (None, Some(authority)) => authority,
        _ => "",
    };
    if second.is_some() || !hosts.iter().any(|known| known.eq_ignore_ascii_case(host)) {
        return Err((StatusCode::BAD_REQUEST, "`Host` is not a name of this endpoint; use its own address"));
    }
    Ok(())
}

/// One value of a header; several count as another value.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then(|| first.as_bytes())
}

/// The parameters of both contracts.
pub(super) struct Asked {
    pub(super) identity: Identity,
    pub(super) resource: String,
}

pub(super) fn parameters(request: &Parts, version: &str, expected: &'static str) -> Result<Asked, Unfit> {
    let bad = |text| (StatusCode::BAD_REQUEST, text);
    let form = Form::decode(request.uri.query().unwrap_or_default().as_bytes())
        .map_err(|_| bad("the query is not well formed, or names a parameter twice"))?;
    if form.value("api-version") != Some(version) {
        return Err(bad(expected));
    }
    let mut resources = form.values("resource");
    let resource = resources.next().filter(|_| resources.next().is_none());
    let resource = resource.filter(|resource| !resource.is_empty() && resource.len() <= 2_048);
    let resource = resource.filter(|resource| resource.bytes().all(|byte| byte.is_ascii_graphic()));
    let resource = resource.ok_or_else(|| bad("`resource` is missing or no application ID URI"))?.to_owned();
    let mut named = NAMES.iter().filter(|(name, _)| form.mentions(name)).map(|(name, identity)| {
        // An empty name is somebody's mistake, and not the host's own identity.
        identity(form.value(name).unwrap_or_default().to_owned())
    });
    let identity = named.next();
    if named.next().is_some() {
        return Err(bad("name the identity once: by `client_id`, `object_id` or `mi_res_id`"));
    }
    Ok(Asked { identity: identity.unwrap_or(Identity::Default), resource })
}

pub(super) fn json(status: StatusCode, body: &Value) -> Response<Vec<u8>> {
    let mut response = Response::new(body.to_string().into_bytes());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
