//! Which tokens have been ended before their time, in the words that issuer, resource and client share.

/// What an authority has cut off: the tokens to which every member fits. None at all means every token.
///
/// The members are those of the event stream's subjects (`GET /{tenant}/events`).
///
/// ```
/// use deputize_decision::CutOff;
/// let ada = CutOff { user: Some("ada's object id".into()), ..CutOff::default() };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CutOff {
    /// The tenant's id (`tid`).
    pub tenant: Option<String>,
    /// The user, by object id or subject (`oid`, `sub`).
    pub user: Option<String>,
    /// The client that got them (`azp`, `appid`, `client_id`).
    pub application: Option<String>,
    /// The sign-in that they stem from (`sid`).
    pub session: Option<String>,
    /// The authorization that they stem from.
    pub grant: Option<String>,
    /// The key that signed them.
    pub key: Option<String>,
}
