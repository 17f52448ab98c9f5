//! The second factor at sign-in: asking for a code, setting one up where a policy demands it and there is none, and the
//! recovery codes that are shown once. The session that asked for it is strengthened: its id stays, its cookie does not.
use super::{Answer, Browser, Proved, authorize, prove, refuse};
use crate::audit::AuditRecord;
use crate::denial::Denial;
use crate::directory::{TenantDirectory, UserRecord};
use crate::issuance;
use crate::ledger::{Amendment, CommitError, SessionRecord, Unavailable, Write};
use crate::ports::Ports;
use crate::presence::present;
use crate::second_factor::{SECRET_BYTES, SecondFactor, Tried};
use crate::sign_in::forged;
use crate::ticket::{Page, Ticket};
use crate::token_endpoint::unavailable;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::{CheckId, Timestamp};
use oauth::{Form, Secret};
use std::sync::Arc;

/// Turns before a conflict counts as overload.
const TURNS: usize = 3;

/// What a page about the second factor shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondFactorRequest {
    /// The application that wants to know.
    pub client_name: String,
    /// The tenant.
    pub tenant_name: String,
    /// Who they are.
    pub upn: String,
    /// Which page.
    pub step: Step,
    /// What was wrong with the code before.
    pub problem: Option<CodeProblem>,
    /// The hidden field.
    pub ticket: String,
}

/// Which page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Asks for a code.
    Verify,
    /// Shows a new secret, and asks for a code of it.
    Enrol(Vec<u8>),
    /// Shows the recovery codes, once.
    RecoveryCodes(Vec<Secret>),
}

impl Step {
    /// The page that it is.
    pub const fn page(&self) -> Page {
        match self {
            Self::Verify => Page::SecondFactor,
            Self::Enrol(_) => Page::Enrolment,
            Self::RecoveryCodes(_) => Page::RecoveryCodes,
        }
    }
}

/// Why a code was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeProblem {
    /// It is wrong, or was used before.
    Wrong,
    /// After too many wrong ones, nothing is looked at for so many seconds.
    TooSoon(i64),
}

impl CodeProblem {
    /// The check that failed.
    pub const fn check(self) -> CheckId {
        match self {
            Self::Wrong => CheckId::SecondFactorShown,
            Self::TooSoon(_) => CheckId::SecondFactorPace,
        }
    }
}

/// What a page about the second factor posted.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    /// Which page.
    pub page: Page,
    /// What was typed.
    pub code: &'a str,
    /// The hidden field.
    pub ticket: &'a str,
}

/// What happens next, with the new cookie of a session that was strengthened.
pub struct Stepped {
    /// What happens next.
    pub answer: Answer,
    /// The cookie's text; only its digest is kept.
    pub cookie: Option<Secret>,
}

impl From<Answer> for Stepped {
    fn from(answer: Answer) -> Self {
        Self { answer, cookie: None }
    }
}

/// Who stands before the page.
pub(super) struct Person<'a> {
    pub(super) proved: &'a Proved,
    pub(super) tenant: &'a TenantDirectory,
    pub(super) user: &'a UserRecord,
    pub(super) session: &'a SessionRecord,
}

