//! The reference, written from the tables that serve: the endpoints' and the catalogue of checks.
use crate::{Caller, Endpoint, Readers, endpoints};
use decision::{CheckId, Fixer};
use deputize_core::directory_api::{ROUTES, Standing};
use oauth::{Need, Parameters, Place};
use std::fmt::{self, Write};

/// The pages of the reference: the name of each file, and what stands in it.
pub fn reference() -> [(&'static str, String); 3] {
    [("endpoints.md", page(endpoints_page)), ("directory.md", page(directory_page)), ("checks.md", page(checks_page))]
}

fn page(write: fn(&mut String) -> fmt::Result) -> String {
    let mut text =
        "<!-- Written by `cargo xtask generate` from the code that serves. Change it there. -->\n\n".to_owned();
    // A string takes everything.
    let _ = write(&mut text);
    text
}

fn endpoints_page(to: &mut String) -> fmt::Result {
    to.write_str(
        "# Endpoints of the authority\n\n\
         The router is made from the tables on this page. A path that is not here is answered with 404, a method that is \
         not here with 405 and `Allow`, and a parameter or header field that is not here is not read.\n\n\
         `{tenant}` is a tenant's id or one of its domains; sign-in, token and metadata endpoints also take the aliases \
         `common` and `organizations`. Every parameter stands once (`resource` may be repeated), form-encoded in UTF-8, \
         within 64 KiB; an empty one counts as absent. A body is `application/x-www-form-urlencoded`. How a refusal looks, \
         and what each code means, is in [checks](checks.md).\n\n\
         | endpoint | paths | methods |\n|---|---|---|\n",
    )?;
    for endpoint in endpoints() {
        let paths: Vec<String> = endpoint.routes.iter().map(|route| format!("`{}`", route.path)).collect();
        let (title, methods) = (endpoint.title, endpoint.methods.join(", "));
        writeln!(to, "| [{title}](#{}) | {} | {methods} |", anchor(title), paths.join("<br>"))?;
    }
    endpoints().try_for_each(|endpoint| endpoint_section(to, endpoint))
}

/// The directory API, from the table that its router reads.
fn directory_page(to: &mut String) -> fmt::Result {
    to.write_str(
        "# The directory API\n\n\
         Registrations, service principals, users and consents of one tenant, below `/{tenant}/v1.0/`, with Microsoft Graph's \
         paths, shapes and names of permissions. It takes tokens for `api://deputize`; what a token allows is what still \
         stands behind it at the call, conditional access included. `applications(appId='…')` names an object too; `id` and \
         `appId` of a registration are the same.\n\n\
         An owner changes their own registrations, but not `signInAudience`, `api.preAuthorizedApplications`, \
         `tokenLifetimePolicy` and `deputize`, and is not the last to go. An application changes its own secrets and \
         certificates, whatever its role. An application with power over the directory is changed by administrators and \
         by itself alone. Properties that are not sent stay, lists are replaced whole, and what is not known is refused.\n\n\
         | method | path | delegated permissions | app roles | the user is |\n|---|---|---|---|---|\n",
    )?;
    for route in ROUTES {
        let rule = route.operation.rule();
        let named = |all: &[&str]| all.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join("<br>");
        let standing = match rule.standing {
            Standing::Administrator => "an administrator",
            Standing::Owner => "an administrator, or an owner",
            Standing::Oneself => "anyone: it is about them",
        };
        let (verb, path) = (route.verb, route.path);
        writeln!(to, "| {verb} | `{path}` | {} | {} | {standing} |", named(rule.scopes), named(rule.roles))?;
    }
    Ok(())
}

/// How renderers name a heading.
fn anchor(title: &str) -> String {
    let kept = title.to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-')).collect::<String>().replace(' ', "-")
}

fn endpoint_section(to: &mut String, endpoint: &Endpoint) -> fmt::Result {
    writeln!(to, "\n## {}\n\n{}\n", endpoint.title, endpoint.purpose)?;
    for route in endpoint.routes {
        writeln!(to, "- `{} {}`", endpoint.methods.join(" | "), route.path)?;
    }
    let caller = match endpoint.caller {
        Caller::Browser => "Browsers call it; it answers with pages and redirects.",
        Caller::OwnPage => "Only pages of this authority post to it, in the browser that they were shown to.",
        Caller::Program => "Programs call it; it answers with JSON, or as said below.",
    };
    let readers = match endpoint.readers {
        Readers::None => "",
        Readers::SinglePage => " Pages of registered single-page applications may read its answers (CORS).",
        Readers::Any => " Pages of any site may read its answers (CORS).",
    };
    writeln!(to, "\n{caller}{readers}")?;
    if endpoint.parameters().next().is_none() {
        writeln!(to, "\nIt reads no parameters.")?;
    } else {
        writeln!(to, "\n| parameter | in | needed | what it does |\n|---|---|---|---|")?;
    }
    endpoint.parameters.iter().copied().flatten().try_for_each(|parameters| rows(to, parameters))?;
    if !endpoint.notes.is_empty() {
        to.write_char('\n')?;
    }
    endpoint.notes.iter().try_for_each(|note| writeln!(to, "- {note}"))
}

fn rows(to: &mut String, Parameters { when, each }: &Parameters) -> fmt::Result {
    if !when.is_empty() {
        writeln!(to, "| **{when}** | | | |")?;
    }
    for parameter in *each {
        let place = match parameter.place {
            Place::Body => "body",
            Place::Query => "query",
            Place::Either => "query or body",
            Place::Header => "header",
        };
        let need = match parameter.need {
            Need::Required => "always",
            Need::Optional => "",
            Need::Depends => "sometimes",
        };
        writeln!(to, "| `{}` | {place} | {need} | {} |", parameter.name, parameter.behaviour)?;
    }
    Ok(())
}

/// What each surface asks is told apart by the first word of an id.
const GROUPS: [(&str, &str); 25] = [
    ("request", "The request"),
    ("tenant", "The tenant"),
    ("client", "The client"),
    ("assertion", "The assertion of On-Behalf-Of"),
    ("resource", "The resource"),
    ("scope", "Scopes"),
    ("role", "App roles"),
    ("consent", "Consent"),
    ("user", "The user"),
    ("session", "The session"),
    ("sign_in", "Signing in"),
    ("second_factor", "The second factor"),
    ("access", "Conditional access"),
    ("chain", "Chains of delegation"),
    ("authorize", "The authorization request"),
    ("interaction", "Pages"),
    ("code", "Authorization codes"),
    ("device", "Devices"),
    ("refresh", "Refresh tokens"),
    ("revocation", "Revocation"),
    ("limits", "Limits"),
    ("discovery", "Discovery"),
    ("store", "The store"),
    ("token", "Tokens, where an API receives them"),
    ("", "Other"),
];

fn checks_page(to: &mut String) -> fmt::Result {
    to.write_str(
        "# Checks, codes and errors\n\n\
         Every refusal names one check. Its id is the same on all surfaces; in the answer it stands in \
         `deputize_hint.check`, with what was `expected`, what was found (`actual`), who can mend it (`fixer`) and how \
         (`fix`).\n\n\
         An authority answers a client of the `entra` profile with `error`, `error_codes` (the AADSTS code), `suberror` where \
         the user must act, `claims` where a sign-in must satisfy them, `trace_id` (the decision's id), `correlation_id` (the \
         request's `client-request-id`) and `error_uri`. A client of the `native` profile gets RFC 6749's words: \
         `invalid_target` for `invalid_resource`, `access_denied` for `authorization_declined`, `invalid_grant` for \
         `bad_verification_code`. At the redirect URI of an authorization request `error` is one that OAuth and OpenID Connect \
         have for it. APIs answer with `WWW-Authenticate: Bearer` (RFC 6750, RFC 9470).\n",
    )?;
    for (prefix, title) in GROUPS {
        let here = |check: &&CheckId| {
            let word = check.entry().id.split('.').next().unwrap_or_default();
            let group = GROUPS.iter().find(|(known, _)| *known == word).map_or("", |(known, _)| known);
            group == prefix
        };
        let mut checks = CheckId::ALL.iter().filter(here).peekable();
        if checks.peek().is_none() {
            continue;
        }
        writeln!(to, "\n## {title}\n")?;
        writeln!(
            to,
            "| check | AADSTS | error | HTTP | it holds when | who mends it | how |\n|---|---|---|---|---|---|---|"
        )?;
        checks.try_for_each(|check| check_row(to, *check))?;
    }
    Ok(())
}

fn check_row(to: &mut String, check: CheckId) -> fmt::Result {
    let entry = check.entry();
    let code = entry.aadsts.map(|code| code.to_string()).unwrap_or_default();
    let suberror = entry.suberror.map(|suberror| format!("<br>suberror `{suberror}`")).unwrap_or_default();
    let reason = entry.reason.map(|reason| format!("<br>reason `{reason}`")).unwrap_or_default();
    writeln!(
        to,
        "| `{}` | {code} | `{}`{suberror}{reason} | {} | {} | {} | {} |",
        entry.id,
        entry.error,
        entry.status,
        entry.title,
        fixer(entry.fixer),
        entry.fix.replace('|', "\\|"),
    )
}

fn fixer(fixer: Fixer) -> &'static str {
    match fixer {
        Fixer::Caller => "the caller",
        Fixer::CallerAdmin => "who administers the caller",
        Fixer::ApiOwner => "the API's owner",
        Fixer::TenantAdmin => "the tenant's administrator",
        Fixer::Operator => "the operator",
    }
}
