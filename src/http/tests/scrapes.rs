//! When a scrape counts as completed.

use super::*;

/// What was reported of clients.
#[derive(Debug, PartialEq, Eq)]
enum ClientEvent {
    Received(u64),
    Disconnected,
    BrokeOff,
}

/// Numbers its answers from 1 on, and passes on what is reported.
struct Recorder {
    body: Bytes,
    rendered: std::sync::atomic::AtomicU64,
    events: mpsc::UnboundedSender<ClientEvent>,
}

#[async_trait]
impl MetricsSource for Recorder {
    async fn scrape(self: Arc<Self>, _: u64, _: Negotiated) -> (Body, u64) {
        let before = self.rendered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        (self.body.clone().into(), before + 1)
    }

    fn received(&self, _: u64, number: u64) {
        self.events.send(ClientEvent::Received(number)).expect("the test listens");
    }

    fn disconnected(&self, _: u64, broke_off: bool) {
        let event = if broke_off { ClientEvent::BrokeOff } else { ClientEvent::Disconnected };
        self.events.send(event).expect("the test listens");
    }
}

/// A recorder that answers with this, and what is reported to it.
fn recorder(body: Bytes) -> (Arc<Recorder>, mpsc::UnboundedReceiver<ClientEvent>) {
    let (events, received) = mpsc::unbounded_channel();
    (Arc::new(Recorder { body, rendered: 0.into(), events }), received)
}

async fn recorded() -> (TestServer, mpsc::UnboundedReceiver<ClientEvent>) {
    let (recorder, events) = recorder("runs 1\n".into());
    (site(endpoints(recorder), |_| {}).await, events)
}

const SCRAPE: &str = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn the_next_request_on_a_connection_completes_the_scrape_before() {
    let (site, mut events) = recorded().await;
    let mut stream = site.send(SCRAPE).await;
    one_answer(&mut stream, "runs 1\n").await;
    assert!(events.try_recv().is_err(), "nothing shows yet that it was received");
    stream.write_all(SCRAPE.as_bytes()).await.expect("still open");
    assert_eq!(events.recv().await, Some(ClientEvent::Received(1)));
    one_answer(&mut stream, "runs 1\n").await;
    drop(stream);
    assert_eq!(events.recv().await, Some(ClientEvent::Received(2)));
    assert_eq!(events.recv().await, Some(ClientEvent::Disconnected));
}

#[tokio::test]
async fn closing_in_order_completes_a_scrape_also_where_only_one_answer_was_wanted() {
    let (site, mut events) = recorded().await;
    assert!(site.ask("GET /metrics", "").await.ends_with("runs 1\n"));
    assert_eq!(events.recv().await, Some(ClientEvent::Received(1)));
    assert_eq!(events.recv().await, Some(ClientEvent::Disconnected));
}

#[tokio::test]
async fn a_client_that_goes_away_with_an_answer_unread_has_not_completed_its_scrape() {
    let (site, mut events) = recorded().await;
    let stream = site.send(SCRAPE).await;
    stream.readable().await.expect("the answer comes");
    drop(stream);
    assert_eq!(events.recv().await, Some(ClientEvent::BrokeOff));
}

#[tokio::test]
async fn neither_the_headers_alone_nor_another_page_are_a_scrape() {
    let (site, mut events) = recorded().await;
    site.ask("HEAD /metrics", "").await;
    assert_eq!(events.recv().await, Some(ClientEvent::Disconnected));
    site.ask("GET /", "").await;
    assert_eq!(events.recv().await, Some(ClientEvent::Disconnected));
}