impl Person<'_> {
    /// The page that a policy demands: for a code, or to set up what makes codes.
    pub(super) fn asked(&self, ports: &Ports, request: &Form, browser: &Browser, now: Timestamp) -> Answer {
        let step = if self.user.second_factor {
            Step::Verify
        } else {
            Step::Enrol(issuance::random::<SECRET_BYTES>(ports).to_vec())
        };
        self.page(ports, request, browser, step, None, now)
    }

    fn page(
        &self,
        ports: &Ports,
        request: &Form,
        browser: &Browser,
        step: Step,
        problem: Option<CodeProblem>,
        now: Timestamp,
    ) -> Answer {
        let ticket = Ticket::new(ports, step.page(), &browser.cookie, Some(self.session.id), request, now);
        let ticket = match &step {
            Step::Enrol(secret) => ticket.enrolling(URL_SAFE_NO_PAD.encode(secret)),
            Step::Verify | Step::RecoveryCodes(_) => ticket,
        };
        Answer::SecondFactor(Box::new(SecondFactorRequest {
            client_name: self.proved.client.application.display_name.clone(),
            tenant_name: self.tenant.tenant.display_name.clone(),
            upn: self.user.user.user_principal_name.clone(),
            step,
            problem,
            ticket: ticket.seal(ports),
        }))
    }

    fn audit(&self, ports: &Ports, action: &str, refused: Option<CheckId>, now: Timestamp) -> Write {
        Write::Audit(Box::new(AuditRecord {
            tenant: Some(self.session.tenant),
            client: Some(self.proved.client.application.app_id),
            subject: Some(self.session.user.to_string()),
            refused,
            ..AuditRecord::new(now, issuance::random_uuid(ports).to_string(), action)
        }))
    }
}

/// Takes what a page about the second factor posted, and goes on with the request that it was shown for.
pub async fn second_factor(
    ports: &Ports,
    segment: &str,
    request: &Form,
    browser: Browser,
    shown: Shown<'_>,
) -> Stepped {
    let now = ports.now();
    let proved = match prove(ports, segment, request, browser.session.as_deref()) {
        Ok(proved) => proved,
        Err(denial) => return Answer::Page(denial, None).into(),
    };
    let session = browser.session.clone();
    let ticket = session.as_ref().and_then(|session| {
        Ticket::open(ports, shown.ticket, shown.page, &browser.cookie, Some(session.id), request, now)
    });
    let forgery = || Stepped::from(Answer::Page(Box::new(forged()), None));
    let (Some(session), Some(ticket)) = (session, ticket) else { return forgery() };
    // The account that signed in, which for a guest is the one at home: the second factor is there.
    let snapshot = ports.directory.snapshot();
    let account = match snapshot.tenant(session.tenant) {
        Some(tenant) => present(ports, tenant, &session, true, now).await,
        None => Ok(None),
    };
    let (tenant, user) = match account {
        Ok(Some(account)) => (account.tenant, account.user),
        // Who is not signed in any more shows nothing: they begin again.
        Ok(None) => return authorize(ports, segment, request, &browser).await.into(),
        Err(denial) => return refuse(ports, &proved, *denial, false).into(),
    };
    let person = Person { proved: &proved, tenant: &tenant, user: &user, session: &session };
    let stepping = Stepping { ports, request, browser: &browser, person: &person, ticket: &ticket, now };
    let stepped = match shown.page {
        Page::Enrolment if !user.second_factor => stepping.enrol(shown.code).await,
        Page::SecondFactor => stepping.verify(shown.code).await,
        _ => stepping.commit(Vec::new()).await.map(|()| Next::Go(None)),
    };
    match stepped {
        Ok(Next::Show(answer, cookie)) => Stepped { answer, cookie },
        Ok(Next::Go(strengthened)) => {
            // The person has just looked at the page: `prompt=login` is not asked twice.
            let (session, cookie) = strengthened.map_or((Some(session), None), |(one, text)| (Some(one), Some(text)));
            let browser = Browser { session, fresh: true, ..browser };
            Stepped { answer: authorize(ports, segment, request, &browser).await, cookie }
        }
        Err(denial) if denial.id() == CheckId::StoreAvailable => refuse(ports, &proved, denial, false).into(),
        Err(denial) => Answer::Page(Box::new(denial), None).into(),
    }
}

/// A strengthened session and its new cookie.
type Strengthened = (Arc<SessionRecord>, Secret);

enum Next {
    Show(Answer, Option<Secret>),
    Go(Option<Strengthened>),
}

