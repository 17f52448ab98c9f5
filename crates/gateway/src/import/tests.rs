//! What documents come to, and what is told of the rest.
mod left_out;
mod onward;

use super::*;

fn imported(xml: &str, scope: Scope) -> Imported {
    let named = [("tenant-id".to_owned(), "5b1d2a2e-3c0a-4d62-9d39-4f6b7b1f2c11".to_owned())];
    import_apim(xml, scope, &named.into()).unwrap_or_else(|error| panic!("{error}"))
}

fn inbound(statements: &str) -> Imported {
    imported(&format!("<policies>\n<inbound>\n<base />\n{statements}\n</inbound>\n</policies>"), Scope::Global)
}

/// The lines and elements that are left.
fn left(imported: &Imported) -> Vec<(u32, &str)> {
    imported.left.iter().map(|left| (left.line, left.element.as_str())).collect()
}

/// Reads what was written, below `policies`.
fn policies(imported: &Imported) -> toml::Table {
    let whole: toml::Table =
        toml::from_str(&imported.toml).unwrap_or_else(|error| panic!("{error}\n{}", imported.toml));
    whole.get("policies").and_then(toml::Value::as_table).cloned().unwrap_or_default()
}

/// The onward credential of an API with these statements.
fn onward(statements: &str) -> (String, Imported) {
    onward_of(statements, "")
}

/// The same with statements in `<backend>`.
fn onward_of(statements: &str, backend: &str) -> (String, Imported) {
    let service = "<set-backend-service base-url=\"https://a.example\" />";
    let xml = format!(
        "<policies>\n<inbound>\n<base />{service}\n{statements}\n</inbound>\n<backend>\n<base />{backend}\n</backend>\n</policies>"
    );
    let imported = imported(&xml, Scope::Api);
    let whole: toml::Table =
        toml::from_str(&imported.toml).unwrap_or_else(|error| panic!("{error}\n{}", imported.toml));
    (whole["api"][0]["onward"].to_string(), imported)
}

#[test]
fn a_check_of_tokens_keeps_its_values_and_api_managements_default_of_no_skew() {
    let imported = inbound(
        r#"<validate-jwt header-name="Authorization" failed-validation-httpcode="401"
              failed-validation-error-message="Unauthorized. Access token is missing or invalid." require-scheme="Bearer">
            <openid-config url="https://login.microsoftonline.com/{{tenant-id}}/v2.0/.well-known/openid-configuration" />
            <audiences><audience>api://orders</audience><audience> 25eef6e4-c905-4a07-8eb4-0d08d5df8b3f </audience></audiences>
            <required-claims>
              <claim name="scp" match="any" separator=" "><value>Orders.Read</value><value>Orders.Write</value></claim>
              <claim name="oid" />
            </required-claims>
          </validate-jwt>"#,
    );
    assert_eq!(imported.left, []);
    let policies = policies(&imported);
    let check = policies["validate_jwt"].as_table().unwrap();
    assert_eq!(check["clock_skew"].as_integer(), Some(0));
    assert_eq!(check["audiences"].as_array().unwrap().len(), 2);
    assert_eq!(check["audiences"][1].as_str(), Some("25eef6e4-c905-4a07-8eb4-0d08d5df8b3f"));
    let claim = &check["required_claims"][0];
    assert_eq!((claim["name"].as_str(), claim["match"].as_str()), (Some("scp"), Some("any")));
    assert_eq!((claim["separator"].as_str(), claim["value"].as_array().unwrap().len()), (Some(" "), 2));
    assert_eq!(check["required_claims"][1].as_table().unwrap().len(), 1, "presence");
    assert!(!check.contains_key("header_name"), "it is where tokens are anyway");
    let whole: toml::Table = toml::from_str(&imported.toml).unwrap();
    let issuer = &whole["issuer"][0];
    let tenant = "5b1d2a2e-3c0a-4d62-9d39-4f6b7b1f2c11";
    assert_eq!(issuer["issuer"].as_str(), Some(format!("https://login.microsoftonline.com/{tenant}/v2.0").as_str()));
    assert_eq!(issuer["tenants"][0].as_str(), Some(tenant));
    assert_eq!(check["issuers"][0].as_str(), issuer["name"].as_str());
}

