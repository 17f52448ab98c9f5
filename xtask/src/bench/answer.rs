//! A bare answer: hyper, one thread, one SHA-256 of the body and one cache look-up for each POST. What a token endpoint
//! costs above this and the signatures is ours.

use crate::Outcome;
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use quick_cache::sync::Cache;
use std::sync::Arc;
use tokio::net::TcpListener;

type Answers = Cache<Vec<u8>, Bytes>;

/// Serves on the loopback port until it is killed.
pub(crate) fn serve(port: &str) -> Outcome {
    let port: u16 = port.parse().map_err(|_| format!("`{port}` is no port"))?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(listen(port))
}

async fn listen(port: u16) -> Outcome {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| error.to_string())?;
    let answers = Arc::new(Answers::new(1000));
    loop {
        let (stream, _) = listener.accept().await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let answers = Arc::clone(&answers);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&answers)));
            // A connection that breaks is the load generator going away.
            let _ =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, answers: Arc<Answers>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let key = digest(&SHA256, &body).as_ref().to_vec();
    let known = answers.get(&key).unwrap_or_else(|| {
        let answer = Bytes::from_static(br#"{"token_type":"Bearer","expires_in":3599}"#);
        answers.insert(key, answer.clone());
        answer
    });
    let mut response = Response::new(Full::new(known));
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    Ok(response)
}
