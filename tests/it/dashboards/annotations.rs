//! What the dashboards draw into their graphs: when new versions were made.

use super::{
    filling::Filling,
    model::{Dashboard, text},
    scene::{Deployment, RANGE, Scene},
};
use crate::support::wait_until;

/// A line in a graph as Grafana makes it of a series whose values are times: its title, and when.
type Mark = (String, f64);

/// Each version that was deployed has one mark, where it was made, with its workflow's current name;
/// those that were made before the time range have none.
pub(super) async fn each_deployment_is_marked_once(scene: &Scene, dashboards: &[Dashboard]) {
    let annotated = dashboards.iter().filter(|it| !it.annotations().is_empty());
    let annotated: Vec<_> = annotated.collect();
    assert_eq!(
        annotated.iter().map(|it| it.file.as_str()).collect::<Vec<_>>(),
        ["fleet.json", "workflow.json"]
    );
    for dashboard in annotated {
        let filling = scene.filled(dashboard, true).await;
        let one = dashboard.variables()[1]["multi"] != true;
        // The one workflow that is shown comes first.
        let expected = &scene.deployments[..if one { 1 } else { scene.deployments.len() }];
        let titles: Vec<_> = expected.iter().map(title).collect();
        let all_marked = async || {
            let marks = marks(scene, dashboard, &filling).await;
            titles.iter().all(|title| marks.iter().any(|(it, _)| it == title)).then_some(marks)
        };
        let what = format!("{}: {titles:?} are marked", dashboard.file);
        let marks = wait_until(&what, all_marked, || scene.prometheus.log()).await;
        for (deployment, title) in expected.iter().zip(&titles) {
            let of_it: Vec<_> = marks.iter().filter(|(it, _)| it == title).collect();
            let [(_, at)] = of_it[..] else { panic!("{title} is marked {} times", of_it.len()) };
            assert!(deployment.between_ms.contains(&(*at as i64)), "{title}: {at}");
        }
        let deployed: Vec<_> = scene.deployments.iter().map(title).collect();
        let earliest = *scene.deployments[0].between_ms.start() as f64 - RANGE.as_millis() as f64;
        for (title, at) in &marks {
            assert!(deployed.contains(title) || *at >= earliest, "{title} was not deployed: {at}");
        }
    }
}

fn title(deployment: &Deployment) -> String {
    format!("{}: version {}", deployment.workflow, deployment.version)
}

/// What Grafana makes of the annotations' series: each of their values is a time.
async fn marks(scene: &Scene, dashboard: &Dashboard, filling: &Filling) -> Vec<Mark> {
    let mut marks = Vec::new();
    for annotation in dashboard.annotations() {
        for answer in scene.annotated(annotation, filling).await {
            let mut title = text(annotation, "titleFormat").to_owned();
            for (name, value) in answer.labels.as_object().into_iter().flatten() {
                let value = value.as_str().unwrap_or_default();
                title = title.replace(&format!("{{{{{name}}}}}"), value);
            }
            marks.extend(answer.values.iter().map(|at| (title.clone(), *at)));
        }
    }
    marks
}
