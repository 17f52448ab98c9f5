//! What the service is sent: no credential goes where the document did not send it.
use super::*;

#[test]
fn of_two_credentials_for_the_service_the_first_stays() {
    let basic = |user: &str| format!("<authentication-basic username=\"{user}\" password=\"b\" />");
    let (onward, imported) = onward(&format!("{}\n{}", basic("first"), basic("second")));
    assert!(onward.contains("first") && !onward.contains("second"), "{onward}");
    assert!(imported.left.iter().any(|left| left.line == 5 && left.why.contains("a second credential")));
}

#[test]
fn without_the_documents_credential_a_service_is_asked_with_none() {
    let (untouched, _) = onward("");
    assert_eq!(untouched, "\"passthrough\"");
    let (taken_out, imported) = onward("<set-header name=\"Authorization\" exists-action=\"delete\" />");
    assert_eq!((taken_out.as_str(), imported.left.len()), ("\"none\"", 0));
    let token = "<send-request response-variable-name=\"t\"><set-url>https://login.microsoftonline.com/x/oauth2/v2.0/token</set-url>\
        <set-body>grant_type=client_credentials&amp;client_id=own&amp;scope=https%3A%2F%2Fgraph.microsoft.com%2F.default</set-body></send-request>";
    for statements in [
        "<set-header name=\"Authorization\"><value>Basic {{x}}</value></set-header>".to_owned(),
        "<set-header name=\"authorization\" exists-action=\"override\"><value>@(x)</value></set-header>".to_owned(),
        "<authentication-basic username=\"{{unknown}}\" password=\"a\" />".to_owned(),
        "<authentication-managed-identity resource=\"{{unknown}}\" />".to_owned(),
        "<authentication-managed-identity />".to_owned(),
        "<choose><when condition=\"@(true)\"><authentication-basic username=\"a\" password=\"b\" /></when></choose>".to_owned(),
        format!("{token}<choose><when condition=\"@(true)\"><set-header name=\"Authorization\"><value>@(\"Bearer \" + (string)context.Variables[\"t\"])</value></set-header></when></choose>"),
        "<get-authorization-context provider-id=\"a\" context-variable-name=\"c\" /><set-header name=\"Authorization\"><value>@(\"Bearer \" + ((Authorization)context.Variables.GetValueOrDefault(\"c\"))?.AccessToken)</value></set-header>".to_owned(),
    ] {
        let (onward, imported) = onward(&statements);
        assert_eq!(onward, "\"none\"", "{statements}: {:?}", imported.left);
        assert!(!imported.left.is_empty(), "{statements}");
    }
    // A token that goes elsewhere is not the service's.
    for elsewhere in [
        "",
        "<set-header name=\"X-Audit\"><value>@((string)context.Variables[\"t\"])</value></set-header>",
        "<send-one-way-request><set-url>https://a.example/</set-url><set-header name=\"Authorization\"><value>@((string)context.Variables[\"t\"])</value></set-header></send-one-way-request>",
    ] {
        let (onward, imported) = onward(&format!("{token}{elsewhere}"));
        assert_eq!(onward, "\"passthrough\"", "{elsewhere}");
        assert!(!imported.toml.contains("[[authority]]"), "{elsewhere}: {}", imported.toml);
        assert!(
            imported.left.iter().any(|left| left.why.contains("not what the service is sent")),
            "{:?}",
            imported.left
        );
    }
    let sent = "<set-header name=\"Authorization\"><value>@(\"Bearer \" + (string)context.Variables[\"t\"])</value></set-header>";
    assert!(onward(&format!("{token}{sent}")).0.contains("graph.microsoft.com/.default"));
    // As it is documented for managed identities.
    let identity =
        "<authentication-managed-identity resource=\"https://storage.azure.com\" output-token-variable-name=\"t\" />";
    let (own, imported) = onward(&format!("{identity}{sent}"));
    assert!(own.contains("managed_identity") && imported.left.is_empty(), "{own}: {:?}", imported.left);
}

