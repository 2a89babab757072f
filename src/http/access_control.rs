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
const MAX_REFRESH: Duration = Duration::from_secs(1);

/// The web configuration that holds now. Its files are looked at for each connection and each
/// request; what they newly say holds from then on if it is in order and takes no protection away.
pub struct AccessControl {
    active: RwLock<Arc<Active>>,
    /// What was told last of files that can't be used, so that it is told once.
    told: std::sync::Mutex<Option<String>>,
    refreshing: Arc<Mutex<()>>,
    passwords: Passwords,
}

struct Active {
    config: WebConfig,
    bucket: Option<std::sync::Mutex<Bucket>>,
}

impl Active {
    fn new(config: WebConfig) -> Arc<Self> {
        let bucket = config.rate_limit.map(|limit| Bucket::new(limit, Instant::now()));
        Arc::new(Self { config, bucket: bucket.map(std::sync::Mutex::new) })
    }
}

impl AccessControl {
    /// Begins with this configuration.
    pub(super) fn new(config: WebConfig) -> Self {
        warn_of(&config);
        Self {
            active: RwLock::new(Active::new(config)),
            told: std::sync::Mutex::default(),
            refreshing: Arc::default(),
            passwords: Passwords::new(),
        }
    }

    /// Whether clients speak TLS.
    pub fn is_tls(&self) -> bool {
        self.active().config.tls.is_some()
    }

    /// Reads the configuration's files anew, without using what they say. The error is all that is
    /// wrong with them, a line each.
    pub fn read(&self) -> Result<WebConfig, String> {
        match &self.active().config.file {
            None => Ok(WebConfig::default()),
            Some(file) => WebConfig::read(file).map_err(|errors| errors.join("\n")),
        }
    }

    /// Uses this configuration from now on, whatever it allows: somebody wants it.
    pub fn replace(&self, config: WebConfig) {
        warn_of(&config);
        *self.told() = None;
        *self.active.write().unwrap_or_else(PoisonError::into_inner) = Active::new(config);
    }

    /// How to speak TLS with a client that connects now.
    pub(super) async fn tls(self: &Arc<Self>) -> Option<Arc<ServerConfig>> {
        self.current().await.config.tls.clone()
    }

    /// What holds now, after a look at the files.
    async fn current(self: &Arc<Self>) -> Arc<Active> {
        if self.active().config.file.is_some() {
            let refresh = async {
                // Held until it has ended, however long that takes, so that there is only one.
                let only_one = Arc::clone(&self.refreshing).lock_owned().await;
                let this = Arc::clone(self);
                spawn_blocking(move || {
                    this.refresh();
                    drop(only_one);
                })
                .await
            };
            // When it takes too long, or panics, what held so far goes on.
            let _ = tokio::time::timeout(MAX_REFRESH, refresh).await;
        }
        self.active()
    }

    fn refresh(&self) {
        let former = self.active();
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

    fn active(&self) -> Arc<Active> {
        Arc::clone(&self.active.read().unwrap_or_else(PoisonError::into_inner))
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
    State(access_control): State<Arc<AccessControl>>,
    request: Request,
    next: Next,
) -> Response {
    let now = access_control.current().await;
    let mut refusal = over_limit(&now);
    if refusal.is_none() {
        let peer = request.extensions().get::<Peer>();
        let from = peer.map_or([0, 0, 0, 0].into(), |Peer(address)| *address);
        // A request can't be looked at across a wait, its headers can.
        refusal = unknown(&access_control, &now, &request.headers().clone(), from).await;
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

fn over_limit(now: &Active) -> Option<Response> {
    let mut bucket = now.bucket.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
    let wait = bucket.take(Instant::now()).err()?;
    let seconds = wait.as_secs_f64().ceil() as u64;
    let text = "too many requests; rate_limit in the web configuration allows no more\n";
    Some((StatusCode::TOO_MANY_REQUESTS, [TEXT], [(RETRY_AFTER, seconds)], text).into_response())
}

/// The refusal of a request without a user's password, where users are named.
async fn unknown(
    access_control: &AccessControl,
    now: &Active,
    headers: &HeaderMap,
    from: IpAddr,
) -> Option<Response> {
    let users = &now.config.users;
    if users.is_empty() {
        return None;
    }
    match access_control.passwords.check(users, headers, from).await {
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
