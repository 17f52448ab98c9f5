//! What a dialog has to ask: the permissions of the request, all that the registration needs where `.default` is asked,
//! and with `knownClientApplications` what the middle tier needs in its turn (spec/entra.md section 7).
use crate::authorize::standing::{Standing, combined};
use crate::authorize::{Browser, Parameters};
use crate::consent::{Need, Offer, Section, Shown, may_add, needs};
use crate::denial::Denial;
use crate::directory::{Registration, Snapshot};
use crate::facts::{Asked, Facts, ResourceFacts, Target};
use crate::id::{AppId, TenantId};
use crate::presence::Present;
use decision::CheckId;
use oauth::Scopes;
use std::sync::Arc;

/// Edges to agree to.
#[derive(Default)]
pub(in crate::authorize) struct Dialog {
    shown: Vec<Shown>,
    adds: Vec<(AppId, String)>,
    tenant: TenantId,
    /// Why the person cannot agree to it alone.
    pub(in crate::authorize) needs_admin: Option<Box<Denial>>,
}

impl Dialog {
    pub(in crate::authorize) fn is_empty(&self) -> bool {
        self.shown.is_empty() && self.adds.is_empty()
    }

    pub(super) fn into_parts(self) -> (Vec<Section>, Offer, Vec<String>) {
        let (edges, sections) = self.shown.into_iter().map(|shown| (shown.edge, shown.section)).unzip();
        let (adds, names) = self.adds.into_iter().unzip();
        (sections, Offer { tenant: self.tenant, edges, adds }, names)
    }

    fn holds(&self, client: &Registration, resource: AppId) -> bool {
        let same = |shown: &Shown| shown.edge.client == client.principal.id && shown.edge.resource_app == resource;
        self.shown.iter().any(same)
    }

    fn refer(&mut self, denial: Denial) {
        self.needs_admin.get_or_insert_with(|| Box::new(denial));
    }
}

/// What one verdict of admission at sign-in leaves to ask, where asking would mend it.
///
/// # Errors
/// With the denial that consent does not mend.
#[expect(clippy::too_many_arguments, reason = "what is left to ask follows from all of these")]
pub(in crate::authorize) fn gather(
    dialog: &mut Dialog,
    facts: &Facts,
    verdict: Result<(), Denial>,
    place: &Standing,
    snapshot: &Snapshot,
    asked: &Parameters,
    browser: &Browser,
    (client, signed_in): (&Registration, &Present),
) -> Result<(), Box<Denial>> {
    let again = asked.prompt_consent && !browser.agreed;
    match (verdict, &facts.target) {
        (Ok(()), Target::Resource(resource)) if again => everything(dialog, resource, client, place),
        (Ok(()), _) => {}
        (Err(denial), Target::Resource(resource)) => {
            consentable(dialog, resource, denial, client, signed_in, place)?;
        }
        (Err(denial), _) => return Err(Box::new(denial)),
    }
    if let Target::Resource(resource) = &facts.target
        && resource.asked == Asked::Default
        && !browser.agreed
    {
        // Told before anything is asked, `prompt=none` can only stay silent about what others need.
        let silent = asked.prompt_none;
        registered(dialog, resource, client, signed_in, place, snapshot, (again, silent))?;
    }
    Ok(())
}

/// What is missing at one resource, or the denial if agreeing would not mend it.
fn consentable(
    dialog: &mut Dialog,
    resource: &ResourceFacts,
    denial: Denial,
    client: &Registration,
    signed_in: &Present,
    place: &Standing,
) -> Result<(), Box<Denial>> {
    let Some(missing) = denial.missing.clone().filter(|missing| !missing.is_empty()) else {
        return Err(Box::new(denial));
    };
    let Some(registration) = place.tenant.app(resource.app_id) else { return Err(Box::new(denial)) };
    // An administrator who agrees to some agrees to all that is missing: one page.
    let all: Scopes = match &resource.asked {
        Asked::Named(named) => {
            let named: Scopes = named.iter().filter_map(|(_, value)| value.as_deref()).collect();
            named.difference(&held(resource))
        }
        _ => missing.union(&resource.declared.clone().unwrap_or_default()),
    };
    dialog.shown.push(Shown::of(client, registration, &resource.published, &all));
    let admin_only = resource.published.iter().any(|p| p.admin_only && all.contains(&p.value))
        && denial.id() == CheckId::ConsentAdmin;
    if !signed_in.user.user.is_tenant_admin && (admin_only || !signed_in.tenant.tenant.settings.user_consent) {
        let (client, api) = (&client.application.display_name, &resource.display_name);
        let expected = format!("an administrator's consent for {client} to `{all}` of {api}");
        dialog.refer(Denial::new(CheckId::ConsentAdmin, expected, "none"));
    }
    Ok(())
}

