//! Reading parameters from a query or a body: bounded, strictly decoded, each once.
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use decision::CheckId;
use deputize_core::denial::Denial;
use oauth::{Form, FormError, MAX_FORM_BYTES};

/// The query string, strictly decoded.
pub(super) fn query(request: &Request) -> Result<Form, FormError> {
    Form::decode(request.uri().query().unwrap_or_default().as_bytes())
}

/// Why a body was not taken.
pub(super) enum BodyError {
    Method,
    MediaType,
    TooLarge,
    Broken,
    Form(FormError),
}

impl BodyError {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge | Self::Form(FormError::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType | Self::Broken | Self::Form(_) => StatusCode::BAD_REQUEST,
        }
    }

    pub(super) fn denial(&self) -> Denial {
        let denial = |expected: &str, actual: &str| Denial::new(CheckId::RequestWellFormed, expected, actual);
        match self {
            Self::Method => denial("POST", "another method").fix("send the request with POST"),
            Self::MediaType => denial("`application/x-www-form-urlencoded` in UTF-8", "another content type")
                .fix("send the parameters form-encoded in the body"),
            Self::Broken => denial("a whole body", "one that broke off").fix("send the body again, whole"),
            Self::TooLarge => denial("at most 65536 bytes", "more").fix("send less"),
            Self::Form(error) => denial("a form", &error.to_string()),
        }
    }
}

/// A posted form: the right method, the right type, bounded in size, strictly decoded.
pub(super) async fn posted(request: Request) -> Result<Form, BodyError> {
    if request.method() != Method::POST {
        return Err(BodyError::Method);
    }
    let mut types = request.headers().get_all(CONTENT_TYPE).iter();
    let essence = types.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = essence.split(';').map(str::trim);
    let form = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/x-www-form-urlencoded"));
    let utf8 = parts.all(|part| part.to_ascii_lowercase().replace('"', "") == "charset=utf-8");
    if !form || !utf8 || types.next().is_some() {
        return Err(BodyError::MediaType);
    }
    let bytes = axum::body::to_bytes(request.into_body(), MAX_FORM_BYTES).await.map_err(|error| {
        let limit = error.into_inner().downcast::<http_body_util::LengthLimitError>().is_ok();
        if limit { BodyError::TooLarge } else { BodyError::Broken }
    })?;
    Form::decode(&bytes).map_err(BodyError::Form)
}
