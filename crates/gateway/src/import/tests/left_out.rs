//! What is not known of a statement leaves it out whole, and is told.
use super::*;

const END: &str = "/.well-known/openid-configuration";
const TENANT: &str = "5b1d2a2e-3c0a-4d62-9d39-4f6b7b1f2c11";

fn jwt(inside: &str) -> Imported {
    inbound(&format!("<validate-jwt header-name=\"Authorization\">{inside}</validate-jwt>"))
}

const PLAIN: &str = "<openid-config url=\"https://id.example/.well-known/openid-configuration\" />\
    <audiences><audience>a</audience></audiences>";

#[test]
fn comments_are_no_part_of_a_text() {
    let imported = jwt("<openid-config url=\"https://id.example/.well-known/openid-configuration\" />\
         <audiences><audience><!-- ours -->api://<!-- and -->orders</audience></audiences>\
         <required-claims><claim name=\"dep\" match=\"any\"><value><!-- for admins -->Admin</value></claim></required-claims>");
    assert_eq!(imported.left, []);
    let check = &policies(&imported)["validate_jwt"];
    assert_eq!(check["audiences"].to_string(), "[\"api://orders\"]");
    assert_eq!(check["required_claims"][0]["value"].to_string(), "[\"Admin\"]");
}

#[test]
fn a_check_of_which_a_part_is_missing_or_unknown_is_left_out_whole_and_told() {
    let check = "failed-check-httpcode=\"403\" failed-check-error-message=\"no\"";
    for statement in [
        "<check-header name=\"a\" failed-check-httpcode=\"403\" ignore-case=\"false\" />".to_owned(),
        format!("<check-header {check} />"),
        format!("<check-header name=\"a\" {check} ignore-case=\"{{{{unknown}}}}\" />"),
        format!("<check-header name=\"a\" {check}><Value>x</Value></check-header>"),
        "<ip-filter><address>10.0.0.1</address></ip-filter>".to_owned(),
        "<ip-filter action=\"allow\"><address-range from=\"10.0.0.1\" /></ip-filter>".to_owned(),
        "<ip-filter action=\"allow\"><adress>10.0.0.1</adress></ip-filter>".to_owned(),
        "<validate-jwt><openid-config /><audiences><audience>a</audience></audiences></validate-jwt>".to_owned(),
        format!("<validate-jwt>{PLAIN}<required-claim><claim name=\"r\" /></required-claim></validate-jwt>"),
        format!("<validate-jwt>{PLAIN}<zumo-master-key id=\"a\">b</zumo-master-key></validate-jwt>"),
        format!("<validate-jwt>{PLAIN}<x:required-claims xmlns:x=\"urn:x\" /></validate-jwt>"),
        format!("<validate-jwt scopes=\"a\">{PLAIN}</validate-jwt>"),
        format!(
            "<validate-jwt>{PLAIN}<required-claims><claim name=\"r\"><Value>A</Value></claim></required-claims></validate-jwt>"
        ),
        format!(
            "<validate-jwt>{PLAIN}<required-claims><claim name=\"r\"><value/></claim></required-claims></validate-jwt>"
        ),
        format!(
            "<validate-jwt>{PLAIN}<required-claims><claim name=\"r\" match=\"{{{{m}}}}\" /></required-claims></validate-jwt>"
        ),
        format!(
            "<validate-jwt>{PLAIN}<required-claims><claim name=\"r\" match=\"some\"><value>A</value></claim></required-claims></validate-jwt>"
        ),
        format!("<validate-jwt>{PLAIN}<issuers><issuer>{{{{unknown}}}}</issuer></issuers></validate-jwt>"),
        "<validate-client-certificate><identity thumbprint=\"AB\" /></validate-client-certificate>".to_owned(),
        "<rate-limit-by-key calls=\"1\" renewal-period=\"60\" />".to_owned(),
        "<set-header><value>a</value></set-header>".to_owned(),
        "<set-header name=\"a\"><value>b</value><Value>c</Value></set-header>".to_owned(),
        "<set-header name=\"a\" exists-action=\"@(x)\"><value>b</value></set-header>".to_owned(),
        "<set-header name=\"a\" />".to_owned(),
    ] {
        let imported = inbound(&statement);
        assert!(policies(&imported).is_empty(), "{statement}: {}", imported.toml);
        assert_eq!(imported.left.len(), 1, "{statement}: {:?}", imported.left);
        let name = statement.split([' ', '>']).next().unwrap().trim_start_matches('<');
        let why = &imported.left[0].why;
        assert!(why.starts_with(&format!("`{name}` is left out whole: ")), "{statement}: {why}");
    }
    let named =
        inbound("<check-header header-name=\"a\" failed-check-httpcode=\"403\" failed-check-error-message=\"no\" />");
    assert_eq!(policies(&named)["check_header"][0]["name"].as_str(), Some("a"), "as it was called until 2022");
}

