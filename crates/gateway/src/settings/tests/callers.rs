//! What checks callers: that something does, and that it lets neither everybody in nor nobody.
use super::*;

#[test]
fn a_number_of_a_token_check_that_is_out_of_range_is_named_as_the_file_names_it() {
    let with = |more: &str| SOUND.replace("audiences = [", &format!("{more}\naudiences = ["));
    for (more, problem, range) in [
        ("clock_skew = 3600", "`clock_skew` is out of range", "0 to 600"),
        ("clock_skew = -1", "`clock_skew` is out of range", "0 to 600"),
        ("max_lifetime = 0", "`max_lifetime` is out of range", "1 or more"),
    ] {
        let (place, told, hint) = wrong(&with(more));
        assert_eq!((place.as_str(), told.as_str()), ("[api.policies.validate_jwt]", problem));
        assert!(hint.contains(range), "{hint}");
    }
    assert!(read(&with("clock_skew = 600\nmax_lifetime = 1")).is_ok());
}

#[test]
fn an_api_without_a_caller_check_says_that_it_is_public() {
    let open =
        SOUND.replace("[api.policies.validate_jwt]\nissuers = [\"contoso\"]\naudiences = [\"api://orders\"]", "");
    let open = open.replace(
        "[api.operation.onward.on_behalf_of]\nauthority = \"contoso\"\ntarget = \"api://billing/.default\"",
        "",
    );
    let (place, problem, hint) = wrong(&open);
    assert_eq!(
        (place.as_str(), problem.as_str()),
        ("\"read\"", "the operation `read` of the API `orders` has no policy that checks who calls")
    );
    for named in ["`introspect`", "`validate_client_certificate`", "`public = true`"] {
        assert!(hint.contains(named), "{hint}");
    }
    assert!(read(&open.replace("upstream = \"orders\"", "upstream = \"orders\"\npublic = true")).is_ok());
    // A policy that only keeps some out identifies nobody.
    let forbidding = "[api.policies.ip_filter]\naction = \"forbid\"\naddress = [\"10.0.0.1\"]\n[[api.operation]]";
    assert!(wrong(&open.replace("[[api.operation]]", forbidding)).1.contains("no policy that checks who calls"));
    assert!(read(&open.replace("[[api.operation]]", &forbidding.replace("forbid", "allow"))).is_ok());
    // Nor does one that lets everybody in.
    for all in [
        "address = [\"10.0.0.1\", \"0.0.0.0/0\"]",
        "address_range = [{ from = \"::\", to = \"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\" }]",
        "address_range = [{ from = \"::ffff:0.0.0.0\", to = \"::ffff:255.255.255.255\" }]",
        "address = [\"128.0.0.0/1\", \"10.0.0.1\", \"0.0.0.0/1\"]",
        "address = [\"::/1\"]\naddress_range = [{ from = \"8000::\", to = \"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\" }]",
    ] {
        let everybody = forbidding.replace("forbid", "allow").replace("address = [\"10.0.0.1\"]", all);
        assert!(
            wrong(&open.replace("[[api.operation]]", &everybody)).1.contains("no policy that checks who calls"),
            "{all}"
        );
    }
    for some in
        ["[\"0.0.0.0/1\", \"128.0.0.0/2\"]", "[\"0.0.0.0/1\", \"8000::/1\"]", "[\"0.0.0.1/32\", \"128.0.0.0/1\"]"]
    {
        let allowing = forbidding.replace("forbid", "allow").replace("[\"10.0.0.1\"]", some);
        assert!(read(&open.replace("[[api.operation]]", &allowing)).is_ok(), "{some}");
    }
    let optional = "[api.policies.subscription_key]\nrequired = false\n[[api.operation]]";
    assert!(wrong(&open.replace("[[api.operation]]", optional)).1.contains("no policy that checks who calls"));
    // Neither does a product that needs no key.
    let keyed = open.replace("[[api.operation]]", "[api.policies.subscription_key]\n[[api.operation]]");
    assert!(read(&keyed).is_ok());
    let product =
        format!("{keyed}\n[[product]]\nname = \"free\"\napis = [\"orders\"]\nsubscription_required = false\n");
    assert!(wrong(&product).1.contains("no policy that checks who calls"));
}

#[test]
fn credentials_are_in_fields_and_parameters_of_their_own() {
    let token = |more: &str| SOUND.replace("audiences = [", &format!("{more}\naudiences = ["));
    let key = |more: &str| {
        SOUND.replace("[[api.operation]]", &format!("[api.policies.subscription_key]\n{more}\n[[api.operation]]"))
    };
    for name in ["Host", "Connection", "Cookie", "DPoP", "Transfer-Encoding"] {
        for text in [token(&format!("header_name = \"{name}\"")), key(&format!("header = \"{name}\""))] {
            let (place, problem, _) = wrong(&text);
            assert_eq!((place, problem.as_str()), (format!("\"{name}\""), "this field says something else already"));
        }
    }
    for name in ["", "a b&c"] {
        for text in [token(&format!("query_parameter_name = \"{name}\"")), key(&format!("query = \"{name}\""))] {
            let (place, problem, _) = wrong(&text);
            assert_eq!((place, problem.as_str()), (format!("\"{name}\""), "this is no name of a parameter"));
        }
    }
    for sound in ["header_name = \"X-Token\"", "header_name = \"Authorization\"", "query_parameter_name = \"a.b_c\""] {
        assert!(read(&token(sound)).is_ok(), "{sound}");
    }
}

