//! Whether variables, queries and links fit together, and ask only for what there is.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use super::{
    filling::Filling,
    model::{Dashboard, Question, VariableQuery, data_links, links_of, list, text, variable_query},
};
use crate::support::promql::{Catalogue, Labels};

/// The beginning of a link to the exporter: the address is the value of its column.
pub(super) const EXTERNAL_URL: &str = "${__value.raw:raw}";

/// How such a link goes on.
const LAST_FAILED_RUN: &str =
    "/workflows/${__data.fields.workflow_id:percentencode}/last-failed-run";

/// What is wrong with what a dashboard asks for, and with where its data links lead.
pub(super) fn errors(
    dashboard: &Dashboard,
    all: &[Dashboard],
    catalogue: &Catalogue,
) -> Vec<String> {
    let mut errors = of_variables(dashboard, catalogue);
    for question in dashboard.questions() {
        errors.extend(of_question(dashboard, &question, catalogue));
    }
    for annotation in dashboard.annotations() {
        errors.extend(of_annotation(dashboard, annotation, catalogue));
    }
    for panel in dashboard.panels() {
        errors.extend(of_columns(dashboard, panel, catalogue));
        for link in data_links(panel) {
            let wrong = of_link(dashboard, all, link).into_iter();
            errors.extend(wrong.map(|wrong| format!("{}: {link} {wrong}", text(panel, "title"))));
        }
    }
    errors
}

fn of_variables(dashboard: &Dashboard, catalogue: &Catalogue) -> Vec<String> {
    let mut errors = Vec::new();
    if dashboard.variables().first().is_none_or(|first| text(first, "type") != "datasource") {
        errors.push("the first variable is not the data source".into());
    }
    for variable in dashboard.variables().iter().skip(1) {
        let name = text(variable, "name");
        if text(variable, "label").is_empty() || text(variable, "description").is_empty() {
            errors.push(format!("variable {name} has no label or description"));
        }
        if variable["datasource"]["uid"] != "${datasource}" {
            errors.push(format!("variable {name} has a data source of its own"));
        }
        let (expression, label) = match variable_query(variable) {
            None => {
                errors.push(format!("variable {name} asks in an unknown way"));
                continue;
            }
            Some(VariableQuery::LabelValues { series, label }) => (series, vec![label]),
            Some(VariableQuery::Result(expression)) => {
                (expression, vec!["workflow", "workflow_id"])
            }
        };
        match labels(dashboard, expression, catalogue) {
            Err(wrong) => errors.push(format!("variable {name}: {wrong}")),
            Ok(labels) => {
                let missing = label.iter().filter(|label| !labels.contains(**label));
                errors.extend(missing.map(|label| format!("variable {name}: no label {label}")));
            }
        }
    }
    errors
}

/// The labels of what an expression comes to.
fn labels(
    dashboard: &Dashboard,
    expression: &str,
    catalogue: &Catalogue,
) -> Result<Labels, String> {
    let mut filling = Filling::built_in(Duration::from_secs(3600), None);
    for variable in dashboard.variables() {
        filling.set(text(variable, "name"), ".*");
    }
    let filled = filling.fill(expression)?;
    catalogue.check(&filled).map_err(|errors| errors.join("; "))
}

fn of_question(
    dashboard: &Dashboard,
    question: &Question<'_>,
    catalogue: &Catalogue,
) -> Vec<String> {
    let Question { place, panel, target } = question;
    let labels = match labels(dashboard, text(target, "expr"), catalogue) {
        Ok(labels) => labels,
        Err(error) => return vec![format!("{place}: {error}")],
    };
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    let legend = text(target, "legendFormat");
    wanted.extend(between(legend, "{{", "}}"));
    if text(target, "format") == "heatmap" {
        wanted.insert("le");
    }
    for link in data_links(panel) {
        wanted.extend(between(link, "${__field.labels.", ":"));
    }
    let joined = list(panel, "transformations").iter().filter(|it| text(it, "id") == "joinByField");
    wanted.extend(joined.map(|it| text(&it["options"], "byField")));
    wanted.remove("");
    let missing = wanted.iter().filter(|label| !labels.contains(**label));
    missing.map(|label| format!("{place}: the answer has no label {label}")).collect()
}

fn of_annotation(dashboard: &Dashboard, annotation: &Value, catalogue: &Catalogue) -> Vec<String> {
    let name = text(annotation, "name");
    let mut errors = Vec::new();
    if annotation["datasource"]["uid"] != "${datasource}" {
        errors.push(format!("annotation {name} has a data source of its own"));
    }
    match labels(dashboard, text(annotation, "expr"), catalogue) {
        Err(error) => errors.push(format!("annotation {name}: {error}")),
        Ok(labels) => {
            let title = between(text(annotation, "titleFormat"), "{{", "}}");
            let missing = title.filter(|label| !labels.contains(*label));
            errors.extend(missing.map(|label| format!("annotation {name}: no label {label}")));
        }
    }
    errors
}

