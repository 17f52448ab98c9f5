//! An example API: Orders, which calls Billing on behalf of its user.
