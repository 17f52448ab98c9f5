//! Challenges in `WWW-Authenticate` (RFC 6750, RFC 9470, RFC 9728; Entra's `claims`).
