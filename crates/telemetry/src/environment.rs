//! Where metrics and traces go, in the words of OpenTelemetry.
use crate::push::{METRICS, Signal, TRACES};
use crate::{Collector, Protocol, Push, Sampling};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

/// For one push, unless the environment says otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a variable is looked up.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A variable that cannot be what it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("environment variable '{name}': {problem}")]
pub struct VariableError {
    /// Which.
    pub name: String,
    /// What is wrong, and what to change.
    pub problem: String,
}

fn wrong(name: impl Into<String>, problem: &str) -> VariableError {
    VariableError { name: name.into(), problem: problem.to_owned() }
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
        if variable("OTEL_SDK_DISABLED").as_deref() == Some("true") {
            return Ok(None);
        }
        let asked = |signal: &Signal| exporter(variable, signal);
        let (metrics, spans) = (asked(&METRICS)?, asked(&TRACES)?);
        let protocol = match (&metrics, &spans) {
            (None, None) => return Ok(None),
            (Some((_, one)), Some((_, other))) if one != other => {
                let problem =
                    "metrics and traces are pushed in one way here; leave it out, and set OTEL_EXPORTER_OTLP_PROTOCOL";
                return Err(wrong(format!("{OTLP}TRACES_PROTOCOL"), problem));
            }
            (Some((_, protocol)), _) | (None, Some((_, protocol))) => *protocol,
        };
        for name in ["CLIENT_KEY", "CLIENT_CERTIFICATE"] {
            let of_all = ["", "METRICS_", "TRACES_"].map(|kind| format!("{OTLP}{kind}{name}"));
            if let Some(name) = of_all.into_iter().find(|name| stated(variable, name).is_some()) {
                return Err(wrong(name, "collectors are shown no certificate; take it out, or send a header"));
            }
        }
        let mut resource = resource(variable);
        let named = stated(variable, "OTEL_SERVICE_NAME");
        if named.is_some() || !resource.iter().any(|(name, _)| name == "service.name") {
            resource.retain(|(name, _)| name != "service.name");
            resource.push(("service.name".to_owned(), named.unwrap_or_else(|| service.to_owned())));
        }
        let collector = |of: Option<(Collector, Protocol)>| of.map(|(collector, _)| collector);
        let traces = if spans.is_some() { sampling(variable)? } else { None };
        Ok(Some(Self {
            metrics: collector(metrics),
            spans: collector(spans),
            protocol,
            authorities: stated(variable, &format!("{OTLP}CERTIFICATE")).map(Into::into),
            every: interval(variable)?,
            traces,
            resource,
        }))
    }
}

/// What the variables of exporters begin with.
const OTLP: &str = "OTEL_EXPORTER_OTLP_";

/// Where one kind of thing goes: what its own variables say counts before what those of all kinds do.
fn exporter(variable: Variables<'_>, signal: &Signal) -> Result<Option<(Collector, Protocol)>, VariableError> {
    let kind = signal.variables;
    let exporters = stated(variable, &format!("OTEL_{kind}_EXPORTER"));
    if exporters.is_some_and(|all| !all.split(',').any(|one| one.trim() == "otlp")) {
        return Ok(None);
    }
    let of = |name: &str| {
        let names = [format!("{OTLP}{kind}_{name}"), format!("{OTLP}{name}")];
        names.into_iter().find_map(|name| stated(variable, &name).map(|value| (name, value)))
    };
    let Some((name, endpoint)) = of("ENDPOINT") else { return Ok(None) };
    let parsed =
        url::Url::parse(&endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(parsed) = parsed else {
        return Err(wrong(name, "it is no `http:` or `https:` URL; write `http://localhost:4317`"));
    };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(wrong(name, "it has a secret in it, which addresses do not keep; send OTEL_EXPORTER_OTLP_HEADERS"));
    }
    let protocol = match of("PROTOCOL") {
        None => Protocol::Grpc,
        Some((name, value)) => match value.as_str() {
            "grpc" => Protocol::Grpc,
            "http/protobuf" => Protocol::Http,
            _ => return Err(wrong(name, "it is neither `grpc` nor `http/protobuf`")),
        },
    };
    let own = name.contains(kind);
    let url = match protocol {
        // OpenTelemetry's OTLP exporter, endpoint URLs: an address of one kind is the whole address.
        Protocol::Http if own => endpoint,
        Protocol::Http => format!("{}/{}", endpoint.trim_end_matches('/'), signal.plain),
        Protocol::Grpc => format!("{}/{}", endpoint.trim_end_matches('/'), signal.grpc),
    };
    let headers = of("HEADERS").map(|(name, text)| headers(&text).map_err(|problem| wrong(name, problem)));
    let patience = match of("TIMEOUT") {
        None => PATIENCE,
        Some((name, text)) => match text.parse() {
            Ok(millis @ 1..=600_000) => Duration::from_millis(millis),
            _ => return Err(wrong(name, "it is no number of milliseconds from 1 to 600000")),
        },
    };
    Ok(Some((Collector { url, headers: headers.transpose()?.unwrap_or_default(), patience }, protocol)))
}

/// `name=value,name=value`, as W3C Baggage has it. What is wrong is told without the values.
fn headers(text: &str) -> Result<HeaderMap, &'static str> {
    let mut headers = HeaderMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let form = "it is no list `name=value,name=value` with percent-encoded values";
        let (name, value) = pair.split_once('=').ok_or(form)?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| form)?;
        let of_the_push = [CONTENT_TYPE, CONTENT_LENGTH, TE, HOST, CONNECTION, TRANSFER_ENCODING, TRAILER, UPGRADE];
        if of_the_push.contains(&name) {
            return Err("it sets a header that pushes have of their own; take that out");
        }
        let mut value = HeaderValue::from_bytes(&decoded(value.trim()).ok_or(form)?).map_err(|_| form)?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// Percent-decoded.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut octets = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(octet) = octets.next() {
        let mut digit = || u8::try_from(char::from(octets.next()?).to_digit(16)?).ok();
        decoded.push(if octet == b'%' { digit()? << 4 | digit()? } else { octet });
    }
    Some(decoded)
}

/// What everything that is told is of (`OTEL_RESOURCE_ATTRIBUTES`).
pub fn resource(variable: Variables<'_>) -> Vec<(String, String)> {
    let attributes = stated(variable, "OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let pairs = attributes.split(',').filter_map(|pair| pair.split_once('='));
    let text = |value: &str| {
        // What is not percent-encoded as it should be is meant as it stands.
        let decoded = decoded(value).and_then(|octets| String::from_utf8(octets).ok());
        decoded.filter(|text| !text.contains(char::is_control)).unwrap_or_else(|| value.to_owned())
    };
    pairs.map(|(name, value)| (name.trim().to_owned(), text(value.trim()))).collect()
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
