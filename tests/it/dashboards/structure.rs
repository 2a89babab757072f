//! What can be checked of a dashboard without Prometheus.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    asking,
    model::{Dashboard, all, list, text},
};
use crate::support::promql::Catalogue;

/// Panels that are part of Grafana.
const BUILT_IN: [&str; 7] =
    ["bargauge", "heatmap", "row", "stat", "state-timeline", "table", "timeseries"];

/// Transformations that are part of Grafana.
const TRANSFORMATIONS: [&str; 4] = ["filterFieldsByName", "joinByField", "merge", "organize"];

/// Units that Grafana knows.
const UNITS: [&str; 8] =
    ["Bps", "bytes", "cpm", "dateTimeFromNow", "none", "percentunit", "s", "short"];

/// Each status looks the same everywhere.
const COLOURS: [(&str, &str); 7] = [
    ("COMPLETED", "green"),
    ("FAILED", "red"),
    ("SKIPPED", "purple"),
    ("CANCELLED", "orange"),
    ("PENDING", "yellow"),
    ("RUNNING", "blue"),
    ("OTHER", "text"),
];

/// What only the Grafana that a dashboard was exported from needs.
const NOISE: [&str; 6] = ["id", "version", "iteration", "__inputs", "__requires", "__elements"];

#[test]
fn the_dashboards_hold_together() {
    let all = all();
    assert_eq!(errors(&all), [""; 0]);
}

/// All that is wrong with these dashboards.
fn errors(all: &[Dashboard]) -> Vec<String> {
    let catalogue = Catalogue::new();
    all.iter().flat_map(|dashboard| errors_of(dashboard, all, &catalogue)).collect()
}

/// All that is wrong with one of them.
fn errors_of(dashboard: &Dashboard, all: &[Dashboard], catalogue: &Catalogue) -> Vec<String> {
    let mut errors = of_dashboard(dashboard, all);
    errors.extend(asking::errors(dashboard, all, catalogue));
    errors.extend(dashboard.panels_and_rows().iter().flat_map(of_panel));
    errors.into_iter().map(|error| format!("{}: {error}", dashboard.file)).collect()
}

fn of_dashboard(dashboard: &Dashboard, all: &[Dashboard]) -> Vec<String> {
    let json = &dashboard.json;
    let mut errors = Vec::new();
    let stem = dashboard.file.trim_end_matches(".json");
    if dashboard.uid() != format!("cortex-workflows-{stem}") {
        errors.push(format!("the uid {} does not follow the file's name", dashboard.uid()));
    }
    errors.extend(
        NOISE.iter().filter(|key| json.get(**key).is_some()).map(|key| format!("has {key}")),
    );
    // The schema of Grafana 11.0; newer ones read it and bring it up to date themselves.
    if json["schemaVersion"] != 39 {
        errors.push("schemaVersion is not 39".into());
    }
    for key in ["title", "description", "refresh"] {
        if text(json, key).is_empty() {
            errors.push(format!("there is no {key}"));
        }
    }
    let linked: BTreeSet<_> = list(json, "links")
        .iter()
        .filter_map(|link| text(link, "url").strip_prefix("/d/"))
        .collect();
    let others = all.iter().map(Dashboard::uid).filter(|uid| *uid != dashboard.uid()).collect();
    if linked != others {
        errors.push(format!("its links lead to {linked:?}, not to {others:?}"));
    }
    let forgetful = |link: &&Value| link["includeVars"] != true || link["keepTime"] != true;
    let forgetful = list(json, "links").iter().filter(forgetful);
    errors.extend(forgetful.map(|link| format!("a link that carries too little: {link}")));
    let ids: BTreeSet<_> =
        dashboard.panels_and_rows().iter().map(|panel| panel["id"].as_u64()).collect();
    if ids.contains(&None) || ids.len() != dashboard.panels_and_rows().len() {
        errors.push("panels without an id, or with the same one".into());
    }
    errors.extend(overlaps(dashboard));
    errors
}

/// Panels that cover each other, or stand out to the right of 24 columns.
fn overlaps(dashboard: &Dashboard) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let mut errors = Vec::new();
    for panel in dashboard.panels_and_rows() {
        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap_or(99));
        let cells = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y)));
        let free = cells.filter(|cell| taken.insert(*cell)).count();
        if x + w > 24 || free as u64 != w * h {
            errors.push(format!("{} has no room of its own", text(panel, "title")));
        }
    }
    errors
}

