//! The ledger as a map behind one lock, with exactly the conditions that `deputize_core::ledger::Write` states.
use super::Estate;
use decision::Timestamp;
use deputize_core::audit::AuditRecord;
use deputize_core::consent::ApprovalRequest;
use deputize_core::cut_off::Logged;
use deputize_core::id::{AppId, FamilyId, SessionId, TenantId, UserId};
use deputize_core::ledger::{
    CodeRecord, CommitError, DeviceRecord, OncePurpose, RefreshRecord, SessionRecord, Unavailable, Write,
};
use deputize_core::model::Digest;
use deputize_core::ports::{Ledger, Pending};
use deputize_core::second_factor::SecondFactor;
use deputize_core::trace::{Carried, TraceId, UserInTrace};
use deputize_core::work_order::{Outstanding, WorkOrderRecord};
use std::collections::{HashMap, HashSet};
use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) codes: HashMap<Digest, CodeRecord>,
    pub(crate) refresh: HashMap<Digest, RefreshRecord>,
    pub(crate) devices: HashMap<Digest, DeviceRecord>,
    pub(crate) work_orders: HashMap<Digest, WorkOrderRecord>,
    pub(crate) sessions: HashMap<SessionId, SessionRecord>,
    pub(crate) factors: HashMap<UserId, SecondFactor>,
    pub(crate) audit: Vec<AuditRecord>,
    pub(crate) requests: Vec<ApprovalRequest>,
    pub(crate) traces: Vec<UserInTrace>,
    heard: HashMap<(TenantId, AppId), Timestamp>,
    revoked: HashSet<FamilyId>,
    once: HashMap<(OncePurpose, Digest), Timestamp>,
}

pub(crate) struct FakeLedger {
    state: Mutex<State>,
    estate: Arc<Estate>,
    /// Whether writing fails.
    pub(crate) full: AtomicBool,
    /// Work orders of others, so many that no test would make them.
    pub(crate) outstanding_elsewhere: AtomicU64,
}

impl FakeLedger {
    pub(crate) fn over(estate: Arc<Estate>) -> Self {
        Self { state: Mutex::default(), estate, full: AtomicBool::new(false), outstanding_elsewhere: AtomicU64::new(0) }
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock().unwrap())
    }

    pub(crate) fn write(&self, writes: Vec<Write>) -> Result<(), CommitError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(CommitError::Unavailable);
        }
        let mut state = self.state.lock().unwrap();
        // On a copy: all of the writes, or none.
        let (mut next, mut changes) = (state.clone(), Vec::new());
        for write in writes {
            next.apply(write, &mut changes).ok_or(CommitError::Conflict)?;
        }
        *state = next;
        let owners = state.factors.keys().copied().collect();
        self.estate.edit(|estate| {
            estate.second_factors = owners;
            for change in changes {
                match change {
                    Write::AddGrant(grant) => estate.objects.grants.push(grant),
                    Write::Provision(new) => {
                        if estate.objects.principals.iter().all(|known| known.id != new.id) {
                            estate.objects.principals.push(new);
                        }
                    }
                    Write::Withdraw { tenant, client, user, at } => {
                        for grant in estate.objects.grants.iter_mut().filter(|grant| {
                            (grant.tenant, grant.client_id, grant.principal_id) == (tenant, client, Some(user))
                        }) {
                            grant.scope = oauth::Scopes::default();
                            (grant.withdrawn, grant.start_time) = (Some(at), None);
                        }
                    }
                    Write::Assign(assignment) => estate.objects.assignments.push(assignment),
                    other => panic!("no change of the directory: {other:?}"),
                }
            }
        });
        Ok(())
    }
}

