//! Checks users' passwords. By design that takes tens of milliseconds of processor time, so results
//! are cached, and few passwords are checked at a time.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::Arc,
};

use aws_lc_rs::{
    hmac::{self, HMAC_SHA256},
    rand::SystemRandom,
};
use axum::http::{HeaderMap, header::AUTHORIZATION};
use base64::{Engine, prelude::BASE64_STANDARD};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::config::Users;

/// Maximum number of passwords that are checked at once. More would take the processors from the
/// scrapes.
const AT_ONCE: usize = 2;

/// Maximum number of checks that wait, or are made.
const MAX_PENDING: usize = 32;

/// The same for one address, so that a client that guesses passwords delays others only a moment.
const MAX_PENDING_PER_ADDRESS: usize = 4;

/// Maximum number of right and of wrong passwords in the cache.
const MAX_CACHED: usize = 100;

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    /// Or there were none.
    Wrong,
    /// Too many checks are pending.
    Busy,
}

/// Checks passwords and caches the results.
pub(super) struct Passwords {
    /// Results are cached under a keyed hash, which can't be guessed back to a password.
    key: hmac::Key,
    cache: Mutex<Cache>,
    permits: Arc<Semaphore>,
    pending: Mutex<HashMap<IpAddr, usize>>,
}

/// Of a user, the hash and the password.
type CacheKey = Vec<u8>;

/// Apart, so that no number of wrong passwords pushes a right one out.
#[derive(Default)]
struct Cache {
    right: VecDeque<CacheKey>,
    wrong: VecDeque<CacheKey>,
}

impl Passwords {
    pub(super) fn new() -> Self {
        let key = hmac::Key::generate(HMAC_SHA256, &SystemRandom::new());
        Self {
            key: key
                .expect("the system gives random numbers, without which there is no TLS either"),
            cache: Mutex::default(),
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            pending: Mutex::default(),
        }
    }

    /// Whether these headers contain a user with the right password.
    pub(super) async fn check(&self, users: &Users, headers: &HeaderMap, from: IpAddr) -> Verdict {
        let Some((user, password)) = credentials(headers) else { return Verdict::Wrong };
        let (hash, is_user) = users.hash(&user);
        let key = self.cache_key(&[user.as_bytes(), hash.as_bytes(), &password]);
        if let Some(verdict) = self.cache.lock().get(&key) {
            return verdict;
        }
        let Some(_pending) = PendingGuard::new(&self.pending, from) else { return Verdict::Busy };
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        // Another request may have checked it meanwhile.
        if let Some(verdict) = self.cache.lock().get(&key) {
            return verdict;
        }
        let hash = hash.to_owned();
        let checking = tokio::task::spawn_blocking(move || {
            let matches = bcrypt::verify(password, &hash);
            drop(permit);
            matches.unwrap_or(false)
        });
        let is_right = checking.await.unwrap_or(false) && is_user;
        self.cache.lock().insert(key, is_right)
    }

    fn cache_key(&self, parts: &[&[u8]]) -> CacheKey {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().to_vec()
    }
}

impl Cache {
    fn get(&self, key: &CacheKey) -> Option<Verdict> {
        let right = self.right.contains(key).then_some(Verdict::Right);
        right.or_else(|| self.wrong.contains(key).then_some(Verdict::Wrong))
    }

    fn insert(&mut self, key: CacheKey, is_right: bool) -> Verdict {
        let (keys, verdict) = if is_right {
            (&mut self.right, Verdict::Right)
        } else {
            (&mut self.wrong, Verdict::Wrong)
        };
        if keys.len() >= MAX_CACHED {
            keys.pop_front();
        }
        keys.push_back(key);
        verdict
    }
}

/// A check is pending until this is dropped.
struct PendingGuard<'p> {
    pending: &'p Mutex<HashMap<IpAddr, usize>>,
    from: IpAddr,
}

impl<'p> PendingGuard<'p> {
    /// `None` if there are too many.
    fn new(pending: &'p Mutex<HashMap<IpAddr, usize>>, from: IpAddr) -> Option<Self> {
        let mut counts = pending.lock();
        let all: usize = counts.values().sum();
        let of_address = counts.get(&from).copied().unwrap_or(0);
        if all >= MAX_PENDING || of_address >= MAX_PENDING_PER_ADDRESS {
            return None;
        }
        counts.insert(from, of_address + 1);
        Some(Self { pending, from })
    }
}

impl Drop for PendingGuard<'_> {
    fn drop(&mut self) {
        let mut counts = self.pending.lock();
        if let Some(count) = counts.get_mut(&self.from) {
            *count -= 1;
        }
        counts.retain(|_, count| *count > 0);
    }
}

/// The user and the password of basic authentication (RFC 7617).
fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, encoded) = value.split_at_checked(b"Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let mut decoded = BASE64_STANDARD.decode(encoded).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let password = decoded.split_off(colon + 1);
    decoded.pop();
    Some((String::from_utf8(decoded).ok()?, password))
}

#[cfg(test)]
mod tests;
