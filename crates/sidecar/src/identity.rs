//! Managed identity for the application beside: what it knows from Azure, from the credential that the sidecar holds.
use crate::Sidecar;
use crate::acquire::Subject;
use crate::answer::{Answer, empty};
use crate::decode::ProviderId;
use crate::problem::Problem;
use crate::settings::{Bind, IdentitySettings};
use crate::telemetry::{Began, Path};
use bytes::Bytes;
use client::managed_identity::{AppService, Identity, Imds, ManagedToken, SourceError, TokenSource};
use client::{Ask, Pending};
use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serve::{Caller, Serve, caught};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// For a whole request.
const REQUEST: Duration = Duration::from_secs(30);

/// The contract of App Service (`IDENTITY_ENDPOINT` and `IDENTITY_HEADER`), and by choice that of a virtual machine's metadata
/// service (`AZURE_POD_IDENTITY_AUTHORITY_HOST`), for one listener.
pub struct ManagedIdentity {
    sidecar: Arc<Sidecar>,
    site: AppService,
    machine: Option<Imds>,
}

/// What all of the metadata service is below.
const METADATA: &str = "/metadata/";

impl ManagedIdentity {
    /// Where the endpoint is below the listener's address.
    pub const PATH: &'static str = "/msi/token";

    /// The identity of this sidecar's application, for the listener at `bind`; nothing where the provider is none of its.
    pub fn new(sidecar: &Arc<Sidecar>, settings: &IdentitySettings, bind: &Bind) -> Option<Self> {
        let provider = sidecar.providers().place(&settings.provider)?;
        let Bind::Tcp(address) = bind else { return None };
        let source = Arc::new(Own { sidecar: Arc::clone(sidecar), provider });
        let hosts = [address.to_string(), format!("localhost:{}", address.port())];
        let machine = settings.metadata.then(|| Imds::new(Arc::clone(&source) as Arc<dyn TokenSource>, hosts.clone()));
        let site = AppService::new(source, settings.header.clone(), hosts);
        Some(Self { sidecar: Arc::clone(sidecar), site, machine })
    }
}

impl Serve for ManagedIdentity {
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<Incoming>, caller: Caller) -> Answer {
        let began = Began::now();
        let (parts, _) = request.into_parts();
        let machine = self.machine.as_ref().filter(|_| parts.uri.path().starts_with(METADATA));
        if machine.is_none() && parts.uri.path() != Self::PATH {
            return empty(StatusCode::NOT_FOUND);
        }
        let answered = async {
            if !caller.is_local() {
                return Problem::new(StatusCode::FORBIDDEN, "only programs of this machine may call").answer();
            }
            let answer = match machine {
                Some(machine) => machine.answer(&parts).await,
                None => self.site.answer(&parts).await,
            };
            answer.map(|body| Full::new(Bytes::from(body)))
        };
        let mut answer = match timeout(REQUEST, caught(answered)).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Problem::internal().answer(),
            Err(_) => Problem::unavailable("the request took too long", None).answer(),
        };
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        self.sidecar.telemetry().answered(Path::ManagedIdentity, answer.status().as_u16(), began);
        answer
    }
}

/// The one identity that there is: the sidecar's application.
struct Own {
    sidecar: Arc<Sidecar>,
    provider: ProviderId,
}

impl TokenSource for Own {
    fn token<'a>(
        &'a self,
        identity: &'a Identity,
        resource: &'a str,
    ) -> Pending<'a, Result<ManagedToken, SourceError>> {
        Box::pin(async move {
            let now = self.sidecar.clock().now();
            // Entra joins the two as they are: a resource that ends in a slash keeps it.
            let target = format!("{resource}/.default");
            let asked = self.sidecar.ask_for(Path::ManagedIdentity, self.provider, Subject::Application, &target);
            let (client, target) = asked.map_err(|refused| SourceError::Refused(refused.text))?;
            let own = match identity {
                Identity::Default => true,
                Identity::ClientId(id) => id.eq_ignore_ascii_case(client.client_id()),
                Identity::ObjectId(_) | Identity::ResourceId(_) => false,
            };
            if !own {
                return Err(SourceError::UnknownIdentity);
            }
            let (ask, headers) = (Ask::application(&target), HeaderMap::new());
            let token = self.sidecar.asked(Path::ManagedIdentity, self.provider, client, &ask, &headers).await?;
            Ok(ManagedToken {
                access_token: token.access_token.clone(),
                not_before: now,
                expires_at: token.expires_at,
                client_id: client.client_id().to_owned(),
            })
        })
    }
}
