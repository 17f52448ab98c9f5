//! The commands, as people run them: the built binary, its output and its files.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of processes, in real time")]
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const CONTOSO: &str = include_str!("../../../examples/estate/contoso.toml");

/// A folder of one test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("deputize-test-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn deputize(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deputize"));
    command.args(arguments).env_remove("DEPUTIZE_LOG").env_remove("DEPUTIZE_MASTER_KEY").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    told(deputize(arguments).output().unwrap())
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The first of four free ports in a row, from a part of the range that is this test's own.
fn ports(part: u16) -> u16 {
    let begin = 20_000 + part * 1_000;
    (begin..begin + 1_000)
        .step_by(4)
        .find(|first| (*first..first + 4).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()))
        .unwrap()
}

#[test]
fn the_demo_tells_its_story_and_ends() {
    let folder = Folder::new("demo");
    let (data, env) = (folder.path("data"), folder.path("env.json"));
    let port = ports(0).to_string();
    let arguments = ["demo", "--once", "--port", &port, "--data", text(&data), "--env", text(&env)];
    let (code, story, errors) = run(&arguments);
    assert_eq!((code, errors.as_str()), (0, ""), "{story}");
    assert!(story.lines().count() < 80, "{story}");
    assert!(!story.contains('\x1b'), "plain where it is piped: {story}");

    let first: Value = serde_json::from_slice(&fs::read(&env).unwrap()).unwrap();
    let of = |pointer: &str| first.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    let (ada, orders, billing) = (of("/users/ada/oid"), of("/apis/orders/app_id"), of("/apis/billing/app_id"));
    let seen = story.split("Billing checks that token by itself").nth(1).unwrap();
    for claim in
        [format!("oid   {ada}"), "scp   Invoices.Read".into(), format!("azp   {orders}"), format!("aud   {billing}")]
    {
        assert!(seen.contains(&claim), "`{claim}` in {seen}");
    }
    let refusals = story.split("What is refused").nth(1).unwrap();
    let checks = ["token.audience", "role.sufficient", "consent.granted", "assertion.user", "token.signature"];
    let mut from = 0;
    for check in checks {
        from += refusals[from..].find(check).unwrap_or_else(|| panic!("{check} in order in {refusals}"));
    }
    assert_eq!(refusals.matches("fix (").count(), 5, "{refusals}");

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&env), mode(&data.join("ca.key")), mode(&data.join("master.key"))), (0o600, 0o600, 0o600));
    assert_eq!((mode(&data), mode(&data.join("store.db"))), (0o700, 0o600));
    assert!(fs::read_to_string(of("/clients/web/certificate_file")).unwrap().contains("BEGIN PRIVATE KEY"));
    let secret = of("/clients/web/client_secret");
    let stored = fs::read(data.join("store.db")).unwrap();
    assert!(!stored.windows(secret.len()).any(|part| part == secret.as_bytes()), "the store keeps digests only");

    let (code, ..) = run(&arguments);
    let mut second: Value = serde_json::from_slice(&fs::read(&env).unwrap()).unwrap();
    second["pid"] = first["pid"].clone();
    assert_eq!((code, second), (0, first), "a second start with the same data is the same demo");

    let (code, verified, _) = run(&["audit", "verify", "--data", text(&data)]);
    assert!(code == 0 && verified.starts_with("the audit trail holds together: "), "{verified}");

    let list = |more: &[&str]| run(&[&["audit", "list", "--data", text(&data)], more].concat()).1;
    let lines = list(&["--limit", "2"]);
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(
        lines
            .lines()
            .all(|line| line.contains("  decision=") && line.contains("  allowed") || line.contains("  refused: "))
    );
    let newest: serde_json::Value = serde_json::from_str(list(&["--limit", "1", "--json"]).trim()).unwrap();
    assert!(lines.lines().last().unwrap().starts_with(&format!("{}  ", newest["sequence"])), "the newest comes last");
    let decision = newest["decision"].as_str().unwrap();
    let found = list(&["--holding", decision]);
    assert!(found.lines().count() == 1 && found.contains(decision), "{found}");
    assert_eq!(list(&["--holding", "an id that nothing has"]), "");

    // Somebody alters a record, and the head so that the store does not even open.
    let file = sql::rusqlite::Connection::open(data.join("store.db")).unwrap();
    file.execute_batch("UPDATE audit SET body = body || ' ' WHERE sequence = 2; UPDATE audit_heads SET sequence = 1")
        .unwrap();
    drop(file);
    let (code, _, errors) = run(&["audit", "verify", "--data", text(&data)]);
    assert!(code == 1 && errors.contains(": record 2 was altered") && errors.contains("\nhint: "), "{errors}");
}

