//! Clients that mean harm, while one does not.

use std::{
    fs, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{Mutex, MutexGuard},
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

use super::assert_small;
use crate::support::{Api, Process, client, get, wait_until};

/// As the exporter has it.
const MAX_CONNECTIONS: usize = 512;

/// What it has open besides connections: listeners, the ledger, its log.
const OTHER_FILES: usize = 60;

/// All tests share the files that this process may have open, so one crowd waits for the other.
static ROOM: Mutex<()> = Mutex::const_new(());

/// An exporter, and a Prometheus that has its connection already.
struct Scene {
    exporter: Process,
    url: String,
    address: SocketAddr,
    scraper: TcpStream,
    _api: Api,
    _room: MutexGuard<'static, ()>,
}

/// Clients that go on until this is dropped.
struct Crowd {
    clients: JoinSet<()>,
    connected: Arc<AtomicUsize>,
}

impl Scene {
    async fn start() -> Self {
        let room = ROOM.lock().await;
        let api = Api::start().await;
        api.add_workflow("work_one");
        let mut exporter = Process::serve(&api, "sqlite::memory:", &[]);
        let url = exporter.ready_url().await;
        let address = url.trim_start_matches("http://").parse().expect("an address");
        let scraper = TcpStream::connect(address).await.expect("it listens");
        let mut scene = Self { exporter, url, address, scraper, _api: api, _room: room };
        scene.scrape().await;
        scene
    }

    /// Scrapes on the connection that was there before.
    async fn scrape(&mut self) {
        let request = b"GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n";
        self.scraper.write_all(request).await.expect("the connection is open");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.scraper.read_u8().await.expect("more of the answer"));
        }
        let head = String::from_utf8(head).expect("headers are text");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.and_then(|length| length.parse().ok()).expect("it has a length");
        let mut body = vec![0; length];
        self.scraper.read_exact(&mut body).await.expect("more of the answer");
    }

    /// So many clients connect, each of which then does this.
    fn crowd<F, A>(&self, size: usize, act: F) -> Crowd
    where
        F: Fn(TcpStream) -> A + Clone + Send + 'static,
        A: Future<Output = ()> + Send,
    {
        let connected = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..size {
            let (address, connected) = (self.address, Arc::clone(&connected));
            let act = act.clone();
            clients.spawn(async move {
                // Beyond what the system queues, nobody gets as far as this.
                if let Ok(stream) = TcpStream::connect(address).await {
                    connected.fetch_add(1, Ordering::Relaxed);
                    act(stream).await;
                }
            });
        }
        Crowd { clients, connected }
    }

    /// Waits until the exporter has taken in as many as it ever will.
    async fn full(&self, crowd: &Crowd) {
        let is_full = async || {
            let connected = crowd.connected.load(Ordering::Relaxed);
            let taken = self.exporter.open_files();
            (connected >= MAX_CONNECTIONS && taken >= MAX_CONNECTIONS).then_some(())
        };
        wait_until("as many as possible are connected", is_full, || self.exporter.log()).await;
    }

    /// The scraper that was there is served, and so is a new one once the others are gone.
    async fn survives(mut self, crowd: Crowd, what: &str) {
        self.scrape().await;
        let open = self.exporter.open_files();
        assert!(open <= MAX_CONNECTIONS + OTHER_FILES, "{open} files and connections");
        drop(crowd);
        // The system may still refuse a client for those that it queued before.
        let served = async || {
            let answer = client().get(format!("{}/metrics", self.url)).send().await;
            Some(answer.ok()?.status().as_u16())
        };
        let status = wait_until("a new client is served", served, || self.exporter.log()).await;
        assert_eq!(status, 200, "{}", self.exporter.log());
        self.scrape().await;
        assert_small(&self.exporter, what);
    }
}

/// Sends this, and then whatever, until it is refused.
async fn flood(mut stream: TcpStream, begin: &str) {
    let mut sent = 0;
    let mut next = begin.as_bytes();
    // 20 MB each would be 2 GB in all.
    while sent < 20_000_000 && stream.write_all(next).await.is_ok() {
        sent += next.len();
        next = &[b'x'; 8192];
    }
    assert!(sent < 20_000_000, "all of it was taken");
}

