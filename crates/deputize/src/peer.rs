//! Where a request comes from, also behind proxies that are trusted to say so.
use authority::ClientAddress;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use http::HeaderMap;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// More hops than any honest request passes.
const MOST_HOPS: usize = 32;

/// A router that believes `X-Forwarded-For` of these proxies. Without any, nobody's word is taken.
pub(crate) fn behind(router: Router, proxies: Vec<IpNet>) -> Router {
    if proxies.is_empty() {
        return router;
    }
    let proxies: Arc<[IpNet]> = proxies.into();
    router.layer(from_fn(move |mut request: Request, next: Next| {
        let proxies = Arc::clone(&proxies);
        async move {
            let peer = request.extensions_mut().remove::<ClientAddress>();
            let client = peer.and_then(|peer| client(peer.0, request.headers(), &proxies));
            if let Some(client) = client {
                request.extensions_mut().insert(ClientAddress(client));
            }
            next.run(request).await
        }
    }))
}

/// The nearest address that is no trusted proxy. What stands before it in the header is what a stranger wrote. `None` where a
/// trusted proxy says what is no address: then it is unknown, and no policy trusts it.
fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let trusts = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let mut said = Vec::new();
    for value in headers.get_all("x-forwarded-for") {
        said.extend(value.to_str().ok()?.split(',').map(str::trim));
    }
    let mut nearest = peer.to_canonical();
    for hop in said.into_iter().rev().take(MOST_HOPS) {
        if !trusts(nearest) {
            break;
        }
        nearest = parse(hop)?.to_canonical();
    }
    Some(nearest)
}

/// Some proxies add the port.
fn parse(hop: &str) -> Option<IpAddr> {
    hop.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::routing::get;
    use decision::Timestamp;
    use deputize_core::limits::{Caller, Limits};
    use http::StatusCode;
    use tower::ServiceExt;

    #[tokio::test]
    async fn a_19_who_guesses_behind_a_proxy_waits_and_the_others_behind_it_do_not() {
        let limits = Arc::new(Limits::default());
        let attempt = move |request: Request| async move {
            let address = request.extensions().get::<ClientAddress>().map(|address| address.0);
            let wrong = limits.attempt(&[Caller::SignInFrom(address.into())], Timestamp(0)).map(drop);
            wrong.map_or(StatusCode::TOO_MANY_REQUESTS, |()| StatusCode::OK)
        };
        let router = Router::new().route("/", get(attempt));
        let proxied = behind(router.clone(), vec!["10.0.0.0/8".parse().unwrap()]);
        let ask = async |router: &Router, from: &str| {
            let mut request = Request::get("/").header("x-forwarded-for", from).body(Body::empty()).unwrap();
            request.extensions_mut().insert(ClientAddress("10.0.0.1".parse().unwrap()));
            router.clone().oneshot(request).await.unwrap().status()
        };
        for _ in 0..100 {
            assert_eq!(ask(&proxied, "2001:db8:1:2::1").await, StatusCode::OK);
        }
        // One subscriber has the whole /64, and what they write before the proxy's word changes nothing.
        for same in ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "198.51.100.7, 2001:db8:1:2::1"] {
            assert_eq!(ask(&proxied, same).await, StatusCode::TOO_MANY_REQUESTS, "{same}");
        }
        for other in ["2001:db8:1:3::1", "198.51.100.7"] {
            assert_eq!(ask(&proxied, other).await, StatusCode::OK, "{other}");
            assert_eq!(ask(&router, other).await, StatusCode::OK, "the proxy itself, where it is not trusted");
        }
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_about_who_called_them() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap()).into();
        let seen = |peer: &str, said: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in said {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            client(peer.parse().unwrap(), &headers, &trusted).map(|address| address.to_string())
        };
        let is = |address: &str| Some(address.to_owned());
        assert_eq!(seen("203.0.113.9", &["198.51.100.7"]), is("203.0.113.9"), "a stranger's word");
        assert_eq!(seen("10.0.0.1", &["198.51.100.7"]), is("198.51.100.7"));
        assert_eq!(seen("::ffff:10.0.0.1", &["198.51.100.7:4711"]), is("198.51.100.7"));
        assert_eq!(seen("10.0.0.1", &["192.0.2.1, 198.51.100.7"]), is("198.51.100.7"), "what a stranger wrote before");
        assert_eq!(seen("10.0.0.1", &["192.0.2.1", "198.51.100.7, 10.0.0.2"]), is("198.51.100.7"), "two proxies");
        assert_eq!(seen("fd00::1", &["[2001:db8::7]:443"]), is("2001:db8::7"));
        assert_eq!(seen("10.0.0.1", &[]), is("10.0.0.1"));
        for garbage in ["unknown", "", "198.51.100.7, _hidden", "1.2.3"] {
            assert_eq!(seen("10.0.0.1", &[garbage]), None, "{garbage}");
        }
        let many = vec!["10.0.0.2"; 1_000].join(", ");
        assert_eq!(seen("10.0.0.1", &[&many]), is("10.0.0.2"));
    }
}
