//! P13: what group commit gains. An exchange is two commits: one writes an authorization code, one redeems it, issues a
//! refresh token and records that in the audit trail. 64 connections exchange at once, with commits that share an fsync and
//! with an fsync for each.
use decision::{Clock, Timestamp};
use deputize_core::audit::AuditRecord;
use deputize_core::id::{AppId, FamilyId, SessionId, TenantId, UserId};
use deputize_core::ledger::{CodeRecord, RefreshRecord, Write};
use deputize_core::model::Digest;
use deputize_core::ports::Ledger;
use deputize_store::{Options, Store, StoreKeys};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;

const CONNECTIONS: u64 = 64;
const ROUNDS: usize = 5;
const NOON: Timestamp = Timestamp(1_800_000_000);

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        NOON
    }
}

/// Random-looking, as digests are: neighbours in time are not neighbours in the index.
fn digest(n: u64) -> Digest {
    let mut bytes = [0; 32];
    for (chunk, salt) in bytes.chunks_exact_mut(8).zip(1_u64..) {
        let mixed = (n ^ (salt << 60)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        chunk.copy_from_slice(&(mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes());
    }
    Digest(bytes)
}

fn code() -> CodeRecord {
    CodeRecord {
        tenant: TenantId::default(),
        client: AppId::default(),
        user: UserId::default(),
        session: SessionId::default(),
        family: FamilyId::default(),
        redirect_uri: "https://app.example/callback".to_owned(),
        challenge: Some("x".repeat(43)),
        scope: "openid offline_access api://orders/access_as_user".to_owned(),
        nonce: None,
        claims: None,
        proven: None,
        expires: NOON.plus(600),
        consumed: false,
        revoked: false,
    }
}

fn redemption(n: u64) -> Vec<Write> {
    let token = RefreshRecord {
        tenant: TenantId::default(),
        client: AppId::default(),
        public: false,
        spa: false,
        user: UserId::default(),
        session: SessionId::default(),
        family: FamilyId::default(),
        scope: "openid offline_access api://orders/access_as_user".to_owned(),
        actors: Vec::new(),
        grants: Vec::new(),
        proven: None,
        issued: NOON,
        expires: NOON.plus(86_400),
        rotated: None,
        revoked: false,
    };
    let record = AuditRecord {
        tenant: Some(TenantId::default()),
        client: Some(AppId::default()),
        subject: Some(UserId::default().to_string()),
        resource: Some(AppId::default()),
        scope: "access_as_user".to_owned(),
        token: Some("x".repeat(22)),
        ..AuditRecord::new(NOON, n.to_string(), "authorization_code")
    };
    vec![Write::ConsumeCode(digest(n)), Write::InsertRefresh(digest(n), token), Write::Audit(Box::new(record))]
}

/// Exchanges a second.
async fn rate(path: &Path, batch: usize, each: u64) -> Result<f64, Box<dyn Error>> {
    let options = Options { batch, ..Options::default() };
    let store = Arc::new(Store::open_with(path, StoreKeys::new([7; 32]), Arc::new(Noon), &options)?);
    let total = CONNECTIONS * each;
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let store = store.clone();
        tasks.spawn(async move {
            for n in 0..each {
                let n = connection * each + n;
                store.commit(vec![Write::InsertCode(digest(n), code())]).await?;
                store.commit(redemption(n)).await?;
            }
            Ok::<_, deputize_core::ledger::CommitError>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let issued = store.audit_verify(None)?.sequence;
    assert_eq!(issued, total, "every exchange is in the trail");
    Ok(f64::from(u32::try_from(total)?) / seconds)
}

#[expect(clippy::print_stdout, reason = "the figures are the program's product")]
fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("deputize-group-commit-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    // Turn by turn, so that a noisy moment of the disk meets both; the best of each counts.
    let (mut grouped, mut ungrouped) = (0_f64, 0_f64);
    for round in 0..ROUNDS {
        let file = |name: &str| folder.join(format!("{name}-{round}.db"));
        grouped = grouped.max(runtime.block_on(rate(&file("grouped"), 256, 400))?);
        ungrouped = ungrouped.max(runtime.block_on(rate(&file("ungrouped"), 1, 40))?);
    }
    println!("P13 grouped {grouped:.0}/s ungrouped {ungrouped:.0}/s ratio {:.1}", grouped / ungrouped);
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
