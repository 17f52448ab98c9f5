//! The end of work that outlives its request: what was kept for it goes, and so do the tokens that are held.
use crate::Sidecar;
use crate::apis::Apis;
use crate::problem::Problem;
use crate::provider::Provider;
use crate::whose::{SessionKey, client_id};
use http::StatusCode;
use serde_json::Value;

/// `{"session_key", "api", "agent"}`: the key, the API that it was begun with, and the agent if it was one's. Work that there is
/// not has ended.
pub(super) async fn ended(asked: &Value, sidecar: &Sidecar, apis: &Apis) -> Result<(), Problem> {
    let text = |name: &str| asked.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let missing = |name: &str| Problem::bad_request(format!("`{name}` is missing, or no text; send it"));
    let api = text("api").ok_or_else(|| missing("api"))?;
    let key = text("session_key").ok_or_else(|| missing("session_key"))?;
    let key = match SessionKey::read(key, sidecar.random()) {
        Ok(SessionKey::Chosen(key)) => key,
        Ok(SessionKey::Allocated(_)) => {
            return Err(Problem::bad_request("`session_key`: send the key that was answered"));
        }
        Err(hint) => return Err(Problem::bad_request(format!("`session_key`: {hint}"))),
    };
    let agent = match asked.get("agent") {
        None | Some(Value::Null) => None,
        Some(Value::String(agent)) if client_id(agent) => Some(agent.as_str()),
        Some(_) => return Err(Problem::bad_request("`agent` is no client id; send that of the agent identity")),
    };
    let api = apis.named(api).ok_or_else(|| {
        let name: String = api.chars().take(80).collect();
        Problem::new(StatusCode::NOT_FOUND, format!("there is no API `{name}`; list it under `DownstreamApis`"))
    })?;
    let id = sidecar.providers().place(&api.provider);
    let provider = id.and_then(|id| sidecar.providers().at(id)).filter(|provider| provider.is_entra());
    let (Some(id), Some(client)) = (id, provider.and_then(Provider::client)) else {
        return Err(Problem::bad_request("sessions are Entra's; the provider of this API is another"));
    };
    let of_agent =
        agent.map(|agent| sidecar.agents().of(id, client, agent).ok_or_else(Problem::internal)).transpose()?;
    let ended = of_agent.as_ref().unwrap_or(client).end_long_running(&key).await;
    ended.map_err(|error| Problem::no_token(&error, None))
}
