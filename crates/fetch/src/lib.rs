//! The one hardened outbound client, and the cache of key sets over it.
