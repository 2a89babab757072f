//! The landing page in a real browser.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use axum::{Router, http::Uri, response::Html};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{Process, client, get, parse, tool, wait_until};

/// A browser that has never run before and keeps to itself.
struct Browser {
    profile: tempfile::TempDir,
}

impl Browser {
    fn new() -> Self {
        let profile = tempfile::tempdir().expect("there is room for temporary files");
        Self { profile }
    }

    /// Runs it to its end; what it wrote to standard output.
    async fn run(&self, arguments: &[String]) -> String {
        let mut command = Command::new(tool("chromium"));
        let profile = self.profile.path().display();
        command
            .args([
                "--headless",
                // Its sandbox refuses to run as root, as which tests often run.
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-proxy-server",
                "--hide-scrollbars",
            ])
            .arg(format!("--user-data-dir={profile}"))
            .env("HOME", self.profile.path())
            .args(arguments);
        let mut browser = Process::start(command);
        let code = browser.exit_code().await;
        assert_eq!(code, 0, "{}", browser.log());
        browser.stdout()
    }

    /// What it made of a page.
    async fn document(&self, url: &str) -> String {
        self.run(&["--dump-dom".into(), url.into()]).await
    }

    /// A picture of a page in a window of this size.
    async fn picture(&self, url: &str, name: &str, (width, height): (u32, u32)) -> Vec<u8> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        fs::create_dir_all(&directory).expect("target can be written");
        let file: PathBuf = directory.join(name);
        let _ = fs::remove_file(&file);
        let arguments = [
            format!("--window-size={width},{height}"),
            format!("--screenshot={}", file.display()),
            url.into(),
        ];
        self.run(&arguments).await;
        fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }
}

#[tokio::test]
async fn a_browser_shows_the_workflows_of_the_demo_and_leads_to_the_metrics() {
    let mut demo = Process::demo();
    let url = demo.ready_url().await;
    let browser = Browser::new();
    let document = browser.document(&format!("{url}/")).await;
    let samples = parse(&get(&format!("{url}/metrics")).await.1);
    let names: Vec<_> = samples
        .matching("cortex_workflow_info", &[])
        .map(|(series, _)| series.labels["workflow"].clone())
        .collect();
    assert!(!names.is_empty());
    for name in names {
        let name = name.replace('&', "&amp;");
        assert!(document.contains(&name), "{name} is missing: {document}");
    }
    assert!(document.contains(r#"href="metrics""#), "{document}");
    assert!(document.contains(env!("CARGO_PKG_VERSION")), "{document}");
    for (name, size) in [("phone.png", (412, 915)), ("desktop.png", (1280, 800))] {
        let picture = browser.picture(&format!("{url}/"), name, size).await;
        assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n"), "{name}");
        let side = |at: usize| {
            let bytes = picture[at..at + 4].try_into().expect("four bytes are four");
            u32::from_be_bytes(bytes)
        };
        assert_eq!((side(16), side(20)), size, "{name}");
        // An empty page compresses to far less.
        assert!(picture.len() > 8_000, "{name} has {} bytes", picture.len());
    }
}

#[tokio::test]
async fn a_link_on_the_overview_leads_a_browser_to_the_run() {
    let page = |uri: Uri| async move { Html(format!("<title>The run itself</title><p>{uri}</p>")) };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let cortex = listener.local_addr().expect("it listens");
    let serving = axum::serve(listener, Router::new().fallback(page));
    let serving = tokio::spawn(serving.into_future());
    let run_url = format!("--links.run-url=http://{cortex}/{{workflow_id}}/{{run_id}}?tab=steps");
    let mut demo = Process::demo_with(&[&run_url]);
    let overview = Url::parse(&format!("{}/", demo.ready_url().await)).expect("a URL");
    let browser = Browser::new();
    let link = async || {
        let document = browser.document(overview.as_str()).await;
        let (_, rest) = document.split_once("href=\"runs/")?;
        Some(format!("runs/{}", rest.split_once('"')?.0))
    };
    let link = wait_until("the overview shows a failed run", link, || demo.log()).await;
    let run = link.trim_start_matches("runs/");
    let document = browser.document(overview.join(&link).expect("a link").as_str()).await;
    assert!(document.contains("<title>The run itself</title>"), "{document}");
    assert!(document.contains(&format!("/{run}?tab=steps")), "{document}");
    serving.abort();
}

#[tokio::test]
async fn a_workflow_named_like_a_script_is_shown_and_not_run() {
    let simulated = ["simulate", "--simulator.listen-address=127.0.0.1:0"];
    let mut simulator = Process::spawn(&simulated, &[]);
    let api = simulator.word_after("API is at ", Process::stdout).await;
    let name = "<script>document.title='owned'</script><img src=x onerror=document.title='owned'>";
    let made = control(&api, "workflows", &json!({ "id": "work_script", "name": name })).await;
    assert_eq!(made, json!({ "id": "work_script" }));
    let directory = tempfile::tempdir().expect("there is room for temporary files");
    let state = format!("--state.url={}", crate::support::ledger_url(directory.path()));
    let arguments =
        ["serve", &format!("--cortex.api-url={api}"), &state, "--web.listen-address=127.0.0.1:0"];
    let mut exporter = Process::spawn(&arguments, &[("CORTEX_API_KEY", "demo-key")]);
    let url = exporter.ready_url().await;
    let document = Browser::new().document(&format!("{url}/")).await;
    assert!(document.contains("&lt;script&gt;document.title"), "{document}");
    assert!(!document.contains("<script>document"), "{document}");
    assert!(!document.contains("<title>owned"), "{document}");
    let listed = async || {
        let samples = parse(&get(&format!("{url}/metrics")).await.1);
        let labels = [("workflow_id", "work_script"), ("workflow", name)];
        samples.sum("cortex_workflow_info", &labels)
    };
    let count = wait_until("the workflow is exposed", listed, || exporter.log()).await;
    assert!((count - 1.0).abs() < f64::EPSILON);
}

/// Tells a simulated API what to do.
async fn control(api: &str, path: &str, body: &Value) -> Value {
    let request = client().post(format!("{api}/_simulator/{path}"));
    let answer = request.body(body.to_string()).send().await;
    let text = answer.expect("the simulator answers").text().await;
    let text = text.expect("an answer comes to its end");
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}"))
}