#[test]
fn rules_that_would_let_everybody_in_or_nobody_are_refused() {
    let with = |rule: &str| SOUND.replace("[[api.operation]]", &format!("{rule}\n[[api.operation]]"));
    let cors = |rule: &str| with(&format!("[api.policies.cors]\n{rule}"));
    let of_api = |policy: &str, rule: &str| {
        with(&format!("[api.policies.{policy}]\ncalls = 5\nrenewal_period = 60\n[[api.policies.{policy}.api]]\n{rule}"))
    };
    let narrower = "name = \"orders\"\ncalls = 1\nrenewal_period = 1\n";
    let of_operation = |policy: &str, name: &str| {
        let operation = format!("[[api.policies.{policy}.api.operation]]\n");
        of_api(policy, &format!("{narrower}{operation}{}", narrower.replace("orders", name)))
    };
    let twice_of_api = |policy: &str| of_api(policy, &format!("{narrower}[[api.policies.{policy}.api]]\n{narrower}"));
    let of_key = |rule: &str| with(&format!("[[api.policies.quota_by_key]]\ncounter_key = [\"address\"]\n{rule}"));
    let by_key = |rule: &str| {
        with(&format!(
            "[[api.policies.rate_limit_by_key]]\ncalls = 5\nrenewal_period = 60\ncounter_key = [\"address\"]\n{rule}"
        ))
    };
    let one = "allowed_origins = [\"https://app.example\"]";
    for (text, place, problem) in [
        (cors("allowed_origins = []"), "[api.policies.cors]", "has nothing"),
        (cors("allowed_origins = [\"*\", \"https://app.example\"]"), "[api.policies.cors]", "`*` beside others"),
        (cors("allowed_origins = [\"null\"]"), "\"null\"", "every page in a sandbox"),
        (cors("allowed_origins = [\"https://*.example\"]"), "\"https://*.example\"", "stands for nothing within it"),
        (cors("allowed_origins = [\"*\"]\nallow_credentials = true"), "[api.policies.cors]", "act as the user"),
        (
            cors(&format!("{one}\nallow_credentials = true\nexpose_headers = [\"*\"]")),
            "[api.policies.cors]",
            "act as the user",
        ),
        (cors(&format!("{one}\nallowed_methods = [\"put\"]")), "\"put\"", "no method"),
        (cors(&format!("{one}\nallowed_headers = [\"x y\"]")), "\"x y\"", "no name of a field"),
        (
            format!("[policies.cors]\n{one}\n{}", cors(one)),
            "[api.policies.cors]",
            "a wider scope says already which origins",
        ),
        (
            format!("{SOUND}\n[[product]]\nname = \"gold\"\napis = [\"orders\"]\n[product.policies.cors]\n{one}\n"),
            "[product.policies.cors]",
            "a preflight has no key",
        ),
        (with("[api.policies.rate_limit]\ncalls = 0\nrenewal_period = 60"), "0", "nobody could call"),
        (with("[api.policies.rate_limit]\ncalls = 1\nrenewal_period = 301"), "301", "out of range"),
        (with("[api.policies.rate_limit]\ncalls = 1\nrenewal_period = 0"), "0", "out of range"),
        (by_key("increment_count = 6"), "6", "more than there is"),
        (by_key("increment_count = 0"), "0", "counts nothing"),
        (by_key("increment_statuses = []"), "[]", "no statuses"),
        (by_key("increment_statuses = [99]"), "[99]", "no statuses"),
        (by_key("increment_statuses = [200, 600]"), "[200, 600]", "no statuses"),
        (
            by_key("remaining_calls_header_name = \"Content-Length\""),
            "\"Content-Length\"",
            "says something else already",
        ),
        (
            by_key("total_calls_header_name = \"Access-Control-Allow-Origin\""),
            "\"Access-Control-Allow-Origin\"",
            "says something else already",
        ),
        (by_key("").replace("[\"address\"]", "[]"), "[]", "no part"),
        (by_key("").replace("\"address\"", "{ header = \"x y\" }"), "{ header = \"x y\" }", "no name of a field"),
        (with("[api.policies.quota]\nrenewal_period = 60"), "[api.policies.quota]", "says no number"),
        (with("[api.policies.quota]\ncalls = 0\nrenewal_period = 60"), "[api.policies.quota]", "nobody can call"),
        (with("[api.policies.quota]\ncalls = 1\nrenewal_period = -1"), "-1", "out of range"),
        (of_api("rate_limit", "name = \"order\"\ncalls = 1\nrenewal_period = 1"), "\"order\"", "no API `order`"),
        (of_api("rate_limit", "name = \"orders\"\ncalls = 0\nrenewal_period = 1"), "0", "nobody could call"),
        (of_api("rate_limit", "name = \"orders\"\ncalls = 1\nrenewal_period = 301"), "301", "out of range"),
        (of_api("quota", "name = \"order\"\ncalls = 1\nrenewal_period = 1"), "\"order\"", "no API `order`"),
        (of_api("quota", "name = \"orders\"\nrenewal_period = 1"), "[[api.policies.quota.api]]", "says no number"),
        (of_operation("rate_limit", "raed"), "\"raed\"", "`orders` has no operation `raed`"),
        (of_operation("quota", "raed"), "\"raed\"", "`orders` has no operation `raed`"),
        (twice_of_api("rate_limit"), "\"orders\"", "has a limit here already"),
        (twice_of_api("quota"), "\"orders\"", "has a limit here already"),
        (of_key("renewal_period = 0"), "[[api.policies.quota_by_key]]", "says no number"),
        (of_key("calls = 0\nrenewal_period = 0"), "[[api.policies.quota_by_key]]", "nobody can call"),
        (of_key("bandwidth = 0\nrenewal_period = 0"), "[[api.policies.quota_by_key]]", "nobody can call"),
        (of_key("calls = 1\nrenewal_period = 299"), "299", "out of range"),
        (of_key("calls = 1\nrenewal_period = -300"), "-300", "out of range"),
        (of_key("calls = 5\nrenewal_period = 0\nincrement_count = 6"), "6", "more than there is"),
        (of_key("bandwidth = 5\nrenewal_period = 0\nincrement_count = 0"), "0", "counts nothing"),
        (of_key("calls = 5\nrenewal_period = 0\nincrement_statuses = []"), "[]", "no statuses"),
        (of_key("calls = 5\nrenewal_period = 0").replace("[\"address\"]", "[]"), "[]", "no part"),
        (of_key("calls = 5\nrenewal_period = 300\nfirst_period_start = 2027-01-31"), "2027-01-31", "no moment"),
    ] {
        let (found, told, hint) = wrong(&text);
        assert!(told.contains(problem), "expected `{problem}`, got `{told}`");
        assert_eq!(found, place, "{told}");
        assert!(!hint.is_empty());
    }
    assert!(read(&format!("[policies.cors]\n{one}\n{}", with("[api.policies]\nremove = [\"cors\"]"))).is_ok());
}

