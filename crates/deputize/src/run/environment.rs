//! What programs read from their environment to find and trust an authority.
use super::wire::Environment;
use std::path::Path;

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

/// For programs inside: the system's own bundle is the run's there, these are for libraries that bring theirs.
pub(super) fn inside(ca: &Path, bundle: &Path) -> Environment {
    let named = |names: &[&str], file: &Path| -> Vec<(String, String)> {
        names.iter().map(|name| ((*name).to_owned(), file.display().to_string())).collect()
    };
    named(&REPLACING, bundle).into_iter().chain(named(&ADDING, ca)).collect()
}
