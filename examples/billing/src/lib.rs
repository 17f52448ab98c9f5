//! An example API: Billing, which shows a user their own invoices.