/// What is granted already. What a user agreed to alone and only an administrator may allow counts for nothing.
fn held(resource: &ResourceFacts) -> Scopes {
    let only_admin = resource.published.iter().filter(|published| published.admin_only);
    let only_admin: Scopes = only_admin.map(|published| published.value.as_str()).collect();
    let by_admin = resource.tenant_grant.union(&resource.pre_authorized);
    by_admin.union(&resource.user_grant.difference(&only_admin))
}

/// `prompt=consent`: everything that is asked for is shown again.
fn everything(dialog: &mut Dialog, resource: &ResourceFacts, client: &Registration, place: &Standing) {
    let Some(registration) = place.tenant.app(resource.app_id) else { return };
    let all: Scopes = match &resource.asked {
        Asked::Named(named) => named.iter().filter_map(|(_, value)| value.as_deref()).collect(),
        _ => resource.declared.clone().unwrap_or_default(),
    };
    // What only an administrator may agree to is granted already, or admission would have refused.
    let published: Vec<_> = resource.published.iter().filter(|p| !p.admin_only).cloned().collect();
    let shown = Shown::of(client, registration, &published, &all);
    if !shown.edge.scope.is_empty() {
        dialog.shown.push(shown);
    }
}

/// `.default` asks for all that is registered, at every API; and for a client that the API knows, for what the API needs.
fn registered(
    dialog: &mut Dialog,
    resource: &ResourceFacts,
    client: &Registration,
    signed_in: &Present,
    place: &Standing,
    snapshot: &Snapshot,
    (again, silent): (bool, bool),
) -> Result<(), Box<Denial>> {
    let user = Some(&*signed_in.user);
    let prompted = again || !dialog.shown.is_empty();
    if prompted {
        for need in needs(snapshot, &place.tenant, client, user) {
            let need = need.map_err(Box::new)?;
            ask(dialog, client, &need, again, signed_in, true);
        }
    }
    let Some(middle) = place.tenant.app(resource.app_id).filter(|it| combined(&client.application, &it.application))
    else {
        return Ok(());
    };
    for need in needs(snapshot, &place.tenant, middle, user) {
        match need {
            Ok(need) if prompted => ask(dialog, middle, &need, again, signed_in, true),
            // Nobody has consented yet to what the API needs: the first call on behalf of the user would fail (65001).
            Ok(need) if !need.granted && !silent => ask(dialog, middle, &need, again, signed_in, false),
            Err(denial) if prompted => return Err(Box::new(denial)),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// Adds what an application needs at one API. What the request does not depend on is left out if only an administrator may
/// agree to it.
fn ask(dialog: &mut Dialog, of: &Registration, need: &Need, again: bool, signed_in: &Present, depends: bool) {
    let settled = need.admin_only(&need.declared).difference(&need.missing);
    let scopes = if again { need.declared.difference(&settled) } else { need.missing.clone() };
    if scopes.is_empty() || dialog.holds(of, need.app()) {
        return;
    }
    let admin = signed_in.user.user.is_tenant_admin;
    let needs_admin = !need.admin_only(&scopes).is_empty() || !signed_in.tenant.tenant.settings.user_consent;
    if needs_admin && !admin {
        if !depends {
            return;
        }
        let expected = format!(
            "an administrator's consent for {} to `{scopes}` of {}",
            of.application.display_name, need.resource.application.display_name
        );
        dialog.refer(Denial::new(CheckId::ConsentAdmin, expected, "none"));
    }
    dialog.shown.push(need.shown(of, &scopes));
}

impl Dialog {
    /// Names the applications that must be added for what is asked, and the client if it is new.
    pub(in crate::authorize) fn add(&mut self, place: &Standing, client: &Registration, signed_in: &Present) {
        self.tenant = signed_in.tenant.tenant.id;
        let concerned = |app: AppId| {
            let principal = place.tenant.app(app).map(|registration| registration.principal.id);
            app == client.application.app_id
                || self.shown.iter().any(|shown| shown.edge.resource_app == app || Some(shown.edge.client) == principal)
        };
        let added: Vec<&Arc<_>> = place.added.iter().filter(|application| concerned(application.app_id)).collect();
        let adds = added.into_iter().map(|application| (application.app_id, application.display_name.clone()));
        self.adds = adds.collect();
        if let Some((_, name)) = self.adds.first()
            && !may_add(&signed_in.user.user, &place.tenant)
        {
            let expected = format!("an administrator who adds `{name}` to this organization");
            self.refer(Denial::new(CheckId::ConsentAdmin, expected, "an application that nobody added yet"));
        }
    }
}
