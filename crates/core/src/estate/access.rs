//! Conditional access in an estate: policies and named locations, with Graph's shape and references by name.
use super::resolve::{Work, derive, suggestion};
use super::{Item, rules};
use crate::id::{AppId, GroupId, ObjectId, TenantId, UserId};
use crate::model::{
    Applications, BuiltInControl, ClientAppType, Conditions, DirectoryRole, FrequencyInterval, GrantControls, IpRange,
    Locations, NamedLocation, Place, Policy, PolicyState, SessionControls, Users,
};
use serde::Deserialize;
use serde_spanned::Spanned;

/// Everything, in Graph's lists.
const ALL: &str = "All";

/// A network with a name.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocationDeclared {
    /// By default derived from the name.
    pub id: Option<Spanned<String>>,
    /// Shown to people; policies name it.
    pub display_name: Spanned<String>,
    /// Whether it is one of `AllTrusted`.
    #[serde(default)]
    pub is_trusted: bool,
    /// Its networks.
    pub ip_ranges: Vec<RangeDeclared>,
}

/// A network.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RangeDeclared {
    /// In CIDR notation.
    pub cidr_address: Spanned<String>,
}

/// A conditional-access policy.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyDeclared {
    /// By default derived from the name.
    pub id: Option<Spanned<String>>,
    /// Shown to people.
    pub display_name: Spanned<String>,
    /// Whether it binds.
    #[serde(default = "enabled")]
    pub state: PolicyState,
    /// When it applies.
    #[serde(default)]
    pub conditions: ConditionsDeclared,
    /// What it demands of the sign-in.
    pub grant_controls: Option<Spanned<GrantControls>>,
    /// What it demands of the session.
    pub session_controls: Option<Spanned<SessionControls>>,
}

/// When a policy applies.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ConditionsDeclared {
    /// What is asked for.
    pub applications: ApplicationsDeclared,
    /// Who asks.
    pub users: UsersDeclared,
    /// By which kind of client: `browser`, `mobileAppsAndDesktopClients`, `other` (programs as themselves), or `all`.
    pub client_app_types: Vec<Spanned<String>>,
    /// From where.
    pub locations: Option<LocationsDeclared>,
}

/// Applications by name or id; `All` stands for every one.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[expect(missing_docs, reason = "as in `model::Applications`")]
pub struct ApplicationsDeclared {
    pub include_applications: Vec<Spanned<String>>,
    pub exclude_applications: Vec<Spanned<String>>,
    pub include_authentication_context_class_references: Vec<Spanned<String>>,
}

/// Users, groups and directory roles by name or id; `All` stands for every user.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[expect(missing_docs, reason = "as in `model::Users`")]
pub struct UsersDeclared {
    pub include_users: Vec<Spanned<String>>,
    pub exclude_users: Vec<Spanned<String>>,
    pub include_groups: Vec<Spanned<String>>,
    pub exclude_groups: Vec<Spanned<String>>,
    pub include_roles: Vec<Spanned<String>>,
    pub exclude_roles: Vec<Spanned<String>>,
}

/// Named locations by name or id; `All` and `AllTrusted` too.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[expect(missing_docs, reason = "as in `model::Locations`")]
pub struct LocationsDeclared {
    pub include_locations: Vec<Spanned<String>>,
    pub exclude_locations: Vec<Spanned<String>>,
}

