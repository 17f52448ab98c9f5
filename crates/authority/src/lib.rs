//! The identity platform's HTTP edge and its pages.
