//! Subscriptions of the file: what each is to, and its keys.
use super::compile::api_id;
use super::file::SubscriptionTable;
use super::world::{World, twice, unknown};
use super::{File, SettingsError, Spanned, fault};
use crate::gateway::Ports;
use crate::secrets::Material;
use crate::subscriptions::{Product, ProductId, SHORTEST, Scope, Subscription, Subscriptions};
use decision::Timestamp;

pub(super) fn subscriptions(
    file: &File,
    products: Vec<Product>,
    world: &mut World<'_>,
    ports: &Ports,
) -> Result<Subscriptions, SettingsError> {
    let mut salt = [0; 32];
    ports.random.fill(&mut salt);
    let names: Vec<String> = products.iter().map(|product| product.name.to_string()).collect();
    let mut all = Subscriptions::new(salt, products);
    let mut seen: Vec<&str> = Vec::new();
    for table in &file.subscription {
        let SubscriptionTable { name, product, api, all_apis, primary, secondary, state, expires, started } =
            table.get_ref();
        if seen.contains(&name.get_ref().as_str()) {
            return Err(twice("a subscription", name));
        }
        if ports.store.as_ref().is_some_and(|store| store.held().subscription(name.get_ref()).is_some()) {
            return Err(twice("a subscription of the database", name));
        }
        seen.push(name.get_ref());
        let scope = match (product, api, all_apis) {
            (Some(product), None, false) => {
                let id = names.iter().position(|name| name == product.get_ref());
                Scope::Product(ProductId(id.ok_or_else(|| unknown("product", product, names.iter()))?))
            }
            (None, Some(api), false) => Scope::Api(api_id(file, api)?),
            (None, None, true) => Scope::AllApis,
            _ => {
                let hint = "say one of `product`, `api` and `all_apis = true`";
                return Err(fault(&name.span(), "the subscription is not to one thing", hint));
            }
        };
        let (expires, started) = (moment(expires.as_ref())?, moment(started.as_ref())?);
        let mut places = vec![world.material(primary)?];
        if let Some(secondary) = secondary {
            places.push(world.material(secondary)?);
        }
        let subscription =
            Subscription { name: name.get_ref().as_str().into(), scope, state: *state, expires, started };
        // Each by itself first, so that what is wrong is said at its place.
        for (place, source) in places.iter().zip([Some(primary), secondary.as_ref()].into_iter().flatten()) {
            let wrong = |reason: String| fault(&source.span(), reason, "put a random key there, as one line of text");
            if let Some(held) = place.held().map_err(wrong)?.filter(|_| !place.is_fetched()) {
                let key = Material::text(&held).map_err(wrong)?;
                if key.expose().len() < SHORTEST {
                    return Err(fault(&source.span(), "the key is shorter than 16 characters", "make a random one"));
                }
            }
        }
        let added = all.add(subscription, Material::joined(places));
        added.map_err(|reason| {
            let hint = "every key is one subscription's, and its two keys differ";
            fault(&primary.span(), format!("a key of `{}` {reason}", name.get_ref()), hint)
        })?;
    }
    world.keep_up_to_date(all.keys() as _);
    Ok(all)
}

/// A moment of the file.
pub(crate) fn moment(written: Option<&Spanned<toml::value::Datetime>>) -> Result<Option<Timestamp>, SettingsError> {
    let Some(moment) = written else { return Ok(None) };
    let wrong = || fault(&moment.span(), "this is no moment", "write it in UTC: `2027-01-31T00:00:00Z`");
    timestamp(moment.get_ref()).ok_or_else(wrong).map(Some)
}

/// A moment that is written with its distance from UTC.
pub(crate) fn timestamp(moment: &toml::value::Datetime) -> Option<Timestamp> {
    let (date, time, offset) = (moment.date?, moment.time?, moment.offset?);
    let minutes = match offset {
        toml::value::Offset::Z => 0,
        toml::value::Offset::Custom { minutes } => i64::from(minutes),
    };
    // Days since 1970-01-01, of a calendar whose year begins in March.
    let (year, month) = (i64::from(date.year), i64::from(date.month));
    let year = if month <= 2 { year - 1 } else { year };
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(date.day) - 1;
    let days = year.div_euclid(400) * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let seconds = i64::from(time.hour) * 3_600 + i64::from(time.minute) * 60 + i64::from(time.second.unwrap_or(0));
    Some(Timestamp(days * 86_400 + seconds - minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::timestamp;

    #[test]
    fn moments_are_read_as_utc() {
        let read = |text: &str| timestamp(&text.parse().unwrap()).map(|moment| moment.0);
        assert_eq!(read("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(read("2000-02-29T00:00:00Z"), Some(951_782_400));
        assert_eq!(read("2016-01-09T02:02:12Z"), Some(1_452_304_932));
        assert_eq!(read("2016-01-09T03:02:12+01:00"), Some(1_452_304_932));
        assert_eq!(read("2016-01-09"), None);
        assert_eq!(read("2016-01-09T02:02:12"), None);
    }
}