#[test]
fn keys_that_are_shared_are_carried_by_name_and_never_by_value() {
    let check = |inside: &str| {
        inbound(&format!(
            "<validate-jwt header-name=\"Authorization\"><audiences><audience>a</audience></audiences>{inside}</validate-jwt>"
        ))
    };
    let keys =
        "<issuer-signing-keys><key id=\"one\">c2VjcmV0c2VjcmV0</key><key>{{signing-key}}</key></issuer-signing-keys>";
    let shared = check(&format!("{keys}<issuers><issuer>https://partner.example</issuer></issuers>"));
    let policies = policies(&shared);
    let check_of = policies["validate_jwt"].as_table().unwrap();
    assert_eq!(check_of["issuer"].as_str(), Some("https://partner.example"));
    let keys_of = check_of["issuer_signing_keys"].as_array().unwrap();
    assert_eq!((keys_of.len(), keys_of[0]["id"].as_str()), (2, Some("one")));
    assert_eq!(keys_of[1]["key"]["env"].as_str(), Some("SIGNING_KEY_2"));
    assert!(!shared.toml.contains("c2VjcmV0"));
    assert_eq!(left(&shared).len(), 3);
    assert!(shared.left.iter().any(|left| left.why.contains("`max_lifetime`")), "{:?}", shared.left);
    // Whose they are has to be said, and public keys are not shared.
    for inside in
        [keys.to_owned(), "<issuer-signing-keys><key n=\"AQAB\" e=\"AQAB\" /></issuer-signing-keys>".to_owned()]
    {
        assert!(!check(&inside).toml.contains("validate_jwt"), "{inside}");
    }
}

#[test]
fn a_check_that_would_be_laxer_without_what_is_not_known_is_left_out_whole() {
    let check = |inside: &str| {
        inbound(&format!(
            r#"<validate-jwt><openid-config url="https://id.example/.well-known/openid-configuration" />{inside}</validate-jwt>"#
        ))
    };
    for inside in [
        "",
        "<audiences />",
        "<audiences><audience>a</audience></audiences><required-claims><claim name=\"x\"><value>@(1)</value></claim></required-claims>",
        "<audiences><audience>a</audience></audiences><required-claims><claim name=\"x\"><value>{{unknown}}</value></claim></required-claims>",
        "<audiences><audience>a</audience></audiences><required-claims><claim name=\"@(x)\" /></required-claims>",
    ] {
        let imported = check(inside);
        assert!(policies(&imported).is_empty(), "{inside}: {}", imported.toml);
        assert!(!imported.left.is_empty(), "{inside}");
    }
    let filter =
        inbound("<ip-filter action=\"forbid\"><address>10.0.0.1</address><address>{{other}}</address></ip-filter>");
    assert!(policies(&filter).is_empty(), "half of a list would let others in");
    assert_eq!(left(&filter), [(4, "address")]);
    assert!(filter.left[0].why.contains("--named-value other=VALUE"), "{:?}", filter.left);
}

