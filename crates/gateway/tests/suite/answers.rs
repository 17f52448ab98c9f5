//! G-17 and the failure table: what becomes of a service's answers, and of its silence.
use crate::support::{PUBLIC, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn an_answer_has_a_hundred_fields_at_most() {
    let world = World::start(PUBLIC).await;
    for (more, status) in [(99, 200), (100, 502)] {
        world.service.answers(&format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{}\r\n", "x-a: 1\r\n".repeat(more)));
        assert_eq!(world.get("/", &[]).await.status, status, "{more}");
    }
}

#[tokio::test]
async fn g_17_an_answer_that_could_be_two_is_none() {
    let world = World::start(PUBLIC).await;
    let wide = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 2\r\n\r\nok", "x".repeat(1_000_000));
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX Y: 1\r\nContent-Length: 2\r\n\r\nok",
        "garbage\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 50\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        "",
        wide.as_str(),
    ] {
        world.service.answers(text);
        let answer = world.get("/", &[]).await;
        assert_eq!(answer.reason(), (502, "BackendConnectionFailure".to_owned()), "{:?}", text.get(..60));
    }
    // A chunk that is none: the head has gone out by then, and the caller sees that the body is not whole.
    world.service.answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n");
    let broken = world.get("/", &[]).await;
    assert!(broken.closed && !broken.body.ends_with("0\r\n\r\n"), "{broken:?}");
    assert!(world.lines().iter().any(|line| line["whole"] == false && line["status"] == 200));
    assert_eq!(world.get("/", &[]).await.status, 200, "and the next one is served");
}

#[tokio::test]
async fn g_17_over_a_connection_on_which_an_answers_end_is_in_doubt_nothing_else_is_asked() {
    for (answer, status) in [
        ("Content-Length: 0\r\nContent-Length: 0\r\n\r\n", 502),
        ("Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", 502),
        ("Content-Length: 2, 2\r\n\r\nok", 502),
        ("Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: a\r\n\r\n", 200),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let world = World::start(&PUBLIC.replace("{service}", &url)).await;
        for _ in 0..2 {
            let asked = tokio::spawn({
                let at = world.address;
                async move {
                    let mut caller = TcpStream::connect(at).await.unwrap();
                    caller.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
                    let mut told = String::new();
                    caller.read_to_string(&mut told).await.unwrap();
                    told
                }
            });
            let (mut service, _) = listener.accept().await.unwrap();
            let mut some = [0; 4_096];
            assert!(service.read(&mut some).await.unwrap() > 0);
            service.write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes()).await.unwrap();
            assert!(asked.await.unwrap().starts_with(&format!("HTTP/1.1 {status}")), "{answer:?}");
            let closed = tokio::time::timeout(std::time::Duration::from_secs(5), service.read(&mut some)).await;
            assert!(matches!(closed, Ok(Ok(0) | Err(_))), "it is kept: {answer:?}");
        }
    }
}

