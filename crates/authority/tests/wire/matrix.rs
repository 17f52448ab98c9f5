//! X-01, the matrix on the wire: each surface × each change of state, with the change made by another process, and one second
//! for it to bind. Token exchange (RFC 8693) is that of work orders; the external issuer of a federated credential is in `workload`.
use crate::world::browser::Browser;
use crate::world::estate::{self, CONTOSO, app, grant, policy, principal, user};
use crate::world::{Answer, NOON, World, but, claims, credential, encode, redeem_form, refresh_form, text};
use deputize_core::id::{SessionId, UserId};
use deputize_core::ledger::Write;
use deputize_core::model::{Assignee, GrantControls, PermissionGrant};
use deputize_core::ports::Ledger;
use serde_json::{Value, json};
use std::time::Duration;
use store::{Change, Key, KeyState, Object, SigningKey, Store};
use tokio::time::sleep;

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    /// Refused, with the check that failed.
    Refused(&'static str),
    /// Introspection says `{"active": false}` and no more.
    Inactive,
    /// Fewer scopes or roles than before.
    Reduced,
    /// As before; the reason is beside the column.
    Unaffected,
}
use Cell::{Inactive, Reduced, Refused, Unaffected};

const SURFACES: [&str; 8] =
    ["code", "refresh", "OBO", "introspect", "userinfo", "device", "device, not approved yet", "work order"];
/// Everything that is asked for, with `openid` for the surfaces that need it.
const SCOPE: &str = "api://billing/.default openid offline_access";

/// What another process does.
type Act = fn(&Prepared) -> Vec<Change>;

struct Column {
    name: &'static str,
    act: Act,
    cells: [Cell; 8],
}

fn columns() -> Vec<Column> {
    // A device that was approved is as a code that was issued. One that was not is what its person can make of it after the
    // change: sign in, and approve, but neither consent anew nor set up a second factor. Else it waits on.
    let column = |name, act: Act, [code, refresh, obo, introspect, userinfo]: [Cell; 5]| {
        let waiting = match (name, &code) {
            ("user sessions revoked" | "session ended", _) => Unaffected,
            (
                "tenant disabled"
                | "client disabled"
                | "client deleted"
                | "client secret removed"
                | "signing key withdrawn",
                _,
            ) => code.clone(),
            (_, Refused(_)) => Refused("device.approved"),
            _ => code.clone(),
        };
        // A work order is worth what stands behind it now, as an assertion is; but it names scopes, and is no signature.
        let order = match name {
            "scope removed from the app" | "signing key withdrawn" => refresh.clone(),
            _ => obo.clone(),
        };
        Column { name, act, cells: [code.clone(), refresh, obo, introspect, userinfo, code, waiting, order] }
    };
    let user = |check| [Refused(check), Refused(check), Refused(check), Inactive, Refused(check)];
    // Userinfo is the authority's own: neither the resource nor a consent stands behind `openid`.
    let resource = |check, caller| [Refused(check), Refused(check), Refused(check), Refused(caller), Unaffected];
    let consent = |check| [Refused(check), Refused(check), Refused(check), Inactive, Unaffected];
    let fewer = || [Reduced, Reduced, Reduced, Reduced, Unaffected];
    vec![
        column("nothing", |_| Vec::new(), [(); 5].map(|()| Unaffected)),
        column("user disabled", |p| p.edit_user(|user| user.account_enabled = false), user("user.enabled")),
        column("user deleted", |_| vec![Change::Delete(Key::User(CONTOSO, user_ada()))], user("user.known")),
        column(
            "user password reset",
            // As `deputize apply` does with another password.
            |p| {
                p.edit_user(|user| {
                    user.password_hash = Some("another".to_owned());
                    user.sign_in_sessions_valid_from = NOON;
                })
            },
            user("user.not_revoked"),
        ),
        column(
            "user sessions revoked",
            |p| p.edit_user(|user| user.sign_in_sessions_valid_from = NOON),
            user("user.not_revoked"),
        ),
        column("session ended", |_| Vec::new(), user("session.alive")),
        column(
            "tenant disabled",
            |p| {
                p.edit(|object| match object {
                    Object::Tenant(it) if it.id == CONTOSO => {
                        it.enabled = false;
                        true
                    }
                    _ => false,
                })
            },
            [(); 5].map(|()| Refused("tenant.enabled")),
        ),
        column("client disabled", |p| p.disable(&["web", "orders"]), {
            let check = "client.enabled";
            [Refused(check), Refused(check), Refused(check), Inactive, Refused(check)]
        }),
        column(
            "client deleted",
            |_| ["web", "orders"].map(|name| Change::Delete(Key::ServicePrincipal(CONTOSO, principal(name)))).into(),
            {
                let check = "client.known";
                [Refused(check), Refused(check), Refused(check), Inactive, Refused(check)]
            },
        ),
        // What was issued is as good as before, and who bears it needs no secret. Web has no other credential; Orders has a
        // certificate, and the secret that it sent is no longer one of its own.
        column("client secret removed", |p| p.without_secret(&["web", "orders"]), {
            let web = Refused("client.confidential");
            [web.clone(), web, Refused("client.secret_correct"), Unaffected, Unaffected]
        }),
        column("audience app disabled", |p| p.disable(&["billing"]), resource("resource.enabled", "client.enabled")),
        column(
            "audience app deleted",
            |_| vec![Change::Delete(Key::ServicePrincipal(CONTOSO, principal("billing")))],
            resource("resource.known", "client.known"),
        ),
        column("consent withdrawn", |_| withdrawn(Some(user_ada())), consent("consent.granted")),
        column("admin consent withdrawn", |_| withdrawn(None), consent("consent.granted")),
        // A refresh without `scope` asks by name for what was granted.
        column(
            "scope removed from the app",
            |p| {
                p.edit(|object| match object {
                    Object::Application(it) if it.app_id == app("billing") => {
                        it.api.oauth2_permission_scopes.retain(|scope| scope.value != "Invoices.Approve");
                        true
                    }
                    _ => false,
                })
            },
            [Reduced, Refused("scope.valid"), Reduced, Reduced, Unaffected],
        ),
        column(
            "app role unassigned",
            |_| {
                let assignee = Assignee::User(user_ada());
                let assigned = Object::Assignment(estate::assignment(assignee, "billing", "Invoices.Reader"));
                vec![Change::Delete(assigned.key())]
            },
            fewer(),
        ),
        column(
            "conditional access now needs MFA",
            |_| {
                let mfa = GrantControls::mfa();
                vec![Object::Policy(policy(&["billing"], mfa)).into()]
            },
            consent("access.mfa_enrolled"),
        ),
        // People sign in with passwords here: no provider stands behind a user, a session or a token.
        column("identity provider disabled", |_| Vec::new(), [(); 5].map(|()| Unaffected)),
        // Codes and refresh tokens are no signatures, but there is no other key for this algorithm: nothing is signed until
        // there is one.
        column("signing key withdrawn", |_| Vec::new(), {
            let unsigned = Refused("store.available");
            [unsigned.clone(), unsigned, Refused("assertion.signature"), Inactive, Refused("token.signature")]
        }),
    ]
}