#[test]
fn entras_check_is_for_the_tokens_of_both_of_its_versions() {
    let imported = inbound(
        r#"<validate-azure-ad-token tenant-id="{{tenant-id}}" header-name="X-Token">
            <client-application-ids><application-id>c1</application-id></client-application-ids>
            <audiences><audience>api://orders</audience></audiences>
          </validate-azure-ad-token>"#,
    );
    assert_eq!(imported.left, []);
    let policies = policies(&imported);
    let check = policies["validate_azure_ad_token"].as_table().unwrap();
    assert_eq!(check["authority"].as_str(), Some("https://login.microsoftonline.com"));
    assert_eq!(check["tenant_id"].as_str(), Some("5b1d2a2e-3c0a-4d62-9d39-4f6b7b1f2c11"));
    assert_eq!(check["client_application_ids"][0].as_str(), Some("c1"));
    assert_eq!(check["header_name"].as_str(), Some("X-Token"));
    assert!(imported.toml.contains("https://sts.windows.net/5b1d2a2e-3c0a-4d62-9d39-4f6b7b1f2c11/"));
    let by_domain = inbound(
        "<validate-azure-ad-token tenant-id=\"contoso.example\"><audiences><audience>a</audience></audiences></validate-azure-ad-token>",
    );
    assert_eq!(left(&by_domain), [(4, "validate-azure-ad-token")]);
    // Of a list of applications that is not known, nothing is carried over: without it every application could call.
    let unknown = inbound(
        "<validate-azure-ad-token tenant-id=\"{{tenant-id}}\"><client-application-ids><application-id>{{who}}</application-id></client-application-ids>\
         <audiences><audience>a</audience></audiences></validate-azure-ad-token>",
    );
    assert_eq!(left(&unknown), [(4, "application-id")]);
    assert!(!unknown.toml.contains("validate_azure_ad_token"), "{}", unknown.toml);
    for (endpoint, issuer) in [
        ("https://login.microsoftonline.us/", Some("https://sts.windows.net/5b1d2a2e-3c0a-4d62-9d39-4f6b7b1f2c11/")),
        (
            "https://login.partner.microsoftonline.cn",
            Some("https://sts.chinacloudapi.cn/5b1d2a2e-3c0a-4d62-9d39-4f6b7b1f2c11/"),
        ),
        ("https://id.example", None),
    ] {
        let imported = inbound(&format!(
            "<validate-azure-ad-token tenant-id=\"{{{{tenant-id}}}}\" authentication-endpoint=\"{endpoint}\"><audiences>\
             <audience>a</audience></audiences></validate-azure-ad-token>"
        ));
        let policies = self::policies(&imported);
        let check = policies["validate_azure_ad_token"].as_table().unwrap();
        assert_eq!(check.get("issuer_v1").and_then(toml::Value::as_str), issuer, "{endpoint}");
        assert_eq!(check["authority"].as_str(), Some(endpoint.trim_end_matches('/')));
    }
}

#[test]
fn addresses_and_headers_are_carried_over() {
    let imported = inbound(
        r#"<ip-filter action="allow"><address>13.66.201.169</address><address-range from="13.66.140.128" to="13.66.140.143" /></ip-filter>
           <check-header name="X-Edge" failed-check-httpcode="403" failed-check-error-message="Not authorized" ignore-case="True">
             <value>f6dc69a0</value></check-header>
           <set-header name="X-Kept" exists-action="skip"><value>1</value></set-header>
           <set-header name="X-User" exists-action="override">
             <value>@(context.Request.Headers.GetValueOrDefault("Authorization","").AsJwt()?.Claims.GetValueOrDefault("oid",""))</value>
           </set-header>
           <set-header name="X-Old" exists-action="delete" />
           <set-header name="X-Made"><value>@(context.RequestId.ToString())</value></set-header>"#,
    );
    let policies = policies(&imported);
    assert_eq!(policies["ip_filter"]["address_range"][0]["to"].as_str(), Some("13.66.140.143"));
    let header = &policies["check_header"][0];
    assert_eq!((header["ignore_case"].as_bool(), header["value"][0].as_str()), (Some(true), Some("f6dc69a0")));
    let set = policies["set_header"].as_array().unwrap();
    assert_eq!(set[0]["exists_action"].as_str(), Some("skip"));
    assert_eq!(set[1]["claim"].as_str(), Some("oid"));
    assert_eq!(set[2]["exists_action"].as_str(), Some("delete"));
    // What cannot be said for callers they do not say either.
    assert_eq!((set[3]["name"].as_str(), set[3]["exists_action"].as_str()), (Some("X-Made"), Some("delete")));
    assert_eq!((set.len(), left(&imported)), (4, vec![(12, "value")]));
}

