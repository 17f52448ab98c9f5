//! Who uses the authority while it is killed, and what each of them was told.
use super::wire::{Client, Credential, Kind, PUBLIC, STRICT, WEB, Wire};
use std::sync::Arc;
use tokio::task::JoinSet;

/// How many present the same at once.
const RIVALS: usize = 4;

/// One way to use the authority, over and over.
#[derive(Clone, Copy)]
enum Habit {
    /// Several redeem the same code at once.
    ContestCodes(&'static Client),
    /// Several rotate the same refresh token at once.
    ContestRotations,
    /// Redeems and rotates once each, so that nothing but a lost write can end the family.
    RotateOnce(&'static Client),
    /// Gets a code and a reusable refresh token, and keeps them.
    Keep,
}

const HABITS: [Habit; 8] = [
    Habit::ContestCodes(&WEB),
    Habit::ContestRotations,
    Habit::RotateOnce(&STRICT),
    Habit::ContestCodes(&PUBLIC),
    Habit::RotateOnce(&PUBLIC),
    Habit::ContestRotations,
    Habit::Keep,
    Habit::RotateOnce(&STRICT),
];

/// A refresh token that was acknowledged, and its client.
pub(crate) type Token = (&'static Client, String);

/// What was told.
#[derive(Default)]
pub(crate) struct Told {
    /// Everything that was presented and works once.
    pub(crate) credentials: Vec<Credential>,
    /// The last tokens of families of which none was used twice: they work.
    pub(crate) living: Vec<Token>,
    /// Tokens of families that replays revoked: they do not.
    pub(crate) revoked: Vec<Token>,
    /// Refresh tokens that work as often as one likes.
    pub(crate) reusable: Vec<String>,
    /// Codes that were never presented: they work, once.
    pub(crate) fresh: Vec<(&'static Client, String)>,
}

impl Told {
    pub(crate) fn join(&mut self, other: Self) {
        self.credentials.extend(other.credentials);
        self.living.extend(other.living);
        self.revoked.extend(other.revoked);
        self.reusable.extend(other.reusable);
        self.fresh.extend(other.fresh);
    }

    /// Uses the authority until no answer comes.
    async fn follow(&mut self, habit: Habit, wire: &Arc<Wire>, cookies: &str) -> Option<()> {
        loop {
            match habit {
                Habit::ContestCodes(client) => {
                    let mut code = Credential::new(client, Kind::Code, wire.code(cookies, client).await?);
                    let heir = code.present(wire, RIVALS).await;
                    self.end_of_contest(code, heir)?;
                }
                Habit::ContestRotations => {
                    let token = self.redeemed(&STRICT, wire, cookies, false).await?;
                    let mut token = Credential::new(&STRICT, Kind::Refresh, token);
                    let heir = token.present(wire, RIVALS).await;
                    self.end_of_contest(token, heir)?;
                }
                Habit::RotateOnce(client) => {
                    let token = self.redeemed(client, wire, cookies, true).await?;
                    let heir = self.rotated((client, token), wire).await?;
                    self.living.push(heir);
                }
                Habit::Keep => {
                    self.fresh.push((&WEB, wire.code(cookies, &WEB).await?));
                    let token = self.redeemed(&WEB, wire, cookies, true).await?;
                    wire.redeem(&WEB, Kind::Refresh, &token).await?.expect("a reusable token works");
                    self.reusable.push(token);
                }
            }
        }
    }

    /// A replay that was answered has revoked the family. Where an answer is missing nobody knows which of the requests
    /// were heard.
    fn end_of_contest(&mut self, credential: Credential, heir: Option<String>) -> Option<()> {
        let all_answered = credential.unanswered == 0;
        self.revoked.extend(heir.filter(|_| all_answered).map(|heir| (credential.client, heir)));
        self.credentials.push(credential);
        all_answered.then_some(())
    }

    /// The refresh token of a new code, redeemed once.
    async fn redeemed(
        &mut self,
        client: &'static Client,
        wire: &Arc<Wire>,
        cookies: &str,
        live: bool,
    ) -> Option<String> {
        let mut code = Credential::new(client, Kind::Code, wire.code(cookies, client).await?);
        let token = code.present(wire, 1).await;
        code.is_of_living_family = live && token.is_some();
        self.credentials.push(code);
        token
    }

    /// Rotates a token once.
    pub(crate) async fn rotated(&mut self, (client, token): Token, wire: &Arc<Wire>) -> Option<Token> {
        if !client.is_strict {
            // Within its grace such a token works more than once, so there is nothing to count.
            let heir = wire.redeem(client, Kind::Refresh, &token).await?;
            return Some((client, heir.expect("a token that was never used works")));
        }
        let mut token = Credential::new(client, Kind::Refresh, token);
        let heir = token.present(wire, 1).await;
        token.is_of_living_family = heir.is_some();
        self.credentials.push(token);
        Some((client, heir?))
    }
}

/// Everybody at once, until the authority is gone.
pub(crate) fn begin(wire: &Arc<Wire>, cookies: &str) -> JoinSet<Told> {
    let mut tasks = JoinSet::new();
    for habit in HABITS.into_iter().chain(HABITS) {
        let (wire, cookies) = (Arc::clone(wire), cookies.to_owned());
        tasks.spawn(async move {
            let mut told = Told::default();
            told.follow(habit, &wire, &cookies).await;
            told
        });
    }
    tasks
}
