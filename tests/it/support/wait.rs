//! Waiting for what will happen, for as long as a busy machine may need.

use std::time::{Duration, Instant};

/// Far more than anything here takes: reaching it means that it will never happen.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How often to look.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks again and again until there is an answer. When it never comes, says what was awaited and
/// shows the evidence.
pub(crate) async fn wait_until<T>(
    what: &str,
    mut ask: impl AsyncFnMut() -> Option<T>,
    evidence: impl Fn() -> String,
) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "this never happened: {what}\n{}", evidence());
        tokio::time::sleep(PAUSE).await;
    }
}