#[test]
fn a_limit_of_which_a_part_is_unknown_stays_and_the_part_is_told() {
    for (statement, policy) in [
        ("<rate-limit calls=\"1\" renewal-period=\"60\" per=\"hour\" />", "rate_limit"),
        ("<quota calls=\"1\" renewal-period=\"60\"><apis /></quota>", "quota"),
        ("<rate-limit-by-key calls=\"1\" renewal-period=\"60\" counter-key=\"a\" per=\"hour\" />", "rate_limit_by_key"),
        ("<quota-by-key calls=\"1\" renewal-period=\"60\" counter-key=\"a\" per=\"hour\" />", "quota_by_key"),
    ] {
        let imported = inbound(statement);
        assert!(policies(&imported).contains_key(policy), "{statement}: {}", imported.toml);
        assert!(imported.left.iter().any(|left| left.why.contains("not known")), "{statement}: {:?}", imported.left);
    }
}

#[test]
fn of_what_a_scope_has_once_the_first_stays() {
    for (statement, policy) in [
        ("<ip-filter action=\"forbid\"><address>10.0.0.1</address></ip-filter>", "ip_filter"),
        ("<rate-limit calls=\"1\" renewal-period=\"60\" />", "rate_limit"),
        ("<quota calls=\"1\" renewal-period=\"60\" />", "quota"),
        ("<cors><allowed-origins><origin>https://a.example</origin></allowed-origins></cors>", "cors"),
        (&format!("<validate-jwt>{PLAIN}</validate-jwt>"), "validate_jwt"),
    ] {
        let imported = inbound(&format!("{statement}\n{statement}"));
        assert!(policies(&imported).contains_key(policy), "{policy}");
        let second = imported.left.iter().find(|left| left.line == 5 && left.why.contains("second")).unwrap();
        assert!(second.why.contains("narrower"), "{second:?}");
    }
}

#[test]
fn a_limit_of_each_user_before_the_check_of_the_token_is_told() {
    let token = format!("<validate-jwt>{PLAIN}</validate-jwt>");
    for limit in ["rate-limit-by-key", "quota-by-key"] {
        let limit = format!("<{limit} calls=\"1\" renewal-period=\"300\" counter-key=\"a\" />");
        let told = |statements: &str| {
            let imported = inbound(statements);
            imported.left.iter().any(|left| left.why.contains("before the check of the token"))
        };
        assert!(told(&format!("{limit}{token}")), "{limit}");
        assert!(!told(&format!("{token}{limit}")) && !told(&limit), "{limit}");
    }
}

#[test]
fn how_many_checks_are_left_out_is_told() {
    let inside = |inside: &str| format!("<choose><when condition=\"@(true)\">{inside}</when></choose>");
    let check = "<ip-filter action=\"{{unknown}}\"><address>10.0.0.1</address></ip-filter>";
    for (statement, is_check) in [
        ("<return-response />".to_owned(), true),
        (inside("<return-response />"), true),
        (check.to_owned(), true),
        (inside(check), true),
        ("<validate-content />".to_owned(), true),
        (inside("<validate-parameters />"), true),
        ("<validate-headers />".to_owned(), true),
        ("<validate-status-code />".to_owned(), true),
        ("<include-fragment fragment-id=\"a\" />".to_owned(), true),
        (inside("<include-fragment fragment-id=\"a\" />"), true),
        ("<llm-token-limit counter-key=\"a\" tokens-per-minute=\"5\" />".to_owned(), true),
        ("<limit-concurrency key=\"a\" max-count=\"3\"><validate-jwt /></limit-concurrency>".to_owned(), true),
        (inside("<set-variable />"), false),
        ("<rewrite-uri template=\"/\" />".to_owned(), false),
    ] {
        let imported = inbound(&statement);
        let checks = imported.left.iter().filter(|left| left.is_check).count();
        assert_eq!(checks, usize::from(is_check), "{statement}: {:?}", imported.left);
        let inside = imported.left.iter().any(|left| left.why.contains("with it go the checks `validate-jwt` in line"));
        assert_eq!(inside, statement.contains("<validate-jwt"), "{statement}: {:?}", imported.left);
        let head = "# Not carried over, checks of callers among it (1), without which the API is laxer:\n";
        assert_eq!(imported.toml.starts_with(head), is_check, "{statement}: {}", imported.toml);
    }
}

