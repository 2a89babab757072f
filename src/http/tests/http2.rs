//! HTTP/2, frame by frame, where a client can do what no library would.

use super::{
    scrapes::{Told, recorder},
    *,
};
use crate::http::{
    connection::{Conversation, Peer, Protocol},
    crowd::Crowd,
    frames::{Frames, Passed},
    progress::Patience,
    scrapes::Scrapes,
};

/// A client that knows what it does.
struct Client {
    stream: DuplexStream,
    frames: Frames,
}

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u8;
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// `GET /metrics` as a whole.
fn scrape(stream: u8) -> Vec<u8> {
    // RFC 7541, appendix A: 2 is GET, 6 is http; 4 and 1 name the path and the authority.
    let block = [&[0x82, 0x86, 0x04, 8], &b"/metrics"[..], &[0x01, 1, b'x']].concat();
    frame(HEADERS, 0x5, stream, &block)
}

impl Client {
    /// Connects, and sends this after the greeting.
    async fn connect(exposition: Arc<dyn Exposition>, then: &[u8]) -> Self {
        let (client, server) = tokio::io::duplex(1 << 20);
        let access_control = Arc::new(AccessControl::new(WebConfig::default()));
        let endpoints = endpoints(Arc::clone(&exposition));
        let conversation = Conversation {
            peer: Peer([127, 0, 0, 1].into()),
            router: router::router(&web(Vec::new()), access_control, endpoints),
            scrapes: Scrapes::new(0, exposition),
            member: Crowd::default().join(Patience::default()),
            stop: CancellationToken::new(),
        };
        tokio::spawn(conversation.serve(server, Protocol::Http2));
        let mut client = Self { stream: client, frames: Frames::of_server() };
        let settings = frame(4, 0, 0, &[]);
        client.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..], then].concat()).await;
        client
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("still open");
    }

    /// Reads up to a frame that is looked for.
    async fn until(&mut self, wanted: impl Fn(Passed) -> bool) {
        let mut found = false;
        while !found {
            let byte = self.stream.read_u8().await.expect("more frames");
            self.frames.pass(&[byte], |passed| found |= wanted(passed));
        }
    }

    async fn answer(&mut self) {
        self.until(|passed| matches!(passed, Passed::All(frame) if frame.ends_stream())).await;
    }

    /// Waits until all that was sent has been looked at.
    async fn settle(&mut self) {
        self.send(&frame(PING, 0, 0, b"settled?")).await;
        self.until(|passed| matches!(passed, Passed::All(frame) if frame.answers_ping())).await;
    }

    async fn closed_after(&mut self) -> Duration {
        let start = tokio::time::Instant::now();
        let mut rest = Vec::new();
        // A connection that is cut off may end anyhow.
        let _ = self.stream.read_to_end(&mut rest).await;
        start.elapsed()
    }
}

#[tokio::test]
async fn only_the_next_request_shows_that_a_scrape_was_received() {
    let (recorder, mut told) = recorder("runs 1\n".into());
    let mut client = Client::connect(recorder, &scrape(1)).await;
    client.answer().await;
    client.send(&frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0])).await;
    client.settle().await;
    assert!(told.try_recv().is_err(), "nothing shows yet that it was received");
    client.send(&scrape(3)).await;
    assert_eq!(told.recv().await, Some(Told::Completed(1)));
    client.answer().await;
    drop(client);
    assert_eq!(told.recv().await, Some(Told::Completed(2)), "it closed in order");
    assert_eq!(told.recv().await, Some(Told::Left));
}

#[tokio::test]
async fn a_scrape_that_was_given_up_is_not_completed_by_the_next_one() {
    let (recorder, mut told) = recorder("runs 1\n".into());
    let mut client = Client::connect(recorder, &scrape(1)).await;
    client.answer().await;
    // All of it was sent, but the client has lost its patience before it came.
    client.send(&frame(RESET, 0, 1, &[0, 0, 0, 8])).await;
    client.send(&scrape(3)).await;
    client.answer().await;
    client.send(&scrape(5)).await;
    assert_eq!(told.recv().await, Some(Told::Completed(2)));
}

#[tokio::test]
async fn a_client_that_goes_away_with_an_answer_unread_has_not_completed_its_scrape() {
    // More than a client takes without asking for more.
    let (recorder, mut told) = recorder(vec![b'x'; 100_000].into());
    let mut client = Client::connect(recorder, &scrape(1)).await;
    client.settle().await;
    drop(client);
    assert_eq!(told.recv().await, Some(Told::BrokeOff));
}

#[tokio::test]
async fn a_connection_has_one_request_under_way_at_a_time() {
    let (gate, mut questions) = Gate::new();
    let mut client = Client::connect(gate.clone(), &[scrape(1), scrape(3)].concat()).await;
    questions.recv().await.expect("the first is in work");
    client.until(|passed| matches!(passed, Passed::All(frame) if frame.is_reset())).await;
    gate.open.add_permits(2);
    client.answer().await;
    client.send(&scrape(5)).await;
    client.answer().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_stays_open_between_scrapes_whatever_else_is_sent() {
    let idle = Patience::default().idle;
    let mut client = Client::connect(Arc::new(Text("runs 1\n")), &scrape(1)).await;
    for stream in [3, 5, 7] {
        client.answer().await;
        tokio::time::sleep(idle.mul_f64(0.5)).await;
        client.settle().await;
        tokio::time::sleep(idle.mul_f64(0.49)).await;
        client.send(&scrape(stream)).await;
    }
    client.answer().await;
    assert_eq!(client.closed_after().await.as_secs(), idle.as_secs());
}

#[tokio::test(start_paused = true)]
async fn headers_have_a_deadline_on_a_new_and_on_a_used_connection() {
    let head = Patience::default().head;
    let mut client = Client::connect(Arc::new(Text("")), &[]).await;
    assert_eq!(client.closed_after().await.as_secs(), head.as_secs(), "no request at all");
    let mut client = Client::connect(Arc::new(Text("")), &scrape(1)[..12]).await;
    assert_eq!(client.closed_after().await.as_secs(), head.as_secs(), "half a request");
    let mut client = Client::connect(Arc::new(Text("runs 1\n")), &scrape(1)).await;
    client.answer().await;
    client.settle().await;
    client.send(&scrape(3)[..12]).await;
    assert_eq!(client.closed_after().await.as_secs(), head.as_secs(), "half a second one");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_taken_is_given_up() {
    let answer = Patience::default().answer;
    let mut client = Client::connect(Arc::new(Flood), &scrape(1)).await;
    assert_eq!(client.closed_after().await.as_secs(), answer.as_secs());
}

#[tokio::test]
async fn headers_without_an_end_are_cut_off() {
    let (gate, mut questions) = Gate::new();
    let mut client = Client::connect(gate, &[]).await;
    let begin = [&[0x82, 0x86, 0x04, 8], &b"/metrics\x00\x01x\x7f\xff\xff\xff\x7f"[..]].concat();
    client.send(&frame(HEADERS, 0x1, 1, &begin)).await;
    let more = frame(CONTINUATION, 0, 1, &[b'x'; 250]);
    let flood = async {
        // A megabyte; more would be refused by the connection's end.
        for _ in 0..4000 {
            if client.stream.write_all(&more).await.is_err() {
                break;
            }
        }
        client.closed_after().await;
    };
    let patience = tokio::time::timeout(FOREVER, flood).await;
    patience.expect("the connection is closed");
    assert!(questions.try_recv().is_err(), "it never was a request");
}
