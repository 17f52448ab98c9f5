//! The pages about the second factor: setting one up, asking for a code, and the recovery codes that are shown once.
use super::{Hidden, send};
use askama::Template;
use axum::response::Response;
use data_encoding::BASE32_NOPAD;
use deputize_core::authorize::{CodeProblem, SecondFactorRequest, Step};
use http::header::{HeaderValue, RETRY_AFTER};
use pages::{Page, Plain};
use qrcode::{Color, EcLevel, QrCode};
use std::fmt::Write as _;

/// The page of a step. `form_action` is the redirect URI, to which the answer may redirect.
pub(crate) fn second_factor(
    request: &SecondFactorRequest,
    action: &str,
    hidden: Hidden<'_>,
    form_action: &str,
) -> Response {
    let error = request.problem.map(told);
    let context = Context { action, hidden, upn: Plain(&request.upn), error: error.as_deref() };
    let titled = |title: &'static str| if error.is_some() { "Try again: the code" } else { title };
    let form_action = [form_action];
    let mut response = match &request.step {
        Step::Verify => {
            let content = Verify { tenant: Plain(&request.tenant_name), client: Plain(&request.client_name), context };
            send(Page::new(titled("Enter your code"), content).form_action(&form_action))
        }
        Step::Enrol(secret) => {
            let text = BASE32_NOPAD.encode(secret);
            let uri = key_uri(&request.tenant_name, &request.upn, &text);
            let content = Enrol {
                tenant: Plain(&request.tenant_name),
                picture: Picture::of(&uri),
                groups: text.as_bytes().chunks(4).map(|part| String::from_utf8_lossy(part).into_owned()).collect(),
                uri: &uri,
                context,
            };
            send(Page::new(titled("Set up a second factor"), content).form_action(&form_action))
        }
        Step::RecoveryCodes(codes) => {
            let codes = codes.iter().map(oauth::Secret::expose).collect();
            let content = RecoveryCodes { codes, context };
            send(Page::new("Keep your recovery codes", content).form_action(&form_action))
        }
    };
    if let Some(CodeProblem::TooSoon(seconds)) = request.problem {
        *response.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn told(problem: CodeProblem) -> String {
    match problem {
        CodeProblem::Wrong => "This code is wrong, or was used already. Type the newest one.".to_owned(),
        CodeProblem::TooSoon(seconds) if seconds < 120 => {
            format!("Too many wrong codes. Wait {seconds} seconds, then type the newest one.")
        }
        CodeProblem::TooSoon(seconds) => {
            format!("Too many wrong codes. Wait {} minutes, then type the newest one.", (seconds + 59) / 60)
        }
    }
}

/// What authenticator apps read (the `otpauth` key URI format).
fn key_uri(issuer: &str, account: &str, secret: &str) -> String {
    let (issuer, account) = (encoded(issuer), encoded(account));
    format!("otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits=6&period=30")
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte) {
            all.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(all, "%{byte:02X}");
        }
        all
    })
}

/// A QR code as one path: dark squares of size one.
struct Picture {
    width: usize,
    path: String,
}

impl Picture {
    /// `None` if the text is longer than a QR code: then there is the secret to type.
    fn of(text: &str) -> Option<Self> {
        let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
        let width = code.width();
        let mut path = String::new();
        for (row, colors) in code.to_colors().chunks(width).enumerate() {
            for (column, _) in colors.iter().enumerate().filter(|(_, color)| **color == Color::Dark) {
                let _ = write!(path, "M{column} {row}h1v1h-1z");
            }
        }
        Some(Self { width, path })
    }

    /// With the quiet zone of four squares on each side.
    fn view_box(&self) -> String {
        format!("-4 -4 {0} {0}", self.width + 8)
    }
}

/// What every step has.
struct Context<'a> {
    action: &'a str,
    hidden: Hidden<'a>,
    upn: Plain<'a>,
    error: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "second_factor.html")]
struct Verify<'a> {
    tenant: Plain<'a>,
    client: Plain<'a>,
    context: Context<'a>,
}

#[derive(Template)]
#[template(path = "enrol.html")]
struct Enrol<'a> {
    tenant: Plain<'a>,
    picture: Option<Picture>,
    groups: Vec<String>,
    uri: &'a str,
    context: Context<'a>,
}

#[derive(Template)]
#[template(path = "recovery_codes.html")]
struct RecoveryCodes<'a> {
    codes: Vec<&'a str>,
    context: Context<'a>,
}

#[cfg(test)]
mod tests {
    use super::{Picture, key_uri};

    #[test]
    fn apps_read_the_key_uri() {
        let uri = key_uri("Contoso & Söhne", "ada@contoso.example", "MFRGGZDF");
        let issuer = "Contoso%20%26%20S%C3%B6hne";
        let account = "ada@contoso.example";
        assert_eq!(
            uri,
            format!(
                "otpauth://totp/{issuer}:{account}?secret=MFRGGZDF&issuer={issuer}&algorithm=SHA1&digits=6&period=30"
            )
        );
    }

    #[test]
    fn the_picture_begins_with_a_finder_pattern_and_gives_up_on_what_is_too_long() {
        let picture = Picture::of("otpauth://totp/a:b?secret=MFRGGZDF").unwrap();
        assert!(picture.path.starts_with("M0 0h1v1h-1zM1 0h1v1h-1z"), "{}", picture.path);
        assert_eq!((picture.width - 17) % 4, 0, "a QR code has 21, 25, 29 … squares");
        assert!(Picture::of(&"x".repeat(4_000)).is_none());
    }
}
