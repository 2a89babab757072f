//! Who is let in, and which headers every answer has: the web configuration in force.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
    middleware::Next,
    response::Response,
};
use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;
use tokio::{task::spawn_blocking, time::Instant};
use tracing::{error, info, warn};

use super::{
    connection::Peer,
    passwords::{Passwords, Verdict},
    text,
    token_bucket::TokenBucket,
};
use crate::config::WebConfig;

const CHALLENGE: &str = "Basic realm=\"cortex-workflow-exporter\", charset=\"UTF-8\"";

/// Checking the files for changes takes microseconds. One that can't be read at all, like one on a
/// server that is gone, must not keep everybody waiting.
const MAX_REFRESH: Duration = Duration::from_secs(1);

/// The web configuration in force. Its files are checked for changes at each connection and each
/// request; what they newly contain is in force from then on if it is valid and takes no protection
/// away.
pub struct AccessControl {
    active: RwLock<Arc<Active>>,
    refreshing: Arc<tokio::sync::Mutex<()>>,
    passwords: Passwords,
}

struct Active {
    config: WebConfig,
    bucket: Option<Mutex<TokenBucket>>,
    /// Why the changed files can't be used, as last logged.
    problem: Mutex<Option<String>>,
}

impl Active {
    fn new(config: WebConfig) -> Arc<Self> {
        for warning in &config.warnings {
            warn!(warning, "A setting in the web configuration is probably a mistake.");
        }
        let bucket =
            config.rate_limit.map(|limit| Mutex::new(TokenBucket::new(limit, Instant::now())));
        Arc::new(Self { config, bucket, problem: Mutex::default() })
    }
}

impl AccessControl {
    /// Begins with this configuration.
    pub(super) fn new(config: WebConfig) -> Self {
        let active = RwLock::new(Active::new(config));
        Self { active, refreshing: Arc::default(), passwords: Passwords::new() }
    }

    /// Whether clients speak TLS.
    pub fn is_tls(&self) -> bool {
        self.active().config.tls.is_some()
    }

    /// Reads the configuration's files again, without putting them in force. The error lists all
    /// that is wrong with them, a line each.
    pub fn read(&self) -> Result<WebConfig, String> {
        match &self.active().config.file {
            None => Ok(WebConfig::default()),
            Some(file) => WebConfig::read(file).map_err(|errors| errors.join("\n")),
        }
    }

    /// Puts this configuration in force, whatever it allows: somebody asked for it.
    pub fn replace(&self, config: WebConfig) {
        *self.active.write() = Active::new(config);
    }

    /// How to speak TLS with a client that connects now.
    pub(super) async fn tls(self: &Arc<Self>) -> Option<Arc<ServerConfig>> {
        self.refreshed().await.config.tls.clone()
    }

    /// What is in force once the files have been checked for changes.
    async fn refreshed(self: &Arc<Self>) -> Arc<Active> {
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
            // When it takes too long, or panics, what was in force stays so.
            let _ = tokio::time::timeout(MAX_REFRESH, refresh).await;
        }
        self.active()
    }

    fn refresh(&self) {
        let former = self.active();
        if !former.config.is_outdated() {
            if former.problem.lock().take().is_some() {
                info!("The files of the web configuration are valid again.");
            }
            return;
        }
        let problem = match self.read() {
            Ok(config) => match config.weakens(&former.config) {
                None => {
                    let tls = config.tls.is_some();
                    info!(tls, "The web configuration has changed, and is in force from now on.");
                    return self.replace(config);
                }
                Some(protection) => format!(
                    "it would take {protection} away, which needs a reload: SIGHUP or POST /-/reload"
                ),
            },
            Err(errors) => errors,
        };
        let mut logged = former.problem.lock();
        if logged.as_ref() != Some(&problem) {
            error!(
                error = %problem,
                "The web configuration has changed, but cannot be used; the former one stays in \
                 force."
            );
            *logged = Some(problem);
        }
    }

    fn active(&self) -> Arc<Active> {
        Arc::clone(&self.active.read())
    }

    /// The refusal of a request without a user's password, where users are configured.
    async fn refuse_unknown(
        &self,
        active: &Active,
        headers: &HeaderMap,
        from: IpAddr,
    ) -> Option<Response> {
        let users = &active.config.users;
        if users.is_empty() {
            return None;
        }
        match self.passwords.check(users, headers, from).await {
            Verdict::Right => None,
            Verdict::Wrong => {
                let why = "a user and a password are needed; they may be wrong\n";
                let mut refusal = text(StatusCode::UNAUTHORIZED, why);
                let challenge = HeaderValue::from_static(CHALLENGE);
                refusal.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                Some(refusal)
            }
            Verdict::Busy => Some(too_many_requests(
                1,
                "too many passwords are being checked, for this address or overall; try again\n",
            )),
        }
    }
}

/// Lets a request through, or refuses it; and adds the configured headers. In the order of
/// exporter-toolkit: wrong passwords count towards the rate limit.
pub(super) async fn protect(
    State(access_control): State<Arc<AccessControl>>,
    request: Request,
    next: Next,
) -> Response {
    let active = access_control.refreshed().await;
    let mut refusal = over_limit(&active);
    if refusal.is_none() {
        let peer = request.extensions().get::<Peer>();
        let from = peer.map_or([0, 0, 0, 0].into(), |Peer(address)| *address);
        // A request can't be borrowed across an await, its headers can.
        let headers = request.headers().clone();
        refusal = access_control.refuse_unknown(&active, &headers, from).await;
    }
    let mut response = match refusal {
        Some(refusal) => refusal,
        None => next.run(request).await,
    };
    for (name, value) in &active.config.headers {
        response.headers_mut().entry(name).or_insert(value.clone());
    }
    response
}

fn over_limit(active: &Active) -> Option<Response> {
    let wait = active.bucket.as_ref()?.lock().take(Instant::now()).err()?;
    let text = "too many requests; rate_limit in the web configuration allows no more\n";
    Some(too_many_requests(wait.as_secs_f64().ceil() as u64, text))
}

fn too_many_requests(retry_after_seconds: u64, why: &str) -> Response {
    let mut refusal = text(StatusCode::TOO_MANY_REQUESTS, why);
    refusal.headers_mut().insert(RETRY_AFTER, retry_after_seconds.into());
    refusal
}
