//! What people see of a run, where links to runs lead in a demo.

use std::fmt::Write as _;

use super::run::SimulatedRun;

/// A page that shows a run with its steps and their errors.
pub(super) fn of_run(run: &SimulatedRun) -> String {
    let version = run.version.map_or("draft".into(), |version| format!("version {version}"));
    let (id, status) = (escape(&run.id), escape(run.status.as_str()));
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{id}</title>\
         <h1>{id}</h1><p>{status}, {version}, {}</p><ol>",
        escape(run.origin.as_str())
    );
    for step in &run.steps {
        let (key, status) = (escape(&step.key), escape(step.status.as_str()));
        _ = write!(page, "<li>{key}: {status}");
        if let Some(error) = &step.error {
            let text = error.value.as_str().map_or_else(|| error.value.to_string(), str::to_owned);
            _ = write!(page, "<pre>{}</pre>", escape(&text));
        }
        page += "</li>";
    }
    page + "</ol></html>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
