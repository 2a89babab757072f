use super::*;
use crate::model::{Origin, RunId, RunVersion};

const NOW: i64 = 1_703_505_600_000;

fn workflow(number: usize) -> WorkflowView {
    WorkflowView {
        id: WorkflowId::new(&format!("work_{number}")).expect("an id"),
        name: format!("Workflow {number:05}"),
        active_runs: 0,
        last_poll_ms: Some(NOW - 10_000),
        last_failed: None,
        last_failure_ms: None,
        consecutive_failures: 0,
        lag_ms: 0,
    }
}

fn page(workflows: Vec<WorkflowView>, last_error: Option<&str>) -> HtmlPage {
    let overview = Overview {
        now_ms: NOW,
        poll_interval: Duration::from_secs(30),
        stands_by: false,
        apps: vec![AppView {
            id: AppId::new("app_1").expect("an id"),
            up: Some(last_error.is_none()),
            first_poll: String::new(),
            last_success_ms: Some(NOW - 180_000),
            last_error: last_error.map(String::from),
        }],
        workflows,
    };
    super::page(&overview, "/cortex/metrics")
}

#[test]
fn failing_workflows_come_first_then_late_ones_each_named_in_words() {
    let mut failing = workflow(3);
    failing.consecutive_failures = 2;
    failing.last_failure_ms = Some(NOW - 7_200_000);
    failing.last_failed = Some(FailedRun {
        id: RunId::new("run/<1>").expect("an id"),
        ended_ms: NOW - 7_200_000,
        started_ms: None,
        origin: Origin::Workflow,
        version: RunVersion::Number { number: 7, created_ms: None },
        failure: RunFailure {
            step: Label::new("ask & <tell>"),
            step_type: Label::new("model"),
            error_class: Label::new("rate_limited"),
        },
    });
    let mut late = workflow(2);
    late.lag_ms = 31_000;
    let mut unread = workflow(1);
    unread.last_poll_ms = None;
    let html = page(vec![workflow(0), unread, late, failing], None).html;
    let place = |text: &str| html.find(text).expect(text);
    let order = [
        "2 of 4 are failing or late",
        "✖ failing",
        "Workflow 00003",
        "▲ late",
        "Workflow 00002",
        "… not yet read",
        "Workflow 00001",
        "✔ fine",
        "Workflow 00000",
    ]
    .map(place);
    assert!(order.is_sorted(), "{order:?}");
    assert!(html.contains(r#"title="2023-12-25T10:00:00Z">2 h ago"#), "{html}");
    assert!(html.contains(r#"<a href="runs/run%2F%3C1%3E">run/&lt;1&gt;</a>"#), "{html}");
    let cause = "step ask &amp; &lt;tell&gt;, error rate_limited, version 7";
    assert!(html.contains(cause), "{html}");
}

#[test]
fn an_unreachable_api_is_reported_with_its_error_and_the_last_success() {
    let html = page(vec![workflow(0)], Some("the key was <rejected>")).html;
    for part in [
        "<title>✖ API unreachable</title>",
        "✖ last poll failed",
        "the key was &lt;rejected&gt;",
        "3 min ago",
        r#"href="cortex/metrics""#,
        build_info::VERSION,
    ] {
        assert!(html.contains(part), "{part} is not in {html}");
    }
}

#[test]
fn hostile_names_are_escaped_and_long_ones_cut() {
    let mut hostile = workflow(0);
    hostile.name = format!("</th><script>alert('x')</script>\u{202E}{}", "n".repeat(5000));
    let html = page(vec![hostile], None).html;
    assert!(html.contains("&lt;/th&gt;&lt;script&gt;"), "{html}");
    assert!(!html.contains("<script") && !html.contains('\u{202E}'));
    assert!(html.contains("nnn…") && html.len() < 6000, "{}", html.len());
}

#[test]
fn of_5000_workflows_the_most_urgent_200_are_shown_and_the_rest_is_counted() {
    let mut all: Vec<_> = (0..5000).map(workflow).collect();
    all[4999].consecutive_failures = 1;
    let html = page(all, None).html;
    assert_eq!(html.matches("work_").count(), 200);
    assert!(html.contains("work_4999<"));
    assert!(html.contains("… and 4800 more"));
}

#[test]
fn where_no_workflow_is_known_the_page_says_so() {
    let html = page(Vec::new(), None).html;
    assert!(html.contains("None is known yet.") && !html.contains("Last failure"), "{html}");
}

#[test]
fn an_exporter_that_stands_by_says_so_instead_of_that_nothing_is_known() {
    let overview = Overview {
        now_ms: NOW,
        poll_interval: Duration::from_secs(30),
        stands_by: true,
        apps: Vec::new(),
        workflows: Vec::new(),
    };
    let html = super::page(&overview, "/metrics").html;
    assert!(html.contains("Stands by: another exporter leads"), "{html}");
    assert!(!html.contains("None is known yet"), "{html}");
}
