//! The parameters that are answered by redirect.
use super::{Proved, missing};
use crate::denial::Denial;
use crate::endpoint;
use crate::token_endpoint::claims_readable;
use decision::CheckId;
use oauth::{ClaimsRequest, Form, Parameter, Place};

/// What an authorization request says.
pub const PARAMETERS: oauth::Parameters = oauth::Parameters {
    when: "",
    each: &[
        required("client_id", "The application's id."),
        required(
            "redirect_uri",
            "A registered redirect URI, exactly; `http://localhost` of a public client with any port. Another one is told on \
             a page and never redirected to.",
        ),
        required(
            "response_type",
            "`code`; or `id_token`, with `response_mode=form_post` and a `nonce`, for web applications with \
             `web.implicitGrantSettings.enableIdTokenIssuance`. Nothing else is offered.",
        ),
        optional(
            "response_mode",
            "`query` (default), `fragment` or `form_post`: how the answer comes to the redirect URI.",
        ),
        optional(
            "scope",
            "v2.0: scopes, of several resources if need be: all are consented to, and a token is for one. v1.0: OpenID \
             Connect's only.",
        ),
        optional(
            "resource",
            "v1.0: the application ID URI or client id of one resource; all that is registered or granted there. v2.0: RFC \
             8707, only beside `scope`.",
        ),
        optional("state", "Comes back unchanged."),
        optional("nonce", "Comes back in the ID token unchanged; absent there if none was sent."),
        depends(
            "code_challenge",
            "43 base64url characters (RFC 7636). Public clients and single-page applications must send it; confidential ones \
             may leave it out, which is flagged in the audit trail.",
        ),
        depends("code_challenge_method", "`S256`, always beside `code_challenge`; `plain` is refused."),
        optional(
            "prompt",
            "`login`: type the password again. `select_account`: pick one of the browser's accounts. `consent`: show \
             the dialog though all is granted. `none`: show nothing, and answer `login_required`, `interaction_required` (also \
             where several accounts are signed in and no hint says which) or `consent_required`.",
        ),
        optional(
            "login_hint",
            "The name of an account: it is picked if it is signed in, else filled into the sign-in page.",
        ),
        optional("domain_hint", "A tenant's domain: only accounts of that tenant are picked from. Others say nothing."),
        optional("sid", "The session of an account, as ID tokens name it: that one is picked or nobody."),
        optional("id_token_hint", "An ID token of this authority: its session is picked or nobody."),
        optional("max_age", "Seconds since the sign-in, at most; else the person signs in again."),
        optional("claims", "A JSON object: claims that the tokens must have, as a claims challenge has them."),
        optional("acr_values", "Authentication contexts (RFC 9470), `c1` to `c99`; what cannot be had is refused."),
        optional("client_info", "`1`: the answer names the user's account in `client_info`."),
        optional("request", "Refused: request objects are not offered."),
        optional("request_uri", "Refused: request objects are not offered."),
    ],
};

const fn required(name: &'static str, behaviour: &'static str) -> Parameter {
    Parameter::required(name, behaviour).at(Place::Either)
}

const fn optional(name: &'static str, behaviour: &'static str) -> Parameter {
    Parameter::optional(name, behaviour).at(Place::Either)
}

const fn depends(name: &'static str, behaviour: &'static str) -> Parameter {
    Parameter::depends(name, behaviour).at(Place::Either)
}

pub(super) struct Parameters {
    pub(super) challenge: Option<String>,
    /// `nonce`, where an ID token is asked for at once instead of a code.
    pub(super) id_token: Option<String>,
    pub(super) prompt_none: bool,
    pub(super) prompt_login: bool,
    pub(super) select_account: bool,
    pub(super) prompt_consent: bool,
    pub(super) max_age: Option<i64>,
    /// `claims`, with what `acr_values` asks for.
    pub(super) claims: Option<String>,
}