impl Work<'_> {
    pub(super) fn named_locations(
        &mut self,
        tenant: TenantId,
        declared: &[Spanned<LocationDeclared>],
    ) -> Vec<NamedLocation> {
        let mut known: Vec<NamedLocation> = Vec::new();
        for location in declared.iter().map(Spanned::get_ref) {
            self.check("name", &location.display_name, rules::shown);
            let name = location.display_name.get_ref().clone();
            let id = ObjectId(self.id(location.id.as_ref(), || derive(tenant.0, "namedLocation", &name)));
            if known.iter().any(|other| other.id == id || other.display_name == name) {
                let problem = format!("the named location `{name}` is declared twice");
                self.fault(location.display_name.span(), problem, "keep one of them");
            }
            let mut ip_ranges = Vec::new();
            for range in &location.ip_ranges {
                let text = &range.cidr_address;
                if let Ok(net) = text.get_ref().parse::<ipnet::IpNet>() {
                    ip_ranges.push(IpRange { cidr_address: net.trunc() });
                } else {
                    let hint = "write it as `203.0.113.0/24` or `2001:db8::/32`";
                    self.fault(text.span(), format!("`{}` is no network", text.get_ref()), hint);
                }
            }
            if location.ip_ranges.is_empty() {
                let hint = "write `ipRanges = [{ cidrAddress = \"203.0.113.0/24\" }]`";
                self.fault(location.display_name.span(), format!("`{name}` has no networks"), hint);
            }
            known.push(NamedLocation { id, display_name: name, is_trusted: location.is_trusted, ip_ranges });
        }
        known
    }

    pub(super) fn policy(&mut self, tenant: TenantId, policy: &PolicyDeclared) {
        self.check("name", &policy.display_name, rules::shown);
        let display_name = policy.display_name.get_ref().clone();
        let id = ObjectId(self.id(policy.id.as_ref(), || derive(tenant.0, "policy", &display_name)));
        let grant_controls = policy.grant_controls.as_ref().map(|it| it.get_ref().clone()).unwrap_or_default();
        let session_controls = policy.session_controls.as_ref().map(|it| it.get_ref().clone()).unwrap_or_default();
        let conditions = self.conditions(tenant, &policy.conditions);
        self.demands(policy, &grant_controls, &session_controls, &conditions);
        let state = policy.state;
        let item = Policy { id, tenant, display_name, state, conditions, grant_controls, session_controls };
        self.push(policy.display_name.span(), Item::Policy(item));
    }

    fn demands(
        &mut self,
        policy: &PolicyDeclared,
        grant: &GrantControls,
        session: &SessionControls,
        conditions: &Conditions,
    ) {
        let name = policy.display_name.get_ref();
        let at = policy.grant_controls.as_ref().map_or(policy.display_name.span(), Spanned::span);
        if grant.is_empty() && *session == SessionControls::default() {
            let hint = "write `grantControls.builtInControls = [\"mfa\"]`, or `[\"block\"]`, or a `sessionControls`";
            self.fault(at.clone(), format!("the policy `{name}` demands nothing"), hint);
        }
        let contexts = &policy.conditions.applications.include_authentication_context_class_references;
        for context in contexts {
            self.check("authentication context", context, rules::context);
        }
        if let Some(context) = &grant.authentication_context {
            if let Err(hint) = rules::context(context) {
                self.fault(at.clone(), format!("`{context}` is no authentication context"), hint);
            }
            if !contexts.is_empty() {
                let hint = "say what the context takes, such as `builtInControls = [\"mfa\"]`";
                self.fault(at.clone(), format!("the policy `{name}` defines a context by a context"), hint);
            }
        }
        if conditions.client_app_types.contains(&ClientAppType::Other) && !grant.has(BuiltInControl::Block) {
            let hint = "programs that act as themselves can only be blocked: drop `other`, or write `block`";
            self.fault(at, format!("the policy `{name}` demands of programs what only people can do"), hint);
        }
        let Some(spanned) = &policy.session_controls else { return };
        let unset = session.sign_in_frequency.is_some_and(|frequency| {
            frequency.is_enabled && frequency.frequency_interval == FrequencyInterval::TimeBased && frequency.value == 0
        });
        let longest = 366 * 86_400;
        let long = session.sign_in_frequency.and_then(|frequency| frequency.seconds());
        let long = [long, session.session_lifetime.map(crate::model::Period::seconds)];
        let none = session.session_lifetime.is_some_and(|period| period.value == 0);
        if unset || none || long.into_iter().flatten().any(|seconds| seconds > longest) {
            let hint = "write `{ value = 4, type = \"hours\" }` or `{ value = 7, type = \"days\" }`, up to a year";
            self.fault(spanned.span(), format!("a time of the policy `{name}` is out of range"), hint);
        }
    }

    fn conditions(&mut self, tenant: TenantId, declared: &ConditionsDeclared) -> Conditions {
        let ApplicationsDeclared { include_applications, exclude_applications, .. } = &declared.applications;
        let contexts = &declared.applications.include_authentication_context_class_references;
        if let (Some(context), false) = (contexts.first(), include_applications.is_empty()) {
            let hint = "write two policies: one for the applications, one for the context";
            self.fault(context.span(), "a policy is about applications or about authentication contexts", hint);
        }
        let applications = Applications {
            include_applications: self.named_apps(tenant, include_applications),
            exclude_applications: self.named_apps(tenant, exclude_applications),
            include_authentication_context_class_references: contexts.iter().map(|it| it.get_ref().clone()).collect(),
        };
        let UsersDeclared {
            include_users,
            exclude_users,
            include_groups,
            exclude_groups,
            include_roles,
            exclude_roles,
        } = &declared.users;
        let users = Users {
            include_users: self.named_users(tenant, include_users),
            exclude_users: self.named_users(tenant, exclude_users),
            include_groups: self.named_groups(tenant, include_groups),
            exclude_groups: self.named_groups(tenant, exclude_groups),
            include_roles: self.named_roles(include_roles),
            exclude_roles: self.named_roles(exclude_roles),
        };
        let locations = declared.locations.as_ref().map(|declared| Locations {
            include_locations: self.places(tenant, &declared.include_locations),
            exclude_locations: self.places(tenant, &declared.exclude_locations),
        });
        Conditions { applications, users, client_app_types: self.kinds(&declared.client_app_types), locations }
    }

    /// `All` is what an empty list means; beside names it would hide them.
    fn is_all(&mut self, names: &[Spanned<String>]) -> bool {
        let Some(all) = names.iter().find(|name| name.get_ref() == ALL) else { return false };
        if names.len() > 1 {
            self.fault(all.span(), "`All` stands beside names", "keep `All`, or the names");
        }
        true
    }

    fn named_apps(&mut self, tenant: TenantId, names: &[Spanned<String>]) -> Vec<AppId> {
        if self.is_all(names) {
            return Vec::new();
        }
        let ids = names.iter().filter_map(|name| self.app(tenant, name, false));
        let positions: Vec<usize> = ids.collect();
        positions.into_iter().filter_map(|at| self.apps.get(at)).map(|app| app.app_id).collect()
    }

    fn named_users(&mut self, tenant: TenantId, names: &[Spanned<String>]) -> Vec<UserId> {
        if self.is_all(names) {
            return Vec::new();
        }
        names.iter().filter_map(|name| self.user_named(tenant, name)).collect()
    }

    fn named_groups(&mut self, tenant: TenantId, names: &[Spanned<String>]) -> Vec<GroupId> {
        let mut ids = Vec::new();
        for name in names {
            match self.group_named(tenant, name.get_ref()) {
                Some(id) => ids.push(id),
                None => self.fault(name.span(), format!("there is no group `{}`", name.get_ref()), "declare it first"),
            }
        }
        ids
    }

    fn named_roles(&mut self, names: &[Spanned<String>]) -> Vec<DirectoryRole> {
        let mut roles = Vec::new();
        for name in names {
            if let Ok(role) = serde_json::from_value(name.get_ref().as_str().into()) {
                roles.push(role);
            } else {
                let hint = "there is `Global Administrator`, whom `isTenantAdmin` makes";
                self.fault(name.span(), format!("there is no directory role `{}`", name.get_ref()), hint);
            }
        }
        roles
    }

    fn kinds(&mut self, names: &[Spanned<String>]) -> Vec<ClientAppType> {
        let mut kinds = Vec::new();
        for name in names.iter().filter(|name| name.get_ref() != "all") {
            if let Ok(kind) = serde_json::from_value(name.get_ref().as_str().into()) {
                kinds.push(kind);
            } else {
                let hint = "there are `browser`, `mobileAppsAndDesktopClients`, `other` and `all`";
                self.fault(name.span(), format!("`{}` is no kind of client", name.get_ref()), hint);
            }
        }
        kinds
    }

    fn places(&mut self, tenant: TenantId, names: &[Spanned<String>]) -> Vec<Place> {
        let known: Vec<NamedLocation> = self
            .done
            .items
            .iter()
            .find_map(|item| match item {
                Item::Tenant(it) if it.id == tenant => Some(it.named_locations.clone()),
                _ => None,
            })
            .unwrap_or_default();
        let mut places = Vec::new();
        for name in names {
            let text = name.get_ref().as_str();
            let named = known.iter().find(|it| it.display_name == text || it.id.to_string() == text);
            match (text, named) {
                (ALL, _) => places.push(Place::All),
                ("AllTrusted", _) => places.push(Place::AllTrusted),
                (_, Some(location)) => places.push(Place::Named(location.id)),
                (_, None) => {
                    let names: Vec<&str> = known.iter().map(|it| it.display_name.as_str()).collect();
                    let hint = suggestion(text, &names, "the named locations of this tenant are");
                    self.fault(name.span(), format!("there is no named location `{text}`"), hint);
                }
            }
        }
        places
    }
}

const fn enabled() -> PolicyState {
    PolicyState::Enabled
}