#[test]
fn a_token_that_was_exchanged_by_hand_is_one_line() {
    let imported = imported(
        r#"<policies>
  <inbound>
    <base />
    <validate-azure-ad-token tenant-id="{{tenant-id}}" output-token-variable-name="jwt">
      <audiences><audience>api://gateway</audience></audiences>
    </validate-azure-ad-token>
    <send-request mode="new" response-variable-name="obo" timeout="20" ignore-error="false">
      <set-url>https://login.microsoftonline.com/{{tenant-id}}/oauth2/v2.0/token</set-url>
      <set-method>POST</set-method>
      <set-header name="Content-Type" exists-action="override"><value>application/x-www-form-urlencoded</value></set-header>
      <set-body>@{
        var token = context.Request.Headers.GetValueOrDefault("Authorization", "").Replace("Bearer ", "");
        return "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&client_id=c1f6a8d4&client_secret={{secret}}&assertion=" + token + "&scope=api%3A%2F%2Forders%2F.default&requested_token_use=on_behalf_of";
      }</set-body>
    </send-request>
    <set-variable name="accessToken" value="@(((IResponse)context.Variables["obo"]).Body.As<JObject>()["access_token"].ToString())" />
    <set-header name="Authorization" exists-action="override">
      <value>@($"Bearer {(string)context.Variables["accessToken"]}")</value>
    </set-header>
    <set-backend-service base-url="https://orders.internal/v1" />
    <rewrite-uri template="/orders" />
  </inbound>
  <backend><forward-request timeout="20" follow-redirects="true" /></backend>
  <outbound><base /><set-header name="Server" exists-action="delete" /></outbound>
  <on-error><base /></on-error>
</policies>"#,
        Scope::Api,
    );
    let whole: toml::Table = toml::from_str(&imported.toml).unwrap();
    let api = &whole["api"][0];
    assert_eq!(api["onward"]["on_behalf_of"]["target"].as_str(), Some("api://orders/.default"));
    let authority = &whole["authority"][0];
    assert_eq!(authority["client_id"].as_str(), Some("c1f6a8d4"));
    assert!(
        authority["token_endpoint"]
            .as_str()
            .unwrap()
            .ends_with("5b1d2a2e-3c0a-4d62-9d39-4f6b7b1f2c11/oauth2/v2.0/token")
    );
    assert_eq!(whole["upstream"][0]["url"].as_str(), Some("https://orders.internal/v1"));
    assert_eq!(whole["upstream"][0]["answer_seconds"].as_integer(), Some(20));
    assert!(!imported.toml.contains("{{secret}}"));
    assert_eq!(
        left(&imported),
        [
            (4, "validate-azure-ad-token"),
            (7, "send-request"),
            (21, "rewrite-uri"),
            (23, "forward-request"),
            (24, "set-header")
        ]
    );
    assert!(
        imported.toml.starts_with("# Not carried over:\n# - line 4, <validate-azure-ad-token>: "),
        "{}",
        imported.toml
    );
}