#[test]
fn where_the_service_is_has_to_be_said() {
    for (statement, lines) in [("", vec![1]), ("<set-backend-service base-url=\"\" />", vec![1, 2])] {
        let imported = imported(&format!("<policies><inbound><base />\n{statement}</inbound></policies>"), Scope::Api);
        assert!(imported.toml.contains("write its address.\n[[upstream]]"), "{}", imported.toml);
        assert!(imported.toml.contains("https://service.invalid"), "{}", imported.toml);
        assert!(imported.left.iter().any(|left| left.why.contains("write its address")), "{:?}", imported.left);
        assert_eq!(imported.left.iter().map(|left| left.line).collect::<Vec<_>>(), lines);
    }
    let (_, told) = onward("");
    assert!(told.left.is_empty() && !told.toml.contains("write its address"), "{}", told.toml);
}

#[test]
fn more_skew_than_checks_take_is_cut_and_told() {
    for (skew, taken, left) in [("600", 600, 0), ("601", 600, 1), ("00:20:00", 600, 1)] {
        let imported = inbound(&format!("<validate-jwt clock-skew=\"{skew}\">{PLAIN}</validate-jwt>"));
        assert_eq!(policies(&imported)["validate_jwt"]["clock_skew"].as_integer(), Some(taken), "{skew}");
        assert_eq!(imported.left.len(), left, "{skew}: {:?}", imported.left);
    }
}

#[test]
fn entras_first_endpoint_becomes_the_second() {
    let token = |url: &str, resource: &str| {
        format!(
            "<send-request response-variable-name=\"t\"><set-url>{url}</set-url>\
            <set-body>grant_type=client_credentials&amp;client_id=own&amp;resource={resource}</set-body></send-request>\
            <set-header name=\"Authorization\"><value>@(\"Bearer \" + (string)context.Variables[\"t\"])</value></set-header>"
        )
    };
    let first = "https://login.microsoftonline.com/x/oauth2/token";
    let (own, imported) = onward(&token(first, "https%3A%2F%2Fstorage.azure.com%2F"));
    assert!(own.contains("target = \"https://storage.azure.com//.default\""), "{own}");
    assert!(imported.toml.contains("token_endpoint = \"https://login.microsoftonline.com/x/oauth2/v2.0/token\""));
    let (own, imported) = onward(&token("https://adfs.example/adfs/oauth2/token/", "a"));
    assert_eq!(own, "\"none\"", "{:?}", imported.left);
}

