//! What programs read from their environment to find and trust an authority.
use std::collections::BTreeMap;
use std::path::Path;

/// Variables and their values.
pub(super) type Environment = BTreeMap<String, String>;

/// Where systems keep the certificates they trust, in one file (the places that Go's and other libraries look at).
pub(super) const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/cacert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Proxies are outside: whoever asked one would get no answer.
pub(super) const PROXIES: [&str; 8] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "http_proxy", "https_proxy", "all_proxy", "ftp_proxy"];

/// Variables whose file replaces what a library trusts: OpenSSL, Go, Rust and .NET; Python's requests and httpx; curl; git;
/// gRPC; Deno; the Azure and AWS command lines' Python.
const REPLACING: [&str; 6] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "PIP_CERT",
];
/// Variables whose file is trusted besides: Node and Deno.
const ADDING: [&str; 2] = ["NODE_EXTRA_CA_CERTS", "DENO_CERT"];

/// For programs outside: what finds the authority, and what trusts it, each with what it is for.
pub(super) fn outside(host: &str, ca: &Path, bundle: &Path) -> Vec<(&'static str, String, &'static str)> {
    let (ca, bundle) = (ca.display().to_string(), bundle.display().to_string());
    vec![
        ("AZURE_AUTHORITY_HOST", host.to_owned(), "azure-identity and @azure/identity"),
        ("REQUESTS_CA_BUNDLE", bundle.clone(), "Python: msal, azure-identity, requests"),
        ("NODE_EXTRA_CA_CERTS", ca, "Node: @azure/msal-node, @azure/identity"),
        ("SSL_CERT_FILE", bundle.clone(), "OpenSSL, Go, Rust, .NET on Linux, Python's httpx"),
        ("CURL_CA_BUNDLE", bundle, "curl"),
    ]
}

/// What no variable says: libraries ask Microsoft whether another host is to be trusted, unless they are told not to
/// (spec/entra.md section 3).
pub(super) const SETTINGS: [(&str, &str); 6] = [
    ("msal (Python)", "authority=\"{host}/TENANT\", instance_discovery=False"),
    ("azure-identity (Python)", "disable_instance_discovery=True"),
    ("@azure/msal-node", "authority: \"{host}/TENANT\", knownAuthorities: [\"{name}\"]"),
    ("@azure/identity", "disableInstanceDiscovery: true"),
    ("MSAL.NET", ".WithAuthority(\"{host}/TENANT\", validateAuthority: false)"),
    ("Java", "import the certificate into a trust store, and name that with -Djavax.net.ssl.trustStore"),
];

/// For programs inside: the system's own bundle is the run's there, these are for libraries that bring theirs.
pub(super) fn inside(ca: &Path, bundle: &Path) -> Environment {
    let named = |names: &[&str], file: &Path| -> Vec<(String, String)> {
        names.iter().map(|name| ((*name).to_owned(), file.display().to_string())).collect()
    };
    named(&REPLACING, bundle).into_iter().chain(named(&ADDING, ca)).collect()
}
