//! What the authority's rules need of the world. Each port is implemented in another room.
use crate::consent::ApprovalRequest;
use crate::cut_off::Logged;
use crate::directory::{Snapshot, UserKey, UserRecord};
use crate::estate::{CertificateRead, Item};
use crate::id::{AppId, FamilyId, SessionId, TenantId, UserId};
use crate::ledger::{CodeRecord, CommitError, DeviceRecord, RefreshRecord, SessionRecord, Unavailable, Write};
use crate::limits::Limits;
use crate::loops::Loops;
use crate::model::{Application, Digest};
use crate::second_factor::SecondFactor;
use crate::token::{AssertionFacts, ClientAssertionFacts, FederatedFacts};
use crate::trace::{Carried, TraceId};
use crate::work_order::{Outstanding, WorkOrderRecord};
use decision::{Clock, Timestamp};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A future that a port returns.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Kinds of objects that are too many for a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Users.
    Users,
    /// Consents, of single users and for all.
    Grants,
}

/// An object of a list, and its place there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// What stands after it in the list is asked for by this.
    pub place: Vec<u8>,
    /// The object.
    pub item: Item,
}

/// Reads of tenants, applications and users.
pub trait Directory: Send + Sync {
    /// The newest snapshot: one atomic load.
    fn snapshot(&self) -> Arc<Snapshot>;
    /// One user with memberships, consents and assignments.
    fn user(&self, tenant: TenantId, key: UserKey) -> Pending<'_, Result<Option<Arc<UserRecord>>, Unavailable>>;
    /// Objects of a tenant in the order of their places, after a place, at most so many.
    fn listed(
        &self,
        tenant: TenantId,
        kind: Listed,
        after: Vec<u8>,
        limit: u32,
    ) -> Pending<'_, Result<Vec<Placed>, Unavailable>>;
}

/// Reads and conditional writes of codes, refresh tokens, sessions and the audit trail.
pub trait Ledger: Send + Sync {
    /// A code by the digest of its text.
    fn code(&self, digest: Digest) -> Pending<'_, Result<Option<CodeRecord>, Unavailable>>;
    /// A refresh token by the digest of its text.
    fn refresh(&self, digest: Digest) -> Pending<'_, Result<Option<RefreshRecord>, Unavailable>>;
    /// A device by the digest of its code.
    fn device(&self, digest: Digest) -> Pending<'_, Result<Option<DeviceRecord>, Unavailable>>;
    /// A device, and the digest of its code, by the digest of the code that it shows.
    fn device_by_user_code(&self, code: Digest) -> Pending<'_, Result<Option<(Digest, DeviceRecord)>, Unavailable>>;
    /// A work order by the digest of its handle.
    fn work_order(&self, digest: Digest) -> Pending<'_, Result<Option<WorkOrderRecord>, Unavailable>>;
    /// A user's work orders that have not ended, those that wait first, then those that end first, at most a hundred; each
    /// with the digest of its handle.
    fn work_orders(
        &self,
        tenant: TenantId,
        user: UserId,
        now: Timestamp,
    ) -> Pending<'_, Result<Vec<(Digest, WorkOrderRecord)>, Unavailable>>;
    /// How many work orders are outstanding.
    fn work_orders_outstanding(
        &self,
        tenant: TenantId,
        user: UserId,
        now: Timestamp,
    ) -> Pending<'_, Result<Outstanding, Unavailable>>;
    /// A session by its id.
    fn session(&self, id: SessionId) -> Pending<'_, Result<Option<Arc<SessionRecord>>, Unavailable>>;
    /// A session by the digest of the browser's cookie.
    fn session_by_cookie(&self, cookie: Digest) -> Pending<'_, Result<Option<Arc<SessionRecord>>, Unavailable>>;
    /// Whether this authorization was revoked, with all that stems from it.
    fn family_revoked(&self, family: FamilyId) -> Pending<'_, Result<bool, Unavailable>>;
    /// The cut-offs of a tenant after a change, at most so many changes, with the newest change that was looked at.
    fn cut_offs(&self, tenant: TenantId, after: u64, limit: u32) -> Pending<'_, Result<Logged, Unavailable>>;
    /// When a subscriber of an application in a tenant was last told every cut-off, by whichever process.
    fn heard(&self, tenant: TenantId, application: AppId) -> Pending<'_, Result<Option<Timestamp>, Unavailable>>;
    /// The newest change that everything this process reads contains. Read before what it is to vouch for.
    fn view(&self) -> u64;
    /// Waits until this process knows of a change after this one. Changes are durable before they are known.
    fn changed(&self, after: u64) -> Pending<'_, ()>;
    /// A user's second factor.
    fn second_factor(&self, tenant: TenantId, user: UserId) -> Pending<'_, Result<Option<SecondFactor>, Unavailable>>;
    /// Open requests of a tenant's users for an administrator's consent, the oldest first, at most a hundred.
    fn approval_requests(&self, tenant: TenantId) -> Pending<'_, Result<Vec<ApprovalRequest>, Unavailable>>;
    /// How a client is known, at this moment, to carry a user in a trace.
    fn carried(
        &self,
        tenant: TenantId,
        client: AppId,
        trace: TraceId,
        now: Timestamp,
    ) -> Pending<'_, Result<Vec<Carried>, Unavailable>>;
    /// All of one request's writes or none, durable before it returns.
    fn commit(&self, writes: Vec<Write>) -> Pending<'_, Result<(), CommitError>>;
    /// Whether the latest commit failed for no reason of the store's, such as a full disk.
    fn writable(&self) -> bool;
}