#[test]
fn a_port_in_use_is_said_with_a_way_out() {
    let port = ports(1);
    let _taken = TcpListener::bind(("127.0.0.1", port + 1)).unwrap();
    let (code, _, errors) = run(&["demo", "--once", "--port", &port.to_string()]);
    let expected = format!(
        "error: port {} of 127.0.0.1 is in use\nhint: the demo needs three ports in a row; choose others: `deputize demo --port {}`\n",
        port + 1,
        port + 1_000
    );
    assert_eq!((code, errors), (1, expected));
}

#[test]
fn what_cannot_be_written_or_read_is_said() {
    let folder = Folder::new("unwritable");
    fs::write(folder.path("file"), "").unwrap();
    let below = folder.path("file").join("data");
    let estate = folder.path("estate.toml");
    fs::write(&estate, "[[tenants]]\ndisplayName = \"C\"\ndomains = [\"contoso.example\"]\n").unwrap();
    let (code, _, errors) = run(&["apply", text(&estate), "--data", text(&below)]);
    assert_eq!(code, 1);
    assert!(
        errors.starts_with("error: `") && errors.contains("cannot be written: a part of its path is a file\nhint: "),
        "{errors}"
    );

    let (code, _, errors) = run(&["apply", text(&folder.path("missing.toml"))]);
    assert_eq!(code, 1);
    assert!(errors.contains("missing.toml` cannot be read: there is no such file\nhint: check the path"), "{errors}");
    let utf16: Vec<u8> = "\u{feff}[[tenants]]\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(folder.path("utf16.toml"), utf16).unwrap();
    let (code, _, errors) = run(&["apply", text(&folder.path("utf16.toml"))]);
    assert_eq!(code, 1);
    assert!(errors.contains("it is not text in UTF-8\nhint: save it as UTF-8"), "{errors}");

    let data = folder.path("data");
    assert_eq!(run(&["apply", text(&estate), "--data", text(&data)]).0, 0);
    let refused = |expected: &str| {
        let (code, _, errors) = run(&["apply", text(&estate), "--data", text(&data)]);
        assert!(code == 1 && errors.contains(expected) && errors.contains("\nhint: "), "{errors}");
    };
    fs::set_permissions(data.join("master.key"), fs::Permissions::from_mode(0o644)).unwrap();
    refused("can be read by others (mode 644)\nhint: chmod 600 ");
    fs::set_permissions(data.join("master.key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(data.join("store.db"), fs::Permissions::from_mode(0o400)).unwrap();
    refused("is read-only\nhint: give this user write access");
    fs::set_permissions(data.join("store.db"), fs::Permissions::from_mode(0o600)).unwrap();
    let key = fs::read_to_string(data.join("master.key")).unwrap();
    fs::write(data.join("master.key"), "not a key").unwrap();
    refused("holds no master key\nhint: ");
    fs::write(data.join("master.key"), key.replace(|c: char| c.is_ascii_digit(), "0")).unwrap();
    refused("the audit trail of this store does not verify with this audit key");
    fs::remove_file(data.join("master.key")).unwrap();
    refused("master.key` is missing, and there is a store beside it\nhint: put back the master key");
    assert!(!data.join("master.key").exists(), "no new key stands where the old one belongs");
    fs::write(data.join("master.key"), key).unwrap();
    fs::set_permissions(data.join("master.key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(data.join("store.db"), "this is no database, whatever its name says").unwrap();
    refused("is not a deputize store\nhint: ");
}

#[test]
fn a_dry_run_makes_nothing_and_applying_shows_the_difference() {
    let folder = Folder::new("apply");
    let (data, estate) = (folder.path("data"), folder.path("estate.toml"));
    fs::write(
        &estate,
        "[[tenants]]\ndisplayName = \"C\"\ndomains = [\"contoso.example\"]\n[[tenants.applications]]\ndisplayName = \"Web\"\npasswordCredentials = [{ displayName = \"first\" }]\n",
    )
    .unwrap();
    let apply = |more: &[&str]| run(&[&["apply", text(&estate), "--data", text(&data)], more].concat());
    let (code, shown, _) = apply(&["--dry-run"]);
    assert_eq!(code, 0);
    assert!(
        shown.starts_with("+ tenant contoso.example\n+ application Web (")
            && shown.ends_with("2 added, 0 changed, 0 removed\n"),
        "{shown}"
    );
    assert!(!data.exists(), "a dry run makes nothing");

    let (code, shown, _) = apply(&[]);
    assert!(code == 0 && shown.contains("\napplied\nsecret \"first\" of Web, shown only now: "), "{shown}");
    let (code, shown, _) = apply(&[]);
    assert_eq!((code, shown.as_str()), (0, "nothing to change\n"));

    fs::write(&estate, "[[tenants]]\ndisplayName = \"C\"\ndomains = [\"contoso.example\"]\n").unwrap();
    let (_, shown, _) = apply(&[]);
    assert!(shown.contains("2 more in these tenants, not in the file; `--prune`"), "{shown}");
    let (code, shown, _) = apply(&["--prune"]);
    assert!(code == 0 && shown.starts_with("- application Web ("), "{shown}");
}

/// A running `deputize authority`.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_running_authority_sees_what_another_process_applied_and_ends_in_order() {
    let folder = Folder::new("running");
    let (data, estate) = (folder.path("data"), folder.path("estate.toml"));
    fs::write(&estate, "[[tenants]]\ndisplayName = \"C\"\ndomains = [\"contoso.example\"]\n").unwrap();
    let port = ports(2);
    let (listen, plain) = (format!("localhost:{port}"), (port + 3).to_string());
    let mut authority = deputize(&["authority", "--data", text(&data), "--listen", &listen, "--plain-port", &plain]);
    let mut running = Running(authority.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains(&format!("https://localhost:{port}/"))));
    let path = "/contoso.example/v2.0/.well-known/openid-configuration";
    assert!(!ask(port + 3, path).starts_with("HTTP/1.1 200"));

    assert_eq!(run(&["apply", text(&estate), "--data", text(&data)]).0, 0);
    let applied = Instant::now();
    while !ask(port + 3, path).starts_with("HTTP/1.1 200") {
        // It binds within a second; a busy machine may take longer to say so.
        assert!(applied.elapsed() < Duration::from_secs(20), "the change does not bind");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(ask(port + 3, path).contains(&format!("\"issuer\":\"https://localhost:{port}/")));

    let pid = running.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(running.0.wait().unwrap().code(), Some(0), "SIGTERM is an orderly end");
}

#[test]
fn explain_says_what_is_wrong_and_never_shows_the_token() {
    let folder = Folder::new("explain");
    let (contract, keys) = (folder.path("contract.toml"), folder.path("keys.json"));
    let filled = include_str!("../../../examples/billing/contract.toml")
        .replace("$app_id", "245b740a-8aee-54f0-a60b-4197f8cb4b7c")
        .replace("$identifier_uri", "api://billing")
        .replace("$authority", "https://localhost:1/t1")
        .replace("$tenant_id", "t1");
    fs::write(&contract, filled).unwrap();
    let now = std::process::Command::new("date").arg("+%s").output().unwrap().stdout;
    let now: i64 = String::from_utf8(now).unwrap().trim().parse().unwrap();
    let key = jose::SigningKey::generate(jose::Algorithm::RS256).unwrap();
    fs::write(&keys, serde_json::json!({"keys": [key.public_jwk()]}).to_string()).unwrap();
    let token = |scope: &str, audience: &str| {
        let claims = serde_json::json!({
            "iss": "https://localhost:1/t1/v2.0", "aud": audience, "tid": "t1", "oid": "ada", "sub": "s", "azp": "orders",
            "scp": scope, "roles": ["Invoices.Reader"], "idtyp": "user", "ver": "2.0", "uti": "u", "iat": now, "nbf": now, "exp": now + 600,
        });
        key.sign(&jose::Header::typ("JWT"), claims.to_string().as_bytes()).unwrap()
    };
    let explain = |token: &str, more: &[&str]| {
        let all = [&["explain", token, "--contract", text(&contract), "--jwks", text(&keys)], more].concat();
        let (code, shown, errors) = run(&all);
        assert!(token == "-" || !format!("{shown}{errors}").contains(token), "the token is never shown");
        assert!(!shown.contains('\x1b'));
        (code, shown, errors)
    };
    let good = token("Invoices.Read", "api://billing");
    let (code, shown, _) = explain(&good, &["--route", "GET /invoices"]);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.starts_with("GET /invoices: allowed\n") && !shown.contains("FAIL"), "{shown}");

    let (code, shown, _) = explain(&token("Other", "api://orders"), &["--route", "get /invoices"]);
    assert_eq!(code, 1);
    for part in ["FAIL token.audience", "found api://orders", "FAIL scope.sufficient", "expected ", "fix for "] {
        assert!(shown.contains(part), "`{part}` in {shown}");
    }
    let (code, shown, _) = explain(&good, &[]);
    assert_eq!(code, 0);
    assert!(shown.starts_with("on every route\n") && shown.contains("GET /export: refused"), "{shown}");

    let mut piped = deputize(&["explain", "-", "--contract", text(&contract), "--jwks", text(&keys)]);
    let mut child = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("Bearer {good}\n").as_bytes()).unwrap();
    assert_eq!(told(child.wait_with_output().unwrap()).0, 0);

    let (code, _, errors) = explain("x", &["--route", "invoices"]);
    assert_eq!(
        (code, errors.as_str()),
        (1, "error: `invoices` is no route\nhint: write `--route \"GET /invoices\"`\n")
    );
    let (code, shown, _) = explain("not.a.token", &["--route", "GET /invoices"]);
    assert!(code == 1 && shown.contains("FAIL token."), "{shown}");
}

#[test]
fn wrong_usage_ends_with_code_2() {
    for arguments in [&["demo", "--port", "0"][..], &["nonsense"], &["apply"], &[]] {
        assert_eq!(run(arguments).0, 2, "{arguments:?}");
    }
}

#[test]
fn a_development_authority_speaks_for_localhost_and_is_kept() {
    let folder = Folder::new("ca");
    let dir = folder.path("ca");
    let (code, shown, _) = run(&["dev-ca", "--dir", text(&dir)]);
    assert!(code == 0 && shown.contains("localhost, 127.0.0.1, ::1"), "{shown}");
    let before = fs::read(dir.join("ca.pem")).unwrap();
    assert_eq!(run(&["dev-ca", "--dir", text(&dir)]).0, 0);
    assert_eq!(fs::read(dir.join("ca.pem")).unwrap(), before, "who trusts it goes on trusting it");
    assert_eq!(fs::metadata(dir.join("localhost.key")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_demo_tells_of_a_step_up_and_of_one_dialog_for_three_parties_and_again_in_a_kept_folder() {
    let folder = Folder::new("step-up");
    let (port, data) = (ports(4).to_string(), folder.path("data"));
    let tell = || run(&["demo", "--step-up", "--once", "--port", &port, "--data", text(&data)]);
    let (code, story, errors) = tell();
    assert_eq!((code, errors.as_str()), (0, ""), "{story}");
    for said in [
        "acr_values=\"c1\"",
        "is paid",
        "to Trips: AADSTS700016",
        "Travel belongs to another organization, which calls itself Contoso (contoso.example).",
        "At Trips, on your behalf, it may:",
        "At Fares, on your behalf, Trips may:",
        "Added to Fabrikam: Travel, Trips, Fares.",
        "scp   Fares.Read",
        "Everything went as it should.",
    ] {
        assert!(story.contains(said), "{said}: {story}");
    }
    let (code, story, errors) = tell();
    assert_eq!((code, errors.as_str()), (0, ""), "{story}");
    assert!(story.contains("An earlier run brought them in") && !story.contains("Added to"), "{story}");
}

#[test]
fn the_demo_tells_of_a_worker_that_acts_for_ada_until_she_is_disabled_and_again_in_a_kept_folder() {
    let folder = Folder::new("work-orders");
    let (port, data) = (ports(4).to_string(), folder.path("data"));
    let tell = || run(&["demo", "--work-orders", "--once", "--port", &port, "--data", text(&data)]);
    for attempt in 1..=2 {
        let (code, story, errors) = tell();
        assert_eq!((code, errors.as_str()), (0, ""), "{attempt}: {story}");
        for said in [
            "wo1.",
            "scp   Invoices.Read",
            "Billing answers the worker with Ada's own invoices",
            "work_order.client",
            "work_order.key",
            "work_order.content",
            "scope.within_grant",
            "user.enabled",
            "/work-orders",
            "Everything went as it should.",
        ] {
            assert!(story.contains(said), "{attempt}: {said}: {story}");
        }
    }
}

#[test]
fn the_demo_puts_a_gateway_before_its_apis_and_again_in_a_kept_folder() {
    let folder = Folder::new("gateway");
    let (port, data) = (ports(11).to_string(), folder.path("data"));
    for attempt in 1..=2 {
        let (code, story, errors) = run(&["demo", "--gateway", "--once", "--port", &port, "--data", text(&data)]);
        assert_eq!((code, errors.as_str()), (0, ""), "{attempt}: {story}");
        let mut from = 0;
        for said in [
            "transparent",
            "(Gateway)",
            "terminating",
            "Archive sees",
            "(mTLS)",
            "Ledger sees",
            "token.present",
            "token.audience",
            "gateway.credential_single",
            "subscription.key_present",
            "gateway.request",
            "role.sufficient",
            "Everything went as it should.",
        ] {
            from += story[from..].find(said).unwrap_or_else(|| panic!("{attempt}: {said} in order in {story}"));
        }
    }
    // The configuration that it wrote is one like any other.
    let file = data.join("demo/gateway.toml");
    let (code, said, errors) = run(&["gateway", "check", text(&file)]);
    assert_eq!((code, said.ends_with("is sound; operations: 4\n")), (0, true), "{said}{errors}");
    let key = fs::read_to_string(data.join("demo/subscription.secret")).unwrap();
    for kept in ["gateway.toml", "gateway.log"] {
        assert!(!fs::read_to_string(data.join("demo").join(kept)).unwrap().contains(&key), "{kept}");
    }
}

#[test]
fn the_demos_estate_names_only_files_that_the_demo_makes() {
    let named: Vec<&str> = CONTOSO.split("file = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let folder = Folder::new("estate");
    let port = ports(3).to_string();
    let data = folder.path("data");
    assert_eq!(run(&["demo", "--once", "--port", &port, "--data", text(&data)]).0, 0);
    assert!(!named.is_empty() && named.iter().all(|name| data.join("demo").join(name).is_file()), "{named:?}");
}

#[test]
fn imported_manifests_can_be_applied_as_they_are() {
    let folder = Folder::new("import");
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/import/tests");
    let (portal, graph) = (manifests.join("portal.json"), manifests.join("graph.json"));
    let (code, estate, errors) = run(&["import", text(&portal), text(&graph), "--tenant", "shop.example"]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(errors, "not everything could be carried over: see the 11 comments at the top\n");
    let file = folder.path("estate.toml");
    fs::write(&file, estate).unwrap();
    let (code, told, errors) = run(&["apply", text(&file), "--data", text(&folder.path("data"))]);
    assert_eq!((code, errors.as_str()), (0, ""), "{told}");
    assert!(told.contains("secret \"production\" of Shop orders, shown only now: "), "{told}");
}
