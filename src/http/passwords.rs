//! Whether a user's password is right. Finding that out takes the processor tens of milliseconds by
//! design, so what was found out is remembered, and little is found out at a time.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::{
    hmac::{self, HMAC_SHA256},
    rand::SystemRandom,
};
use axum::http::{HeaderMap, header::AUTHORIZATION};
use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::sync::Semaphore;

use crate::config::Users;

/// So many passwords are checked at once. More would take the processors from the scrapes.
const AT_ONCE: usize = 2;

/// So many checks one address may have waiting, so that whoever guesses passwords holds up others
/// for a moment only.
const MOST_PER_ADDRESS: usize = 4;

/// So many right and so many wrong passwords are remembered.
const REMEMBERED: usize = 100;

/// What has become of a request's user and password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    /// Or there were none.
    Wrong,
    /// This address has too many checks waiting.
    Busy,
}

/// Checks passwords and remembers the results.
pub(super) struct Passwords {
    /// Results are remembered under a keyed hash, which can't be guessed back to a password.
    key: hmac::Key,
    cache: Mutex<Cache>,
    room: Arc<Semaphore>,
    waiting: Mutex<HashMap<IpAddr, usize>>,
}

/// A user, the hash and the password.
type CacheKey = Vec<u8>;

/// Apart, so that no number of wrong passwords makes a right one be forgotten.
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
            room: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Mutex::default(),
        }
    }

    /// Whether these headers name a user with the right password.
    pub(super) async fn check(&self, users: &Users, headers: &HeaderMap, from: IpAddr) -> Verdict {
        let Some((user, password)) = credentials(headers) else { return Verdict::Wrong };
        let (hash, is_user) = users.hash(&user);
        let cache_key = self.cache_key(&[user.as_bytes(), hash.as_bytes(), &password]);
        if let Some(verdict) = lock(&self.cache).find(&cache_key) {
            return verdict;
        }
        let Some(_pending) = PendingGuard::take(&self.waiting, from) else { return Verdict::Busy };
        let permit = Arc::clone(&self.room).acquire_owned().await;
        // Another request may have found it out meanwhile.
        if let Some(verdict) = lock(&self.cache).find(&cache_key) {
            return verdict;
        }
        let hash = hash.to_owned();
        let checking = tokio::task::spawn_blocking(move || {
            let matches = bcrypt::verify(password, &hash);
            drop(permit);
            matches.unwrap_or(false)
        });
        let verdict = match checking.await {
            Ok(true) if is_user => Verdict::Right,
            _ => Verdict::Wrong,
        };
        lock(&self.cache).remember(cache_key, verdict);
        verdict
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
    fn find(&self, cache_key: &CacheKey) -> Option<Verdict> {
        if self.right.contains(cache_key) {
            Some(Verdict::Right)
        } else if self.wrong.contains(cache_key) {
            Some(Verdict::Wrong)
        } else {
            None
        }
    }

    fn remember(&mut self, cache_key: CacheKey, verdict: Verdict) {
        let cache = if verdict == Verdict::Right { &mut self.right } else { &mut self.wrong };
        if cache.len() >= REMEMBERED {
            cache.pop_front();
        }
        cache.push_back(cache_key);
    }
}

/// One of the checks that an address may have waiting, until it is dropped.
struct PendingGuard<'w> {
    waiting: &'w Mutex<HashMap<IpAddr, usize>>,
    from: IpAddr,
}

impl<'w> PendingGuard<'w> {
    fn take(waiting: &'w Mutex<HashMap<IpAddr, usize>>, from: IpAddr) -> Option<Self> {
        let mut counts = lock(waiting);
        let count = counts.entry(from).or_default();
        if *count >= MOST_PER_ADDRESS {
            return None;
        }
        *count += 1;
        Some(Self { waiting, from })
    }
}

impl Drop for PendingGuard<'_> {
    fn drop(&mut self) {
        let mut counts = lock(self.waiting);
        if let Some(count) = counts.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.from);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
