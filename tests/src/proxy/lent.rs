//! Proxies of a server that several tests share: each is lent to one test at a time, and comes back healed.

use std::ops::Deref;

use tokio::sync::{Mutex, MutexGuard};

use super::{Ending, Proxy, Who};

/// The proxies before one server.
#[derive(Default)]
pub struct Proxies(Vec<Mutex<Proxy>>);

/// A proxy, for as long as this value lives.
pub struct Lent<'a>(MutexGuard<'a, Proxy>);

// === impl Proxies ===

impl Proxies {
    pub(crate) fn new(proxies: impl IntoIterator<Item = Proxy>) -> Proxies {
        Proxies(proxies.into_iter().map(Mutex::new).collect())
    }

    /// One that nobody has, waited for where all are lent; `None` where there are none.
    pub async fn lend(&self) -> Option<Lent<'_>> {
        let free = self.0.iter().find_map(|proxy| proxy.try_lock().ok());
        match free {
            Some(free) => Some(Lent(free)),
            // First come, first served, and all are as good.
            None => Some(Lent(self.0.first()?.lock().await)),
        }
    }
}

impl Deref for Lent<'_> {
    type Target = Proxy;

    fn deref(&self) -> &Proxy {
        &self.0
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        // The next one starts from nothing; a proxy that does not obey fails there.
        drop(self.0.heal());
        self.0.cut(Who::All, Ending::Reset);
    }
}