/// So many connections may this process have, but not more than 10,000.
fn many() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").expect("it runs on Linux");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    soft.unwrap_or(usize::MAX).saturating_sub(400).min(10_000)
}

#[tokio::test]
async fn ten_thousand_idle_connections() {
    let scene = Scene::start().await;
    let size = many();
    assert!(size > MAX_CONNECTIONS, "raise the limit of open files: ulimit -n");
    let crowd = scene.crowd(size, async |stream| {
        std::future::pending::<()>().await;
        drop(stream);
    });
    scene.full(&crowd).await;
    scene.survives(crowd, &format!("{size} clients that say nothing")).await;
}

#[tokio::test]
async fn clients_that_ask_once_and_stay_make_room_for_others() {
    let scene = Scene::start().await;
    let crowd = scene.crowd(MAX_CONNECTIONS + 100, async |mut stream| {
        // It may have had to make room already.
        _ = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
        std::future::pending::<()>().await;
    });
    scene.full(&crowd).await;
    // Each of them could stay for minutes.
    let metrics = format!("{}/metrics", scene.url);
    assert_eq!(get(&metrics).await.0, 200, "{}", scene.exporter.log());
    drop(crowd);
    assert_small(&scene.exporter, "612 clients that asked once");
}

#[tokio::test]
async fn clients_that_send_a_byte_a_second_are_cut_off() {
    let scene = Scene::start().await;
    let crowd = scene.crowd(MAX_CONNECTIONS + 100, async |mut stream| {
        let mut next: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: exporter\r\nX-Slow: ";
        while stream.write_all(next).await.is_ok() {
            next = b"x";
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    scene.full(&crowd).await;
    // Nobody of the crowd goes, so this waits until they are made to.
    let metrics = format!("{}/metrics", scene.url);
    assert_eq!(get(&metrics).await.0, 200, "{}", scene.exporter.log());
    scene.survives(crowd, "slow headers").await;
}

#[tokio::test]
async fn headers_and_bodies_without_an_end_are_refused() {
    let scene = Scene::start().await;
    let mut headers = scene.crowd(100, async |stream| {
        flood(stream, "GET /metrics HTTP/1.1\r\nX-Flood: ").await;
    });
    while let Some(ended) = headers.clients.join_next().await {
        ended.expect("a flood is refused");
    }
    let mut bodies = scene.crowd(100, async |stream| {
        let begin = "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n";
        flood(stream, begin).await;
    });
    while let Some(ended) = bodies.clients.join_next().await {
        ended.expect("a flood is refused");
    }
    scene.survives(bodies, "floods of headers and bodies").await;
}

/// Few enough that the clients of a test can use them up.
const FEW_FILES: u64 = 256;

/// More clients than that, of every kind that keeps a connection without asking for anything. Each
/// connects before the next.
async fn idle_clients(connect: impl AsyncFn() -> io::Result<Stream>) -> Vec<Stream> {
    let mut clients = Vec::new();
    for number in 0..300 {
        let Ok(mut client) = connect().await else { continue };
        let text = [
            "",
            "GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ",
            "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
        ];
        // It may have had to make room already.
        _ = client.write_all(text[number % text.len()].as_bytes()).await;
        clients.push(client);
    }
    clients
}

trait Connected: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connected for S {}
type Stream = Box<dyn Connected>;

/// A new client gets its answer at once, and the exporter still polls.
async fn is_at_work(connect: impl AsyncFn() -> io::Result<Stream>, exporter: &Process) {
    let polls = async || {
        let mut client = connect().await.expect("it listens");
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        client.write_all(request).await.expect("it reads");
        let mut answer = Vec::new();
        let read = client.read_to_end(&mut answer);
        let read = tokio::time::timeout(Duration::from_secs(5), read).await;
        read.unwrap_or_else(|_| panic!("no answer at once: {}", exporter.log())).expect("an end");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let series = "cortex_workflow_exporter_polls_total{app_id=\"c\",result=\"success\"} ";
        let value = answer.lines().find_map(|line| line.strip_prefix(series));
        value.unwrap_or_else(|| panic!("no polls in {answer}")).parse::<u64>().expect("a number")
    };
    let before = polls().await;
    let more = async || (polls().await > before).then_some(());
    wait_until("it polls again", more, || exporter.log()).await;
}

#[tokio::test]
async fn where_few_files_may_be_open_idle_clients_leave_some_for_others() {
    let _room = ROOM.lock().await;
    let tls = Tls::new();
    for flags in [vec![], vec![tls.flag.as_str()]] {
        let api = Api::start().await;
        let url = format!("--cortex.api-url={}", api.url());
        let address = "--web.listen-address=127.0.0.1:0";
        let mut arguments =
            vec!["serve", &url, address, "--state.url=sqlite::memory:", "--poll.interval=1s"];
        arguments.extend(&flags);
        let mut exporter = Process::spawn_limited(FEW_FILES, &arguments);
        let address = exporter.word_after("address=", Process::stderr).await;
        exporter.word_after("The first poll cycle", Process::stderr).await;
        let connect = async || tls.connect(&address, !flags.is_empty()).await;
        let clients = idle_clients(connect).await;
        assert!(clients.len() >= 300, "{} of 300 could connect", clients.len());
        is_at_work(connect, &exporter).await;
        assert!(exporter.open_files() < FEW_FILES as usize - 20, "{}", exporter.open_files());
    }
}

#[tokio::test]
async fn where_files_run_out_idle_clients_make_room_at_once() {
    let _room = ROOM.lock().await;
    let tls = Tls::new();
    for flags in [vec![], vec![tls.flag.as_str()]] {
        let api = Api::start().await;
        let mut exporter = Process::serve(&api, "sqlite::memory:", &flags);
        let address = exporter.word_after("address=", Process::stderr).await;
        exporter.word_after("The first poll cycle", Process::stderr).await;
        // It takes in up to 512 connections, but now finds that it can't.
        exporter.limit_open_files(FEW_FILES / 2);
        let connect = async || tls.connect(&address, !flags.is_empty()).await;
        let clients = idle_clients(connect).await;
        assert!(clients.len() >= 300, "{} of 300 could connect", clients.len());
        is_at_work(connect, &exporter).await;
        let log = exporter.stderr();
        assert_eq!(log.matches("Cannot accept a connection").count(), 1, "{log}");
    }
}

/// A certificate, and a web configuration that has it.
struct Tls {
    flag: String,
    connector: TlsConnector,
    _directory: tempfile::TempDir,
}

impl Tls {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let pair = pair.expect("there is randomness");
        let [certificate, key] = [pair.cert.pem(), pair.signing_key.serialize_pem()];
        let [certificate, key] = [certificate, key].map(|pem| pem.replace('\n', "\n    "));
        let file = directory.path().join("web.yml");
        let text =
            format!("tls_server_config:\n  cert: |\n    {certificate}\n  key: |\n    {key}\n");
        fs::write(&file, text).expect("it can be written");
        let flag = format!("--web.config.file={}", file.display());
        Self { flag, connector: connector(pair.cert.der()), _directory: directory }
    }

    /// A connection, in TLS if so wanted.
    async fn connect(&self, address: &str, is_tls: bool) -> io::Result<Stream> {
        let stream = TcpStream::connect(address).await?;
        if !is_tls {
            return Ok(Box::new(stream));
        }
        let name = "localhost".try_into().expect("a name");
        Ok(Box::new(self.connector.connect(name, stream).await?))
    }
}

#[tokio::test]
async fn clients_that_speak_tls_and_then_fall_silent() {
    let _room = ROOM.lock().await;
    let tls = Tls::new();
    let api = Api::start().await;
    let mut exporter = Process::serve(&api, "sqlite::memory:", &[&tls.flag]);
    let address = exporter.word_after("address=", Process::stderr).await;
    let mut clients = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut client = tls.connect(&address, true).await.expect("the certificate is right");
        client.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("it reads");
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.expect("it answers");
        assert_eq!(&answer, b"HTTP/1.1 200");
        clients.push(client);
    }
    assert!(exporter.open_files() >= MAX_CONNECTIONS);
    assert_small(&exporter, "512 connections in TLS");
}

fn connector(certificate: &CertificateDer<'static>) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("it is a certificate");
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("there are some").with_root_certificates(roots);
    Arc::new(config.with_no_client_auth()).into()
}
