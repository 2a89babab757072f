//! A real Prometheus answers every query of every panel and of every variable.

use std::cell::RefCell;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    annotations, asking,
    filling::Filling,
    model::{Dashboard, Question, all, data_links, list, text},
    scene::{Answer, EXTERNAL_URL, ODD_ID, RENAMED, RENAMED_TO, Scene},
};
use crate::support::{Process, get, wait_until};

/// What Grafana's `percentencode` leaves as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Queries that may have no answer, and why.
const MAY_BE_EMPTY: [(&str, &str); 1] =
    [("workflow.json: Duration of completed runs: D", "it looks a week back, where nothing is")];

/// What is wrong with an answer, wherever it comes from.
fn anomalies(question: &Question<'_>, answers: &[Answer]) -> Vec<String> {
    let mut odd = Vec::new();
    if answers.iter().flat_map(|it| &it.values).any(|value| !value.is_finite()) {
        odd.push("something was divided by zero");
    }
    let one = text(question.panel, "type") == "stat"
        && !text(question.target, "legendFormat").contains("{{");
    if one && answers.len() > 1 {
        odd.push("there are several answers where one can be shown");
    }
    let transformations = list(question.panel, "transformations").iter();
    let mut joins = transformations.filter(|it| text(it, "id") == "joinByField");
    if let Some(join) = joins.next() {
        let field = text(&join["options"], "byField");
        let mut keys: Vec<_> = answers.iter().map(|it| text(&it.labels, field)).collect();
        keys.sort_unstable();
        keys.dedup();
        if keys.len() != answers.len() {
            odd.push("two answers would share a line");
        }
    }
    odd.into_iter().map(|odd| format!("{}: {odd}", question.place)).collect()
}

#[tokio::test]
async fn every_query_has_an_answer_from_a_real_prometheus() {
    let scene = Scene::start().await;
    let dashboards = all();
    for dashboard in &dashboards {
        let filling = scene.filled(dashboard, true).await;
        let questions = dashboard.questions();
        let may_be_empty =
            |it: &&Question<'_>| MAY_BE_EMPTY.iter().any(|(place, _)| *place == it.place);
        for question in questions.iter().filter(may_be_empty) {
            scene.answers(question, &filling).await;
        }
        let open: Vec<_> = questions.iter().filter(|it| !may_be_empty(it)).collect();
        assert!(open.len() > 10, "{} asks much", dashboard.file);
        let open = RefCell::new(open);
        let answered = async || {
            let mut left = Vec::new();
            for question in open.take() {
                if scene.answers(question, &filling).await.is_empty() {
                    left.push(question);
                }
            }
            let done = left.is_empty();
            open.replace(left);
            done.then_some(())
        };
        let evidence = || {
            let open: Vec<_> = open.borrow().iter().map(|it| it.place.clone()).collect();
            let logs: Vec<_> = scene.exporters.iter().map(Process::log).collect();
            format!("without an answer: {open:#?}\n{}", logs.join("\n"))
        };
        wait_until("each query has an answer", answered, evidence).await;
    }
    for (dashboard, all) in dashboards.iter().flat_map(|it| [(it, true), (it, false)]) {
        let filling = scene.filled(dashboard, all).await;
        for question in dashboard.questions() {
            let answers = scene.answers(&question, &filling).await;
            assert_eq!(anomalies(&question, &answers), [""; 0]);
        }
    }
    renamed_is_one(&scene, &dashboards).await;
    links_lead_to_failed_runs(&scene, &dashboards).await;
    annotations::each_deployment_is_marked_once(&scene, &dashboards).await;
}

/// The renamed workflow is one workflow with its new name, and what it did before counts on.
async fn renamed_is_one(scene: &Scene, dashboards: &[Dashboard]) {
    let fleet = dashboards.iter().find(|it| it.file == "fleet.json").expect("there is one");
    let workflows = scene.options(&fleet.variables()[1], &Filling::default()).await;
    let names: Vec<_> = workflows.iter().map(|(_, name)| name.as_str()).collect();
    assert!(names.contains(&RENAMED_TO) && !names.contains(&RENAMED), "{names:?}");
    let both = format!(
        "count(count by (workflow) (last_over_time(cortex_workflow_info[1h])\
         and on (workflow_id) cortex_workflow_info{{workflow=\"{RENAMED_TO}\"}}))"
    );
    assert_eq!(scene.prometheus.wait_for(&both).await, "2", "Prometheus has both names");
}

/// Each line that has a link to the last failed run leads to one, whatever the workflow's id holds.
async fn links_lead_to_failed_runs(scene: &Scene, dashboards: &[Dashboard]) {
    let mut followed = Vec::new();
    for dashboard in dashboards {
        let filling = scene.filled(dashboard, true).await;
        for question in dashboard.questions() {
            let links = data_links(question.panel).into_iter();
            let links = links.filter_map(|link| link.strip_prefix(asking::EXTERNAL_URL));
            let links: Vec<_> = links.collect();
            for Answer { labels, .. } in scene.answers(&question, &filling).await {
                let url = text(&labels, "url");
                for path in links.iter().filter(|_| !url.is_empty()) {
                    assert_eq!(url, EXTERNAL_URL, "{}", question.place);
                    let id = text(&labels, "workflow_id");
                    let encoded = utf8_percent_encode(id, UNRESERVED).to_string();
                    let path = path.replace("${__data.fields.workflow_id:percentencode}", &encoded);
                    let (status, body) = get(&format!("{}{path}", scene.exporter)).await;
                    assert!(status == 200 && body.contains("FAILED"), "{path}: {status} {body}");
                    followed.push((dashboard.file.as_str(), id.to_owned()));
                }
            }
        }
    }
    let of = |file: &str| followed.iter().filter(|(it, _)| *it == file).count();
    assert!(of("fleet.json") > 1 && of("workflow.json") == 1, "{followed:?}");
    assert!(followed.iter().any(|(_, id)| id == ODD_ID), "{followed:?}");
}

#[test]
fn what_may_be_empty_is_there() {
    let dashboards = all();
    let questions: Vec<_> = dashboards.iter().flat_map(Dashboard::questions).collect();
    for (place, reason) in MAY_BE_EMPTY {
        let found = questions.iter().any(|question| question.place == place);
        assert!(found && !reason.is_empty(), "{place}");
    }
}
