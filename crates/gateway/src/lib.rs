//! Protects APIs at the edge: authenticates callers, authorises calls, obtains the onward credential, forwards.
//!
//! A [`Gateway`] is made from a [`File`]. Each request is brought into its one form ([`Canonical`]), which routes, policies and
//! services all see; every policy of its operation is asked, in phases; what none refuses is forwarded with the onward
//! credential. A [`Front`] stands behind a listener.
#![warn(missing_docs)]

mod access_log;
mod address;
mod after;
mod authorizer;
mod body;
mod call;
mod canonical;
mod certificates;
mod cut_offs;
mod denial;
#[cfg(feature = "cel")]
mod expression;
#[cfg(not(feature = "cel"))]
#[path = "expression/none.rs"]
mod expression;
mod front;
mod gateway;
mod ids;
mod import;
mod limits;
mod management;
mod onward;
mod policy;
mod protected_resource;
mod record;
mod rotating;
mod routes;
mod secrets;
mod settings;
mod sign_in;
mod status;
mod store;
mod stream;
mod subscriptions;
mod telemetry;
mod told_certificate;
mod upstream;
mod websocket;

pub use crate::telemetry::Telemetry;
pub use access_log::AccessLog;
pub use authorizer::{Authorizer, EnvoyAuthorizer};
pub use body::{Body, Broken};
pub use canonical::{Ambiguity, Canonical, Host, LONGEST_PATH, Refusal, canonical_path, host, refusal};
pub use front::{Entrance, Front};
pub use gateway::{Effective, Gateway, Peer, Ports, Prepared};
pub use ids::Ids;
pub use import::{ImportError, Imported, Left, Scope, import_apim};
pub use management::{Management, Operator, openapi};
pub use routes::Told;
pub use settings::schema::reference;
pub use settings::{
    CertificateTable, ClientCertificates, File, ListenerTable, ManagementTable, Pem, SettingsError, Source, Spanned,
};
pub use status::{Control, Status};
pub use store::{Store, StoreError};
pub use told_certificate::CertificateField;
