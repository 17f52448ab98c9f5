//! Identifiers: one type per kind of object, so that they cannot be mixed up.
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                // Only the one spelling: braces, URNs and bare digits would give one object many names.
                if text.len() == 36 { text.parse().map(Self) } else { "not hyphenated".parse::<Uuid>().map(Self) }
            }
        }
    )*};
}

ids! {
    /// A tenant (`tid`).
    TenantId;
    /// An application registration's client id (`azp`, `appid`).
    AppId;
    /// A service principal: an application in one tenant (`oid` of app-only tokens).
    PrincipalId;
    /// A user (`oid`).
    UserId;
    /// A group.
    GroupId;
    /// An app role of a resource.
    RoleId;
    /// A published delegated permission of a resource.
    PermissionId;
    /// A sign-in session (`sid`): the root of every chain that starts with it.
    SessionId;
    /// All refresh tokens and codes that stem from one authorization.
    FamilyId;
    /// A credential, policy, grant or assignment.
    ObjectId;
}