fn user_ada() -> UserId {
    user("ada")
}

/// Consents to Billing: of one user, or of an administrator for all.
fn consents(of: Option<UserId>) -> Vec<PermissionGrant> {
    let whole =
        |client| PermissionGrant { principal_id: of, ..grant(client, "billing", "Invoices.Read Invoices.Approve") };
    ["web", "orders"].map(whole).into()
}

fn withdrawn(of: Option<UserId>) -> Vec<Change> {
    consents(of).into_iter().map(|grant| Change::Delete(Object::Grant(grant).key())).collect()
}

/// What was obtained before the change.
struct Prepared {
    world: World,
    there: Store,
    code: String,
    device: String,
    waiting: (String, Browser, String),
    order: String,
    refresh: String,
    for_orders: String,
    for_billing: String,
    for_userinfo: String,
    session: SessionId,
}

impl Prepared {
    async fn new(column: &str) -> Self {
        let of = (column == "consent withdrawn").then(user_ada);
        let world = World::with(|plan| {
            let to_billing =
                |object: &Object| matches!(object, Object::Grant(it) if it.resource_id == principal("billing"));
            plan.others.retain(|object| !to_billing(object));
            plan.others.extend(consents(of).into_iter().map(Object::Grant));
        })
        .await;
        tokio::spawn(world.store.watch());
        let mut browser = Browser::default();
        let whole = browser.code(&world, "web", "ada", SCOPE).await;
        let whole = world.redeem("web", &whole).await.ok();
        let orders = browser.code(&world, "web", "ada", "api://orders/access_as_user").await;
        let userinfo = browser.code(&world, "web", "ada", "openid profile").await;
        let code = browser.code(&world, "web", "ada", SCOPE).await;
        let (device, typed) = begin(&world).await;
        assert!(approve(&world, &mut browser, &typed).await);
        let (waits, typed) = begin(&world).await;
        let waiting = (waits, browser, typed);
        let for_orders = text(&world.redeem("web", &orders).await.ok(), "access_token");
        let order = crate::work_orders::order_form("orders", &for_orders, &[("scope", "api://billing/.default")]);
        Self {
            there: Store::open(
                &world.folder.file(),
                store::StoreKeys::new([7; 32]),
                std::sync::Arc::new(world.clock.clone()),
            )
            .unwrap(),
            code,
            device,
            waiting,
            refresh: text(&whole, "refresh_token"),
            order: text(&world.token(order).await.ok(), "access_token"),
            for_orders,
            for_billing: text(&whole, "access_token"),
            for_userinfo: text(&world.redeem("web", &userinfo).await.ok(), "access_token"),
            session: text(&claims(&text(&whole, "id_token")), "sid").parse().unwrap(),
            world,
        }
    }