#[test]
fn an_issuer_is_stated_or_said_by_its_address_and_never_guessed() {
    let of = |urls: &[&str], issuers: &[&str]| {
        let configs: Vec<String> = urls.iter().map(|url| format!("<openid-config url=\"{url}\" />")).collect();
        let configs = configs.concat();
        let issuers: Vec<String> = issuers.iter().map(|issuer| format!("<issuer>{issuer}</issuer>")).collect();
        let issuers = issuers.concat();
        let list = if issuers.is_empty() { String::new() } else { format!("<issuers>{issuers}</issuers>") };
        let imported = jwt(&format!("{configs}<audiences><audience>a</audience></audiences>{list}"));
        let whole: toml::Table =
            toml::from_str(&imported.toml).unwrap_or_else(|error| panic!("{error}\n{}", imported.toml));
        let all = whole.get("issuer").and_then(toml::Value::as_array).cloned().unwrap_or_default();
        let all: Vec<[String; 3]> = all
            .iter()
            .map(|one| {
                ["issuer", "metadata", "profile"]
                    .map(|name| one.get(name).and_then(|text| text.as_str()).unwrap_or("").to_owned())
            })
            .collect();
        let names: std::collections::BTreeSet<String> = whole
            .get("issuer")
            .and_then(toml::Value::as_array)
            .into_iter()
            .flatten()
            .map(|one| one["name"].to_string())
            .collect();
        assert_eq!(names.len(), all.len(), "{}", imported.toml);
        (all, imported)
    };
    let entra = "https://login.microsoftonline.com";
    let other = "6c2e3b3f-4d1b-4e73-8e4a-506c8c203d22";
    let (v1, v2) = (format!("https://sts.windows.net/{TENANT}/"), format!("{entra}/{TENANT}/v2.0"));
    let (at_v1, at_v2) = (format!("{entra}/{TENANT}{END}"), format!("{v2}{END}"));
    let one = |iss: &str, metadata: &str, profile: &str| [iss.to_owned(), metadata.to_owned(), profile.to_owned()];
    for (urls, issuers, expected) in [
        (vec![at_v2.as_str()], vec![], vec![one(&v2, &at_v2, "")]),
        (vec![&at_v1], vec![], vec![one(&v1, &at_v1, "")]),
        // Each version has a document of its own, whichever is named.
        (vec![&at_v2], vec![v1.as_str()], vec![one(&v1, &at_v1, "")]),
        (vec![&at_v2], vec![&v1, &v2], vec![one(&v1, &at_v1, ""), one(&v2, &at_v2, "")]),
        (vec![&at_v1, &at_v2], vec![], vec![one(&v1, &at_v1, ""), one(&v2, &at_v2, "")]),
        (vec![&format!("{entra}/common/v2.0{END}")], vec![&v2], vec![one(&v2, &at_v2, "")]),
        (vec![&format!("{entra}/contoso.onmicrosoft.com{END}")], vec![&v1], vec![one(&v1, &at_v1, "")]),
        (
            vec![&at_v2, &format!("{entra}/{other}/v2.0{END}")],
            vec![],
            vec![
                one(&v2, &at_v2, ""),
                one(&format!("{entra}/{other}/v2.0"), &format!("{entra}/{other}/v2.0{END}"), ""),
            ],
        ),
        (
            vec![&format!("https://login.microsoftonline.us/{TENANT}{END}")],
            vec![],
            vec![one(&v1, &format!("https://login.microsoftonline.us/{TENANT}{END}"), "")],
        ),
        (
            vec![&format!("https://id.example{END}")],
            vec![],
            vec![one("https://id.example", &format!("https://id.example{END}"), "jwt")],
        ),
        (
            vec![&format!("https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_in/v2.0{END}"), &at_v2],
            vec![&format!("https://contoso.b2clogin.com/{TENANT}/v2.0/"), &v2],
            vec![
                one(
                    &format!("https://contoso.b2clogin.com/{TENANT}/v2.0/"),
                    &format!("https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_in/v2.0{END}"),
                    "jwt",
                ),
                one(&v2, &at_v2, ""),
            ],
        ),
    ] {
        let (all, imported) = of(&urls, &issuers);
        assert_eq!(all, expected, "{urls:?} {issuers:?}");
        assert_eq!(imported.left, [], "{urls:?} {issuers:?}");
    }
    for url in [
        format!("{entra}/organizations/v2.0{END}"),
        format!("{entra}/common{END}"),
        format!("{entra}/contoso.onmicrosoft.com/v2.0{END}"),
        format!("https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_in/v2.0{END}"),
        format!("{entra}/{TENANT}/v2.0{END}?p=B2C_1_in"),
        format!("https://contoso.ciamlogin.com/contoso.onmicrosoft.com/v2.0{END}"),
    ] {
        let (all, imported) = of(&[&url], &[]);
        assert!(all.is_empty() && !policies(&imported).contains_key("validate_jwt"), "{url}: {}", imported.toml);
        assert!(imported.left[0].why.contains("issuers"), "{url}: {:?}", imported.left);
    }
    let (all, imported) =
        of(&[&format!("https://a.example{END}"), &format!("https://b.example{END}")], &["https://c.example"]);
    assert!(all.is_empty() && imported.left[0].why.contains("cannot be told"), "{:?}", imported.left);
    let (_, imported) = of(&[&format!("https://a.example{END}")], &["https://a.example", "https://c.example"]);
    assert!(imported.left[0].why.contains("`jwks_uri` of `https://c.example`"), "{:?}", imported.left);
}

