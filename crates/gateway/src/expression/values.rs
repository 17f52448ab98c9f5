//! What expressions look at. Credentials are not among it, and what has two readings is not there.
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
            Some(0) => Err(Unusable),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

/// There is more than an expression goes through.
#[derive(Debug, thiserror::Error)]
#[error("there are more than {MOST} values to go through")]
pub(crate) struct Unusable;

/// What a call has of a variable; `null` where it has nothing.
pub(super) fn of_call(call: &Call, variable: &str, room: &mut Room) -> Result<Value, Unusable> {
    let name = |name: Option<&str>| name.map_or(Value::Null, Value::from);
    Ok(match variable {
        "claims" => match &call.principal {
            Some((principal, _)) => members(&principal.all_claims(), room)?,
            None => Value::Null,
        },
        "request" => request(call, room)?,
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

fn request(call: &Call, room: &mut Room) -> Result<Value, Unusable> {
    let request = &call.request;
    let mut members: HashMap<&str, Value> = HashMap::from([
        ("method", Value::from(request.method().as_str())),
        ("host", Value::from(request.host())),
        ("path", Value::from(request.path())),
        ("query", parameters(request.query(), room)?),
        ("headers", fields(request.headers(), room)?),
    ]);
    if let Address::Known(address) = call.caller {
        members.insert("ip", Value::from(address.to_canonical().to_string()));
    }
    Ok(Value::from(members))
}

/// Parameters by their names; one that stands there twice, in any spelling, is not there.
fn parameters(text: Option<&str>, room: &mut Room) -> Result<Value, Unusable> {
    let pairs = text.into_iter().flat_map(|text| text.split('&')).filter(|pair| !pair.is_empty());
    let mut found = HashMap::new();
    for pair in pairs {
        room.take()?;
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(key), Some(value)) = (query::decoded(key), query::decoded(value)) else { continue };
        if matches!(query::value(text, &key), Ok(Some(_))) {
            found.insert(key, Value::from(value));
        }
    }
    Ok(Value::from(found))
}

/// Fields by their names in lower case; those that stand there twice, carry credentials or say who somebody is are not there.
fn fields(headers: &HeaderMap, room: &mut Room) -> Result<Value, Unusable> {
    let mut found = HashMap::new();
    for name in headers.keys() {
        room.take()?;
        let is_credential = matches!(*name, header::AUTHORIZATION | header::COOKIE) || *name == guard::DPOP;
        // What only the gateway may say is not believed of its callers either.
        let is_identity = identity::is_reserved(name) || identity::looks_like_identity(name);
        let mut lines = headers.get_all(name).iter();
        if let (Some(line), None, false) = (lines.next(), lines.next(), is_credential || is_identity)
            && let Ok(text) = line.to_str()
        {
            found.insert(name.as_str(), Value::from(text));
        }
    }
    Ok(Value::from(found))
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