    fn edit(&self, edit: impl Fn(&mut Object) -> bool) -> Vec<Change> {
        let objects = self.there.objects().unwrap();
        objects.into_iter().filter_map(|mut object| edit(&mut object).then(|| object.into())).collect()
    }

    fn edit_user(&self, edit: impl Fn(&mut deputize_core::model::User)) -> Vec<Change> {
        self.edit(|object| match object {
            Object::User(it) if it.id == user_ada() => {
                edit(it);
                true
            }
            _ => false,
        })
    }

    fn disable(&self, names: &[&str]) -> Vec<Change> {
        let ids: Vec<_> = names.iter().map(|name| principal(name)).collect();
        self.edit(|object| match object {
            Object::ServicePrincipal(it) if ids.contains(&it.id) => {
                it.account_enabled = false;
                true
            }
            _ => false,
        })
    }

    fn without_secret(&self, names: &[&str]) -> Vec<Change> {
        let ids: Vec<_> = names.iter().map(|name| app(name)).collect();
        self.edit(|object| match object {
            Object::Application(it) if ids.contains(&it.app_id) => {
                it.password_credentials.clear();
                true
            }
            _ => false,
        })
    }

    /// The change, by another process, and the second in which it has to bind.
    async fn change(&self, column: &Column) {
        let changes = (column.act)(self);
        match column.name {
            "session ended" => self.there.commit(vec![Write::RevokeSession(self.session)]).await.unwrap(),
            "signing key withdrawn" => {
                tokio::spawn(self.world.authority.watch());
                let signed_with = text(&crate::world::header(&self.for_orders), "kid");
                let revoked = SigningKey {
                    kid: signed_with,
                    algorithm: "RS256".into(),
                    sealed: oauth::Secret::new("none"),
                    certificate: Vec::new(),
                    created: NOON,
                    not_after: NOON,
                    state: KeyState::Revoked,
                };
                self.there.put_signing_key(revoked).await.unwrap();
            }
            _ => drop(self.there.apply(changes, crate::world::record()).await.unwrap()),
        }
        // A clock that is not the machine's: what is not done in this second is late, however slow the machine is.
        tokio::time::pause();
        sleep(Duration::from_secs(1)).await;
        tokio::time::resume();
        self.world.clock.advance(1);
    }

    async fn ask(&self, surface: &str) -> Cell {
        let world = &self.world;
        match surface {
            "code" => issued(&world.token(redeem_form("web", &self.code)).await),
            "refresh" => issued(&world.token(refresh_form("web", &self.refresh, None)).await),
            "device" => issued(&world.token(polling(&self.device)).await),
            "device, not approved yet" => {
                let (device, browser, typed) = &self.waiting;
                approve(world, &mut browser.clone(), typed).await;
                issued(&world.token(polling(device)).await)
            }
            "work order" => issued(&world.token(crate::work_orders::redeem_form("orders", &self.order, &[])).await),
            "OBO" => issued(&world.obo("orders", &self.for_orders, "api://billing/.default").await),
            "introspect" => {
                let mut form = credential("billing");
                form.push(("token", self.for_billing.clone()));
                let answer = world.post(&format!("/{CONTOSO}/oauth2/v2.0/introspect"), &[], encode(&form)).await;
                if answer.status.as_u16() != 200 {
                    return refused(&answer.check());
                }
                let told = answer.json();
                if told == json!({"active": false}) { Inactive } else { rights(&told, "scope") }
            }
            _ => {
                let answer = world.get_with(&format!("/{CONTOSO}/openid/userinfo"), &self.for_userinfo).await;
                if answer.status.as_u16() == 200 { Unaffected } else { refused(&text(&answer.json(), "check")) }
            }
        }
    }
}

