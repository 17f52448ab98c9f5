//! What a caller overrides of how an API is called: for one request, and where its route allows it. Where the API is, nobody
//! overrides.
use crate::apis::{Options, header_name, is_callers, method_named};
use crate::whose::{AgentUser, SessionKey, client_id, confirmation};
use client::Random;
use http::HeaderValue;
use oauth::ClaimsRequest;

const PREFIX: &str = "optionsoverride.";

/// The overrides of a request's query. Names are of any case; of several values the last counts, but for scopes.
#[derive(Debug, Default)]
pub(super) struct Overrides(Vec<(String, String)>);

impl Overrides {
    pub(super) fn read(query: Option<&str>) -> Self {
        let mut overrides = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let lower = name.to_ascii_lowercase();
            if lower == "optionsoverride.baseurl" {
                tracing::warn!(
                    "a caller sent `optionsOverride.BaseUrl`, which is ignored: configuration says where an API is"
                );
            } else if lower.starts_with(PREFIX) || is_agents(&lower) {
                overrides.push((name.into_owned(), value.into_owned()));
            }
        }
        Self(overrides)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Applies them to this request's copy. `tenant` is the one that the sidecar's application is in.
    pub(super) fn apply(self, options: &mut Options, tenant: Option<&str>, random: &dyn Random) -> Result<(), String> {
        let mut scopes = Vec::new();
        for (name, value) in self.0 {
            let lower = name.to_ascii_lowercase();
            let wrong = |hint: &str| Err(format!("`{name}`: {hint}"));
            let told = |hint: &'static str| format!("`{name}`: {hint}");
            let Some(what) = lower.strip_prefix(PREFIX) else {
                match lower.as_str() {
                    "agentidentity" if client_id(&value) => options.agent = Some(value),
                    "agentidentity" => return wrong("this is no client id; send that of the agent identity"),
                    // The name wins over the id, wherever they stand.
                    "agentusername" => options.agent_user = Some(AgentUser::named(&value).map_err(told)?),
                    _ => {
                        let user = AgentUser::with_id(&value).map_err(told)?;
                        if !matches!(options.agent_user, Some(AgentUser::Name(_))) {
                            options.agent_user = Some(user);
                        }
                    }
                }
                continue;
            };
            // As written: parameters of the API have their own case.
            let written = name.get(PREFIX.len()..).unwrap_or_default();
            let header =
                || HeaderValue::from_str(&value).map_err(|_| format!("`{name}`: this is no value of a header"));
            match what {
                "scopes" => scopes.extend(value.split_whitespace().map(str::to_owned)),
                "requestapptoken" => options.as_application = switch(&name, &value)?,
                "relativepath" => options.relative_path = value,
                "httpmethod" => match method_named(&value) {
                    Some(method) => options.method = Some(method),
                    None => return wrong("this method is not sent; use `GET`, `POST`, `PUT`, `PATCH` or `DELETE`"),
                },
                "contenttype" => options.content_type = Some(header()?),
                "acceptheader" => options.accept = Some(header()?),
                "acquiretokenoptions.forcerefresh" => options.fresh = switch(&name, &value)?,
                "acquiretokenoptions.claims" => {
                    if ClaimsRequest::parse(&value).is_none() {
                        return wrong("this is no claims request; send the JSON of the challenge");
                    }
                    options.claims = Some(value);
                }
                "acquiretokenoptions.tenant" => {
                    if !tenant.is_some_and(|own| own.eq_ignore_ascii_case(&value)) {
                        return wrong("tokens are from the configured tenant only; take it out");
                    }
                }
                "acquiretokenoptions.fmipath" => options.fmi_path = Some(value).filter(|path| !path.is_empty()),
                "acquiretokenoptions.longrunningwebapisessionkey" => {
                    options.session = Some(SessionKey::read(&value, random).map_err(told)?);
                }
                "acquiretokenoptions.poppublickey" => {
                    options.confirmation = Some(confirmation(&value).map_err(told)?);
                }
                "acquiretokenoptions.managedidentity.userassignedclientid" if client_id(&value) => {
                    options.identity = Some(value);
                }
                // For logs alone, and they have a trace.
                "acquiretokenoptions.correlationid" => {
                    tracing::info!(request.correlation = ?value, "a caller's own id");
                }
                _ => match what.split_once('.') {
                    Some(("extraheaderparameters", _)) => {
                        let header_of = written.split_once('.').and_then(|(_, header)| header_name(header));
                        let Some(header_of) = header_of.filter(is_callers) else {
                            return wrong("this header is not the caller's to set; take it out");
                        };
                        options.headers.insert(header_of, header()?);
                    }
                    Some(("extraqueryparameters", _)) => {
                        let parameter = written.split_once('.').map_or("", |(_, parameter)| parameter);
                        if parameter.is_empty() || parameter.eq_ignore_ascii_case("access_token") {
                            return wrong("this parameter is not the caller's to set; take it out");
                        }
                        options.query.retain(|(known, _)| known != parameter);
                        options.query.push((parameter.to_owned(), value));
                    }
                    // What would be another token than the one that is given is refused, and not left out.
                    Some(("acquiretokenoptions", "managedidentity.userassignedclientid")) => {
                        return wrong("this is no client id; send that of the host's identity");
                    }
                    Some(("acquiretokenoptions", _)) => return wrong("this is not served; take it out"),
                    // RFC 6749 section 3.2 in spirit: what is unknown is ignored.
                    _ => {}
                },
            }
        }
        if !scopes.is_empty() {
            options.scopes = scopes;
        }
        Ok(())
    }
}

fn is_agents(lower: &str) -> bool {
    matches!(lower, "agentidentity" | "agentusername" | "agentuserid")
}

