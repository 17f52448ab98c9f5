//! Users' tokens before they are sent to a provider, where that is asked for: are they of an issuer that is known, for this
//! application, and good now?
use crate::Sidecar;
use crate::answer::{self, Answer};
use crate::decode::ProviderId;
use crate::introspect::{Inactive, introspect};
use crate::provider::Provider;
use crate::settings::ExchangeGrant;
use crate::telemetry::Path;
use http::StatusCode;
use oauth::Secret;

impl Sidecar {
    /// Refuses a token that the provider would refuse, in the words of RFC 6749 section 5.2, before anybody is asked.
    pub(crate) async fn judge_user_token(&self, path: Path, id: ProviderId, token: &Secret) -> Result<(), Answer> {
        if !self.user_tokens_checked() {
            return Ok(());
        }
        let Some(judge) = self.judge(id, token.expose()) else { return Ok(()) };
        let Err(reason) = introspect(judge, token.expose(), self.seen(), self.clock().now()).await else {
            return Ok(());
        };
        self.telemetry().error(path, id.0, reason.kind());
        let name = judge.name();
        // That nobody can say is no fault of the token.
        let unsaid = match reason {
            Inactive::KeyUnknown if judge.keys().current(self.clock().now()).is_none() => {
                Some("its keys cannot be fetched")
            }
            Inactive::Unheard => Some("no word of cut-offs arrives"),
            _ => None,
        };
        if let Some(why) = unsaid {
            let text = format!("identity provider '{name}': {why}, so the user token cannot be checked");
            let failed = answer::error(StatusCode::INTERNAL_SERVER_ERROR, "server_error", &text);
            return Err(answer::retry_after(failed, 1));
        }
        let text = format!("the user token is refused before it is sent anywhere: {reason}");
        Err(answer::error(StatusCode::BAD_REQUEST, "invalid_grant", &text))
    }

    /// Whose keys and rules count: those of the provider that is asked, or, where tokens of others are traded in (RFC 8693), of
    /// the provider that the token names.
    fn judge(&self, id: ProviderId, token: &str) -> Option<&Provider> {
        let asked = self.providers().at(id)?;
        if asked.grants().exchange != Some(ExchangeGrant::TokenExchange) {
            return Some(asked);
        }
        let claims = jose::Token::parse(token).ok().and_then(|token| token.peek().ok());
        let issuer = claims.as_ref().and_then(|claims| claims.get("iss")?.as_str());
        let named =
            |provider: &&Provider| provider.is_enabled() && issuer.is_some_and(|issuer| provider.is_issuer(issuer));
        self.providers().iter().find(named).or(Some(asked))
    }
}