const BASIC: &str = "<authentication-basic username=\"gateway\" password=\"b\" />";
const IDENTITY: &str = "<authentication-managed-identity resource=\"https://storage.azure.com\" />";
const DELETE: &str = "<set-header name=\"Authorization\" exists-action=\"delete\" />";

#[test]
fn the_gateways_own_credential_is_not_carried_where_the_document_fixes_the_request() {
    let exchanged = |grant: &str| {
        format!(
            "<send-request response-variable-name=\"t\"><set-url>https://id.example/token</set-url><set-method>POST</set-method>\
             <set-body>{grant}&amp;client_id=own&amp;scope=api%3A%2F%2Forders%2F.default</set-body></send-request>\
             <set-header name=\"Authorization\"><value>@(\"Bearer \" + (string)context.Variables[\"t\"])</value></set-header>"
        )
    };
    let own = exchanged("grant_type=client_credentials");
    let users =
        exchanged("requested_token_use=on_behalf_of&amp;grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer");
    let certificate = "<authentication-certificate certificate-id=\"a\" />";
    for fixed in [
        "<rewrite-uri template=\"/run\" />",
        "<set-method>POST</set-method>",
        "<set-body>{}</set-body>",
        "<set-query-parameter name=\"a\"><value>b</value></set-query-parameter>",
        "<find-and-replace from=\"a\" to=\"b\" />",
        "<choose><when condition=\"@(true)\"><rewrite-uri template=\"/run\" /></when></choose>",
    ] {
        for (credential, name) in [
            (BASIC, "basic"),
            (IDENTITY, "managed_identity"),
            (certificate, "client_certificate"),
            (&own, "client_credentials"),
        ] {
            for (onward, imported) in [
                onward(&format!("{fixed}\n{credential}")),
                onward(&format!("{credential}\n{fixed}")),
                onward_of(credential, fixed),
            ] {
                assert_eq!(onward, "\"none\"", "{fixed} {credential}");
                let told = |left: &Left| {
                    left.why.contains("here callers would choose it") && left.why.contains(&format!("{{ {name} = "))
                };
                assert!(imported.left.iter().any(told), "{:?}", imported.left);
                // Nor is anything that only it would ask, and that would want a secret.
                assert!(!imported.toml.contains("[[authority]]"), "{}", imported.toml);
                assert!(!imported.toml.contains("is not written into the file"), "{}", imported.toml);
                let whole = |left: &Left| left.why.contains("beside `authority = [{ name = \"own\", token_endpoint = ");
                assert_eq!(imported.left.iter().any(whole), name == "client_credentials", "{:?}", imported.left);
            }
        }
        assert_eq!(onward(fixed).0, "\"passthrough\"", "the caller's own token lets nobody do more");
        assert!(onward(&format!("{users}{fixed}")).0.contains("on_behalf_of"), "nor does one of the user");
    }
    // What another service is sent, or the caller is answered, fixes nothing.
    for elsewhere in [
        "<send-request><set-url>https://a.example/</set-url><set-method>POST</set-method><set-body>a</set-body></send-request>",
        "<choose><when condition=\"@(true)\"><return-response><set-body>no</set-body></return-response></when></choose>",
        "<set-query-parameter name=\"a\" exists-action=\"skip\"><value>b</value></set-query-parameter>",
    ] {
        assert!(onward(&format!("{elsewhere}{BASIC}")).0.contains("basic"), "{elsewhere}");
    }
}

