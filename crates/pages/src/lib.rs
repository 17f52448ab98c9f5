//! What every HTML page shares: one layout, one stylesheet, security headers, and protection against requests that other
//! sites forge. It has no rules of its own; a room brings the content as an [`askama`] template.
//!
//! ```
//! use deputize_pages::Page;
//!
//! #[derive(askama::Template)]
//! #[template(source = "<h1>Hello, {{ name }}</h1>", ext = "html")]
//! struct Hello<'a> {
//!     name: &'a str,
//! }
//!
//! let response = Page::new("Hello", Hello { name: "<Ada>" }).respond();
//! assert!(response.body().contains("<h1>Hello, &#60;Ada&#62;</h1>"));
//! assert_eq!(response.headers()["x-frame-options"], "DENY");
//! ```
mod asset;
mod cookie;
mod origin;
mod page;
mod plain;
mod source;

pub use asset::{ICON_PATH, SCRIPT_PATH, STYLESHEET_PATH, asset, stylesheet};
pub use cookie::{Cookie, CookieError};
pub use origin::posted_from;
pub use page::{Page, html};
pub use plain::Plain;
pub use source::form_source;