#[test]
fn a_tenants_check_names_one_tenant_and_an_audience() {
    let check = "[api.policies.validate_azure_ad_token]\nauthority = \"https://id.example\"\ntenant_id = \"t1\"\naudiences = [\"api://orders\"]";
    let with = |from: &str, to: &str| {
        assert!(check.contains(from), "{from}");
        let old = "[api.policies.validate_jwt]\nissuers = [\"contoso\"]\naudiences = [\"api://orders\"]";
        SOUND.replace(old, &check.replace(from, to))
    };
    assert!(read(&with("t1", "5b1d2a2e-3c0a-4d62-9d39-4f6b7b1f2c11")).is_ok());
    for (from, to, place, problem) in [
        ("t1", "common", "\"common\"", "tenants of strangers"),
        ("t1", "Organizations", "\"Organizations\"", "tenants of strangers"),
        ("t1", "contoso.example", "\"contoso.example\"", "no tenant's id"),
        ("t1", "{tenantid}", "\"{tenantid}\"", "no tenant's id"),
        ("t1", "t1/../t2", "\"t1/../t2\"", "no tenant's id"),
        ("t1", "", "\"\"", "no tenant's id"),
        ("https://id.example", "https://id.example/t1", "\"https://id.example/t1\"", "more than a host"),
        ("https://id.example", "https://id.example?x", "\"https://id.example?x\"", "more than a host"),
        ("https://id.example", "https://a@id.example", "\"https://a@id.example\"", "more than a host"),
        ("https://id.example", "id.example", "\"id.example\"", "no scheme"),
        ("audiences = [\"api://orders\"]", "", "[api.policies.validate_azure_ad_token]", "any API of the tenant"),
        (
            "tenant_id",
            "issuer_v1 = \"https://sts.example/t2/\"\ntenant_id",
            "\"https://sts.example/t2/\"",
            "has it in its path",
        ),
        (
            "tenant_id",
            "client_application_ids = []\ntenant_id",
            "[api.policies.validate_azure_ad_token]",
            "`client_application_ids` is empty",
        ),
    ] {
        let (found, told, _) = wrong(&with(from, to));
        assert!(told.contains(problem), "expected `{problem}`, got `{told}`");
        assert_eq!(found, place, "{told}");
    }
}
