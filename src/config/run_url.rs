//! Where people see a run.

use reqwest::Url;

use super::url::web_url;
use crate::model::{AppId, RunId, WorkflowId};

/// The address of a run, with placeholders for its ids. They are in the path, the query or the
/// fragment, so that no id decides which host it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunUrl(String);

const PLACEHOLDERS: [&str; 3] = ["{app_id}", "{workflow_id}", "{run_id}"];

impl RunUrl {
    /// Checks a template. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let with = |id| PLACEHOLDERS.iter().fold(text.to_owned(), |url, it| url.replace(it, id));
        let [one, other] = [with("1"), with("2")];
        if one.contains(['{', '}']) {
            return Err(format!(
                "only {} can be in braces; write %7B and %7D for braces that belong to the URL",
                PLACEHOLDERS.join(", ")
            ));
        }
        let example = "https://app.example/{workflow_id}/runs/{run_id}";
        let [one, other] = [web_url(&one, example)?, web_url(&other, example)?];
        if one.origin() != other.origin() {
            return Err("the host and the port must be without placeholders".into());
        }
        if !text.contains("{run_id}") {
            return Err(format!("without {{run_id}} it leads to no run; write one like {example}"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The address of this run.
    #[expect(clippy::missing_panics_doc, reason = "it was checked, and ids cannot change that")]
    pub fn of(&self, app: &AppId, workflow: &WorkflowId, run: &RunId) -> Url {
        let ids = [app.in_url(), workflow.in_url(), run.in_url()];
        // What is put in has no braces, so that the order doesn't matter.
        let url = PLACEHOLDERS.iter().zip(ids).fold(self.0.clone(), |url, (placeholder, id)| {
            url.replace(placeholder, &id.to_string())
        });
        Url::parse(&url).expect("a path, a query and a fragment may be anything")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(template: &str, run: &str) -> String {
        let template = RunUrl::parse(template).expect("a valid template");
        let app = AppId::new("app_1").expect("an id");
        let workflow = WorkflowId::new("work/1").expect("an id");
        template.of(&app, &workflow, &RunId::new(run).expect("an id")).to_string()
    }

    #[test]
    fn ids_are_put_into_path_query_and_fragment() {
        for (template, expected) in [
            ("https://h/{app_id}/{workflow_id}/{run_id}", "https://h/app_1/work%2F1/run_1"),
            ("HTTP://H:81/?a={app_id}&run={run_id}", "http://h:81/?a=app_1&run=run_1"),
            ("https://h/#/runs/{run_id}", "https://h/#/runs/run_1"),
            ("https://h/{run_id}?again={run_id}", "https://h/run_1?again=run_1"),
            ("https://h?{run_id}", "https://h/?run_1"),
            ("https://größe.test/ä/{run_id}", "https://xn--gre-6ka8i.test/%C3%A4/run_1"),
        ] {
            assert_eq!(link(template, "run_1"), expected, "{template}");
        }
    }

    #[test]
    fn no_id_leads_to_another_host_or_page_or_breaks_a_header() {
        let longest = "r".repeat(128);
        let ids = [
            "...",
            "../../x",
            "//evil.example",
            "/\\evil.example",
            "@evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "a%2f..%2fb",
            "%2e%2e",
            "%0d%0aset-cookie: a=b",
            "a?b=c&d#e",
            "a b+c",
            "{workflow_id}",
            "{run_id}",
            "größe✖",
            "\"><script>",
            longest.as_str(),
        ];
        for id in ids {
            for (template, before, after) in [
                ("https://h/runs/{run_id}/steps", "https://h/runs/", "/steps"),
                ("https://h/?run={run_id}&x=y", "https://h/?run=", "&x=y"),
                ("https://h/#{run_id}", "https://h/#", ""),
            ] {
                let url = link(template, id);
                let inner = url.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                let inner = inner.unwrap_or_else(|| panic!("{template} with {id} became {url}"));
                let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~%".contains(c);
                assert!(inner.chars().all(plain), "{url}");
                let read = percent_encoding::percent_decode_str(inner).decode_utf8();
                assert_eq!(read.expect("text"), id);
            }
        }
    }

    #[test]
    fn a_template_that_leads_nowhere_or_lets_an_id_choose_the_host_is_refused() {
        for (template, part) in [
            ("https://h/runs", "without {run_id}"),
            ("https://h/{app_id}/{workflow_id}", "without {run_id}"),
            ("https://h/{run}", "only {app_id}, {workflow_id}, {run_id} can be in braces"),
            ("https://h/{run_id}/{RUN_ID}", "{app_id}, {workflow_id}, {run_id}"),
            ("https://h/{{run_id}}", "%7B"),
            ("https://h/{run_id", "can be in braces"),
            ("https://h/run_id}", "can be in braces"),
            ("https://{app_id}.h/{run_id}", "without placeholders"),
            ("https://{run_id}", "without placeholders"),
            ("https://h:{run_id}/", "without placeholders"),
            ("https://h:8{run_id}/", "without placeholders"),
            ("https:{run_id}/x", "without placeholders"),
            ("https:\\\\{run_id}\\x", "without placeholders"),
            ("{app_id}://h/{run_id}", "not a URL like"),
            ("{run_id}", "not a URL like"),
            ("//h/{run_id}", "not a URL like"),
            ("/runs/{run_id}", "not a URL like"),
            ("", "not a URL like"),
            ("https://{run_id}@h/", "user or password"),
            ("https://a:{run_id}@h/", "user or password"),
            ("javascript:alert('{run_id}')", "use https"),
            ("data:text/html,{run_id}", "use https"),
            ("file:///{run_id}", "use https"),
        ] {
            let error = RunUrl::parse(template).expect_err(template);
            assert!(error.contains(part), "{template}: {error}");
        }
    }
}
