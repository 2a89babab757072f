//! What scrapes take, from one connection to a hundred, and what memory is needed for them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::Barrier,
    thread,
    time::Instant,
};

use crate::{
    api::{Api, KEY},
    measure::{Samples, peak_memory, row},
};

const FORMATS: [(&str, &str); 3] = [
    ("text", "text/plain"),
    ("OpenMetrics", "application/openmetrics-text;version=1.0.0"),
    (
        "protocol buffers",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
    ),
];
const SCRAPES: usize = 31;
const AT_ONCE: usize = 100;

/// The real program, having polled a world once.
struct Exporter {
    process: Child,
    address: String,
    _directory: tempfile::TempDir,
}

pub(crate) fn measure() {
    let api = Api::start("thousand-idle");
    let exporter = Exporter::start(&api, "0s");
    exporter.scrape(FORMATS[1].1, true);
    let lines = exporter.lines();
    let peak = peak_memory(exporter.process.id());
    row(&format!("peak memory with 1,000 workflows, {lines} lines"), format!("{peak:.0}"), "MiB");
    drop(exporter);

    let api = Api::start("thousand-busy");
    let exporter = Exporter::start(&api, "1d");
    let lines = exporter.lines();
    for gzip in [true, false] {
        for (name, accept) in FORMATS {
            let mut connection = Connection::to(&exporter.address);
            // The first two release what was held, and render.
            let bytes = (0..3).map(|_| connection.scrape(accept, gzip)).last().expect("three");
            let scrapes = Samples::of(SCRAPES, || {
                let begun = Instant::now();
                assert!(connection.scrape(accept, gzip).abs_diff(bytes) < 1000);
                begun.elapsed().as_secs_f64() * 1e3
            });
            let (how, kb) = (if gzip { "compressed" } else { "plain" }, bytes / 1000);
            row(&format!("a scrape of {lines} lines, {name}, {how} ({kb} KB)"), scrapes, "ms");
        }
        if gzip {
            let peak = peak_memory(exporter.process.id());
            let what = format!("peak memory with {lines} lines, after compressed scrapes");
            row(&what, format!("{peak:.0}"), "MiB");
        }
    }
    let peak = peak_memory(exporter.process.id());
    row("the same after plain ones, too", format!("{peak:.0}"), "MiB");
    exporter.scraped_at_once();
    let peak = peak_memory(exporter.process.id());
    let what = format!("the same after {AT_ONCE} plain ones at once");
    row(&what, format!("{peak:.0}"), "MiB");
}

impl Exporter {
    /// Counts also what ended so long ago.
    fn start(api: &Api, lookback: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut process = Command::new(env!("CARGO_BIN_EXE_cortex-workflow-exporter"))
            .args(["--web.listen-address=127.0.0.1:0", "--web.max-requests=1000"])
            .args(["--cortex.rate-limit=1000000", "--poll.interval=1h"])
            .arg(format!("--history.lookback={lookback}"))
            .arg(format!("--cortex.api-url={}", api.url))
            .arg(format!("--state.url=sqlite:{}/ledger.db", directory.path().display()))
            .env("CORTEX_API_KEY", KEY)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the exporter runs");
        let log = BufReader::new(process.stderr.take().expect("it is piped"));
        let mut address = None;
        for line in log.lines().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("address=") {
                address = rest.split(' ').next().map(str::to_owned);
            }
            if line.contains("The first poll cycle succeeded") {
                break;
            }
        }
        let address = address.expect("it says where it listens");
        Self { process, address, _directory: directory }
    }

    fn scrape(&self, accept: &str, gzip: bool) -> usize {
        Connection::to(&self.address).scrape(accept, gzip)
    }

    fn lines(&self) -> String {
        let mut connection = Connection::to(&self.address);
        for _ in 0..2 {
            connection.scrape("text/plain", false);
        }
        let text = String::from_utf8_lossy(&connection.body).into_owned();
        let lines = text.lines().filter(|line| !line.starts_with('#')).count();
        format!("{},{:03}", lines / 1000, lines % 1000)
    }

    /// Scrapes that all have begun before one of them goes on.
    fn scraped_at_once(&self) {
        let begun = Barrier::new(AT_ONCE);
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    let mut connection = Connection::to(&self.address);
                    connection.ask("text/plain", false);
                    connection.stream.fill_buf().expect("it begins to answer");
                    begun.wait();
                    assert!(connection.answer() > 1_000_000);
                });
            }
        });
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A client that does as little as possible.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    body: Vec<u8>,
}

impl Connection {
    pub(crate) fn to(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("it is a TCP connection");
        Self { stream: BufReader::with_capacity(256 << 10, stream), body: Vec::new() }
    }

    /// The length of the body.
    pub(crate) fn scrape(&mut self, accept: &str, gzip: bool) -> usize {
        self.ask(accept, gzip);
        self.answer()
    }

    fn ask(&mut self, accept: &str, gzip: bool) {
        let encoding = if gzip { "gzip" } else { "identity" };
        let request = format!(
            "GET /metrics HTTP/1.1\r\nHost: bench\r\nAccept: {accept}\r\n\
             Accept-Encoding: {encoding}\r\n\r\n"
        );
        self.stream.get_mut().write_all(request.as_bytes()).expect("it reads");
    }

    fn answer(&mut self) -> usize {
        let mut length = None;
        let mut line = String::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line).expect("it answers");
            let header = line.trim_end().to_ascii_lowercase();
            assert!(!header.starts_with("http/1.1 ") || header.contains(" 200 "), "{header}");
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().ok();
            }
            if header.is_empty() {
                break;
            }
        }
        if let Some(length) = length {
            self.body.resize(length, 0);
            self.stream.read_exact(&mut self.body).expect("all of it comes");
        } else {
            self.body.clear();
            self.stream.read_to_end(&mut self.body).expect("all of it comes");
        }
        self.body.len()
    }
}
