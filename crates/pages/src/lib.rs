//! What every page of deputize shares: layout, style, security headers, cross-site request protection.
