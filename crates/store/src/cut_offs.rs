//! Cut-offs beside the changes that imply them, and reading them in order.
use crate::changes::{newest, number, unsigned};
use crate::object::Object;
use decision::Timestamp;
use deputize_core::cut_off::{self as rules, CutOff, Entry, Logged};
use deputize_core::id::TenantId;
use sql::rusqlite::{self, Connection, params};
use uuid::Uuid;

/// What a change of the directory ends. What is new ends nothing, but a policy, which was not asked before.
pub(crate) fn implied(before: Option<&Object>, after: Option<&Object>) -> Vec<CutOff> {
    // Two objects of one key are of one kind.
    macro_rules! of {
        ($kind:ident) => {
            match after {
                Some(Object::$kind(after)) => Some(after),
                _ => None,
            }
        };
    }
    match before {
        Some(Object::Tenant(before)) => rules::tenant(before, of!(Tenant)),
        Some(Object::Application(before)) => rules::application(before, of!(Application)),
        Some(Object::ServicePrincipal(before)) => rules::principal(before, of!(ServicePrincipal)),
        Some(Object::User(before)) => rules::user(before, of!(User)),
        Some(Object::Group(before)) => rules::group(before, of!(Group)),
        Some(Object::Grant(before)) => rules::grant(before, of!(Grant)),
        Some(Object::Assignment(before)) => rules::assignment(before, of!(Assignment)),
        Some(Object::Policy(before)) => rules::policy(Some(before), of!(Policy)),
        None => rules::policy(None, of!(Policy)),
    }
}

/// A tenant's part of the log. What concerns every tenant (registrations, authorizations, keys) stands under none.
pub(crate) fn logged(connection: &Connection, tenant: TenantId, after: u64, limit: u32) -> rusqlite::Result<Logged> {
    let oldest = connection
        .prepare_cached("SELECT COALESCE(MIN(sequence), 1) FROM change_log")?
        .query_row([], |row| row.get(0).map(unsigned))?;
    let mut entries = connection
        .prepare_cached(
            "SELECT sequence, at, cut_offs FROM change_log WHERE cut_offs IS NOT NULL AND tenant IN (?1, ?2) \
             AND sequence > ?3 ORDER BY sequence LIMIT ?4",
        )?
        .query_map(params![tenant.0, Uuid::nil(), number(after), i64::from(limit) + 1], |row| {
            let cut_offs = crate::json(row.get_ref(2)?.as_str()?)?;
            Ok(Entry { sequence: unsigned(row.get(0)?), at: Timestamp(row.get(1)?), cut_offs })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    Ok(Logged { newest: newest(connection)?, oldest, entries, more })
}
