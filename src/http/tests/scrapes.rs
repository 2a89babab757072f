//! When a scrape counts as completed.

use super::*;

/// What the exposition was told of its clients.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    Completed(u64),
    Left,
    BrokeOff,
}

/// Numbers its answers from 1 on, and passes on what it is told.
pub(super) struct Recorder {
    body: Bytes,
    rendered: std::sync::atomic::AtomicU64,
    told: mpsc::UnboundedSender<Told>,
}

#[async_trait]
impl Exposition for Recorder {
    async fn render(&self, _: u64, _: Negotiated) -> (Body, u64) {
        let before = self.rendered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        (self.body.clone().into(), before + 1)
    }

    fn completed(&self, _: u64, number: u64) {
        self.told.send(Told::Completed(number)).expect("the test listens");
    }

    fn left(&self, _: u64, broke_off: bool) {
        let told = if broke_off { Told::BrokeOff } else { Told::Left };
        self.told.send(told).expect("the test listens");
    }
}

/// A recorder that answers with this, and what it is told.
pub(super) fn recorder(body: Bytes) -> (Arc<Recorder>, mpsc::UnboundedReceiver<Told>) {
    let (told, hearing) = mpsc::unbounded_channel();
    (Arc::new(Recorder { body, rendered: 0.into(), told }), hearing)
}

async fn recorded() -> (Site, mpsc::UnboundedReceiver<Told>) {
    let (recorder, told) = recorder("runs 1\n".into());
    (site(endpoints(recorder), |_| {}).await, told)
}

const SCRAPE: &str = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn the_next_request_on_a_connection_completes_the_scrape_before() {
    let (site, mut told) = recorded().await;
    let mut stream = site.send(SCRAPE).await;
    one_answer(&mut stream, "runs 1\n").await;
    assert!(told.try_recv().is_err(), "nothing shows yet that it was received");
    stream.write_all(SCRAPE.as_bytes()).await.expect("still open");
    assert_eq!(told.recv().await, Some(Told::Completed(1)));
    one_answer(&mut stream, "runs 1\n").await;
    drop(stream);
    assert_eq!(told.recv().await, Some(Told::Completed(2)));
    assert_eq!(told.recv().await, Some(Told::Left));
}

#[tokio::test]
async fn closing_in_order_completes_a_scrape_also_where_only_one_answer_was_wanted() {
    let (site, mut told) = recorded().await;
    assert!(site.ask("GET /metrics", "").await.ends_with("runs 1\n"));
    assert_eq!(told.recv().await, Some(Told::Completed(1)));
    assert_eq!(told.recv().await, Some(Told::Left));
}

#[tokio::test]
async fn a_client_that_goes_away_with_an_answer_unread_has_not_completed_its_scrape() {
    let (site, mut told) = recorded().await;
    let stream = site.send(SCRAPE).await;
    stream.readable().await.expect("the answer comes");
    drop(stream);
    assert_eq!(told.recv().await, Some(Told::BrokeOff));
}

#[tokio::test]
async fn neither_the_headers_alone_nor_another_page_are_a_scrape() {
    let (site, mut told) = recorded().await;
    site.ask("HEAD /metrics", "").await;
    assert_eq!(told.recv().await, Some(Told::Left));
    site.ask("GET /", "").await;
    assert_eq!(told.recv().await, Some(Told::Left));
}