#[test]
fn a_named_value_may_be_an_expression_and_is_none_of_the_file() {
    let named = [
        ("property".to_owned(), "@(DateTime.Now.ToString())".to_owned()),
        ("key".to_owned(), "@(context.Request.IpAddress)".to_owned()),
    ];
    let xml = "<policies><inbound><base /><set-header name=\"a\"><value>{{property}}</value></set-header>\
        <rate-limit-by-key calls=\"1\" renewal-period=\"60\" counter-key=\"{{key}}\" /></inbound></policies>";
    let imported = import_apim(xml, Scope::Global, &named.into()).unwrap();
    assert!(!imported.toml.contains("DateTime.Now.ToString()\""), "{}", imported.toml);
    assert_eq!(policies(&imported)["rate_limit_by_key"][0]["counter_key"].to_string(), "[\"address\"]");
    assert_eq!(left(&imported), [(1, "value")]);
}

#[test]
fn what_only_an_api_has_is_told_elsewhere_and_what_was_in_conditions_is_named() {
    let xml = "<policies><inbound><base /><set-backend-service base-url=\"https://a.example\" />\
        <choose><when condition=\"@(true)\"><ip-filter action=\"allow\"><address>10.0.0.1</address></ip-filter></when></choose></inbound>\
        <backend><forward-request timeout=\"5\" fail-on-error-status-code=\"true\" /></backend></policies>";
    let imported = imported(xml, Scope::Operation);
    let told = |what: &str| imported.left.iter().any(|left| left.why.contains(what));
    assert!(
        told("https://a.example") && told("answer_seconds") && told("fail-on-error-status-code"),
        "{:?}",
        imported.left
    );
    assert!(told("`ip-filter` in line 1"), "{:?}", imported.left);
    let escape = import_apim("<policies><inbound><base /><set-header name=\"a\"><value>{{a\n[[x]]\n#}}</value></set-header></inbound></policies>", Scope::Global, &BTreeMap::new()).unwrap();
    assert!(escape.toml.lines().all(|line| line.is_empty() || line.starts_with('#')), "{}", escape.toml);
}

#[test]
fn a_claim_is_read_of_the_token_that_the_document_reads_it_of() {
    let check = |name: &str, field: &str| {
        format!("<validate-jwt header-name=\"{field}\" output-token-variable-name=\"{name}\">{PLAIN}</validate-jwt>")
    };
    let header = |name: &str| {
        format!(
            "<set-header name=\"X-Oid\"><value>@(((Jwt)context.Variables[\"{name}\"]).Claims[\"oid\"].FirstOrDefault())</value></set-header>"
        )
    };
    let both = format!("{}{}", check("jwt", "Authorization"), check("user", "X-User-Token"));
    for (name, is_carried) in [("jwt", true), ("user", false), ("other", false)] {
        let imported = inbound(&format!("{both}{}", header(name)));
        let set = policies(&imported)["set_header"][0].clone();
        assert_eq!((set.get("claim").is_some(), set.get("exists_action").is_none()), (is_carried, is_carried), "{set}");
    }
    let early = inbound(&format!("{}{both}", header("jwt")));
    assert!(policies(&early)["set_header"][0].get("claim").is_none(), "nothing is verified yet");
}

#[test]
fn what_stands_in_the_file_as_it_is_is_told() {
    for statement in [
        "<set-header name=\"x-functions-key\"><value>abc</value></set-header>",
        "<check-header name=\"X-Api-Key\" failed-check-httpcode=\"403\" failed-check-error-message=\"no\"><value>abc</value></check-header>",
        "<send-request><set-url>https://a.example/?code=abc</set-url></send-request>",
        "<send-request><set-url>https://a.example/</set-url><set-method>POST</set-method><set-body>abc</set-body></send-request>",
    ] {
        let imported = inbound(statement);
        assert!(imported.toml.contains("abc"), "{statement}");
        assert!(imported.left.iter().any(|left| left.why.contains("keep the file secret")), "{:?}", imported.left);
    }
    let deleted =
        inbound("<set-header name=\"x-functions-key\" exists-action=\"delete\"><value>abc</value></set-header>");
    assert_eq!((deleted.toml.contains("abc"), deleted.left.len()), (false, 0));
    let imported = inbound(&format!("<validate-jwt clock-skew=\"9223372036854775807:0:0\">{PLAIN}</validate-jwt>"));
    assert!(imported.left[0].why.contains("clock-skew"), "{:?}", imported.left);
    let of_connection = inbound("<set-header name=\"Host\"><value>a.example</value></set-header>");
    assert!(of_connection.left[0].why.contains("connection"), "{:?}", of_connection.left);
}
