//! How much of something one address has, connections say, so that no caller takes all there is.
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whose connections are not counted: proxies, say, which carry everybody's.
type Exempt = dyn Fn(IpAddr) -> bool + Send + Sync;

/// How much of something each address has: no more than its share. Of IPv6, an address is a /64.
///
/// ```
/// let shares = deputize_serve::Shares::new(1, |address| address.is_loopback());
/// let caller = "192.0.2.7".parse().unwrap();
/// let one = shares.take(caller).unwrap();
/// assert!(shares.take(caller).is_err());
/// drop(one);
/// assert!(shares.take(caller).is_ok());
/// ```
#[derive(Clone)]
pub struct Shares(Arc<Inner>);

struct Inner {
    most: usize,
    exempt: Box<Exempt>,
    /// Held for moments only, never across an await.
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One more of it, as long as this is there.
pub struct Share {
    shares: Shares,
    of: IpAddr,
}

impl Shares {
    /// `most` for each, those excepted that are not counted.
    pub fn new(most: usize, exempt: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { most, exempt: Box::new(exempt), open: Mutex::default() }))
    }

    /// One more, or `None` for who is not counted.
    ///
    /// # Errors
    /// If this address has all that it may have.
    pub fn take(&self, address: IpAddr) -> Result<Option<Share>, OverShare> {
        if (self.0.exempt)(address) {
            return Ok(None);
        }
        let of = subscriber(address);
        let mut open = self.open();
        let count = open.entry(of).or_default();
        if *count >= self.0.most {
            return Err(OverShare);
        }
        *count += 1;
        drop(open);
        Ok(Some(Share { shares: self.clone(), of }))
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Counts are whole after every line that changes them.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An address has as much as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverShare;

impl std::fmt::Debug for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shares").field("most", &self.0.most).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Share").field("of", &self.of).finish_non_exhaustive()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut open = self.shares.open();
        if let Some(count) = open.get_mut(&self.of) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.of);
            }
        }
    }
}

/// Who has an address, as callers are counted: of IPv6 one subscriber has the whole /64, whose addresses are theirs to choose.
///
/// ```
/// let subscriber = |address: &str| deputize_serve::subscriber(address.parse().unwrap()).to_string();
/// assert_eq!(subscriber("2001:db8::7"), "2001:db8::");
/// assert_eq!(subscriber("::ffff:192.0.2.7"), "192.0.2.7");
/// ```
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(shares: &Shares, address: &str) -> Result<Option<Share>, OverShare> {
        shares.take(address.parse().unwrap())
    }

    #[test]
    fn g_14_an_address_has_its_share_of_connections_and_takes_nobody_elses() {
        let proxy: IpAddr = "10.0.0.1".parse().unwrap();
        let shares = Shares::new(2, move |address| address == proxy);
        let (one, two) = (taken(&shares, "192.0.2.1").unwrap(), taken(&shares, "::ffff:192.0.2.1").unwrap());
        assert!(taken(&shares, "192.0.2.1").is_err(), "in whatever clothes");
        let other = taken(&shares, "192.0.2.2").unwrap();
        let six = [taken(&shares, "2001:db8::1").unwrap(), taken(&shares, "2001:db8::2").unwrap()];
        assert!(taken(&shares, "2001:db8::3").is_err(), "the /64 is one subscriber's");
        assert!(taken(&shares, "2001:db8:0:1::1").is_ok());
        drop(one);
        let again = taken(&shares, "192.0.2.1").unwrap();
        assert!(taken(&shares, "192.0.2.1").is_err());
        let proxied: Vec<_> = (0..5).map(|_| taken(&shares, "10.0.0.1").unwrap()).collect();
        assert!(proxied.iter().all(Option::is_none));
        drop((two, other, six, again));
        assert!(shares.open().is_empty(), "and nothing is kept of who is gone");
    }
}