fn switch(name: &str, value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("`{name}`: it is neither `true` nor `false`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    fn applied(query: &str) -> Result<Options, String> {
        let mut options = Options { scopes: vec!["configured".to_owned()], ..Options::default() };
        Overrides::read(Some(query))
            .apply(&mut options, Some("t1"), &|octets: &mut [u8]| octets.fill(7))
            .map(|()| options)
    }

    #[test]
    fn names_are_of_any_case_and_the_last_value_counts() {
        let options = applied(
            "OPTIONSOVERRIDE.relativepath=a&optionsOverride.RelativePath=b%2Fc&optionsOverride.HttpMethod=patch\
             &optionsoverride.scopes=x&optionsOverride.Scopes=y&optionsOverride.RequestAppToken=True\
             &optionsOverride.AcquireTokenOptions.ForceRefresh=true&optionsOverride.AcquireTokenOptions.Tenant=T1\
             &optionsOverride.ExtraQueryParameters.Top=1&optionsOverride.ExtraQueryParameters.Top=2\
             &optionsOverride.ExtraHeaderParameters.X-One=1&optionsOverride.AcceptHeader=text/plain&other=1",
        )
        .unwrap();
        assert_eq!((options.relative_path.as_str(), options.method), ("b/c", Some(Method::PATCH)));
        assert_eq!(options.scopes, ["x", "y"]);
        assert!(options.as_application && options.fresh);
        assert_eq!(options.query, [("Top".to_owned(), "2".to_owned())]);
        assert_eq!(
            (&options.headers["x-one"], options.accept.unwrap()),
            (&"1".parse().unwrap(), "text/plain".parse().unwrap())
        );
        assert_eq!(applied("").unwrap().scopes, ["configured"]);
    }

    #[test]
    fn of_an_agents_users_the_name_wins_wherever_it_stands() {
        let (name, id) = ("AgentUsername=a@b.example", "AgentUserId=0c1b6d0e-4a6d-4d0b-8a52-1f0c5a0f2f77");
        for both in [format!("{name}&{id}"), format!("{id}&{name}")] {
            assert_eq!(applied(&both).unwrap().agent_user, Some(AgentUser::Name("a@b.example".to_owned())), "{both}");
        }
        assert!(matches!(applied(id).unwrap().agent_user, Some(AgentUser::Id(_))));
        assert!(applied(&format!("{name}&AgentUserId=x")).is_err(), "and what is wrong stays wrong");
    }

    #[test]
    fn an_agent_is_named_by_a_client_id_which_is_short() {
        let named =
            |length: usize| applied(&format!("AgentIdentity={}", "a".repeat(length))).map(|options| options.agent);
        assert_eq!(named(64), Ok(Some("a".repeat(64))));
        for length in [65, 1 << 20] {
            let refused = named(length).unwrap_err();
            assert!(refused.contains("no client id") && refused.len() < 200, "{refused}");
        }
    }

    #[test]
    fn where_the_api_is_and_what_it_is_told_by_proxies_is_nobodys_to_override() {
        let ignored = Overrides::read(Some("optionsOverride.BaseUrl=https://evil.example&OptionsOverride.baseurl=x"));
        assert!(ignored.is_empty());
        for header in [
            "Host",
            "Authorization",
            "authorization",
            "Connection",
            "Transfer-Encoding",
            "Content-Length",
            "TE",
            "Upgrade",
            "Trailer",
            "Proxy-Authorization",
            "Keep-Alive",
            "Expect",
            "Cookie",
            "Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "Via",
            "X-MS-TOKEN-AAD-ACCESS-TOKEN",
            "X-Caller-Authorization",
            "a b",
            "a%0d%0ab",
            "",
        ] {
            let refused = applied(&format!("optionsOverride.ExtraHeaderParameters.{header}=1"));
            assert!(refused.is_err(), "{header}: {refused:?}");
        }
        for query in [
            "optionsOverride.ExtraHeaderParameters.X-One=a%0d%0aHost:%20evil",
            "optionsOverride.AcceptHeader=a%0ab",
            "optionsOverride.ContentType=a%0db",
            "optionsOverride.HttpMethod=CONNECT",
            "optionsOverride.HttpMethod=TRACE",
            "optionsOverride.HttpMethod=GET%20/%20HTTP/1.1",
            "optionsOverride.RequestAppToken=1",
            "optionsOverride.ExtraQueryParameters.access_token=x",
            "optionsOverride.AcquireTokenOptions.Tenant=t2",
            "optionsOverride.AcquireTokenOptions.PopPublicKey=x",
            "optionsOverride.AcquireTokenOptions.LongRunningWebApiSessionKey=x",
            "optionsOverride.AcquireTokenOptions.LongRunningWebApiSessionKey=",
            "optionsOverride.AcquireTokenOptions.Claims=x",
            "optionsOverride.AcquireTokenOptions.ManagedIdentity.UserAssignedClientId=",
            "optionsOverride.AcquireTokenOptions.ManagedIdentity.UserAssignedClientId=a/b",
            "optionsOverride.AcquireTokenOptions.ManagedIdentity.ObjectId=x",
            "optionsOverride.AcquireTokenOptions.PopClaim=x",
            "optionsOverride.AcquireTokenOptions.AuthenticationOptionsName=x",
            "AgentIdentity=",
            "AgentIdentity=a%20b",
            "AgentIdentity=../x",
            "AgentUsername=ada",
            "AgentUsername=",
            "AgentUserId=x",
            "AgentIdentity=x&AgentUserId=y",
        ] {
            assert!(applied(query).is_err(), "{query}");
        }
    }
}
