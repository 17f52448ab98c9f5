//! Reading parameters from a query or a body: bounded, strictly decoded, each once.
use super::endpoint::Endpoint;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use decision::CheckId;
use deputize_core::denial::Denial;
use oauth::{Form, FormError, MAX_FORM_BYTES, Place};

/// What the request's endpoint reads of the query string, strictly decoded.
pub(super) fn query(request: &Request) -> Result<Form, FormError> {
    whole_query(request).map(|form| declared(endpoint(request), form, &[Place::Query, Place::Either]))
}

/// All of the query string, for those who look for what must not stand there.
pub(super) fn whole_query(request: &Request) -> Result<Form, FormError> {
    Form::decode(request.uri().query().unwrap_or_default().as_bytes())
}

fn endpoint(request: &Request) -> Option<&'static Endpoint> {
    request.extensions().get().copied()
}

/// A form forgets what its endpoint does not declare: unknown parameters are ignored.
fn declared(endpoint: Option<&Endpoint>, form: Form, places: &[Place]) -> Form {
    form.only(|name| endpoint.is_some_and(|endpoint| endpoint.reads(name, places)))
}

/// Why a body was not taken.
pub(super) enum BodyError {
    MediaType,
    TooLarge,
    Broken,
    Form(FormError),
}

impl BodyError {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge | Self::Form(FormError::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType | Self::Broken | Self::Form(_) => StatusCode::BAD_REQUEST,
        }
    }

    pub(super) fn denial(&self) -> Denial {
        let denial = |expected: &str, actual: &str| Denial::new(CheckId::RequestWellFormed, expected, actual);
        match self {
            Self::MediaType => denial("`application/x-www-form-urlencoded` in UTF-8", "another content type")
                .fix("send the parameters form-encoded in the body"),
            Self::Broken => denial("a whole body", "one that broke off").fix("send the body again, whole"),
            Self::TooLarge => denial("at most 65536 bytes", "more").fix("send less"),
            Self::Form(error) => denial("a form", &error.to_string()),
        }
    }
}

/// What the request's endpoint reads of a posted form: the right type, bounded in size, strictly decoded.
pub(super) async fn posted(request: Request) -> Result<Form, BodyError> {
    let (head, body) = request.into_parts();
    posted_under(&head, body).await
}

/// The same, of a request whose head is needed still.
pub(super) async fn posted_under(head: &Parts, body: Body) -> Result<Form, BodyError> {
    let endpoint = head.extensions.get().copied();
    let mut types = head.headers.get_all(CONTENT_TYPE).iter();
    let essence = types.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = essence.split(';').map(str::trim);
    let form = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/x-www-form-urlencoded"));
    let utf8 = parts.all(|part| part.to_ascii_lowercase().replace('"', "") == "charset=utf-8");
    if !form || !utf8 || types.next().is_some() {
        return Err(BodyError::MediaType);
    }
    let bytes = axum::body::to_bytes(body, MAX_FORM_BYTES).await.map_err(|error| {
        let limit = error.into_inner().downcast::<http_body_util::LengthLimitError>().is_ok();
        if limit { BodyError::TooLarge } else { BodyError::Broken }
    })?;
    let form = Form::decode(&bytes).map_err(BodyError::Form)?;
    Ok(declared(endpoint, form, &[Place::Body, Place::Either]))
}

/// JSON that the directory API is sent, bounded in size; nothing where nothing is.
pub(super) async fn sent_json(request: Request) -> Result<Vec<u8>, Denial> {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::DELETE) {
        return Ok(Vec::new());
    }
    let mut types = request.headers().get_all(CONTENT_TYPE).iter();
    let kind = types.next().map(|value| value.to_str().unwrap_or_default().to_owned());
    let one = types.next().is_none();
    let bytes = axum::body::to_bytes(request.into_body(), MAX_FORM_BYTES).await.map_err(|error| {
        if error.into_inner().downcast::<http_body_util::LengthLimitError>().is_ok() {
            Denial::new(CheckId::DirectorySize, format!("at most {MAX_FORM_BYTES} bytes"), "more")
        } else {
            Denial::new(CheckId::DirectoryBody, "a whole body", "one that broke off")
        }
    })?;
    let essence = kind.as_deref().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let is_json = one && essence.eq_ignore_ascii_case("application/json");
    // Without a body there is nothing to be of a kind.
    let nothing = bytes.is_empty() && kind.is_none();
    if !is_json && !nothing {
        let found = if kind.is_some() { "another content type" } else { "no content type" };
        return Err(Denial::new(CheckId::DirectoryMediaType, "`application/json`", found));
    }
    Ok(bytes.to_vec())
}
