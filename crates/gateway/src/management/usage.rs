//! What was used, in windows.
use super::contracts::{UsageGiven, Used};
use super::{Admitted, Answered, absent, json, wrong};
use crate::store::{UsedOf, Width, Window};
use decision::Timestamp;
use http::StatusCode;

pub(super) fn of_subscription(admitted: &Admitted<'_>) -> Answered {
    let name = admitted.asked.name();
    let there = admitted.state.subscriptions.has(name) || admitted.store.held().subscription(name).is_some();
    used(admitted, UsedOf::Subscription(name), there, "subscription")
}

pub(super) fn of_product(admitted: &Admitted<'_>) -> Answered {
    let name = admitted.asked.name();
    let there = admitted.state.subscriptions.product(name).is_some() || admitted.store.held().product(name).is_some();
    used(admitted, UsedOf::Product(name), there, "product")
}

/// What is gone may have been used all the same.
fn used(admitted: &Admitted<'_>, of: UsedOf<'_>, there: bool, what: &str) -> Answered {
    let asked = &admitted.asked;
    let (interval, width, usual) = match asked.parameter("interval") {
        None | Some("hour") => ("hour", Width::Hour, 86_400),
        Some("day") => ("day", Width::Day, 30 * 86_400),
        Some(_) => return Err(wrong("`interval` is `hour` or `day`")),
    };
    let now = admitted.store.now();
    let to = asked.moment("to")?.unwrap_or_else(|| now.plus(1));
    let from = asked.moment("from")?.unwrap_or_else(|| to.plus(-usual));
    // The window that `from` is in counts.
    let from = Timestamp(from.0.div_euclid(width.seconds()) * width.seconds());
    let windows = admitted.store.used(of, width, from, to)?;
    if windows.is_empty() && !there {
        return Err(absent(what, asked.name()));
    }
    let value = windows.into_iter().map(|Window { at, amount }| Used {
        from: at.to_string(),
        calls: amount.calls,
        refused: amount.refused,
        bytes: amount.bytes,
    });
    Ok(json(StatusCode::OK, &UsageGiven { interval, value: value.collect() }, None))
}
