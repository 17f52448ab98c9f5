// What the examples of the documentation stand on: an authority in the same process.
pub use client::{Cause, Client, ClientBuilder, Endpoints, Sending, Transport};
pub use oauth::Secret;
pub use std::sync::Arc;

pub struct Authority;

impl Transport for Authority {
    fn send(&self, _: http::Request<client::Body>) -> Sending<'_> {
        let body = br#"{"active":false,"token_type":"Bearer","expires_in":3600,"access_token":"for-billing","refresh_token":"next"}"#;
        Box::pin(async { http::Response::builder().body(body.to_vec()).map_err(|_| Cause::Broken.into()) })
    }
}

pub struct Noon;

impl decision::Clock for Noon {
    fn now(&self) -> decision::Timestamp {
        decision::Timestamp(1_700_000_000)
    }
}

pub fn endpoints() -> Endpoints {
    Endpoints::entra("https://login.example/contoso")
}

pub fn builder() -> ClientBuilder {
    Client::builder(endpoints(), "orders")
}

pub fn network() -> Arc<dyn Transport> {
    Arc::new(Authority)
}

pub fn clock() -> Arc<dyn decision::Clock> {
    Arc::new(Noon)
}

pub fn random() -> Arc<dyn client::Random> {
    Arc::new(|bytes: &mut [u8]| bytes.fill(7))
}

pub fn run(example: impl Future<Output = Result<(), client::Error>>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example).unwrap();
}
