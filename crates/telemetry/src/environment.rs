//! Where metrics and traces go, in the words of OpenTelemetry.
use crate::{Protocol, Push, Sampling};
use std::time::Duration;

/// How a variable is looked up.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A variable that cannot be what it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("environment variable '{name}': {problem}")]
pub struct VariableError {
    /// Which.
    pub name: &'static str,
    /// What is wrong, and what to change.
    pub problem: String,
}

fn wrong(name: &'static str, problem: &str) -> VariableError {
    VariableError { name, problem: problem.to_owned() }
}

/// What a variable says; one that is empty says nothing.
fn stated(variable: Variables<'_>, name: &str) -> Option<String> {
    variable(name).filter(|value| !value.is_empty())
}

impl Push {
    /// What the environment asks for; `None` where it names no collector. The service is called `service` unless it says
    /// otherwise.
    ///
    /// # Errors
    /// If a variable cannot be what it is.
    pub fn read(variable: Variables<'_>, service: &str) -> Result<Option<Self>, VariableError> {
        let disabled = variable("OTEL_SDK_DISABLED").as_deref() == Some("true");
        let Some(endpoint) = stated(variable, "OTEL_EXPORTER_OTLP_ENDPOINT").filter(|_| !disabled) else {
            return Ok(None);
        };
        if !url::Url::parse(&endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            let problem = "it is no `http:` or `https:` URL; write `http://localhost:4317`";
            return Err(wrong("OTEL_EXPORTER_OTLP_ENDPOINT", problem));
        }
        let protocol = match stated(variable, "OTEL_EXPORTER_OTLP_PROTOCOL").as_deref() {
            None | Some("grpc") => Protocol::Grpc,
            Some("http/protobuf") => Protocol::Http,
            Some(_) => {
                return Err(wrong("OTEL_EXPORTER_OTLP_PROTOCOL", "it is neither `grpc` nor `http/protobuf`"));
            }
        };
        let mut resource = resource(variable);
        let named = stated(variable, "OTEL_SERVICE_NAME");
        if named.is_some() || !resource.iter().any(|(name, _)| name == "service.name") {
            resource.retain(|(name, _)| name != "service.name");
            resource.push(("service.name".to_owned(), named.unwrap_or_else(|| service.to_owned())));
        }
        Ok(Some(Self { endpoint, protocol, every: interval(variable)?, traces: sampling(variable)?, resource }))
    }
}

/// What everything that is told is of (`OTEL_RESOURCE_ATTRIBUTES`).
pub fn resource(variable: Variables<'_>) -> Vec<(String, String)> {
    let attributes = stated(variable, "OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let pairs = attributes.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

fn interval(variable: Variables<'_>) -> Result<Duration, VariableError> {
    const NAME: &str = "OTEL_METRIC_EXPORT_INTERVAL";
    let millis = match stated(variable, NAME) {
        None => 0,
        Some(text) => text.parse().map_err(|_| wrong(NAME, "it is no number; write milliseconds"))?,
    };
    Ok(Duration::from_millis(if millis == 0 { 60_000 } else { millis }))
}

/// Which traces are recorded.
fn sampling(variable: Variables<'_>) -> Result<Option<Sampling>, VariableError> {
    const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
    if stated(variable, "OTEL_TRACES_EXPORTER").as_deref() == Some("none") {
        return Ok(None);
    }
    let share = || {
        let share = stated(variable, ARGUMENT).map_or(Some(1.0), |text| text.parse().ok());
        let share = share.filter(|share: &f64| (0.0..=1.0).contains(share));
        share.ok_or_else(|| wrong(ARGUMENT, "it is no share; write a number from 0 to 1"))
    };
    let sampler = stated(variable, "OTEL_TRACES_SAMPLER");
    let (parent_based, name) = match sampler.as_deref() {
        None => return Ok(Some(Sampling::default())),
        Some(name) => name.strip_prefix("parentbased_").map_or((false, name), |name| (true, name)),
    };
    let ratio = match name {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => share()?,
        _ => {
            let problem = "it is none of `always_on`, `always_off` and `traceidratio`, with or without `parentbased_`";
            return Err(wrong("OTEL_TRACES_SAMPLER", problem));
        }
    };
    Ok(Some(Sampling { parent_based, ratio }))
}
