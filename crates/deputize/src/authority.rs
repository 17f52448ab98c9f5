//! `deputize authority`: the identity platform, from a configuration file and flags.
use crate::data::Data;
use crate::dev_ca::DevCa;
use crate::failure::Failure;
use crate::file::Text;
use crate::instance::open_store;
use crate::issuers::{self, Issuer};
use crate::keys::MasterKey;
use crate::output::say;
use crate::serve::{self, Server};
use crate::{first_start, listen, log};
use deputize_core::cloud;
use deputize_core::limits::REQUESTS_PER_SECOND;
use deputize_core::ports::Directory;
use rustls::ServerConfig;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use toml::Spanned;
use url::Url;

/// Options of `deputize authority`. Each wins over the file.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The address that clients use, such as `https://login.contoso.example`
    #[arg(long, value_name = "URL")]
    host: Option<String>,
    /// Where to listen, such as `0.0.0.0:8443`
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// The folder of the store and the keys
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Also serves HTTP without TLS on this loopback port: for benchmarks only
    #[arg(long, value_name = "PORT")]
    plain_port: Option<u16>,
}

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The address that clients use; by default `https://localhost:` and the port.
    host: Option<Spanned<String>>,
    /// By default `localhost:8443`.
    listen: Option<Spanned<String>>,
    /// By default `deputize-data`.
    data: Option<PathBuf>,
    /// A certificate, or `"dev-ca"`.
    tls: Option<Tls>,
    /// A file with 64 hexadecimal digits; by default `master.key` in the data folder.
    master_key: Option<PathBuf>,
    /// Other issuers whose tokens may prove applications, where they need more than the public internet.
    issuers: Vec<Issuer>,
    /// Networks of proxies whose `X-Forwarded-For` is believed; by default nobody's is.
    trusted_proxies: Vec<Spanned<String>>,
    /// How often clients may ask.
    limits: RequestLimits,
    /// What is logged.
    log: Option<String>,
}

/// How often clients may ask.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RequestLimits {
    /// Requests a second that one client may make on average; 0 is as many as come.
    client_requests_per_second: u32,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { client_requests_per_second: REQUESTS_PER_SECOND }
    }
}

/// How the authority proves its name.
#[derive(Debug, Default, PartialEq, Eq)]
enum Tls {
    /// With a certificate of an authority made for this machine.
    #[default]
    DevCa,
    /// With these files.
    Files { certificate: PathBuf, key: PathBuf },
}

impl<'de> Deserialize<'de> for Tls {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Files {
            certificate: PathBuf,
            key: PathBuf,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Tls;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`\"dev-ca\"`, or a table with `certificate` and `key`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Tls, E> {
                let other = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
                (text == "dev-ca").then_some(Tls::DevCa).ok_or_else(other)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Tls, A::Error> {
                let Files { certificate, key } = Files::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Tls::Files { certificate, key })
            }
        }
        from.deserialize_any(Either)
    }
}

/// `deputize authority`.
pub(crate) fn run(options: Options) -> Result<ExitCode, Failure> {
    let (config, text) = match &options.config {
        Some(path) => {
            let text = Text::read(path)?;
            (text.parse::<Config>()?, Some(text))
        }
        None => (Config::default(), None),
    };
    log::start(config.log.as_deref().unwrap_or("info"))?;
    runtime()?.block_on(serve(options, config, text))
}

/// The runtime of every command that serves.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    built.map_err(|error| Failure::plain(format!("no threads can be started: {}", error.kind())))
}

async fn serve(options: Options, config: Config, text: Option<Text>) -> Result<ExitCode, Failure> {
    // Relative paths of a file are beside it, whoever starts us from wherever.
    let base = options.config.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    let misplaced = |spanned: Option<&Spanned<String>>, problem: &str, hint: &str| match (spanned, &text) {
        (Some(spanned), Some(text)) => text.fault(&spanned.span(), problem, hint),
        _ => Failure::new(problem, hint),
    };

    let wanted = options.listen.as_deref().or(config.listen.as_ref().map(|listen| listen.get_ref().as_str()));
    let addresses = listen::parse(wanted.unwrap_or("localhost:8443")).ok_or_else(|| {
        let given = config.listen.as_ref().filter(|_| options.listen.is_none());
        misplaced(given, "`listen` is no address", "write `localhost:8443` or `0.0.0.0:8443`")
    })?;
    let bound = listen::bind(&addresses, "choose another with `listen`, or `--listen localhost:9443`").await?;
    let port = addresses.first().map_or(8443, std::net::SocketAddr::port);
    let host = match (&options.host, &config.host) {
        (Some(host), _) => checked_host(host).map_err(|hint| Failure::new("`--host` is no address", hint))?,
        (None, Some(host)) => {
            checked_host(host.get_ref()).map_err(|hint| misplaced(Some(host), "`host` is no address", &hint))?
        }
        (None, None) => format!("https://localhost:{port}"),
    };
    let mut proxies = Vec::new();
    for network in &config.trusted_proxies {
        let hint = "write a network such as `10.0.0.0/8`";
        let wrong = |_| misplaced(Some(network), "this trusted proxy is no network", hint);
        proxies.push(network.get_ref().parse().map_err(wrong)?);
    }
    let folder = options.data.or_else(|| config.data.map(|folder| base.join(folder)));
    let federation = issuers::federation(&config.issuers, base)?;
    let data = Data::open(&folder.unwrap_or_else(|| PathBuf::from(DATA)))?;
    let tls = certificate(&config.tls.unwrap_or_default(), base, &data)?;
    let master = MasterKey::load(&data, config.master_key.map(|file| base.join(file)).as_deref())?;
    let store = open_store(&data, &master)?;
    tokio::spawn(store.watch());
    let rate = config.limits.client_requests_per_second;
    let router = first_start::router(Arc::clone(&store), master, &host, federation, rate).await?;

    let router = crate::peer::behind(router, proxies);
    let mut server = Server::new();
    server.add(bound, Some(&tls), &router)?;
    if let Some(port) = options.plain_port {
        server.add(listen::plain(port).await?, None, &router)?;
    }
    let mut ending = serve::Ending::heard()?;
    say(format_args!("deputize authority: {host}/{{tenant}}/v2.0/.well-known/openid-configuration"));
    if store.snapshot().tenants().next().is_none() {
        say("there is no tenant yet: declare one in a file and run `deputize apply FILE`; it is seen within a second");
    }
    tracing::info!(authority.host = %host, authority.data = %data.path("").display(), "the authority is ready");
    ending.asked().await;
    tracing::info!("the authority ends");
    server.end().await;
    Ok(ExitCode::SUCCESS)
}