fn of_panel(panel: &Value) -> Vec<String> {
    let (kind, title) = (text(panel, "type"), text(panel, "title"));
    let mut errors = Vec::new();
    let mut require = |holds: bool, wrong: &str| {
        if !holds {
            errors.push(format!("{title}: {wrong}"));
        }
    };
    require(BUILT_IN.contains(&kind), "its type is not one of Grafana's own");
    require(!title.is_empty(), "there is no title");
    if kind == "row" {
        return errors;
    }
    let defaults = &panel["fieldConfig"]["defaults"];
    require(text(panel, "description").ends_with('.'), "there is no description in sentences");
    require(UNITS.contains(&text(defaults, "unit")), "there is no unit that Grafana knows");
    require(panel["datasource"]["uid"] == "${datasource}", "it has a data source of its own");
    require(!list(panel, "targets").is_empty(), "it asks nothing");
    let steps = list(&defaults["thresholds"], "steps");
    require(steps.first().is_some_and(|step| step["value"].is_null()), "there are no thresholds");
    let transformations = list(panel, "transformations");
    let known = |it: &Value| TRANSFORMATIONS.contains(&text(it, "id"));
    require(transformations.iter().all(known), "a transformation is unknown");
    for it in list(&panel["fieldConfig"], "overrides") {
        let name = text(&it["matcher"], "options");
        let properties = list(it, "properties").iter();
        let units = properties.clone().filter(|property| text(property, "id") == "unit");
        for unit in units {
            require(UNITS.contains(&text(unit, "value")), "a unit of a field is unknown");
        }
        let colours = properties.filter(|property| text(property, "id") == "color");
        for colour in colours {
            let colour = text(&colour["value"], "fixedColor");
            let agreed = COLOURS.iter().find(|(status, _)| *status == name);
            require(
                agreed.is_none_or(|(_, agreed)| *agreed == colour),
                "a status has another colour",
            );
        }
    }
    let by_status =
        list(panel, "targets").iter().any(|it| text(it, "legendFormat") == "{{status}}");
    let coloured = list(&panel["fieldConfig"], "overrides").len();
    require(!by_status || coloured >= 3, "statuses are not coloured");
    errors
}

mod the_checks_themselves {
    use super::*;

    const SKIPPED: &str =
        r#""options":"SKIPPED"},"properties":[{"id":"color","value":{"fixedColor":"purple""#;

    #[test]
    fn what_is_broken_is_told() {
        let (all, catalogue) = (all(), Catalogue::new());
        let texts: Vec<_> = all.iter().map(|dashboard| dashboard.json.to_string()).collect();
        // What is wrong with the first dashboard that has a text, once another stands in its place.
        let after = |from: &str, to: &str| {
            let found = texts.iter().zip(&all).find(|(text, _)| text.contains(from));
            let (text, whole) = found.unwrap_or_else(|| panic!("no dashboard has {from}"));
            let json = serde_json::from_str(&text.replacen(from, to, 1));
            let json = json.expect("it is JSON still");
            errors_of(&Dashboard { json, ..whole.clone() }, &all, &catalogue)
        };
        for (from, to, expected) in [
            (r#""uid":"cortex-workflows-fleet""#, r#""uid":"other""#, "does not follow"),
            (r#""schemaVersion":39"#, r#""schemaVersion":39,"version":7"#, "has version"),
            (r#""schemaVersion":39"#, r#""schemaVersion":16"#, "is not 39"),
            (r#""keepTime":true"#, r#""keepTime":false"#, "carries too little"),
            (r#""url":"/d/cortex-workflows-fleet""#, r#""url":"/d/gone""#, "its links lead to"),
            (r#""id":2,"#, r#""id":1,"#, "with the same one"),
            (r#""x":3,"y":0"#, r#""x":2,"y":0"#, "no room of its own"),
            (r#""x":12,"y":5"#, r#""x":13,"y":5"#, "no room of its own"),
            (r#""type":"timeseries""#, r#""type":"graph""#, "not one of Grafana's own"),
            (r#""id":"organize""#, r#""id":"organise""#, "transformation is unknown"),
            (r#""unit":"percentunit""#, r#""unit":"percents""#, "no unit"),
            (SKIPPED, &SKIPPED.replace("purple", "pink"), "another colour"),
            (r#""uid":"${datasource}""#, r#""uid":"abc""#, "data source of its own"),
            ("cortex_workflow_runs_total", "cortex_workflow_run_total", "there is no metric"),
            ("by (workflow_id)", "by (workflow_ids)", "no label workflow_ids"),
            (r#""legendFormat":"{{status}}""#, r#""legendFormat":"{{state}}""#, "no label state"),
            ("[$__range]", "[$__ranges]", "unknown variables"),
            (r#""query":"label_values("#, r#""query":"label_names("#, "asks in an unknown way"),
            ("/d/cortex-workflows-steps?", "/d/cortex-workflows-step?", "leads to no dashboard"),
            ("&var-workflow=", "&var-workflows=", "has no variable workflows"),
            ("${datasource:queryparam}", "${source:queryparam}", "has no variable source"),
            ("&${__url_time_range}", "", "does not carry the time range"),
            ("${__data.fields.workflow_id:", "${__data.fields.id:", "has no column id"),
            ("${__field.labels.workflow_id:", "${__field.labels.id:", "no label id"),
            (r#""Value #B":"#, r#""Value #Z":"#, "has no column Value #Z"),
            ("workflow_id:percentencode}&", "workflow_id}&", "__data.fields.workflow_id unescaped"),
            ("/last-failed-run", "/last-run", "is not that of a failed run"),
            (r#""url":"Last failed run""#, r#""url":"URL""#, "not the address of an exporter"),
            ("{{workflow}}: version", "{{name}}: version", "New versions: no label name"),
            ("$__interval_ms", "$__interval_s", "annotation New versions: unknown variables"),
        ] {
            let errors = after(from, to);
            assert!(
                errors.iter().any(|error| error.contains(expected)),
                "{from} is {to}: {errors:?}"
            );
        }
    }
}