/// Everything that needs keys: the room `jose` stands behind it.
pub trait Crypto: Send + Sync {
    /// Signs claims for a resource with the given `typ` and algorithm name; compact form.
    ///
    /// # Errors
    /// If there is no key for the algorithm.
    fn sign(&self, algorithm: &str, typ: &str, v1: bool, claims: &[u8]) -> Result<oauth::Secret, Unavailable>;
    /// Reads a token that this authority may have issued, without judging it.
    fn assertion(&self, text: &str) -> AssertionFacts;
    /// Reads a client assertion against the client's registered certificates and trusted subjects, without judging it.
    fn client_assertion(&self, text: &str, client: &Application, now: Timestamp) -> ClientAssertionFacts;
    /// Reads an assertion with the keys of its issuer, without judging it. May ask the issuer for them: rarely, and for a
    /// bounded time.
    fn federated_assertion<'a>(&'a self, text: &'a str, issuer: &'a str, now: Timestamp)
    -> Pending<'a, FederatedFacts>;
    /// Reads a certificate in standard base64 that a client is to prove itself with. The problem is a sentence that says
    /// what to change.
    ///
    /// # Errors
    /// If it is none that assertions can be verified with.
    fn certificate(&self, base64: &str) -> Result<CertificateRead, String>;
    /// HMAC-SHA-256 of a secret of ours under the store's pepper.
    fn keyed_digest(&self, secret: &str) -> Digest;
    /// Seals a short text so that only this authority can read it.
    fn seal(&self, plain: &[u8]) -> String;
    /// Opens a sealed text; `None` if it is not ours.
    fn open(&self, sealed: &str) -> Option<Vec<u8>>;
    /// The time-based one-time password of a secret at a step (RFC 6238: HMAC-SHA-1, six digits).
    fn one_time_code(&self, secret: &[u8], step: u64) -> u32;
    /// Fills a buffer with unpredictable bytes.
    fn random(&self, buffer: &mut [u8]);
    /// Whether a password matches an argon2id hash; for `None` the same time is taken and the answer is no. Nothing is
    /// answered where too many wait already.
    fn password_matches<'a>(&'a self, password: &'a str, hash: Option<&'a str>) -> Pending<'a, Option<bool>>;
}

/// All ports of one authority, and its name.
#[derive(Clone)]
pub struct Ports {
    /// `https://HOST[:port]`, without a trailing slash: the start of every issuer and URL.
    pub host: Arc<str>,
    /// The directory.
    pub directory: Arc<dyn Directory>,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// Keys.
    pub crypto: Arc<dyn Crypto>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// How often callers may be wrong.
    pub limits: Arc<Limits>,
    /// How often clients ask for the same thing.
    pub loops: Arc<Loops>,
}

impl Ports {
    /// The present moment. Read once a request.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
