//! What the pages for people have in common.

use axum::{
    http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::model::DAY_MS;

/// A page, ready to be sent.
pub(super) struct HtmlPage {
    /// The document.
    pub(super) html: String,
    /// Its `Content-Security-Policy`: nothing but its own style.
    pub(super) security_policy: String,
}

const STYLE: &str = include_str!("page.css");

impl HtmlPage {
    pub(super) fn new(title: &str, body: &Markup) -> Self {
        let nonce = format!("{:032x}", rand::random::<u128>());
        let document = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (title) }
                    style nonce=(nonce) { (PreEscaped(STYLE)) }
                }
                body { (body) }
            }
        };
        Self {
            html: document.into_string(),
            security_policy: format!(
                "default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; \
                 form-action 'none'; frame-ancestors 'none'"
            ),
        }
    }
}

impl IntoResponse for HtmlPage {
    fn into_response(self) -> Response {
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_SECURITY_POLICY, self.security_policy.as_str()),
        ];
        (headers, self.html).into_response()
    }
}

/// A point in time as its age, with the exact time where the pointer rests.
pub(super) fn age(now_ms: i64, at_ms: Option<i64>) -> Markup {
    let at = at_ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    html! {
        @match (at, at_ms) {
            (Some(at), Some(ms)) => { time datetime=(at) title=(at) {
                (words_for(now_ms.saturating_sub(ms))) " ago"
            } }
            _ => { "never" }
        }
    }
}

/// A point in time as it is. The first and the last millisecond of a day stand for the day, which is
/// all that is known then.
pub(super) fn moment(at_ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(at_ms);
    let at = at.map(|at| at.to_string()).unwrap_or_default();
    let is_day = [0, DAY_MS - 1].contains(&at_ms.rem_euclid(DAY_MS));
    at.split_once('T').filter(|_| is_day).map_or(at.clone(), |(day, _)| day.into())
}

/// A duration, as roughly as people state it.
pub(super) fn words_for(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (number, unit) = match seconds {
        0..120 => (seconds, "s"),
        120..7200 => (seconds / 60, "min"),
        7200..172_800 => (seconds / 3600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{number} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pages_own_style_is_allowed_and_each_page_has_its_own_nonce() {
        let [one, other] = [(); 2].map(|()| HtmlPage::new("<i>", &html! { p { "text" } }));
        assert_ne!(one.security_policy, other.security_policy);
        let (_, rest) = one.security_policy.split_once("'nonce-").expect("a nonce");
        let (nonce, _) = rest.split_once('\'').expect("a quote");
        assert!(one.html.contains(&format!("<style nonce=\"{nonce}\">")));
        for foreign in ["http://", "https://", "<script", "style=\"", "src=", "<i>"] {
            assert!(!one.html.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn lengths_of_time_are_written_for_people() {
        for (ms, words) in [
            (-5, "0 s"),
            (119_999, "119 s"),
            (120_000, "2 min"),
            (7_199_000, "119 min"),
            (172_799_000, "47 h"),
            (i64::MAX, "106751991167 days"),
        ] {
            assert_eq!(words_for(ms), words, "{ms}");
        }
    }

    #[test]
    fn a_time_that_is_known_to_the_day_is_shown_as_the_day() {
        for (ms, shown) in [
            (1_703_505_600_250, "2023-12-25T12:00:00.25Z"),
            (1_703_462_400_000, "2023-12-25"),
            (1_703_548_799_999, "2023-12-25"),
            (1_703_462_400_001, "2023-12-25T00:00:00.001Z"),
            (i64::MAX, ""),
        ] {
            assert_eq!(moment(ms), shown, "{ms}");
        }
    }
}
