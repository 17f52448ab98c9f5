//! Work that outlives the request that began it: the user's delegation, kept sealed under a session key.
//!
//! While the user's token is at hand the work is begun; from then on tokens are had with the session key alone, by whoever
//! has it and this client's credential, until the work ends. What is kept is a refresh token: the authority is asked each
//! time, and stops the work when the user, the consent or the session goes.
mod store;

pub use store::{FileSessions, MemorySessions, SessionStore};

use crate::client::Inner;
use crate::key::Asker;
use crate::profile::Question;
use crate::{Answered, Ask, Client, Error, GrantProfile, KeyFields, Token};
use decision::Timestamp;
use jose::seal::Sealer;
use oauth::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

/// Why long-running work does not begin or go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The client was built without sessions.
    #[error("the client keeps no sessions; build it with `long_running`, in Entra's profile")]
    NotKept,
    /// The key is nobody's, or its work has ended.
    #[error("there is no work with this session key, or it has ended; begin it with the user's token")]
    Unknown,
    /// The key is taken.
    #[error("the session key belongs to another user's work; use another key")]
    OfAnotherUser,
    /// The delegation would end with the user's token.
    #[error("the authority gave no refresh token; allow this client to ask for `offline_access`")]
    NotLasting,
    /// The bound in bytes is reached.
    #[error("no more sessions can be kept; end some, or allow more bytes")]
    Full,
    /// The store fails.
    #[error("the store of sessions fails: {0}")]
    Store(String),
}

/// Where and how long sessions are kept.
#[derive(Clone)]
pub struct Sessions {
    store: Arc<dyn SessionStore>,
    sealer: Arc<Sealer>,
    life: i64,
    lanes: Arc<Mutex<HashMap<String, Weak<Semaphore>>>>,
}

impl Sessions {
    /// Sessions in this store, sealed under a key derived from `master`, each for at most `life` seconds.
    pub fn new(store: Arc<dyn SessionStore>, master: &[u8; 32], life: i64) -> Self {
        let sealer = Arc::new(Sealer::new(master, "long-running work"));
        Self { store, sealer, life, lanes: Arc::default() }
    }

    /// One at a time for each session: a refresh token that is replaced at each use must not be used twice. Nobody waits
    /// here for another session.
    async fn turn(&self, id: &str) -> Result<OwnedSemaphorePermit, Error> {
        let lane = {
            let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            lanes.retain(|_, lane| lane.strong_count() > 0);
            let known = lanes.get(id).and_then(Weak::upgrade);
            let lane = known.unwrap_or_else(|| Arc::new(Semaphore::new(1)));
            lanes.insert(id.to_owned(), Arc::downgrade(&lane));
            lane
        };
        lane.acquire_owned().await.map_err(|_| SessionError::Unknown.into())
    }

    async fn load(&self, id: &str, now: Timestamp) -> Result<Option<Session>, Error> {
        let Some(sealed) = self.store.load(id).await? else { return Ok(None) };
        // What was altered, moved, or sealed under another key is no session.
        let opened = self.sealer.open(id.as_bytes(), &sealed).map(Zeroizing::new);
        let session = opened.and_then(|text| serde_json::from_slice::<Session>(&text).ok());
        Ok(session.filter(|session| now < session.ends))
    }

    async fn save(&self, id: &str, session: &Session, client: &Inner, now: Timestamp) -> Result<(), Error> {
        let text = serde_json::to_vec(session).map_err(|error| SessionError::Store(error.to_string()))?;
        let mut nonce = [0; 12];
        client.random.fill(&mut nonce);
        let sealed = self.sealer.seal(nonce, id.as_bytes(), &Zeroizing::new(text));
        Ok(self.store.save(id, &sealed, session.ends, now).await?)
    }
}

#[derive(Serialize, Deserialize)]
struct Session {
    refresh_token: Secret,
    /// Whose work it is, as a digest.
    user: String,
    ends: Timestamp,
}

impl Client {
    /// Begins work that outlives this request: a token for `target` on behalf of the user, and under `session_key` what it
    /// takes to get more. The key is chosen by the application, unguessable, and kept with the work; it belongs to one user.
    /// Beginning again with the same key renews the work. (MSAL: `InitiateLongRunningProcessInWebApi`.)
    ///
    /// ```
    /// # mod authority { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/authority.rs")); }
    /// # use authority::*;
    /// # run(async {
    /// use client::{MemorySessions, Sessions};
    /// let sessions = Sessions::new(MemorySessions::new(1 << 20), &[7; 32], 24 * 3600);
    /// let orders = builder().secret(Secret::new("…")).long_running(sessions).build(network(), clock(), random());
    /// let key = Secret::new("kept with the job");
    /// orders.begin_long_running(&key, &Secret::new("the user's token"), "api://billing/Invoices.Read").await?;
    /// // At night, without the user:
    /// let token = orders.continue_long_running(&key, "api://billing/Invoices.Read").await?.token;
    /// assert_eq!(token.access_token.expose(), "for-billing");
    /// orders.end_long_running(&key).await?;
    /// # Ok(()) });
    /// ```
    pub async fn begin_long_running(
        &self,
        session_key: &Secret,
        user_token: &Secret,
        target: &str,
    ) -> Result<Answered, Error> {
        self.ask(&Ask::on_behalf_of(user_token, target).begins(session_key)).await
    }

