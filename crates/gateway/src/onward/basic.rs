//! `basic`: a name and a password that the service knows (RFC 7617).
use crate::settings::{SettingsError, Spanned, fault};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use oauth::Secret;

/// The value of `Authorization`.
pub(super) fn value(username: &Spanned<String>, password: &Secret) -> Result<HeaderValue, SettingsError> {
    let name = username.get_ref();
    if name.contains(':') || name.chars().any(char::is_control) {
        return Err(fault(
            &username.span(),
            "a name with `:` or a control character cannot be sent",
            "use another name",
        ));
    }
    let text = format!("Basic {}", STANDARD.encode(format!("{name}:{}", password.expose())));
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| fault(&username.span(), "the name and password cannot be sent", "use others"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_the_rfc() {
        let name = |text: &str| Spanned::new(0..1, text.to_owned());
        let secret = Secret::new("open sesame");
        assert_eq!(value(&name("Aladdin"), &secret).unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(value(&name("Ala:ddin"), &secret).is_err());
        assert!(value(&name("Aladdin"), &secret).unwrap().is_sensitive());
    }
}