/// What stands between these marks, each time.
fn between<'t>(text: &'t str, from: &'t str, to: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(from).skip(1).filter_map(move |rest| rest.split(to).next())
}

/// What is wrong with the columns of a table: those that are named, and those that links use.
fn of_columns(dashboard: &Dashboard, panel: &Value, catalogue: &Catalogue) -> Vec<String> {
    if text(panel, "type") != "table" {
        return Vec::new();
    }
    let targets = list(panel, "targets");
    let mut columns = Labels::from(["Time".into()]);
    for target in targets {
        columns.extend(labels(dashboard, text(target, "expr"), catalogue).unwrap_or_default());
        columns.insert(match targets.len() {
            1 => "Value".into(),
            _ => format!("Value #{}", text(target, "refId")),
        });
    }
    let organize = list(panel, "transformations").iter().find(|it| text(it, "id") == "organize");
    let renamed = organize.and_then(|it| it["options"]["renameByName"].as_object());
    let renamed: Vec<_> = renamed.into_iter().flatten().collect();
    let placed = organize.and_then(|it| it["options"]["indexByName"].as_object());
    let placed = placed.into_iter().flatten().map(|(from, _)| from.as_str());
    let mut errors: Vec<_> = renamed.iter().map(|(from, _)| from.as_str()).chain(placed).collect();
    errors.retain(|from| !columns.contains(*from));
    columns.extend(renamed.iter().filter_map(|(_, to)| to.as_str()).map(str::to_owned));
    let links = data_links(panel);
    let of_links = links.iter().flat_map(|link| between(link, "${__data.fields.", ":"));
    errors.extend(of_links.filter(|name| !columns.contains(*name)));
    let overrides = list(&panel["fieldConfig"], "overrides").iter();
    let overridden = overrides.map(|it| text(&it["matcher"], "options"));
    errors.extend(overridden.filter(|name| !columns.contains(*name)));
    let title = text(panel, "title");
    let missing = errors.iter().map(|name| format!("{title}: has no column {name}"));
    let mut errors: Vec<_> = missing.collect();
    for it in list(&panel["fieldConfig"], "overrides") {
        let name = text(&it["matcher"], "options");
        let to_exporter = links_of(it).any(|link| link.starts_with(EXTERNAL_URL));
        let is_url = renamed.iter().any(|(from, to)| *from == "url" && *to == name);
        if to_exporter && !is_url {
            errors.push(format!("{title}: {name} is not the address of an exporter"));
        }
    }
    errors
}

/// What is wrong with where a data link leads.
fn of_link(dashboard: &Dashboard, all: &[Dashboard], link: &str) -> Vec<String> {
    let (to_run, rest) = match link.strip_prefix(EXTERNAL_URL) {
        Some(path) => (true, path),
        None => (false, link),
    };
    // Grafana encodes other values so that they may hold what separates the parts of a URL.
    let unescaped = between(rest, "${", "}").filter(|it| {
        *it != "__url_time_range" && !it.ends_with(":percentencode") && !it.ends_with(":queryparam")
    });
    let mut errors: Vec<_> = unescaped.map(|it| format!("has {it} unescaped")).collect();
    if to_run {
        errors.extend((rest != LAST_FAILED_RUN).then(|| "is not that of a failed run".into()));
    } else {
        errors.extend(of_link_to_dashboard(dashboard, all, link));
    }
    errors
}

/// What is wrong with a link to a dashboard.
fn of_link_to_dashboard(dashboard: &Dashboard, all: &[Dashboard], link: &str) -> Vec<String> {
    let (uid, query) =
        link.strip_prefix("/d/").and_then(|it| it.split_once('?')).unwrap_or_default();
    let Some(there) = all.iter().find(|there| there.uid() == uid) else {
        return vec!["leads to no dashboard".into()];
    };
    let mut errors = Vec::new();
    if !query.split('&').any(|part| part == "${__url_time_range}") {
        errors.push("does not carry the time range".into());
    }
    for part in query.split('&').filter(|part| *part != "${__url_time_range}") {
        let carried = part.strip_prefix("${").and_then(|it| it.strip_suffix(":queryparam}"));
        let set = part.strip_prefix("var-").and_then(|it| it.split_once('='));
        match (carried, set) {
            (Some(name), _) if !dashboard.has_variable(name) => {
                errors.push(format!("starts where it has no variable {name}"));
            }
            (Some(name), _) | (_, Some((name, _))) if !there.has_variable(name) => {
                errors.push(format!("leads where it has no variable {name}"));
            }
            (None, None) => errors.push(format!("has an odd part: {part}")),
            _ => {}
        }
    }
    if !query.split('&').any(|part| part == "${datasource:queryparam}") {
        errors.push("does not carry the data source".into());
    }
    errors
}