/// The data folder of commands that are not told another.
pub(crate) const DATA: &str = "deputize-data";

/// Every issuer begins with it, so it is compared byte by byte by everybody.
pub(crate) fn checked_host(host: &str) -> Result<String, String> {
    let host = host.trim_end_matches('/');
    let url = Url::parse(host).map_err(|_| "write it like `https://login.contoso.example`")?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let normal = url.as_str().trim_end_matches('/');
    if url.host_str().is_some_and(cloud::is_microsofts) {
        return Err(
            "use a name of yours; under Microsoft's names only `deputize run` answers, in a namespace of its own"
                .into(),
        );
    }
    match url.scheme() {
        "https" if bare && normal == host => Ok(host.to_owned()),
        "https" if bare => Err(format!("write it as `{normal}`")),
        "https" => Err("write the scheme, the name and the port, and no path".into()),
        _ => Err("write `https://`: clients refuse an authority without TLS".into()),
    }
}

fn certificate(tls: &Tls, base: &Path, data: &Data) -> Result<Arc<ServerConfig>, Failure> {
    match tls {
        Tls::DevCa => {
            let ca = DevCa::open(data)?;
            say(format_args!("certificate authority for this machine: {}", ca.file.display()));
            let leaf = ca.leaf()?;
            serve::tls(&leaf.chain_pem, &leaf.key_pem, "the development certificate")
        }
        Tls::Files { certificate, key } => {
            let (certificate, key) = (Text::read(&base.join(certificate))?, Text::read(&base.join(key))?);
            serve::tls(&certificate.content, &key.content, &format!("`{}` and `{}`", certificate.name, key.name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(content: &str) -> Result<Config, String> {
        let text = Text { name: "deputize.toml".into(), content: content.into() };
        text.parse().map_err(|failure| failure.to_string())
    }

    #[test]
    fn every_configuration_in_the_examples_is_read() {
        let config = parse(include_str!("../../../examples/estate/authority.toml")).unwrap();
        assert!(config.host.is_some() && config.tls.is_some());
        assert_eq!(config.limits.client_requests_per_second, REQUESTS_PER_SECOND, "as it is shown there");
    }

    #[test]
    fn a_broken_configuration_names_its_line_and_what_is_expected() {
        let cases = [
            (
                "\nhosts = \"x\"",
                "error: `deputize.toml` line 2: there is no property `hosts` here\nhint: did you mean `host`?\n",
            ),
            (
                "tls = \"acme\"",
                "error: `deputize.toml` line 1: invalid value: string \"acme\", expected `\"dev-ca\"`, or a table with `certificate` and `key`\n",
            ),
            ("[tls]\ncertificate = \"a\"", "error: `deputize.toml` line 1: `key` is missing\nhint: add `key`\n"),
            ("[limits]\nclient_requests_per_second = -1", "error: `deputize.toml` line 2: invalid value: integer `-1`"),
            ("listen = 8443", "error: `deputize.toml` line 1: invalid type: integer `8443`, expected a string"),
        ];
        for (content, expected) in cases {
            let found = parse(content).unwrap_err();
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn an_issuer_begins_with_one_spelling_of_one_https_address() {
        assert_eq!(checked_host("https://login.contoso.example/").as_deref(), Ok("https://login.contoso.example"));
        for bad in [
            "http://login.example",
            "https://LOGIN.example",
            "https://login.example/x",
            "https://u@login.example",
            "login",
            "https://login.example:443",
            "https://login.microsoftonline.com",
            "https://login.windows.net:8443",
        ] {
            assert!(checked_host(bad).is_err(), "{bad}");
        }
    }
}
