//! Forms to send, and the least of an HTTP client to look at one answer before it is measured ten thousand times.

use crate::Outcome;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// `application/x-www-form-urlencoded`.
pub(crate) fn encode(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", percent(value))).collect();
    pairs.join("&")
}

fn percent(value: &str) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

/// Posts a form over plain HTTP and returns status and JSON.
pub(crate) fn post(port: u16, path: &str, body: &str) -> Outcome<(u16, Value)> {
    let failed = |error: std::io::Error| format!("POST http://127.0.0.1:{port}{path}: {error}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(failed)?;
    // In HTTP/1.0 no answer comes in chunks and each connection ends with its answer.
    let request = format!(
        "POST {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut response = String::new();
    stream.read_to_string(&mut response).map_err(failed)?;
    let parsed = response.split_once("\r\n\r\n").and_then(|(head, body)| {
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(body).ok()?))
    });
    parsed.ok_or_else(|| format!("POST http://127.0.0.1:{port}{path}: the answer is not JSON"))
}

/// The status of a `GET` with this bearer token.
pub(crate) fn get(port: u16, path: &str, token: &str) -> Outcome<u16> {
    let failed = |error: std::io::Error| format!("GET http://127.0.0.1:{port}{path}: {error}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(failed)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut response = String::new();
    stream.read_to_string(&mut response).map_err(failed)?;
    let status = response.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| format!("GET http://127.0.0.1:{port}{path}: the answer has no status"))
}

/// The access token of an answer with status 200.
pub(crate) fn token(answer: (u16, Value)) -> Outcome<String> {
    match answer {
        (200, Value::Object(body)) => {
            let token = body.get("access_token").and_then(Value::as_str).map(str::to_owned);
            token.ok_or_else(|| "an answer with status 200 holds no access token".to_owned())
        }
        (status, body) => Err(format!("status {status} where a token was due: {body}")),
    }
}

/// A part of a token, header (0) or claims (1), not verified.
pub(crate) fn part(token: &str, index: usize) -> Outcome<Value> {
    let decoded = token.split('.').nth(index).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    decoded.and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or_else(|| "the answer holds no JWT".to_owned())
}