    pub(crate) async fn begun(
        &self,
        session_key: &Secret,
        user_token: &Secret,
        ask: &Ask<'_>,
    ) -> Result<Answered, Error> {
        let inner = &self.inner;
        let sessions = inner.sessions()?;
        let id = inner.session_id(session_key);
        let _turn = sessions.turn(&id).await?;
        let now = inner.clock.now();
        let user = user(user_token);
        if sessions.load(&id, now).await?.is_some_and(|session| session.user != user) {
            return Err(SessionError::OfAnotherUser.into());
        }
        let lasting = format!("{} offline_access", ask.target);
        // Past the cache: the refresh token is this session's alone, and lies nowhere but sealed.
        let mut token = inner.answer(self.question(&Ask { target: &lasting, ..*ask })).await?;
        let refresh_token = token.refresh_token.take().ok_or(SessionError::NotLasting)?;
        let session = Session { refresh_token, user, ends: now.plus(sessions.life) };
        sessions.save(&id, &session, inner, now).await?;
        inner.cache.forget_subject(session_key);
        Ok(Answered { token: Arc::new(token), cached: false })
    }

    /// A token for work that was begun, without the user: held, or asked for. (MSAL: `AcquireTokenInLongRunningProcess`.)
    ///
    /// # Errors
    /// [`Error::Session`] where there is no such work; [`Error::ClaimsChallenge`] where the user's presence is needed.
    pub async fn continue_long_running(&self, session_key: &Secret, target: &str) -> Result<Answered, Error> {
        self.ask(&Ask::in_session(session_key, target)).await
    }

    /// Ends long-running work: what was kept for it is removed, and so are the tokens that are held for it.
    pub async fn end_long_running(&self, session_key: &Secret) -> Result<(), Error> {
        let sessions = self.inner.sessions()?;
        let id = self.inner.session_id(session_key);
        // After what is under way: it would put back what is removed here.
        let _turn = sessions.turn(&id).await?;
        sessions.store.remove(&id).await?;
        self.inner.cache.forget_subject(session_key);
        Ok(())
    }
}

impl Inner {
    fn sessions(&self) -> Result<&Sessions, Error> {
        let kept = self.sessions.as_ref().filter(|_| self.profile == GrantProfile::Entra);
        kept.ok_or(SessionError::NotKept.into())
    }

    /// Names a session without giving its key away. The credential is no part of it: it may be replaced meanwhile.
    fn session_id(&self, session_key: &Secret) -> String {
        let asker = Asker::new(self.issuer(), &self.client_id, "any credential");
        KeyFields { grant: "session", subject: Some(session_key), ..KeyFields::default() }.key_after(&asker).hex()
    }

    /// The name of a session, where there can be some.
    pub(crate) fn session(&self, session_key: &Secret) -> Result<String, Error> {
        self.sessions().map(|_| self.session_id(session_key))
    }

    pub(crate) async fn continued(&self, id: &str, mut question: Question) -> Result<Token, Error> {
        let sessions = self.sessions()?;
        let _turn = sessions.turn(id).await?;
        let now = self.clock.now();
        let mut session = sessions.load(id, now).await?.ok_or(SessionError::Unknown)?;
        question.subject = Some(session.refresh_token.clone());
        let mut token = self.answer(question).await?;
        if let Some(next) = token.refresh_token.take() {
            session.refresh_token = next;
            sessions.save(id, &session, self, now).await?;
        }
        token.subject_ends = Some(session.ends);
        Ok(token)
    }
}

/// Who the user is, by the claims that name them for good; a token that does not say is its own user.
fn user(token: &Secret) -> String {
    let claims = crate::token::claims(token).unwrap_or_default();
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let named = |one, other| Some((text(one)?, text(other)?));
    let fields = match named("tid", "oid").or_else(|| named("iss", "sub")) {
        Some((issuer, client)) => KeyFields { issuer, client, grant: "user", ..KeyFields::default() },
        None => KeyFields { subject: Some(token), grant: "user", ..KeyFields::default() },
    };
    fields.key().hex()
}
