//! Single runs in graphs: a real Prometheus has some for each query that asks for them.

use std::time::Duration;

use cortex_workflow_exporter::model::{Clock as _, SystemClock};

use super::{
    filling::Filling,
    model::{Dashboard, all, list, text},
};
use crate::support::{Process, Prometheus, get, report_missing, wait_until};

#[tokio::test]
async fn single_runs_in_graphs_are_runs_to_which_the_exporter_leads() {
    let dashboards = all();
    let questions = dashboards.iter().flat_map(Dashboard::questions);
    let asking: Vec<_> = questions.filter(|it| it.target["exemplar"] == true).collect();
    assert!(!asking.is_empty(), "no query asks for single runs");
    let mut demo = Process::demo();
    let url = demo.ready_url().await;
    let flags = ["--enable-feature=exemplar-storage"];
    let Some(prometheus) = Prometheus::start_newest(&url, &flags, "").await else {
        return report_missing("Prometheus 3", "single runs in the dashboards' graphs");
    };
    let mut filling = Filling::built_in(Duration::from_secs(600), None);
    for name in ["workflow", "origin"] {
        filling.set(name, ".*");
    }
    for question in asking {
        let expression = filling.fill(text(question.target, "expr")).expect("they are known");
        let run = async || {
            let now = SystemClock.now_ms() / 1000;
            let [start, end] = [now - 600, now].map(|at| at.to_string());
            let parameters = [("query", expression.as_str()), ("start", &start), ("end", &end)];
            let answer = prometheus.ask("query_exemplars", &parameters).await;
            let exemplars = list(&answer, "data").iter().flat_map(|it| list(it, "exemplars"));
            // The ids of the demo mean nothing in a URL.
            exemplars.map(|it| text(&it["labels"], "run_id").to_owned()).next()
        };
        let what = format!("{} has single runs", question.place);
        let run = wait_until(&what, run, || demo.log()).await;
        let (status, _) = get(&format!("{url}/runs/{run}")).await;
        assert_eq!(status, 302, "{run}: {}", demo.log());
    }
}
