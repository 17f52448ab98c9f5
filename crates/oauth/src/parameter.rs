//! What an endpoint reads of a request, said beside the code that reads it: forms forget everything else, and the reference is
//! written from it.

/// Where in a request a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the form of the body.
    Body,
    /// In the query of the URL.
    Query,
    /// In the query of a GET, or in the form of a POST.
    Either,
    /// In a header field.
    Header,
}

/// Whether a request needs a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Without it the request is refused, and the refusal names it.
    Required,
    /// It may be left out.
    Optional,
    /// The client's kind, or another parameter, decides.
    Depends,
}

/// A parameter that an endpoint reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name on the wire.
    pub name: &'static str,
    /// Where it stands.
    pub place: Place,
    /// Whether it must.
    pub need: Need,
    /// What it does.
    pub behaviour: &'static str,
}

impl Parameter {
    /// One of the body, without which the request is refused.
    pub const fn required(name: &'static str, behaviour: &'static str) -> Self {
        Self { name, place: Place::Body, need: Need::Required, behaviour }
    }

    /// One of the body that may be left out.
    pub const fn optional(name: &'static str, behaviour: &'static str) -> Self {
        Self { need: Need::Optional, ..Self::required(name, behaviour) }
    }

    /// One of the body that some requests need.
    pub const fn depends(name: &'static str, behaviour: &'static str) -> Self {
        Self { need: Need::Depends, ..Self::required(name, behaviour) }
    }

    /// A header field that may be left out.
    pub const fn header(name: &'static str, behaviour: &'static str) -> Self {
        Self { place: Place::Header, ..Self::optional(name, behaviour) }
    }

    /// The same, in another place.
    #[must_use]
    pub const fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }
}

/// Parameters that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// When they are read; empty for always.
    pub when: &'static str,
    /// Each of them.
    pub each: &'static [Parameter],
}
