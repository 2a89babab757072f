//! Who is let in, and what every answer carries: the web configuration at work.

use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use rustls::ServerConfig;
use tokio::{sync::Mutex, task::spawn_blocking, time::Instant};
use tracing::{error, info, warn};

use super::{
    bucket::Bucket,
    connection::Peer,
    passwords::{Passwords, Verdict},
};
use crate::config::WebConfig;

const TEXT: (HeaderName, &str) = (CONTENT_TYPE, "text/plain; charset=utf-8");

const CHALLENGE: &str = "Basic realm=\"cortex-workflow-exporter\", charset=\"UTF-8\"";

/// Looking at the files takes microseconds. One that can't be read at all, like one on a server
/// that is gone, must not keep everybody waiting.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// The web configuration that holds now. Its files are looked at for each connection and each
/// request; what they newly say holds from then on if it is in order and takes no protection away.
pub struct Protection {
    in_force: RwLock<Arc<InForce>>,
    /// What was told last of files that can't be used, so that it is told once.
    told: std::sync::Mutex<Option<String>>,
    looking: Arc<Mutex<()>>,
    passwords: Passwords,
}

struct InForce {
    config: WebConfig,
    bucket: Option<std::sync::Mutex<Bucket>>,
}

impl InForce {
    fn new(config: WebConfig) -> Arc<Self> {
        let bucket = config.rate_limit.map(|limit| Bucket::new(limit, Instant::now()));
        Arc::new(Self { config, bucket: bucket.map(std::sync::Mutex::new) })
    }
}

impl Protection {
    /// Begins with this configuration.
    pub(super) fn new(config: WebConfig) -> Self {
        warn_of(&config);
        Self {
            in_force: RwLock::new(InForce::new(config)),
            told: std::sync::Mutex::default(),
            looking: Arc::default(),
            passwords: Passwords::new(),
        }
    }

    /// Whether clients speak TLS.
    pub fn is_tls(&self) -> bool {
        self.in_force().config.tls.is_some()
    }

    /// Reads the configuration's files anew, without using what they say. The error is all that is
    /// wrong with them, a line each.
    pub fn read(&self) -> Result<WebConfig, String> {
        match &self.in_force().config.file {
            None => Ok(WebConfig::default()),
            Some(file) => WebConfig::read(file).map_err(|errors| errors.join("\n")),
        }
    }

    /// Uses this configuration from now on, whatever it allows: somebody wants it.
    pub fn replace(&self, config: WebConfig) {
        warn_of(&config);
        *self.told() = None;
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = InForce::new(config);
    }

    /// How to speak TLS with a client that connects now.
    pub(super) async fn tls(self: &Arc<Self>) -> Option<Arc<ServerConfig>> {
        self.current().await.config.tls.clone()
    }

    /// What holds now, after a look at the files.
    async fn current(self: &Arc<Self>) -> Arc<InForce> {
        if self.in_force().config.file.is_some() {
            let look = async {
                // Held until it has ended, however long that takes, so that there is only one.
                let only_one = Arc::clone(&self.looking).lock_owned().await;
                let this = Arc::clone(self);
                spawn_blocking(move || {
                    this.look();
                    drop(only_one);
                })
                .await
            };
            // When it takes too long, or panics, what held so far goes on.
            let _ = tokio::time::timeout(LONGEST_LOOK, look).await;
        }
        self.in_force()
    }

    fn look(&self) {
        let former = self.in_force();
        if !former.config.is_outdated() {
            if self.told().take().is_some() {
                info!("The files of the web configuration are in order again.");
            }
            return;
        }
        let trouble = match self.read() {
            Ok(config) => match config.gives_up(&former.config) {
                None => {
                    info!(
                        tls = config.tls.is_some(),
                        "The web configuration has changed; it holds from now on."
                    );
                    return self.replace(config);
                }
                Some(protection) => format!(
                    "it would take {protection} away, which needs a reload: SIGHUP or POST /-/reload"
                ),
            },
            Err(errors) => errors,
        };
        let mut told = self.told();
        if told.as_ref() != Some(&trouble) {
            error!(error = %trouble, "The web configuration has changed, but cannot be used; the former one still holds.");
            *told = Some(trouble);
        }
    }

    fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn warn_of(config: &WebConfig) {
    for warning in &config.warnings {
        warn!(warning, "The web configuration is hardly what was meant.");
    }
}

/// Lets a request through, or refuses it; and adds the headers that are wished for. In the order of
/// exporter-toolkit: the rate limit counts wrong passwords too.
pub(super) async fn protect(
    State(protection): State<Arc<Protection>>,
    request: Request,
    next: Next,
) -> Response {
    let now = protection.current().await;
    let mut refusal = over_limit(&now);
    if refusal.is_none() {
        let peer = request.extensions().get::<Peer>();
        let from = peer.map_or([0, 0, 0, 0].into(), |Peer(address)| *address);
        // A request can't be looked at across a wait, its headers can.
        refusal = unknown(&protection, &now, &request.headers().clone(), from).await;
    }
    let mut response = match refusal {
        Some(refusal) => refusal,
        None => next.run(request).await,
    };
    for (name, value) in &now.config.headers {
        response.headers_mut().entry(name).or_insert(value.clone());
    }
    response
}

fn over_limit(now: &InForce) -> Option<Response> {
    let mut bucket = now.bucket.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
    let wait = bucket.take(Instant::now()).err()?;
    let seconds = wait.as_secs_f64().ceil() as u64;
    let text = "too many requests; rate_limit in the web configuration allows no more\n";
    Some((StatusCode::TOO_MANY_REQUESTS, [TEXT], [(RETRY_AFTER, seconds)], text).into_response())
}

/// The refusal of a request without a user's password, where users are named.
async fn unknown(
    protection: &Protection,
    now: &InForce,
    headers: &HeaderMap,
    from: IpAddr,
) -> Option<Response> {
    let users = &now.config.users;
    if users.is_empty() {
        return None;
    }
    match protection.passwords.check(users, headers, from).await {
        Verdict::Right => None,
        Verdict::Wrong => {
            let challenge = (WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
            let text = "a user and a password are needed; they may be wrong\n";
            Some((StatusCode::UNAUTHORIZED, [TEXT], [challenge], text).into_response())
        }
        Verdict::Busy => {
            let text = "too many passwords from this address are being checked; try again\n";
            let later = [(RETRY_AFTER, "1")];
            Some((StatusCode::TOO_MANY_REQUESTS, [TEXT], later, text).into_response())
        }
    }
}
