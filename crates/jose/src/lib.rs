//! Keys, JSON Web Signatures and key sets: strict, over aws-lc-rs.
