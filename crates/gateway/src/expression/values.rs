//! What expressions look at. Credentials are not among it, and of what has two readings nothing is decided.
use super::{Expression, Looks};
use crate::address::Address;
use crate::call::Call;
use crate::canonical::{identity, query};
use cel::Value;
use http::{HeaderMap, header};
use serde_json::{Map, Value as Json};
use std::collections::HashMap;

/// How many values an expression with loops is given.
const MOST: usize = 1_024;

/// How many values there may still be.
pub(crate) struct Room(Option<usize>);

impl Room {
    pub(super) fn new(loops: bool) -> Self {
        Self(loops.then_some(MOST))
    }

    fn take(&mut self) -> Result<(), Unusable> {
        match &mut self.0 {
            None => Ok(()),
            Some(0) => Err(Unusable::Many),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

/// Why an expression is not evaluated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// There is more than an expression goes through.
    #[error("there are more than {MOST} values to go through")]
    Many,
    /// Readers could take it for this or for that.
    #[error("{0} stands there twice, in another spelling, or is no text")]
    Unclear(String),
}

/// What a call has of a variable; `null` where it has nothing.
pub(super) fn of_call(call: &Call, variable: &str, by: &Expression, room: &mut Room) -> Result<Value, Unusable> {
    let name = |name: Option<&str>| name.map_or(Value::Null, Value::from);
    Ok(match variable {
        "claims" => match &call.principal {
            Some((principal, _)) => members(&principal.all_claims(), room)?,
            None => Value::Null,
        },
        "request" => request(call, by, room)?,
        "operation" => Value::from(&*call.operation.name),
        "subscription" => name(call.admission.subscription.as_deref()),
        "product" => name(call.product.as_deref()),
        "certificate" => match call.certificate.as_ref().and_then(|certificate| certificate.x5t_s256()) {
            Some(thumbprint) => Value::from(HashMap::from([("thumbprint", Value::from(thumbprint))])),
            None => Value::Null,
        },
        _ => Value::Null,
    })
}

/// The one variable of an answer.
pub(super) fn of_answer(status: u16, json: &Json, room: &mut Room) -> Result<Value, Unusable> {
    Ok(Value::from(HashMap::from([("status", Value::Int(status.into())), ("json", value_of(json, room)?)])))
}

fn request(call: &Call, by: &Expression, room: &mut Room) -> Result<Value, Unusable> {
    let request = &call.request;
    let mut members: HashMap<&str, Value> = HashMap::from([
        ("method", Value::from(request.method().as_str())),
        ("host", Value::from(request.host())),
        ("path", Value::from(request.path())),
    ]);
    if !by.query.is_at_none() {
        members.insert("query", parameters(request.query(), &by.query, room)?);
    }
    if !by.headers.is_at_none() {
        members.insert("headers", fields(request.headers(), &by.headers, room)?);
    }
    if let Address::Known(address) = call.caller {
        members.insert("ip", Value::from(address.to_canonical().to_string()));
    }
    Ok(Value::from(members))
}

/// Parameters by their names.
fn parameters(text: Option<&str>, looks: &Looks, room: &mut Room) -> Result<Value, Unusable> {
    let mut found = Found::new(str::to_ascii_lowercase);
    for pair in text.into_iter().flat_map(|text| text.split('&')).filter(|pair| !pair.is_empty()) {
        room.take()?;
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = query::decoded(key).ok_or_else(|| Unusable::Unclear("the name of a parameter".to_owned()))?;
        found.add(key, query::decoded(value));
    }
    found.value("the parameter", looks)
}

/// Fields by their names in lower case; those that carry credentials or say who somebody is are not there.
fn fields(headers: &HeaderMap, looks: &Looks, room: &mut Room) -> Result<Value, Unusable> {
    // Services that know fields as variables take `_` for `-`.
    let mut found = Found::new(|name| name.to_ascii_lowercase().replace('_', "-"));
    for name in headers.keys() {
        room.take()?;
        let is_credential = matches!(*name, header::AUTHORIZATION | header::COOKIE) || *name == guard::DPOP;
        // What only the gateway may say is not believed of its callers either.
        let is_identity = identity::is_reserved(name) || identity::looks_like_identity(name);
        let lines = headers.get_all(name).iter().filter(|_| !is_credential && !is_identity);
        for line in lines {
            found.add(name.as_str().to_owned(), line.to_str().ok().map(str::to_owned));
        }
    }
    found.value("the field", looks)
}

/// What has a name, by what readers could take for the same name: nothing where that is not one text.
struct Found {
    fold: fn(&str) -> String,
    all: HashMap<String, Option<(String, String)>>,
}

impl Found {
    fn new(fold: fn(&str) -> String) -> Self {
        Self { fold, all: HashMap::new() }
    }

    fn add(&mut self, name: String, value: Option<String>) {
        let one = self.all.entry((self.fold)(&name));
        one.and_modify(|before| *before = None).or_insert_with(|| value.map(|value| (name, value)));
    }

    /// All of it, if what is looked at is one text each, under just its name. That something is not there can be what a condition
    /// asks for, so nobody may bring that about by sending it twice.
    fn value(self, what: &str, looks: &Looks) -> Result<Value, Unusable> {
        let unclear = |name: &str| {
            let one = self.all.get(&(self.fold)(name));
            one.is_some_and(|one| one.as_ref().is_none_or(|(found, _)| found != name))
        };
        let named = looks.names.iter().find(|name| unclear(name));
        let any = || self.all.iter().find(|(_, one)| looks.all && one.is_none()).map(|(name, _)| name);
        if let Some(name) = named.or_else(any) {
            return Err(Unusable::Unclear(format!("{what} {}", decision::contract::shown(name))));
        }
        let pairs = self.all.into_values().flatten().map(|(name, value)| (name, Value::from(value)));
        Ok(Value::from(pairs.collect::<HashMap<String, Value>>()))
    }
}

/// A JSON object.
pub(crate) fn members(object: &Map<String, Json>, room: &mut Room) -> Result<Value, Unusable> {
    let read = object.iter().map(|(name, value)| Ok((name.as_str(), value_of(value, room)?)));
    Ok(Value::from(read.collect::<Result<HashMap<&str, Value>, Unusable>>()?))
}

fn value_of(json: &Json, room: &mut Room) -> Result<Value, Unusable> {
    room.take()?;
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        // Integers compare with integers as they are written; what is too great for one, or has a fraction, is none.
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => {
            Value::from(items.iter().map(|item| value_of(item, room)).collect::<Result<Vec<Value>, Unusable>>()?)
        }
        Json::Object(object) => members(object, room)?,
    })
}
