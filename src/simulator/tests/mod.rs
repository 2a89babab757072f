mod api;
mod faults;
mod generator;
mod scripting;
mod wire;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Simulator, SimulatorSettings};
use crate::model::Clock;

/// 2023-12-25T12:00:00.250Z.
const NOON: i64 = 1_703_505_600_250;

/// A clock that only moves when a test moves it.
struct Hand(AtomicI64);

impl Hand {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(NOON)))
    }

    fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1000, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A simulated API on a loopback socket, and a client for it.
struct Served {
    simulator: Simulator,
    clock: Arc<Hand>,
    client: reqwest::Client,
    base: String,
    _stop: DropGuard,
}

/// An answer read to its end.
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("the answer is JSON")
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The ids of the items of a list.
    fn ids(&self) -> Vec<String> {
        let items = self.json();
        let items = items.as_array().expect("the answer is a list").clone();
        let id = |item: Value| item["id"].as_str().expect("each has an id").to_owned();
        items.into_iter().map(id).collect()
    }
}

impl Served {
    async fn start(settings: SimulatorSettings) -> Self {
        let clock = Hand::new();
        let simulator = Simulator::new(settings, Arc::clone(&clock) as Arc<dyn Clock>);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let stop = CancellationToken::new();
        tokio::spawn(simulator.clone().serve(listener, stop.clone()));
        let client =
            reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Self {
            simulator,
            clock,
            client: client.build().expect("a plain client can be built"),
            base: format!("http://{address}"),
            _stop: stop.drop_guard(),
        }
    }

    async fn scripted() -> Self {
        Self::start(SimulatorSettings::default()).await
    }

    async fn busy() -> Self {
        let settings = SimulatorSettings { generate_runs: true, ..SimulatorSettings::default() };
        Self::start(settings).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.expect("the API answers")
    }

    async fn try_get(&self, path: &str) -> Result<Answer, reqwest::Error> {
        let request = self.client.get(format!("{}{path}", self.base)).bearer_auth("demo-key");
        read(request).await
    }

    async fn get_with_key(&self, path: &str, key: Option<&str>) -> Answer {
        let request = self.client.get(format!("{}{path}", self.base));
        let request = match key {
            Some(key) => request.header("authorization", key),
            None => request,
        };
        read(request).await.expect("the API answers")
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        let request = self.client.post(format!("{}/_simulator/{path}", self.base));
        let request = match body {
            Value::Null => request,
            body => request.body(body.to_string()),
        };
        read(request).await.expect("the control endpoint answers")
    }

    async fn delete(&self, path: &str) -> Answer {
        let request = self.client.delete(format!("{}/_simulator/{path}", self.base));
        read(request).await.expect("the control endpoint answers")
    }
}

async fn read(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    let header = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    Ok(Answer {
        status: response.status().as_u16(),
        headers: response.headers().iter().map(header).collect(),
        text: response.text().await?,
    })
}