struct Stepping<'a> {
    ports: &'a Ports,
    request: &'a Form,
    browser: &'a Browser,
    person: &'a Person<'a>,
    ticket: &'a Ticket,
    now: Timestamp,
}

impl Stepping<'_> {
    fn again(&self, step: Step, problem: CodeProblem) -> Next {
        Next::Show(self.person.page(self.ports, self.request, self.browser, step, Some(problem), self.now), None)
    }

    /// Everything with the ticket, once.
    async fn commit(&self, mut writes: Vec<Write>) -> Result<(), Denial> {
        writes.push(self.ticket.consume());
        self.ports.ledger.commit(writes).await.map_err(|error| match error {
            CommitError::Conflict => forged(),
            CommitError::Unavailable => unavailable(Unavailable),
        })
    }

    async fn enrol(&self, code: &str) -> Result<Next, Denial> {
        let Self { ports, person, now, .. } = self;
        let secret = self.ticket.secret().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or_else(forged)?;
        let owner = (person.session.tenant, person.session.user);
        let Some((record, codes)) = SecondFactor::enrol(ports, owner, &secret, code, *now) else {
            return Ok(self.again(Step::Enrol(secret), CodeProblem::Wrong));
        };
        let ((session, cookie), amended) = self.strengthened();
        let writes =
            vec![Write::PutSecondFactor(record), amended, person.audit(ports, "second factor set up", None, *now)];
        self.commit(writes).await?;
        let person = Person { proved: person.proved, tenant: person.tenant, user: person.user, session: &session };
        let step = Step::RecoveryCodes(codes);
        Ok(Next::Show(person.page(ports, self.request, self.browser, step, None, *now), Some(cookie)))
    }

    async fn verify(&self, code: &str) -> Result<Next, Denial> {
        let Self { ports, person, now, .. } = self;
        for _ in 0..TURNS {
            let found = ports.ledger.second_factor(person.session.tenant, person.session.user).await;
            // Taken away meanwhile: the request says what is needed now.
            let Some(factor) = found.map_err(unavailable)? else {
                return self.commit(Vec::new()).await.map(|()| Next::Go(None));
            };
            let (writes, next) = match factor.attempt(ports, code, *now) {
                Tried::TooSoon(seconds) => return Ok(self.again(Step::Verify, CodeProblem::TooSoon(seconds))),
                Tried::Right(record) => {
                    let (strengthened, amended) = self.strengthened();
                    let audit = person.audit(ports, "second factor", None, *now);
                    let writes = vec![self.ticket.consume(), Write::PutSecondFactor(record), amended, audit];
                    (writes, Next::Go(Some(strengthened)))
                }
                Tried::Wrong(record) => {
                    let audit = person.audit(ports, "second factor", Some(CheckId::SecondFactorShown), *now);
                    let next = self.again(Step::Verify, CodeProblem::Wrong);
                    (vec![Write::PutSecondFactor(record), audit], next)
                }
            };
            match ports.ledger.commit(writes).await {
                Ok(()) => return Ok(next),
                // Another guess was counted first: this one is judged by what stands then.
                Err(CommitError::Conflict) => {}
                Err(CommitError::Unavailable) => return Err(unavailable(Unavailable)),
            }
        }
        Err(forged())
    }

    fn strengthened(&self) -> (Strengthened, Write) {
        let session = self.person.session;
        let cookie = issuance::secret_text(self.ports);
        let mut amr = session.amr.clone();
        for method in ["otp", "mfa"].into_iter().filter(|method| !session.amr.iter().any(|known| known == method)) {
            amr.push(method.to_owned());
        }
        let amendment = Amendment {
            cookie: Some(self.ports.crypto.keyed_digest(cookie.expose())),
            second_factor: Some((self.now, amr)),
            address: self.browser.address,
            client: None,
        };
        let record = Arc::new(session.clone().amended(amendment.clone()));
        ((record, cookie), Write::AmendSession(session.id, amendment))
    }
}
