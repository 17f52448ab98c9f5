//! What reaches beyond one tenant, or beyond the order of the file: guests, owners, applications of many tenants.
use super::Item;
use super::declared::{TenantDeclared, UserDeclared};
use super::resolve::{Work, suggestion};
use crate::id::{AppId, TenantId, UserId};
use crate::model::{Application, HomeAccount, User};
use serde_spanned::Spanned;
use std::collections::HashSet;
use std::ops::Range;

impl Work<'_> {
    /// An application of one tenant has no service principal in another.
    pub(super) fn reach(&mut self, tenant: TenantId, app: AppId, at: Option<Range<usize>>) {
        let Some(application) = self.application_mut(app) else { return };
        if !application.may_stand_in(tenant) {
            let name = application.display_name.clone();
            let hint = "write `signInAudience = \"AzureADMultipleOrgs\"` at the application";
            self.fault(at.unwrap_or(0..0), format!("`{name}` is an application of its own tenant alone"), hint);
        }
    }

    /// Says of guests who they are at home, once the users of every tenant are known.
    pub(super) fn guests(&mut self, declared: Vec<(TenantId, &TenantDeclared)>) {
        let mut homes = HashSet::new();
        for (tenant, of) in &declared {
            for user in of.users.iter().map(Spanned::get_ref) {
                let Some(identity) = user.identities.first() else { continue };
                if user.identities.len() > 1 {
                    self.fault(identity.span(), "a guest has one home", "keep one of the `identities`");
                }
                if user.password.is_some() {
                    self.fault(identity.span(), "a guest signs in at home", "drop the `password`");
                }
                let issuer = &identity.get_ref().issuer;
                let named = |known: &&(TenantId, &TenantDeclared)| {
                    let domains = known.1.domains.iter();
                    known.0.to_string() == *issuer.get_ref()
                        || domains.into_iter().any(|domain| domain.get_ref() == issuer.get_ref())
                };
                let Some((home, _)) = declared.iter().find(named).filter(|(home, _)| home != tenant) else {
                    let hint = "write a domain of another tenant of this file";
                    self.fault(issuer.span(), format!("`{}` is no other tenant", issuer.get_ref()), hint);
                    continue;
                };
                let Some(account) = self.user_named(*home, &identity.get_ref().issuer_assigned_id) else { continue };
                let account = HomeAccount { tenant: *home, user: account };
                if !homes.insert((*tenant, account)) {
                    let hint = "keep one of the two guests";
                    self.fault(identity.span(), "this account is a guest of the tenant twice", hint);
                }
                self.settle(*tenant, user, account);
            }
        }
        // A guest's guest would be nobody's account.
        let guests: Vec<HomeAccount> = homes.iter().map(|(_, account)| *account).collect();
        for account in guests {
            if self.user_mut(account.tenant, account.user).is_some_and(|user| user.home.is_some()) {
                let hint = "name the account at which the person signs in";
                self.fault(0..0, "a guest's home is where they are no guest themselves", hint);
            }
        }
    }

    fn settle(&mut self, tenant: TenantId, guest: &UserDeclared, home: HomeAccount) {
        let name = guest.user_principal_name.get_ref();
        let found = self.done.items.iter_mut().find_map(|item| match item {
            Item::User(user) if user.tenant == tenant && user.user_principal_name == *name => Some(user),
            _ => None,
        });
        if let Some(user) = found {
            user.home = Some(home);
            user.password_hash = None;
        }
    }

    /// Owners of registrations: users of the same tenant.
    pub(super) fn owners(&mut self, tenant: TenantId, declared: &TenantDeclared) {
        for application in declared.applications.iter().map(Spanned::get_ref) {
            let mut owners: Vec<UserId> = Vec::new();
            for owner in &application.owners {
                owners.extend(self.user_named(tenant, owner));
            }
            owners.sort_unstable();
            owners.dedup();
            let name = application.display_name.get_ref();
            let found = self.done.items.iter_mut().find_map(|item| match item {
                Item::Application(known) if known.home_tenant == tenant && known.display_name == *name => Some(known),
                _ => None,
            });
            if let Some(known) = found {
                known.owners = owners;
            }
        }
    }

    fn application_mut(&mut self, app: AppId) -> Option<&mut Application> {
        self.done.items.iter_mut().find_map(|item| match item {
            Item::Application(known) if known.app_id == app => Some(known),
            _ => None,
        })
    }

    fn user_mut(&mut self, tenant: TenantId, id: UserId) -> Option<&mut User> {
        self.done.items.iter_mut().find_map(|item| match item {
            Item::User(user) if user.tenant == tenant && user.id == id => Some(user),
            _ => None,
        })
    }

    pub(super) fn user_named(&mut self, tenant: TenantId, text: &Spanned<String>) -> Option<UserId> {
        let name = text.get_ref();
        let found = self.find_user(tenant, name);
        if found.is_none() {
            let known: Vec<&str> = self.users(tenant).map(|user| user.user_principal_name.as_str()).collect();
            let hint = suggestion(name, &known, "the users of this tenant are");
            self.fault(text.span(), format!("there is no user `{name}` in this tenant"), hint);
        }
        found
    }
}
