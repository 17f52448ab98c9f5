//! An identity provider for the sidecar to be measured over: one RSA key, and a token for whoever asks.

use crate::Outcome;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;

/// The provider: its key and its address.
pub(crate) struct Provider {
    key: KeyPair,
    issuer: String,
}

impl Provider {
    /// One that is going to be served on this port. Its issuer names the tenant of its tokens.
    pub(crate) fn new(port: u16) -> Outcome<Self> {
        let key = KeyPair::generate(KeySize::Rsa2048).map_err(|error| error.to_string())?;
        Ok(Self { key, issuer: format!("http://127.0.0.1:{port}/bench") })
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// A token as long as an ordinary one, for the application `default`; `id` makes it another.
    pub(crate) fn token(&self, id: usize) -> Outcome<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?.as_secs();
        let claims = format!(
            r#"{{"iss":"{}","aud":"default","sub":"user-{id}","oid":"00000000-0000-4000-8000-{id:012}","tid":"bench","azp":"web","idtyp":"user","name":"Ada Lovelace","preferred_username":"ada@contoso.example","scp":"access_as_user","roles":["Invoices.Reader"],"iat":{now},"nbf":{now},"exp":{},"jti":"{id:032}","ver":"2.0"}}"#,
            self.issuer,
            now + 3_600
        );
        let head = URL_SAFE_NO_PAD.encode(br#"{"alg":"RS256","typ":"JWT","kid":"bench"}"#);
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|error| error.to_string())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Its public key in PEM, for programs that read no key sets.
    pub(crate) fn public_pem(&self) -> Outcome<String> {
        let der: PublicKeyX509Der<'_> = self.key.public_key().as_der().map_err(|error| error.to_string())?;
        let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        Ok(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n")))
    }

    pub(crate) fn keys(&self) -> Outcome<String> {
        // RFC 8017 appendix A.1.1: of 2048 bits the modulus lies here, and 65537 behind it.
        let modulus = self.key.public_key().as_ref().get(9..265).ok_or("the key that was made has no modulus")?;
        let n = URL_SAFE_NO_PAD.encode(modulus);
        Ok(format!(r#"{{"keys":[{{"kty":"RSA","use":"sig","alg":"RS256","kid":"bench","n":"{n}","e":"AQAB"}}]}}"#))
    }

    /// Serves until the process ends, on a thread of its own.
    pub(crate) fn serve(self: &Arc<Self>, port: u16) -> Outcome {
        let (provider, keys) = (Arc::clone(self), Bytes::from(self.keys()?));
        let listener = std::net::TcpListener::bind(("127.0.0.1", port)).map_err(|error| error.to_string())?;
        listener.set_nonblocking(true).map_err(|error| error.to_string())?;
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(listen(listener, provider, keys)))
        });
        Ok(())
    }
}

async fn listen(listener: std::net::TcpListener, provider: Arc<Provider>, keys: Bytes) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (provider, keys) = (Arc::clone(&provider), keys.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&provider), keys.clone()));
            // A connection that breaks is the sidecar going away.
            let _ =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    provider: Arc<Provider>,
    keys: Bytes,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let answer = match path.as_str() {
        "/bench/jwks" => keys,
        // Whoever asks for another thing gets another token: its number is the length of what was asked.
        _ => match provider.token(body.len()) {
            Ok(token) => format!(r#"{{"token_type":"Bearer","expires_in":3600,"access_token":"{token}"}}"#).into(),
            Err(_) => Bytes::from_static(br#"{"error":"server_error"}"#),
        },
    };
    let mut response = Response::new(Full::new(answer));
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    Ok(response)
}