impl State {
    /// `None` if the write's condition does not hold.
    fn apply(&mut self, write: Write, changes: &mut Vec<Write>) -> Option<()> {
        match write {
            Write::InsertCode(digest, record) => drop(self.codes.insert(digest, record)),
            Write::ConsumeCode(digest) => {
                let code = self.codes.get_mut(&digest).filter(|code| !code.consumed)?;
                code.consumed = true;
            }
            Write::KillCode(digest) => {
                if let Some(code) = self.codes.get_mut(&digest) {
                    code.consumed = true;
                }
            }
            Write::InsertRefresh(digest, record) => {
                if self.revoked.contains(&record.family) {
                    return None;
                }
                self.refresh.insert(digest, record);
            }
            Write::RotateRefresh(digest, at) => {
                let revoked = &self.revoked;
                let token = self.refresh.get_mut(&digest)?;
                if token.rotated.is_some() || revoked.contains(&token.family) {
                    return None;
                }
                token.rotated = Some(at);
            }
            Write::RevokeFamily(family) => {
                self.revoked.insert(family);
            }
            Write::InsertDevice(digest, record) => {
                if self.devices.values().any(|known| known.user_code == record.user_code) {
                    return None;
                }
                self.devices.insert(digest, *record);
            }
            Write::AdvanceDevice(digest, record) => {
                let device = self.devices.get_mut(&digest)?;
                if device.stage.number() != record.stage.before() {
                    return None;
                }
                *device = *record;
            }
            Write::InsertWorkOrder(digest, record, most) => {
                let of_user = |known: &&WorkOrderRecord| {
                    (known.tenant, known.user) == (record.tenant, record.user) && known.expires > record.issued
                };
                let counted = self.work_orders.values().filter(of_user).count() as u64;
                let revoked = record.grants.iter().any(|family| self.revoked.contains(family));
                if counted >= most.of_user || self.work_orders.len() as u64 >= most.of_tenant || revoked {
                    return None;
                }
                self.work_orders.insert(digest, *record);
            }
            Write::RedeemWorkOrder(digest) => {
                let order = self.work_orders.get_mut(&digest)?;
                if order.redeemed >= order.redemptions || self.revoked.contains(&order.id) {
                    return None;
                }
                (order.redeemed, order.parked) = (order.redeemed + 1, None);
            }
            Write::ParkWorkOrder(digest, parked) => {
                if let Some(order) = self.work_orders.get_mut(&digest) {
                    order.parked = Some(parked);
                }
            }
            Write::RootWorkOrder(digest, before, record) => {
                let order = self.work_orders.get_mut(&digest)?;
                if order.session != before || self.revoked.contains(&order.id) {
                    return None;
                }
                *order = WorkOrderRecord { parked: None, redeemed: order.redeemed, ..*record };
            }
            Write::RevokeWorkOrder(id) => {
                self.revoked.insert(id);
            }
            Write::CarryUser(user) => self.traces.push(user),
            Write::PutSession(session) => drop(self.sessions.insert(session.id, session)),
            Write::AmendSession(id, amendment) => {
                let session = self.sessions.get_mut(&id).filter(|session| !session.revoked)?;
                *session = session.clone().amended(amendment);
            }
            Write::PutSecondFactor(factor) => {
                let known = self.factors.get(&factor.user).map_or(0, |known| known.version);
                if known + 1 != factor.version {
                    return None;
                }
                self.factors.insert(factor.user, factor);
            }
            Write::RevokeSession(id) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.revoked = true;
                }
            }
            Write::ConsumeOnce { purpose, value, expires } => {
                if self.once.insert((purpose, value), expires).is_some() {
                    return None;
                }
            }
            Write::RequestApproval(new) => {
                let same = |known: &ApprovalRequest| {
                    (known.tenant, known.user, known.client) == (new.tenant, new.user, new.client)
                };
                self.requests.retain(|known| !same(known));
                self.requests.push(*new);
            }
            Write::CloseRequest(tenant, id) => {
                let at = self.requests.iter().position(|known| (known.tenant, known.id) == (tenant, id))?;
                self.requests.remove(at);
            }
            write @ (Write::Change(..) | Write::RegistrationsAsOf(_) | Write::EndGrant(..)) => {
                panic!("the directory is changed over the store: {write:?}")
            }
            Write::RemoveSecondFactor(_, user) => drop(self.factors.remove(&user)?),
            write @ (Write::AddGrant(_) | Write::Withdraw { .. } | Write::Provision(_) | Write::Assign(_)) => {
                changes.push(write);
            }
            Write::Heard(tenant, app, at) => drop(self.heard.insert((tenant, app), at)),
            Write::Audit(record) => self.audit.push(*record),
        }
        Some(())
    }
}

