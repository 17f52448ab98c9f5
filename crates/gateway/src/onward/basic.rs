//! `basic`: a name and a password that the service knows (RFC 7617).
use crate::rotating::Rotating;
use crate::secrets::Material;
use crate::settings::{SettingsError, Source, Spanned, World, fault};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use oauth::Secret;
use std::sync::Arc;

/// The value of `Authorization`, with the password as it is now.
pub(super) fn read(
    username: &Spanned<String>,
    password: &Spanned<Source>,
    world: &mut World<'_>,
) -> Result<Arc<Rotating<HeaderValue>>, SettingsError> {
    let name = username.get_ref().clone();
    if name.contains(':') || name.chars().any(char::is_control) {
        return Err(fault(
            &username.span(),
            "a name with `:` or a control character cannot be sent",
            "use another name",
        ));
    }
    let rotating = Rotating::begin(world.material(password)?, move |held| value(&name, &Material::text(held)?));
    let rotating = Arc::new(rotating.map_err(|reason| fault(&password.span(), reason, "put the password there"))?);
    world.keep_up_to_date(Arc::clone(&rotating) as _);
    Ok(rotating)
}

fn value(name: &str, password: &Secret) -> Result<HeaderValue, String> {
    let text = format!("Basic {}", STANDARD.encode(format!("{name}:{}", password.expose())));
    let mut value = HeaderValue::try_from(text).map_err(|_| "the name and password cannot be sent")?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_the_rfc() {
        let value = value("Aladdin", &Secret::new("open sesame")).unwrap();
        assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(value.is_sensitive());
    }
}
