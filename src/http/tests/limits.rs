//! What clients may take, how the server ends, and where it listens.

use super::*;
use crate::http::{
    connection::{Connection, Peer},
    connection_state::Timeouts,
    connections::Connections,
};

#[tokio::test]
async fn beyond_the_limit_requests_get_503_but_health_is_answered() {
    let (gate, mut questions) = Gate::new();
    let site = site(endpoints(gate.clone()), |_| ()).await;
    let mut first =
        site.send("GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    questions.recv().await.expect("the first is in work");
    let second = site.ask("GET /metrics", "").await;
    assert_holds(&second, &["503 Service Unavailable", "--web.max-requests allows 1"]);
    assert_holds(&site.ask("GET /-/healthy", "").await, &["200 OK"]);
    gate.open.add_permits(2);
    assert_holds(&rest(&mut first).await, &["200 OK", "late\n"]);
    assert_holds(&site.ask("GET /metrics", "").await, &["200 OK", "late\n"]);
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_given_up_and_frees_its_place() {
    let site = site(endpoints(Arc::new(Flood)), |server| {
        server.timeouts.answer = Duration::from_millis(50);
    })
    .await;
    let mut lazy = site.send("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    lazy.readable().await.expect("the answer begins");
    // The page is refused as long as the answer that nobody takes is in work.
    while site.ask("GET /", "").await.starts_with("HTTP/1.1 503") {}
    let taken = rest(&mut lazy).await.len();
    assert!(taken < 64 << 20, "all {taken} bytes came");
}

#[tokio::test]
async fn a_client_that_is_slow_with_its_headers_is_cut_off() {
    let site = site(endpoints(Arc::new(Text(""))), |server| {
        server.timeouts.head = Duration::from_millis(50);
    })
    .await;
    assert_eq!(rest(&mut site.send("GET /metrics HTT").await).await, "");
    assert_eq!(rest(&mut site.send("").await).await, "");
}

/// A connection in memory, so that the time can be paused.
fn connection(source: Arc<dyn MetricsSource>) -> DuplexStream {
    let (client, server) = tokio::io::duplex(1 << 16);
    let web = web(Vec::new());
    let access_control = Arc::new(AccessControl::new(WebConfig::default()));
    let connection = Connection {
        peer: Peer([127, 0, 0, 1].into()),
        router: router::router(&web, access_control, endpoints(Arc::clone(&source))),
        source,
        guard: Connections::default().add(Timeouts::default()),
        stop: CancellationToken::new(),
    };
    tokio::spawn(connection.serve(server));
    client
}

async fn scrape(client: &mut DuplexStream) {
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
    client.write_all(request).await.expect("still open");
    let mut answer = Vec::new();
    while !answer.ends_with(b"runs 1\n") {
        answer.push(client.read_u8().await.expect("more of the answer"));
    }
}

/// How long it takes until the other side closes.
async fn closed_after(client: &mut DuplexStream) -> Duration {
    let start = tokio::time::Instant::now();
    assert_eq!(client.read(&mut [0]).await.expect("no error"), 0);
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_connection_stays_open_between_scrapes_longer_than_headers_may_take() {
    let idle = Timeouts::default().idle;
    let mut client = connection(Arc::new(Text("runs 1\n")));
    for _ in 0..3 {
        scrape(&mut client).await;
        tokio::time::sleep(idle.mul_f64(0.99)).await;
    }
    scrape(&mut client).await;
    assert_eq!(closed_after(&mut client).await.as_secs(), idle.as_secs());
}

#[tokio::test(start_paused = true)]
async fn headers_have_a_deadline_on_a_used_connection_too_however_they_drip() {
    let head = Timeouts::default().head;
    let mut client = connection(Arc::new(Text("runs 1\n")));
    scrape(&mut client).await;
    client.write_all(b"G").await.expect("still open");
    tokio::time::sleep(head / 2).await;
    client.write_all(b"E").await.expect("still open");
    assert_eq!(closed_after(&mut client).await.as_secs(), (head / 2).as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_has_a_deadline_until_the_system_has_taken_the_last_byte() {
    let mut client = connection(Arc::new(Flood));
    client.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it reads");
    let left = 100 << 10;
    let mut taken = vec![0; (64 << 20) - left];
    client.read_exact(&mut taken).await.expect("most of the answer");
    tokio::time::sleep(Timeouts::default().answer * 2).await;
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.expect("it is closed in order");
    assert!(rest.len() < left, "all of it came");
}

#[tokio::test]
async fn headers_that_are_too_long_are_refused() {
    let long = format!("x: {}\r\n", "x".repeat(20 << 10));
    let site = plain_site().await;
    let answer = site.ask("GET /metrics", &long).await;
    assert!(!answer.contains("200 OK"), "{answer}");
    assert_holds(&site.ask("GET /metrics", "").await, &["200 OK"]);
}

#[tokio::test]
async fn clients_beyond_the_most_connections_wait_for_a_place() {
    let (gate, mut questions) = Gate::new();
    let site = site(endpoints(gate.clone()), |server| {
        server.max_connections = 1;
    })
    .await;
    let request = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut first = site.send(request).await;
    questions.recv().await.expect("the first is in work");
    let mut second = site.send(request).await;
    gate.open.add_permits(2);
    assert_holds(&rest(&mut first).await, &["late\n"]);
    drop(first);
    // Had it been let in beside the first, --web.max-requests=1 would have refused it.
    assert_holds(&rest(&mut second).await, &["late\n"]);
}

#[tokio::test]
async fn clients_without_a_request_make_room_the_longest_idle_one_first() {
    let site = site(endpoints(Arc::new(Text("runs 1\n"))), |server| {
        server.max_connections = 3;
    })
    .await;
    let scrape = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut early = site.send(scrape).await;
    one_answer(&mut early, "runs 1\n").await;
    let mut late = site.send(scrape).await;
    one_answer(&mut late, "runs 1\n").await;
    // It would have 10 seconds, the others have minutes.
    let mut silent = site.send("").await;
    let mut next = site.send(scrape).await;
    one_answer(&mut next, "runs 1\n").await;
    assert_eq!(rest(&mut silent).await, "");
    let mut last = site.send(scrape).await;
    one_answer(&mut last, "runs 1\n").await;
    assert_eq!(rest(&mut early).await, "");
    for stays in [&mut late, &mut next, &mut last] {
        stays.write_all(scrape.as_bytes()).await.expect("still open");
        one_answer(stays, "runs 1\n").await;
    }
}

#[tokio::test]
async fn stopping_answers_what_is_in_work_and_closes_idle_connections() {
    let (gate, mut questions) = Gate::new();
    let site = site(endpoints(gate.clone()), |_| ()).await;
    let mut idle = site.send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    one_answer(&mut idle, "healthy\n").await;
    let mut busy = site.send("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    questions.recv().await.expect("it is in work");
    site.stop.cancel();
    assert_eq!(rest(&mut idle).await, "");
    gate.open.add_permits(1);
    assert_holds(&rest(&mut busy).await, &["200 OK", "late\n"]);
    site.end.await.expect("no panic");
    let refused = TcpStream::connect(site.address).await;
    assert!(refused.is_err(), "it still listens");
}

#[tokio::test]
async fn stopping_waits_no_longer_than_the_grace_period() {
    let (gate, mut questions) = Gate::new();
    let web = web(vec![([127, 0, 0, 1], 0).into()]);
    let server = Server::bind(&web).await.expect("a free port");
    let mut stream = TcpStream::connect(server.addresses()[0]).await.expect("it listens");
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(request).await.expect("it listens");
    let stop = CancellationToken::new();
    let grace = Duration::from_millis(20);
    let end = tokio::spawn(server.serve(endpoints(gate), stop.clone(), grace));
    questions.recv().await.expect("it is in work");
    stop.cancel();
    let ended = tokio::time::timeout(FOREVER, end).await;
    ended.expect("the grace period ended").expect("no panic");
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn an_address_in_use_is_named_with_the_way_out() {
    let site = plain_site().await;
    let web = web(vec![site.address]);
    let error = Server::bind(&web).await.err().expect("it is in use").to_string();
    let address = site.address.to_string();
    assert_holds(&error, &["cannot listen on", &address, "in use", "--web.listen-address"]);
}

#[tokio::test]
async fn an_address_without_a_host_takes_ipv4_too() {
    let web = web(vec![(std::net::Ipv6Addr::UNSPECIFIED, 0).into()]);
    let server = Server::bind(&web).await.expect("a free port");
    let port = server.addresses()[0].port();
    let client = TcpStream::connect(("127.0.0.1", port)).await;
    assert!(client.is_ok(), "{client:?}");
}
