//! Conditional access as data: Microsoft Graph's `conditionalAccessPolicy` and `ipNamedLocation`.
//! What they mean is said in [`crate::conditional_access`].
use crate::id::{AppId, GroupId, ObjectId, TenantId, UserId};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::net::IpAddr;

/// A conditional-access policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// Its id (`polids` in challenges).
    pub id: ObjectId,
    /// The tenant.
    pub tenant: TenantId,
    /// Shown to people.
    pub display_name: String,
    /// Whether it binds.
    pub state: PolicyState,
    /// When it applies.
    pub conditions: Conditions,
    /// What it demands of the sign-in.
    pub grant_controls: GrantControls,
    /// What it demands of the session.
    #[serde(default)]
    pub session_controls: SessionControls,
}

/// Whether a policy binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PolicyState {
    /// It binds.
    Enabled,
    /// It does not.
    Disabled,
    /// It refuses nobody; what it would have refused is in the audit trail.
    EnabledForReportingButNotEnforced,
}

/// When a policy applies: all of these must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Conditions {
    /// What is asked for.
    pub applications: Applications,
    /// Who asks.
    pub users: Users,
    /// By which kind of client; empty means every kind that people use.
    pub client_app_types: Vec<ClientAppType>,
    /// From where; without it, from anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locations: Option<Locations>,
}

/// What is asked for: resources, or authentication contexts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Applications {
    /// Resources it covers; empty means all, unless it is about authentication contexts.
    pub include_applications: Vec<AppId>,
    /// Resources it spares.
    pub exclude_applications: Vec<AppId>,
    /// Authentication contexts (`c1` ... `c99`) whose meaning it is: then it is about no resource.
    pub include_authentication_context_class_references: Vec<String>,
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Users {
    /// Users it covers; empty together with no groups and roles means all.
    pub include_users: Vec<UserId>,
    /// Users it spares.
    pub exclude_users: Vec<UserId>,
    /// Groups whose members it covers.
    pub include_groups: Vec<GroupId>,
    /// Groups whose members it spares.
    pub exclude_groups: Vec<GroupId>,
    /// Directory roles whose holders it covers.
    pub include_roles: Vec<DirectoryRole>,
    /// Directory roles whose holders it spares.
    pub exclude_roles: Vec<DirectoryRole>,
}

/// A directory role, by the id of its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DirectoryRole {
    /// May consent for the tenant (`isTenantAdmin`).
    #[serde(rename = "62e90394-69f5-4237-9190-012177145e10", alias = "Global Administrator")]
    GlobalAdministrator,
}

/// A kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientAppType {
    /// Web and single-page applications.
    Browser,
    /// Installed applications.
    MobileAppsAndDesktopClients,
    /// Programs that act as themselves: covered only where this is said.
    Other,
}

/// From where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Locations {
    /// Places it covers; empty means all.
    pub include_locations: Vec<Place>,
    /// Places it spares.
    pub exclude_locations: Vec<Place>,
}

/// A place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Everywhere.
    All,
    /// Every named location that is trusted.
    AllTrusted,
    /// One named location.
    Named(ObjectId),
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => to.serialize_str("All"),
            Self::AllTrusted => to.serialize_str("AllTrusted"),
            Self::Named(id) => id.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Ok(match text.as_str() {
            "All" => Self::All,
            "AllTrusted" => Self::AllTrusted,
            id => Self::Named(id.parse().map_err(serde::de::Error::custom)?),
        })
    }
}

/// A network with a name (Graph's `ipNamedLocation`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamedLocation {
    /// Its id.
    pub id: ObjectId,
    /// Shown to people.
    pub display_name: String,
    /// Whether it is one of `AllTrusted`.
    pub is_trusted: bool,
    /// Its networks.
    pub ip_ranges: Vec<IpRange>,
}

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IpRange {
    /// In CIDR notation.
    pub cidr_address: IpNet,
}

impl NamedLocation {
    /// Whether an address is in it.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.ip_ranges.iter().any(|range| range.cidr_address.contains(&address))
    }
}

/// What a policy demands of the sign-in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GrantControls {
    /// Whether one of several demands is enough.
    pub operator: Operator,
    /// What Microsoft's policies demand.
    pub built_in_controls: Vec<BuiltInControl>,
    /// The authentication context that must be satisfied (`c1` ... `c99`); deputize's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication_context: Option<String>,
}

/// How several demands are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operator {
    /// Each must be met.
    #[default]
    And,
    /// One must be met.
    Or,
}

/// A demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BuiltInControl {
    /// Nothing gets through.
    Block,
    /// The user must have passed multi-factor authentication.
    Mfa,
}

impl GrantControls {
    /// Nothing gets through.
    pub fn block() -> Self {
        Self { built_in_controls: vec![BuiltInControl::Block], ..Self::default() }
    }

    /// Multi-factor authentication.
    pub fn mfa() -> Self {
        Self { built_in_controls: vec![BuiltInControl::Mfa], ..Self::default() }
    }

    /// An authentication context.
    pub fn context(name: &str) -> Self {
        Self { authentication_context: Some(name.to_owned()), ..Self::default() }
    }

    /// Whether this is demanded.
    pub fn has(&self, control: BuiltInControl) -> bool {
        self.built_in_controls.contains(&control)
    }

    /// Whether nothing is demanded.
    pub fn is_empty(&self) -> bool {
        self.built_in_controls.is_empty() && self.authentication_context.is_none()
    }
}

/// What a policy demands of the session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SessionControls {
    /// How recently the user must have signed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign_in_frequency: Option<SignInFrequency>,
    /// How long what is issued may live, counted from the sign-in; deputize's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_lifetime: Option<Period>,
}

/// How recently the user must have signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignInFrequency {
    /// Graph keeps switched-off settings.
    #[serde(default = "yes")]
    pub is_enabled: bool,
    /// How many hours or days; not for `everyTime`.
    #[serde(default)]
    pub value: u32,
    /// Of what.
    #[serde(rename = "type", default)]
    pub unit: Unit,
    /// By time, or each time.
    #[serde(default)]
    pub frequency_interval: FrequencyInterval,
    /// Which factors must be recent.
    #[serde(default)]
    pub authentication_type: AuthenticationType,
}

/// A time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Period {
    /// How many.
    pub value: u32,
    /// Of what.
    #[serde(rename = "type")]
    pub unit: Unit,
}

/// A unit of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    /// An hour.
    #[default]
    Hours,
    /// 24 hours.
    Days,
}

/// By time, or each time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FrequencyInterval {
    /// After the stated time.
    #[default]
    TimeBased,
    /// Each time, with five minutes for redirects and clocks.
    EveryTime,
}

/// Which factors must be recent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AuthenticationType {
    /// The sign-in as a whole.
    #[default]
    PrimaryAndSecondaryAuthentication,
    /// The second factor.
    SecondaryAuthentication,
}

impl Period {
    /// In seconds.
    pub fn seconds(self) -> i64 {
        i64::from(self.value) * if self.unit == Unit::Hours { 3_600 } else { 86_400 }
    }
}

impl SignInFrequency {
    /// The age that a sign-in may have, in seconds; `None` if the setting is switched off.
    pub fn seconds(&self) -> Option<i64> {
        self.is_enabled.then(|| match self.frequency_interval {
            FrequencyInterval::EveryTime => 300,
            FrequencyInterval::TimeBased => Period { value: self.value, unit: self.unit }.seconds(),
        })
    }
}

const fn yes() -> bool {
    true
}