#[test]
fn a_request_of_plain_texts_is_carried_over_and_another_is_told() {
    let whole = |attributes: &str, inside: &str| {
        inbound(&format!("<send-request response-variable-name=\"r\" {attributes}>{inside}</send-request>"))
    };
    let plain = r#"<set-url>https://scores.example/check?v=1</set-url><set-method>post</set-method>
        <set-header name="X-Edge" exists-action="override"><value>a</value></set-header>
        <set-header name="Authorization" exists-action="override"><value>Basic abc</value></set-header>
        <set-body>{ "seen": true }</set-body>"#;
    let imported = whole("mode=\"new\" timeout=\"20\" ignore-error=\"true\"", plain);
    let policy = policies(&imported)["send_request"][0].clone();
    assert_eq!(policy["url"].as_str(), Some("https://scores.example/check?v=1"));
    assert_eq!((policy["method"].as_str(), policy["body"].as_str()), (Some("POST"), Some("{ \"seen\": true }")));
    assert_eq!(policy["headers"][0]["value"].as_str(), Some("a"));
    assert_eq!(policy["headers"][1]["secret"]["env"].as_str(), Some("SEND_REQUEST_SECRET"));
    assert_eq!(
        (policy["timeout_milliseconds"].as_integer(), policy["ignore_error"].as_bool()),
        (Some(20_000), Some(true))
    );
    assert!(imported.toml.contains("# allowed_hosts = [\"https://scores.example:443\"]"), "{}", imported.toml);
    assert!(!imported.toml.contains("Basic abc"));
    assert!(imported.left.iter().any(|left| left.why.contains("SEND_REQUEST_SECRET")));
    assert!(imported.left.iter().any(|left| left.why.contains("expect_status")));
    let url = "<set-url>https://scores.example/</set-url>";
    let unheard = inbound(&format!("<send-one-way-request mode=\"new\" timeout=\"20\">{plain}</send-one-way-request>"));
    let policy = policies(&unheard)["send_request"][0].clone();
    assert_eq!((policy["wait"].as_bool(), policy["body"].as_str()), (Some(false), Some("{ \"seen\": true }")));
    assert!(!unheard.left.iter().any(|left| left.why.contains("expect_status")), "nobody hears its answer");
    let usual = whole("", url);
    let policy = policies(&usual)["send_request"][0].clone();
    assert_eq!((policy["method"].as_str(), policy["timeout_milliseconds"].as_integer()), (Some("GET"), Some(30_000)));
    assert!(policy.get("ignore_error").is_none() && usual.left.iter().any(|left| left.why.contains("30 seconds")));
    for (attributes, inside) in [
        ("mode=\"copy\"", url.to_owned()),
        ("", String::new()),
        ("", "<set-url>http://scores.example/</set-url>".to_owned()),
        ("", "<set-url>https://u@scores.example/</set-url>".to_owned()),
        ("", "<set-url>https://scores.example/{a}</set-url>".to_owned()),
        ("", "<set-url>@(\"https://scores.example/\" + context.Request.Url.Path)</set-url>".to_owned()),
        ("", format!("{url}<set-method>TRACE</set-method>")),
        ("", format!("{url}<set-body>a</set-body>")),
        ("", format!("{url}<set-method>POST</set-method><set-body>@(context.Request.Body.As&lt;string>())</set-body>")),
        ("", format!("{url}<set-method>POST</set-method><set-body template=\"liquid\">a</set-body>")),
        ("", format!("{url}<set-header name=\"a\" exists-action=\"skip\"><value>b</value></set-header>")),
        ("", format!("{url}<set-header name=\"a\"><value>b</value><value>c</value></set-header>")),
        ("", format!("{url}<set-header name=\"a\"><value>b{{path}}</value></set-header>")),
        ("", format!("{url}<set-header name=\"a\"><value>@(context.RequestId)</value></set-header>")),
        ("", format!("{url}<authentication-certificate thumbprint=\"AB\" />")),
        ("timeout=\"soon\"", url.to_owned()),
        ("timeout=\"0\"", url.to_owned()),
        ("ignore-error=\"perhaps\"", url.to_owned()),
    ] {
        let imported = whole(attributes, &inside);
        assert!(!imported.toml.contains("send_request]"), "{attributes} {inside}: {}", imported.toml);
        assert!(!imported.left.is_empty(), "{attributes} {inside}");
    }
}

