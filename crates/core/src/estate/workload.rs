//! Credentials that are nobody's secret, and managed identities.
use super::declared::{FederatedDeclared, ManagedIdentityDeclared, TrustedSubjectDeclared};
use super::resolve::{Work, derive};
use super::{Item, rules};
use crate::id::{AppId, ObjectId, TenantId};
use crate::model::Application;
use crate::workload::{
    FederatedIdentityCredential, ManagedIdentity, ManagedIdentityKind, TOKEN_EXCHANGE, TrustedCertificateSubject,
};
use serde_spanned::Spanned;
use std::collections::HashSet;

/// Graph's limits.
pub(crate) const MOST: usize = 20;
pub(crate) const LONGEST: usize = 600;

impl Work<'_> {
    pub(super) fn managed_identity(&mut self, tenant: TenantId, declared: &ManagedIdentityDeclared) {
        self.check("name", &declared.display_name, rules::shown);
        let name = declared.display_name.get_ref().clone();
        let app_id = id_of(tenant, declared);
        let resource_id = if let Some(id) = &declared.resource_id {
            self.check("resource id", id, rules::resource_id);
            id.get_ref().clone()
        } else {
            if declared.kind == ManagedIdentityKind::SystemAssigned {
                let hint = "add `resourceId`, such as `/subscriptions/…/providers/Microsoft.Web/sites/orders`";
                let problem = format!("`{name}` is a resource's identity, and the resource is not named");
                self.fault(declared.display_name.span(), problem, hint);
            }
            let group = format!("/subscriptions/{tenant}/resourcegroups/deputize/providers");
            format!("{group}/Microsoft.ManagedIdentity/userAssignedIdentities/{name}")
        };
        let federated = &declared.federated_identity_credentials;
        if declared.kind == ManagedIdentityKind::SystemAssigned
            && let Some(first) = federated.first()
        {
            let hint = "declare the identity as `UserAssigned`, or let its host speak for it with a certificate";
            self.fault(first.span(), "a system-assigned identity has no federated credentials", hint);
        }
        let application = Application {
            app_id,
            home_tenant: tenant,
            display_name: name,
            key_credentials: self.certificates(app_id, &declared.key_credentials),
            federated_identity_credentials: self.federated(app_id, federated),
            managed_identity: Some(ManagedIdentity { kind: declared.kind, resource_id }),
            ..Application::default()
        };
        self.push(declared.display_name.span(), Item::Application(application));
    }

    pub(super) fn federated(
        &mut self,
        app: AppId,
        declared: &[Spanned<FederatedDeclared>],
    ) -> Vec<FederatedIdentityCredential> {
        let (mut names, mut pairs) = (HashSet::new(), HashSet::new());
        if let Some(beyond) = declared.get(MOST) {
            self.fault(beyond.span(), "an application has at most 20 federated credentials", "declare fewer");
        }
        let mut credentials = Vec::new();
        for spanned in declared {
            let federated = spanned.get_ref();
            self.check("name of a federated credential", &federated.name, rules::federated_name);
            self.check("issuer", &federated.issuer, rules::issuer);
            self.check("subject", &federated.subject, |text| rules::compared(text, LONGEST));
            let name = federated.name.get_ref().clone();
            let (issuer, subject) = (federated.issuer.get_ref().clone(), federated.subject.get_ref().clone());
            if !names.insert(name.clone()) {
                let problem = format!("the federated credential `{name}` is declared twice");
                self.fault(federated.name.span(), problem, "give each a `name` of its own");
            }
            if !pairs.insert((issuer.clone(), subject.clone())) {
                let problem = "this issuer and subject are declared twice for the application";
                self.fault(federated.subject.span(), problem, "keep one of them");
            }
            let audiences = federated.audiences.as_ref().map_or_else(
                || vec![TOKEN_EXCHANGE.to_owned()],
                |list| list.get_ref().iter().map(|audience| audience.get_ref().clone()).collect(),
            );
            if let Some(list) = &federated.audiences {
                for audience in list.get_ref() {
                    self.check("audience", audience, |text| rules::compared(text, LONGEST));
                }
                if list.get_ref().len() != 1 {
                    let hint = format!("write one, or leave `audiences` out for `{TOKEN_EXCHANGE}`");
                    self.fault(list.span(), "a federated credential has one audience", hint);
                }
            }
            let id = ObjectId(self.id(federated.id.as_ref(), || derive(app.0, "federated", &name)));
            let description = federated.description.clone();
            credentials.push(FederatedIdentityCredential { id, name, issuer, subject, description, audiences });
        }
        credentials
    }

    pub(super) fn trusted_subjects(
        &mut self,
        declared: &[Spanned<TrustedSubjectDeclared>],
    ) -> Vec<TrustedCertificateSubject> {
        let mut subjects = Vec::new();
        for trusted in declared.iter().map(Spanned::get_ref) {
            let subject_name = trusted.subject_name.get_ref().clone();
            self.check("subject", &trusted.subject_name, |text| rules::compared(text, LONGEST));
            for revoked in &trusted.revoked_certificate_identifiers {
                self.check("thumbprint", revoked, rules::thumbprint);
            }
            let revoked_certificate_identifiers: Vec<String> =
                trusted.revoked_certificate_identifiers.iter().map(|text| text.get_ref().clone()).collect();
            let read = self.materials.text(trusted.authority.get_ref()).and_then(|text| {
                self.materials.trusted_subject(&subject_name, &text, &revoked_certificate_identifiers)
            });
            match read {
                Err(hint) => {
                    self.fault(trusted.authority.span(), "the certificate authority cannot be used", hint);
                }
                Ok(read) if read.not_after <= self.now => {
                    let problem = format!("the certificate authority ended at {}", read.not_after);
                    self.fault(trusted.authority.span(), problem, "give the authority's current certificate");
                }
                Ok(read) => subjects.push(TrustedCertificateSubject {
                    subject_name,
                    authority_name: trusted.authority_name.clone(),
                    authority: read.key,
                    revoked_certificate_identifiers,
                }),
            }
        }
        subjects
    }
}

/// The client id of a managed identity.
pub(super) fn id_of(tenant: TenantId, declared: &ManagedIdentityDeclared) -> AppId {
    match &declared.app_id {
        Some(id) => id.get_ref().parse().unwrap_or_default(),
        None => AppId(derive(tenant.0, "managedIdentity", declared.display_name.get_ref())),
    }
}