/// Judges the parameters that are answered by redirect.
pub(super) fn parameters(request: &Form, proved: &Proved) -> Result<Parameters, Box<Denial>> {
    let refuse = |check, expected: &str, actual: &str| Box::new(Denial::new(check, expected, actual));
    if let Some(other) = request.value("response_mode")
        && !matches!(other, "query" | "fragment" | "form_post")
    {
        return Err(refuse(
            CheckId::ResponseModeSupported,
            "`query`, `fragment` or `form_post`",
            "another `response_mode`",
        ));
    }
    let id_token = response_type(request, proved)?;
    if request.mentions("request") || request.mentions("request_uri") {
        return Err(refuse(CheckId::RequestWellFormed, "parameters in the request itself", "a request object"));
    }
    if let Some(denial) = endpoint::refusal(request) {
        return Err(Box::new(denial));
    }
    let challenge = match (request.value("code_challenge"), request.value("code_challenge_method")) {
        (None, None) if proved.public => {
            return Err(refuse(CheckId::PkceChallenge, "`code_challenge`, since this client is public", "none"));
        }
        (None, None) => None,
        (Some(challenge), Some("S256")) if base64url_43(challenge) => Some(challenge.to_owned()),
        (Some(_), Some("S256")) => {
            return Err(refuse(
                CheckId::PkceChallenge,
                "a `code_challenge` of 43 base64url characters",
                "another text",
            ));
        }
        (_, Some("S256") | None) => {
            return Err(refuse(
                CheckId::PkceChallenge,
                "`code_challenge` with `code_challenge_method=S256`",
                "one of the two",
            ));
        }
        (_, Some(_)) => return Err(refuse(CheckId::PkceChallenge, "`code_challenge_method=S256`", "another method")),
    };
    let prompts: Vec<&str> = request.value("prompt").unwrap_or_default().split(' ').filter(|p| !p.is_empty()).collect();
    let known = ["login", "none", "consent", "select_account"];
    if prompts.iter().any(|prompt| !known.contains(prompt)) || (prompts.contains(&"none") && prompts.len() > 1) {
        return Err(refuse(
            CheckId::PromptSatisfiable,
            "`login`, `none`, `consent` or `select_account`",
            "another `prompt`",
        ));
    }
    let max_age = match request.value("max_age").map(str::parse::<u32>) {
        None => None,
        Some(Ok(seconds)) => Some(i64::from(seconds)),
        Some(Err(_)) => return Err(refuse(CheckId::RequestWellFormed, "`max_age` in seconds", "another text")),
    };
    claims_readable(request)?;
    Ok(Parameters {
        challenge,
        id_token,
        prompt_none: prompts.contains(&"none"),
        prompt_login: prompts.contains(&"login"),
        select_account: prompts.contains(&"select_account"),
        prompt_consent: prompts.contains(&"consent"),
        max_age,
        claims: ClaimsRequest::with_acr_values(request.value("claims"), request.value("acr_values")),
    })
}

/// `code`; or `id_token`, for a web application that asks for it by registration, in a form that the browser posts: a token
/// in an address would be left behind in logs and histories.
fn response_type(request: &Form, proved: &Proved) -> Result<Option<String>, Box<Denial>> {
    let web = &proved.client.application.web;
    let enabled = web.implicit_grant_settings.enable_id_token_issuance && !proved.public;
    let expected = if enabled { "`code`, or `id_token` in a posted form" } else { "`code`" };
    let refuse = |check, expected: &str, actual: &str| Box::new(Denial::new(check, expected, actual));
    match request.value("response_type") {
        Some("code") => return Ok(None),
        None => return Err(missing("response_type")),
        Some("id_token") if enabled => {}
        Some("id_token") => {
            let fix = "use `response_type=code`, or let the application's registration enable ID tokens \
                       (`web.implicitGrantSettings.enableIdTokenIssuance`)";
            let denial = Denial::new(CheckId::ResponseTypeSupported, expected, "`id_token`, which is not enabled");
            return Err(Box::new(denial.fix(fix)));
        }
        Some(_) => return Err(refuse(CheckId::ResponseTypeSupported, expected, "another `response_type`")),
    }
    if request.value("response_mode") != Some("form_post") {
        let found =
            if request.mentions("response_mode") { "another `response_mode`" } else { "none, which means `fragment`" };
        return Err(refuse(CheckId::ResponseModeSupported, "`response_mode=form_post` for an ID token", found));
    }
    if !request.value("scope").unwrap_or_default().split(' ').any(|word| word == "openid") {
        return Err(refuse(CheckId::ScopePresent, "`scope` with `openid`, for an ID token", "none"));
    }
    // OpenID Connect Core section 3.2.2.1: nothing else binds the token to this browser.
    request.value("nonce").map(|nonce| Some(nonce.to_owned())).ok_or_else(|| missing("nonce"))
}

fn base64url_43(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}
