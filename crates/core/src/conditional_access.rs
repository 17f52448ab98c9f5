//! Conditional access: policies are data, and this is what they mean.
use crate::denial::Denial;
use crate::facts::UserFacts;
use crate::id::AppId;
use crate::model::Policy;
use decision::{CheckId, Timestamp};
use oauth::ClaimsRequest;

/// How the user authenticated.
#[derive(Clone, Copy, Debug)]
pub struct Strength<'a> {
    /// RFC 8176 methods.
    pub amr: &'a [String],
    /// Authentication contexts satisfied.
    pub acrs: &'a [String],
}

/// Whether a policy covers a resource. Policies are gathered by this, and then matched against the user.
pub fn covers(policy: &Policy, resource: AppId) -> bool {
    let conditions = &policy.conditions;
    !conditions.exclude_applications.contains(&resource)
        && (conditions.include_applications.is_empty() || conditions.include_applications.contains(&resource))
}

fn concerns(policy: &Policy, user: &UserFacts) -> bool {
    let conditions = &policy.conditions;
    let spared = conditions.exclude_users.contains(&user.id)
        || conditions.exclude_groups.iter().any(|g| user.groups.contains(g));
    let everyone = conditions.include_users.is_empty() && conditions.include_groups.is_empty();
    let named = conditions.include_users.contains(&user.id)
        || conditions.include_groups.iter().any(|g| user.groups.contains(g));
    !spared && (everyone || named)
}

/// Evaluates every policy that covers the resource. A block wins over everything a sign-in could satisfy.
///
/// # Errors
/// The first unmet demand, with the claims that a new sign-in must satisfy.
pub fn evaluate(policies: &[Policy], user: &UserFacts, strength: Strength<'_>) -> Result<(), Denial> {
    let binding: Vec<&Policy> = policies.iter().filter(|policy| concerns(policy, user)).collect();
    if let Some(policy) = binding.iter().find(|policy| policy.grant_controls.block) {
        let actual = format!("the policy `{}` blocks this user at this resource", policy.display_name);
        return Err(Denial::new(CheckId::AccessNotBlocked, "access that no policy blocks", actual));
    }
    for policy in binding {
        let controls = &policy.grant_controls;
        if controls.mfa && !strength.amr.iter().any(|method| method == "mfa") {
            let claims = serde_json::json!({"access_token": {"polids": {"essential": true, "values": [policy.id]}}});
            let actual = format!(
                "a sign-in by {}",
                if strength.amr.is_empty() { "nothing".into() } else { strength.amr.join(", ") }
            );
            let expected = format!("multi-factor authentication, as the policy `{}` demands", policy.display_name);
            return Err(Denial::new(CheckId::MfaSatisfied, expected, actual).challenge(claims.to_string()));
        }
        if let Some(context) = &controls.authentication_context
            && !strength.acrs.contains(context)
        {
            let expected =
                format!("the authentication context `{context}`, as the policy `{}` demands", policy.display_name);
            return Err(unmet_context(expected, context, strength));
        }
    }
    Ok(())
}

/// Essential claims of the `claims` parameter: met, or refused, never skipped.
///
/// # Errors
/// The first essential claim that this session cannot meet.
pub fn essential(
    claims: &ClaimsRequest,
    strength: Strength<'_>,
    auth_time: Timestamp,
    now: Timestamp,
) -> Result<(), Denial> {
    if let Some(asked) = claims.access_token("acrs").filter(|asked| asked.essential)
        && (strength.acrs.is_empty() || !asked.values.is_empty())
        && !asked.values.iter().any(|value| strength.acrs.contains(value))
    {
        let context = asked.values.first().map_or("c1", String::as_str);
        return Err(unmet_context(format!("the authentication context `{context}`"), context, strength));
    }
    if let Some(asked) = claims.access_token("nbf").filter(|asked| asked.essential)
        && let Some(value) = asked.values.first()
    {
        let Ok(moment) = value.parse().map(Timestamp) else {
            return Err(Denial::new(
                CheckId::RequestWellFormed,
                "an essential `nbf` in seconds since 1970",
                "another text",
            ));
        };
        if moment <= now && auth_time >= moment {
            return Ok(());
        }
        let claims = serde_json::json!({"access_token": {"nbf": {"essential": true, "value": moment.0.to_string()}}});
        let expected = format!("a sign-in at or after {moment}");
        let found = format!("a sign-in at {auth_time}");
        return Err(Denial::new(CheckId::EssentialClaim, expected, found).challenge(claims.to_string()));
    }
    Ok(())
}

fn unmet_context(expected: String, context: &str, strength: Strength<'_>) -> Denial {
    let claims = serde_json::json!({"access_token": {"acrs": {"essential": true, "value": context}}});
    let actual = if strength.acrs.is_empty() { "a sign-in with none".to_owned() } else { strength.acrs.join(", ") };
    Denial::new(CheckId::ContextSatisfied, expected, actual).challenge(claims.to_string())
}