/// A device of Web, which has a credential: its code, and the code that it shows.
async fn begin(world: &World) -> (String, String) {
    let mut form = credential("web");
    form.push(("scope", SCOPE.to_owned()));
    let begun = world.post(&format!("/{CONTOSO}/oauth2/v2.0/devicecode"), &[], encode(&form)).await.ok();
    (text(&begun, "device_code"), text(&begun, "user_code"))
}

fn polling(device: &str) -> crate::world::Params<'static> {
    let mut form = credential("web");
    form.extend([("grant_type", crate::device::URN.to_owned()), ("device_code", device.to_owned())]);
    form
}

/// The person types the code, signs in where they are asked, and approves if they get so far.
async fn approve(world: &World, browser: &mut Browser, typed: &str) -> bool {
    let page = crate::device::asked(browser, world, &json!({"user_code": typed}), "ada").await;
    let asked = page.status == 200 && page.text().contains("action=\"/device/approve\"");
    if asked {
        let done = browser.submit(world, &page.form(), &crate::device::YES).await;
        assert!(done.text().contains("You are signed in"), "{}", done.text());
    }
    asked
}

fn issued(answer: &Answer) -> Cell {
    if answer.status.as_u16() == 200 {
        rights(&claims(&text(&answer.json(), "access_token")), "scp")
    } else {
        refused(&answer.check())
    }
}

fn refused(check: &str) -> Cell {
    Refused(decision::CheckId::named(check).unwrap().entry().id)
}

/// Two scopes and one role are whole.
fn rights(claims: &Value, scope: &str) -> Cell {
    let scopes = claims[scope].as_str().map_or(0, |scopes| scopes.split(' ').count());
    let roles = claims["roles"].as_array().map_or(0, Vec::len);
    if (scopes, roles) == (2, 1) { Unaffected } else { Reduced }
}

#[tokio::test]
async fn x_01_every_change_by_another_process_binds_every_surface_within_a_second() {
    let mut wrong = Vec::new();
    for column in columns() {
        let prepared = Prepared::new(column.name).await;
        prepared.change(&column).await;
        for (surface, expected) in SURFACES.iter().zip(&column.cells) {
            let found = prepared.ask(surface).await;
            if found != *expected {
                wrong.push(format!("{} × {surface}: {found:?}, not {expected:?}", column.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// X-19: a token from before "revoke sessions" is worth nothing in an exchange, and one from a new sign-in is.
#[tokio::test]
async fn x_19_a_token_from_before_the_sessions_were_revoked_is_not_exchanged() {
    let world = World::new().await;
    let old = world.orders_token().await;
    world.clock.advance(10);
    world.edit_user("ada", |user| user.sign_in_sessions_valid_from = NOON.plus(10)).await;
    assert_eq!(world.obo("orders", &old, "api://billing/.default").await.check(), "user.not_revoked");
    world.clock.advance(1);
    let new = world.orders_token().await;
    assert_eq!(world.obo("orders", &new, "api://billing/.default").await.status.as_u16(), 200);
}

/// X-12: who acts is who proved it: nothing that a request says of an actor counts, and the chain of a token stays inside.
#[tokio::test]
async fn x_12_the_actor_is_the_client_that_proved_itself() {
    let world = World::new().await;
    let token = world.orders_token().await;
    let mut form = crate::world::obo_form("orders", &token, "api://billing/.default");
    form.push((
        "actor_token",
        text(
            &world.token(crate::world::client_credentials("daemon", "api://billing/.default")).await.ok(),
            "access_token",
        ),
    ));
    form.push(("actor_token_type", "urn:ietf:params:oauth:token-type:access_token".to_owned()));
    form.push(("act", format!(r#"{{"sub":"{}"}}"#, app("daemon"))));
    let own = claims(&text(&world.token(form.clone()).await.ok(), "access_token"));
    assert_eq!(own["azp"], json!(app("orders")));
    assert_eq!(own["act"], json!({"sub": app("orders"), "act": {"sub": app("web")}}));
    // Another client's name with one's own secret.
    let form = but(form, "client_id", Some(&app("rival").to_string()));
    assert_eq!(world.token(form).await.check(), "client.secret_correct");
}