#[tokio::test]
async fn g_17_an_answer_without_a_body_states_one_length_too() {
    let world = World::start(PUBLIC).await;
    for (method, answer, expected) in [
        ("HEAD", "200 OK\r\nContent-Length: 4", "HTTP/1.1 200"),
        ("HEAD", "200 OK\r\nContent-Length: 4\r\nContent-Length: 4", "HTTP/1.1 502"),
        ("HEAD", "200 OK\r\nContent-Length: 4\r\nContent-Length: 5", "HTTP/1.1 502"),
        ("GET", "204 No Content\r\nContent-Length: 4\r\nContent-Length: 4", "HTTP/1.1 502"),
        ("GET", "304 Not Modified\r\nContent-Length: 4\r\nContent-Length: 4", "HTTP/1.1 502"),
        ("GET", "200 OK\r\nContent-Length: 0\r\nContent-Length: 0", "HTTP/1.1 502"),
    ] {
        world.service.answers(&format!("HTTP/1.1 {answer}\r\n\r\n"));
        let mut caller = TcpStream::connect(world.address).await.unwrap();
        let asked = format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        caller.write_all(asked.as_bytes()).await.unwrap();
        let mut told = String::new();
        caller.read_to_string(&mut told).await.unwrap();
        assert!(told.starts_with(expected), "{method} {answer:?}: {told:?}");
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_a_bad_gateway() {
    let world = World::start(&PUBLIC.replace("{service}", "http://127.0.0.1:1")).await;
    let answer = world.get("/", &[]).await;
    assert_eq!(
        (answer.reason(), answer.check()),
        ((502, "BackendConnectionFailure".to_owned()), "upstream.reachable".to_owned())
    );
    let lines = world.lines();
    assert_eq!((lines.len(), &lines[0]["status"], &lines[0]["check"]), (1, &502.into(), &"upstream.reachable".into()));
    assert_eq!(lines[0]["decision_id"], answer.json()["decision_id"], "one id in the answer and in the log");
}

#[tokio::test]
async fn a_connection_serves_several_requests_and_each_is_logged() {
    let world = World::start(PUBLIC).await;
    let mut connection = crate::support::Connection::open(world.address).await;
    for at in 0..3 {
        assert_eq!(connection.get(&format!("/{at}")).await.status, 200);
    }
    assert_eq!(world.service.seen().len(), 3);
    let lines = world.lines();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        (&lines[2]["path"], &lines[2]["status"], &lines[2]["bytes"], &lines[2]["whole"]),
        (&"/2".into(), &200.into(), &4.into(), &true.into())
    );
    assert_eq!(lines[2]["peer"], "127.0.0.1");
}

#[tokio::test]
async fn a_head_request_has_no_body() {
    let world = World::start(PUBLIC).await;
    let answer = world.raw("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!((answer.status, answer.field("content-length"), answer.body.as_str()), (200, vec!["4"], ""));
}

#[tokio::test]
async fn an_answer_is_in_the_version_that_the_gateway_speaks_whatever_the_service_does() {
    let world = World::start(PUBLIC).await;
    for (request, version) in [("HTTP/1.1", "HTTP/1.1 200"), ("HTTP/1.0", "HTTP/1.0 200")] {
        for text in [
            "HTTP/1.0 200 OK\r\n\r\ngood",
            "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\ngood",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n",
        ] {
            world.service.answers(text);
            let mut caller = TcpStream::connect(world.address).await.unwrap();
            let asked = format!("GET / {request}\r\nHost: a\r\nConnection: close\r\n\r\n");
            caller.write_all(asked.as_bytes()).await.unwrap();
            let mut told = String::new();
            caller.read_to_string(&mut told).await.unwrap();
            let has_chunks = request == "HTTP/1.1" && !text.contains("Content-Length");
            let body = if has_chunks { "4\r\ngood\r\n0\r\n\r\n" } else { "good" };
            assert!(told.starts_with(version) && told.ends_with(&format!("\r\n\r\n{body}")), "{text:?}: {told:?}");
        }
    }
}

#[tokio::test]
async fn g_17_what_comes_before_an_answer_is_none() {
    let world = World::start(PUBLIC).await;
    let good = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood";
    for before in [
        "HTTP/1.1 100 Continue\r\n\r\n".to_owned(),
        "HTTP/1.1 103 Early Hints\r\nSet-Cookie: a=b\r\nLink: </a>\r\n\r\n".to_owned(),
        "HTTP/1.1 199 X\r\n\r\n".to_owned(),
        "HTTP/1.1 102 Processing\r\n\r\n".repeat(10_000),
    ] {
        world.service.answers(&format!("{before}{good}"));
        let answer = world.get("/", &[]).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "good"), "{:?}: {answer:?}", &before[..12]);
        assert!(answer.field("set-cookie").is_empty() && answer.field("link").is_empty(), "{answer:?}");
    }
}