#[test]
fn what_the_backend_section_sends_is_read_as_what_stands_at_the_end_of_inbound() {
    let header = "<set-header name=\"Authorization\"><value>@((string)context.Variables[\"t\"])</value></set-header>";
    let token = "<authentication-managed-identity resource=\"api://orders\" output-token-variable-name=\"t\" />";
    assert_eq!(onward_of("", header).0, "\"none\"");
    assert_eq!(onward_of(BASIC, DELETE).0, "\"none\"");
    assert_eq!(onward_of("", "<authentication-managed-identity />").0, "\"none\"");
    assert_eq!(onward_of("", "<authentication-token />").0, "\"none\"", "whatever it is");
    for (inbound, backend) in [("", IDENTITY), (token, header), (DELETE, IDENTITY)] {
        let (onward, imported) = onward_of(inbound, backend);
        assert!(onward.contains("managed_identity"), "{backend}: {onward}");
        assert_eq!(imported.left, [], "{backend}");
    }
    let named = onward_of("", "<set-header name=\"X-Edge\"><value>a</value></set-header>").1;
    assert!(named.toml.contains("[[api.policies.set_header]]"), "{}", named.toml);
}

#[test]
fn of_a_credential_and_what_takes_it_out_the_later_one_counts() {
    let certificate = "<authentication-certificate certificate-id=\"a\" />";
    for (statements, is_sent, is_told) in [
        (format!("{DELETE}\n{IDENTITY}"), true, false),
        (format!("{IDENTITY}\n{DELETE}"), false, true),
        (format!("{BASIC}\n{DELETE}\n{IDENTITY}"), true, true),
        (format!("{DELETE}\n{IDENTITY}\n{DELETE}"), false, true),
        (format!("{certificate}\n{DELETE}"), true, false),
    ] {
        let (onward, imported) = onward(&statements);
        assert_eq!(onward != "\"none\"", is_sent, "{statements}: {onward}");
        assert!(!onward.contains("basic"), "{statements}: {onward}");
        let told = imported.left.iter().any(|left| left.why.contains("takes it out"));
        assert_eq!(told, is_told, "{statements}: {:?}", imported.left);
    }
}

#[test]
fn a_fragment_may_hold_the_credential() {
    let fragment = "<include-fragment fragment-id=\"a\" />";
    for statements in [fragment.to_owned(), format!("<choose><otherwise>{fragment}</otherwise></choose>")] {
        let (with, imported) = onward(&statements);
        assert_eq!(with, "\"none\"", "{statements}");
        assert!(imported.left.iter().any(|left| left.why.contains("may go the service's credential")));
        assert!(onward(&format!("{statements}{BASIC}")).0.contains("basic"), "one of the document's own is carried");
    }
}

#[test]
fn beyond_an_api_the_apis_credential_counts_until_another_is_written() {
    let xml = "<policies><inbound><base /><authentication-basic password=\"b\" /><choose><when condition=\"@(true)\">\
        <authentication-basic username=\"a\" password=\"b\" /></when></choose>\
        <set-header name=\"Authorization\"><value>a</value></set-header></inbound></policies>";
    for (scope, place) in [
        (Scope::Global, "each `[[api]]`"),
        (Scope::Product, "each `[[api]]`"),
        (Scope::Operation, "the `[[api.operation]]`"),
    ] {
        let imported = imported(xml, scope);
        let until = format!("write `onward = …` in {place}; until you do, the API's counts");
        assert_eq!(imported.left.iter().filter(|left| left.why.contains(&until)).count(), 2, "{:?}", imported.left);
        assert!(!imported.toml.contains("it is sent none"), "{}", imported.toml);
        assert!(imported.toml.contains("counts:\n# onward = \"none\""), "{}", imported.toml);
    }
}

#[test]
fn a_credential_for_another_service_is_not_this_ones() {
    let inside = |inside: &str| format!("<choose><when condition=\"@(true)\">{inside}</when></choose>");
    let header = "<set-header name=\"Authorization\"><value>Basic x</value></set-header>";
    let (elsewhere, _) =
        onward(&inside(&format!("<send-request><set-url>https://a.example/</set-url>{header}</send-request>")));
    assert_eq!(elsewhere, "\"passthrough\"");
    let (here, imported) = onward(&inside(header));
    assert_eq!(here, "\"none\"");
    assert!(imported.left.iter().any(|left| left.why.contains("it is sent none")), "{:?}", imported.left);
}
