//! The authority's rules: directory, consent, conditional access, client authentication, grants, issuance; and the ports they need.