impl Ledger for FakeLedger {
    fn code(&self, digest: Digest) -> Pending<'_, Result<Option<CodeRecord>, Unavailable>> {
        Box::pin(ready(Ok(self.read(|state| {
            let record = state.codes.get(&digest)?.clone();
            Some(CodeRecord { revoked: state.revoked.contains(&record.family), ..record })
        }))))
    }

    fn refresh(&self, digest: Digest) -> Pending<'_, Result<Option<RefreshRecord>, Unavailable>> {
        Box::pin(ready(Ok(self.read(|state| {
            let record = state.refresh.get(&digest)?.clone();
            Some(RefreshRecord { revoked: state.revoked.contains(&record.family), ..record })
        }))))
    }

    fn device(&self, digest: Digest) -> Pending<'_, Result<Option<DeviceRecord>, Unavailable>> {
        Box::pin(ready(Ok(self.read(|state| state.devices.get(&digest).cloned()))))
    }

    fn device_by_user_code(&self, code: Digest) -> Pending<'_, Result<Option<(Digest, DeviceRecord)>, Unavailable>> {
        let found = |state: &State| {
            state
                .devices
                .iter()
                .find(|(_, device)| device.user_code == code)
                .map(|(digest, device)| (*digest, device.clone()))
        };
        Box::pin(ready(Ok(self.read(found))))
    }

    fn work_order(&self, digest: Digest) -> Pending<'_, Result<Option<WorkOrderRecord>, Unavailable>> {
        Box::pin(ready(Ok(self.read(|state| {
            let record = state.work_orders.get(&digest)?.clone();
            Some(WorkOrderRecord { revoked: state.revoked.contains(&record.id), ..record })
        }))))
    }

    fn work_orders(
        &self,
        tenant: TenantId,
        user: UserId,
        now: Timestamp,
    ) -> Pending<'_, Result<Vec<(Digest, WorkOrderRecord)>, Unavailable>> {
        let found = self.read(|state| {
            let outstanding = |(_, order): &(&Digest, &WorkOrderRecord)| {
                (order.tenant, order.user) == (tenant, user)
                    && order.expires > now
                    && order.redeemed < order.redemptions
                    && !state.revoked.contains(&order.id)
            };
            state.work_orders.iter().filter(outstanding).map(|(digest, order)| (*digest, order.clone())).collect()
        });
        Box::pin(ready(Ok(found)))
    }

    fn work_orders_outstanding(
        &self,
        tenant: TenantId,
        user: UserId,
        now: Timestamp,
    ) -> Pending<'_, Result<Outstanding, Unavailable>> {
        let outstanding = self.read(|state| {
            let of = |order: &&WorkOrderRecord| order.tenant == tenant && order.expires > now;
            let own = |order: &&WorkOrderRecord| of(order) && order.user == user;
            let all = state.work_orders.values();
            let elsewhere = self.outstanding_elsewhere.load(Ordering::SeqCst);
            Outstanding {
                of_user: all.clone().filter(own).count() as u64,
                of_tenant: all.filter(of).count() as u64 + elsewhere,
            }
        });
        Box::pin(ready(Ok(outstanding)))
    }

    fn session(&self, id: SessionId) -> Pending<'_, Result<Option<Arc<SessionRecord>>, Unavailable>> {
        Box::pin(ready(Ok(self.read(|state| state.sessions.get(&id).cloned().map(Arc::new)))))
    }

    fn session_by_cookie(&self, cookie: Digest) -> Pending<'_, Result<Option<Arc<SessionRecord>>, Unavailable>> {
        Box::pin(ready(Ok(
            self.read(|state| state.sessions.values().find(|session| session.cookie == cookie).cloned().map(Arc::new))
        )))
    }

    fn second_factor(&self, _: TenantId, user: UserId) -> Pending<'_, Result<Option<SecondFactor>, Unavailable>> {
        Box::pin(ready(Ok(self.read(|state| state.factors.get(&user).cloned()))))
    }

    fn family_revoked(&self, family: FamilyId) -> Pending<'_, Result<bool, Unavailable>> {
        Box::pin(ready(Ok(self.read(|state| state.revoked.contains(&family)))))
    }

    fn cut_offs(&self, _: TenantId, _: u64, _: u32) -> Pending<'_, Result<Logged, Unavailable>> {
        Box::pin(ready(Ok(Logged::default())))
    }

    fn heard(&self, tenant: TenantId, app: AppId) -> Pending<'_, Result<Option<Timestamp>, Unavailable>> {
        Box::pin(ready(Ok(self.read(|state| state.heard.get(&(tenant, app)).copied()))))
    }

    fn view(&self) -> u64 {
        0
    }

    fn changed(&self, _: u64) -> Pending<'_, ()> {
        Box::pin(std::future::pending())
    }

    fn approval_requests(&self, tenant: TenantId) -> Pending<'_, Result<Vec<ApprovalRequest>, Unavailable>> {
        let open =
            self.read(|state| state.requests.iter().filter(|request| request.tenant == tenant).cloned().collect());
        Box::pin(ready(Ok(open)))
    }

    fn carried(
        &self,
        tenant: TenantId,
        client: AppId,
        trace: TraceId,
        now: Timestamp,
    ) -> Pending<'_, Result<Vec<Carried>, Unavailable>> {
        let of = |user: &&UserInTrace| {
            (user.tenant, user.client, user.trace) == (tenant, client, trace) && user.expires > now
        };
        let found = self.read(|state| state.traces.iter().filter(of).map(|user| user.how).collect());
        Box::pin(ready(Ok(found)))
    }

    fn commit(&self, writes: Vec<Write>) -> Pending<'_, Result<(), CommitError>> {
        // In the future, not before it: a commit that is never awaited writes nothing.
        Box::pin(async move { self.write(writes) })
    }

    fn writable(&self) -> bool {
        !self.full.load(Ordering::SeqCst)
    }
}