#[test]
fn what_is_no_policy_document_is_told_by_its_line() {
    for (xml, line, problem) in [
        ("", 1, "no XML"),
        ("<policies>\n<inbound></policies>", 2, "no XML"),
        ("<policy />", 1, "`<policy>`"),
        ("<fragment><base /></fragment>", 1, "where `<include-fragment>` stands"),
        ("<policies>\n@(x</policies>", 2, "does not end"),
        ("<!DOCTYPE x [<!ENTITY a \"b\">]><policies>&a;</policies>", 1, "no XML"),
    ] {
        let error = import_apim(xml, Scope::Api, &BTreeMap::new()).unwrap_err();
        assert_eq!(error.line, line, "{xml}: {error}");
        assert!(error.problem.contains(problem), "{xml}: {error}");
    }
    assert_eq!(left(&inbound("<choose><when condition=\"@(1 < 2)\"><x /></when></choose>")), [(4, "choose")]);
}

#[test]
fn certificates_of_callers_keep_their_rules_and_their_files_are_asked_for() {
    let imported = imported(
        r#"<policies><inbound><base />
          <validate-client-certificate validate-revocation="true" validate-trust="true" validate-not-before="true"
              validate-not-after="false" ignore-error="false">
            <identities>
              <identity subject="C=US, ST=Illinois, L=Chicago, O="Contoso, Inc.", CN=*.contoso.com"
                  issuer-subject="C=BE, O=FabrikamSign nv-sa, OU=Root CA, CN=FabrikamSign Root CA" />
              <identity thumbprint="ABCD" issuer-certificate-id="fabrikam-root" />
            </identities>
          </validate-client-certificate></inbound></policies>"#,
        Scope::Api,
    );
    let whole: toml::Table =
        toml::from_str(&imported.toml).unwrap_or_else(|error| panic!("{error}\n{}", imported.toml));
    assert_eq!(whole["client_certificates"].as_str(), Some("optional"));
    let policy = whole["api"][0]["policies"]["validate_client_certificate"].as_table().unwrap();
    assert_eq!(policy["authorities"][0].as_str(), Some("client-authorities.pem"));
    assert_eq!(policy["revocation_lists"][0].as_str(), Some("client-revocations.pem"));
    assert_eq!(policy["validate_not_after"].as_bool(), Some(false));
    assert!(["validate_trust", "validate_not_before", "ignore_error"].iter().all(|name| !policy.contains_key(*name)));
    let identities = policy["identities"].as_array().unwrap();
    let subject = "C=US, ST=Illinois, L=Chicago, O=\"Contoso, Inc.\", CN=*.contoso.com";
    assert_eq!(identities[0]["subject"].as_str(), Some(subject));
    assert_eq!(identities[1]["issuer_certificate_id"].as_str(), Some("fabrikam-root.pem"));
    let told: Vec<&str> = imported.left.iter().map(|left| left.why.as_str()).collect();
    for file in ["client-authorities.pem", "client-revocations.pem", "fabrikam-root.pem"] {
        assert!(told.iter().any(|why| why.contains(file)), "{told:?}");
    }
}

