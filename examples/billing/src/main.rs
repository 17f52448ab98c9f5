//! Serves Billing on plain HTTP, for loopback: put something that speaks TLS before it.
use decision::{Clock, Timestamp};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

struct WallClock;

impl Clock for WallClock {
    #[expect(clippy::disallowed_methods, reason = "a program's main is where its clock comes from")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }
}

#[tokio::main]
async fn main() -> Result<(), billing::Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(listen)) = (arguments.next(), arguments.next()) else {
        return Err("usage: deputize-example-billing CONFIG.toml ADDRESS:PORT".into());
    };
    let config = toml::from_str::<billing::Config>(&std::fs::read_to_string(file)?)?;
    let router = billing::router(&config, Arc::new(WallClock))?;
    axum::serve(tokio::net::TcpListener::bind(listen).await?, router).await?;
    Ok(())
}