#[test]
fn a_check_of_certificates_that_anybody_could_pass_is_left_out_whole() {
    let check = |attributes: &str, inside: &str| {
        inbound(&format!("<validate-client-certificate {attributes}>{inside}</validate-client-certificate>"))
    };
    let pinned = check(r#"validate-trust="false""#, r#"<identities><identity thumbprint="AB" /></identities>"#);
    let policy = policies(&pinned)["validate_client_certificate"].clone();
    assert_eq!(
        (policy["validate_trust"].as_bool(), policy["validate_revocation"].as_bool()),
        (Some(false), Some(false))
    );
    assert!(pinned.toml.contains("# client_certificates = \"optional\""), "{}", pinned.toml);
    for (attributes, inside) in [
        (r#"validate-trust="false""#, ""),
        (r#"validate-trust="false""#, r#"<identities><identity subject="CN=a" /></identities>"#),
        (r#"validate-trust="false""#, r#"<identities><identity thumbprint="AB" issuer-subject="CN=a" /></identities>"#),
        (r#"validate-trust="maybe""#, ""),
        (r#"ignore-error="@(true)""#, ""),
        ("", r#"<identities><identity common-name="{{unknown}}" /></identities>"#),
        ("", r#"<identities><identity issuer-certificate-id="../a" /></identities>"#),
    ] {
        let imported = check(attributes, inside);
        assert!(policies(&imported).is_empty(), "{attributes} {inside}: {}", imported.toml);
        assert!(!imported.left.is_empty(), "{attributes} {inside}");
    }
}

#[test]
fn a_certificate_for_the_service_becomes_two_files() {
    let imported = |attributes: &str| {
        let xml =
            format!("<policies><inbound><base /><authentication-certificate {attributes} /></inbound></policies>");
        imported(&xml, Scope::Api)
    };
    for (attributes, file) in [
        (r#"certificate-id="orders-client""#, "orders-client"),
        (r#"thumbprint="CA06F56B258B7A0D4F2B05470939478651151984""#, "CA06F56B258B7A0D4F2B05470939478651151984"),
        (r#"body="@(context.Variables.GetValueOrDefault<byte[]>("c"))" password="open sesame""#, "service-certificate"),
    ] {
        let imported = imported(attributes);
        let whole: toml::Table = toml::from_str(&imported.toml).unwrap_or_else(|error| panic!("{error}"));
        let onward = &whole["api"][0]["onward"]["client_certificate"];
        assert_eq!(onward["certificate"].as_str(), Some(format!("{file}.pem").as_str()), "{attributes}");
        assert_eq!(onward["key"].as_str(), Some(format!("{file}.key").as_str()), "{attributes}");
        assert!(imported.left.iter().any(|left| left.why.contains(&format!("{file}.key"))), "{:?}", imported.left);
        assert!(!imported.toml.contains("open sesame"));
    }
    for attributes in [r#"certificate-id="../a""#, r#"certificate-id="{{unknown}}""#] {
        let imported = imported(attributes);
        assert!(!imported.toml.contains("client_certificate") && !imported.left.is_empty(), "{}", imported.toml);
    }
}

#[test]
fn a_managed_identity_stays_one() {
    let imported = |attributes: &str| {
        let node = format!("<authentication-managed-identity {attributes} />");
        imported(&format!("<policies><inbound><base />{node}</inbound></policies>"), Scope::Api)
    };
    let own = r#"resource="https://storage.azure.com""#;
    for (attributes, client, left) in [
        (own.to_owned(), None, 0),
        (format!(r#"{own} client-id="5b1d2a2e""#), Some("5b1d2a2e"), 0),
        (format!(r#"{own} ignore-error="true""#), None, 1),
    ] {
        let imported = imported(&attributes);
        let whole: toml::Table = toml::from_str(&imported.toml).unwrap_or_else(|error| panic!("{error}"));
        let onward = whole["api"][0]["onward"]["managed_identity"].as_table().unwrap();
        assert_eq!(onward["resource"].as_str(), Some("https://storage.azure.com"));
        assert_eq!(onward.get("client_id").and_then(toml::Value::as_str), client);
        let about = imported.left.iter().filter(|left| left.element == "authentication-managed-identity");
        assert_eq!(about.count(), left, "{attributes}: {:?}", imported.left);
    }
    // A token that went into a variable went to the service only where the document sent it, and one of another identity never.
    for attributes in [
        format!(r#"{own} output-token-variable-name="token""#),
        format!(r#"{own} client-id="{{{{unknown}}}}""#),
        r#"resource="@(context.Request.Url.Host)""#.to_owned(),
    ] {
        let imported = imported(&attributes);
        assert!(!imported.toml.contains("managed_identity =") && !imported.left.is_empty(), "{}", imported.toml);
    }
}

#[test]
fn limits_of_single_apis_and_operations_stay_within_that_of_the_product() {
    let product = |inside: &str| {
        let imported = imported(&format!("<policies><inbound><base />{inside}</inbound></policies>"), Scope::Product);
        let whole: toml::Table = toml::from_str(&imported.toml).unwrap_or_else(|error| panic!("{error}"));
        let policies = whole.get("product").and_then(|product| product.get("policies")).cloned();
        (policies.unwrap_or(toml::Value::Boolean(false)), imported.left)
    };
    for (policy, element) in [("rate_limit", "rate-limit"), ("quota", "quota")] {
        let (policies, left) = product(&format!(
            r#"<{element} calls="9" renewal-period="60"><api id="orders" name="Orders" calls="5" renewal-period="30">
                 <operation name="create" calls="1" renewal-period="10" /><operation name="drop" calls="2" renewal-period="10" />
               </api><api name="billing" calls="3" renewal-period="60" /></{element}>"#
        ));
        assert_eq!(left, []);
        let limit = &policies[policy];
        let of = |it: &toml::Value| {
            (it["name"].as_str().unwrap().to_owned(), it["calls"].as_integer(), it["renewal_period"].as_integer())
        };
        assert_eq!(limit["calls"].as_integer(), Some(9));
        assert_eq!(of(&limit["api"][0]), ("orders".to_owned(), Some(5), Some(30)), "the id, where both are there");
        assert_eq!(of(&limit["api"][1]), ("billing".to_owned(), Some(3), Some(60)));
        assert_eq!(of(&limit["api"][0]["operation"][0]), ("create".to_owned(), Some(1), Some(10)));
        assert_eq!(of(&limit["api"][0]["operation"][1]), ("drop".to_owned(), Some(2), Some(10)));
        // What is not known is left out whole, and told; the rest stays.
        for wrong in [
            r#"<api calls="5" renewal-period="30"/>"#,
            r#"<api name="{{unknown}}" calls="5" renewal-period="30"/>"#,
            r#"<api name="a" calls="many" renewal-period="30"/>"#,
            r#"<api name="a" calls="5"/>"#,
            r#"<operation name="a" calls="5" renewal-period="30"/>"#,
        ] {
            let (policies, left) = product(&format!(r#"<{element} calls="9" renewal-period="60">{wrong}</{element}>"#));
            assert!(policies[policy].get("api").is_none() && !left.is_empty(), "{wrong}: {policies} {left:?}");
        }
    }
}

#[test]
fn a_quota_of_a_key_is_carried_whole_or_not_at_all() {
    let good = inbound(
        r#"<quota-by-key calls="10" bandwidth="100" renewal-period="3600" counter-key="@(context.Request.IpAddress)"
             increment-condition="@(context.Response.StatusCode == 200)" increment-count="2" first-period-start="2026-01-01T00:00:00Z" />"#,
    );
    assert_eq!(good.left, []);
    let policies_of_good = policies(&good);
    let quota = &policies_of_good["quota_by_key"][0];
    assert_eq!(
        quota.to_string(),
        "{ bandwidth = 100, calls = 10, counter_key = [\"address\"], first_period_start = 2026-01-01T00:00:00Z, \
         increment_count = 2, increment_statuses = [200], renewal_period = 3600 }"
    );
    for (attributes, is_left_out) in [
        (r#"calls="10" counter-key="a""#, true),
        (r#"calls="many" renewal-period="0" counter-key="a""#, true),
        (r#"calls="10" renewal-period="0""#, true),
        (r#"calls="10" renewal-period="0" counter-key="@(context.Request.Url.Path)""#, true),
        (r#"calls="10" renewal-period="0" counter-key="a" increment-count="@(1)""#, true),
        (r#"calls="10" renewal-period="0" counter-key="a" first-period-start="2026-01-01""#, true),
        (r#"calls="10" renewal-period="0" counter-key="a" first-period-start="{{unknown}}""#, true),
        (r#"calls="10" renewal-period="0" counter-key="a" increment-condition="@(true)""#, false),
    ] {
        let imported = inbound(&format!("<quota-by-key {attributes} />"));
        assert_eq!(policies(&imported).is_empty(), is_left_out, "{attributes}: {}", imported.toml);
        assert!(!imported.left.is_empty(), "{attributes}");
    }
}
