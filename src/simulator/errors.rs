//! What the steps of generated runs say when they fail, as the services and libraries that they
//! call write it. Some of it holds what looks like a customer's data, as real errors do.

use rand::{RngExt as _, rngs::StdRng};
use serde_json::json;

use super::{
    plan::pick,
    step::{SimulatedStep, StepError},
};

/// A kind of text, with its weight among those of its step type. `{id}` becomes a new id.
type ErrorText = (&'static str, &'static str, u32);

const MODEL: &[ErrorText] = &[
    (
        "rate_limit",
        "429 Rate limit reached for gpt-4o in organization org-{id} on tokens per min (TPM): \
         Limit 30000, Used 29412, Requested 1893. Please try again in 2.61s.",
        5,
    ),
    ("overloaded", OVERLOADED, 3),
    (
        "context_length",
        "400 This model's maximum context length is 128000 tokens. However, your messages resulted \
         in 131842 tokens. Please reduce the length of the messages.",
        2,
    ),
    ("timeout", "Request timed out after 60000 ms (request id req_{id})", 2),
    (
        "credit_balance",
        "400 Your credit balance is too low to access the Anthropic API. Please go to Plans & \
         Billing to upgrade or purchase credits.",
        1,
    ),
];

/// Stands for an object.
const OVERLOADED: &str = "Overloaded";

const HTTP: &[ErrorText] = &[
    (
        "connection_reset",
        "FetchError: request to https://crm.example.com/v2/contacts?email=maria.keller@example.com \
         failed, reason: read ECONNRESET",
        3,
    ),
    (
        "bad_gateway",
        "HTTP 502\n<html>\n<head><title>502 Bad Gateway</title></head>\n<body>\n\
         <center><h1>502 Bad Gateway</h1></center>\n<hr><center>nginx</center>\n</body>\n</html>",
        3,
    ),
    ("not_found", "Request failed with status code 404: no contact named \"Maria Keller\"", 2),
    (
        "dns",
        "HTTPSConnectionPool(host='crm.example.com', port=443): Max retries exceeded with url: \
         /v2/contacts (Caused by NameResolutionError: Temporary failure in name resolution)",
        1,
    ),
    ("timeout", "AxiosError: timeout of 10000ms exceeded", 2),
];

const SERVICE: &[ErrorText] = &[
    ("invalid_key", "401 Unauthorized: invalid x-api-key (request {id})", 2),
    ("service_unavailable", "503 Service Unavailable: upstream connect error or disconnect", 4),
    (
        "quota",
        "429 You exceeded your current quota, please check your plan and billing details.",
        1,
    ),
    ("timeout", "504 Gateway Timeout (trace {id})", 2),
];

const CODE: &[ErrorText] = &[
    (
        "js_exception",
        "TypeError: Cannot read properties of undefined (reading 'answer')\n    \
         at check (step.js:14:32)\n    at run (sandbox.js:88:11)",
        4,
    ),
    (
        "python_exception",
        "Traceback (most recent call last):\n  File \"step.py\", line 9, in <module>\n    \
         total = order['total']\nKeyError: 'total'",
        3,
    ),
    ("validation", "ValidationError: \"email\" must be a valid email, got \"maria.keller@\"", 2),
];

const BROWSER: &[ErrorText] = &[
    ("timeout", "TimeoutError: Navigation timeout of 30000 ms exceeded", 3),
    ("certificate", "net::ERR_CERT_DATE_INVALID at https://www.example.com/team/maria-keller", 1),
    ("dns", "net::ERR_NAME_NOT_RESOLVED at https://www.example.com/", 1),
];

const OTHER: &[ErrorText] = &[
    ("called_workflow", "The called workflow failed: run_{id}", 2),
    (
        "validation",
        "Validation failed: \"customer\" is required, got {\"name\": \"Maria Keller\"}",
        1,
    ),
];

/// Gives each failed step that has no error one that fits its type.
pub(super) fn explain(steps: &mut [SimulatedStep], random: &mut StdRng) {
    for step in steps.iter_mut().filter(|step| step.is_failed() && step.error.is_none()) {
        let texts = match step.step_type.as_str() {
            "model" => MODEL,
            "http_request" => HTTP,
            "service" => SERVICE,
            "code" => CODE,
            "browser" => BROWSER,
            _ => OTHER,
        };
        let weighted: Vec<_> = texts.iter().map(|(kind, text, it)| ((*kind, *text), *it)).collect();
        step.error = pick(&weighted, random).map(|(kind, text)| error(kind, text, random));
    }
}

fn error(kind: &'static str, text: &str, random: &mut StdRng) -> StepError {
    let id = format!("{:016x}", random.random::<u64>());
    let value = if text == OVERLOADED {
        let error = json!({ "type": "overloaded_error", "message": text });
        json!({ "type": "error", "error": error, "request_id": format!("req_{id}") })
    } else {
        text.replace("{id}", &id).into()
    };
    StepError { kind, value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorClasses;

    #[test]
    fn an_operator_finds_each_kind_in_the_class_that_is_expected() {
        let classes = ErrorClasses::default();
        for (kind, text, _) in [MODEL, HTTP, SERVICE, CODE, BROWSER, OTHER].concat() {
            let expected = match kind {
                "rate_limit" => "rate_limited",
                "overloaded" | "bad_gateway" | "service_unavailable" => "upstream",
                "context_length" => "model",
                "credit_balance" | "quota" => "quota",
                "connection_reset" | "dns" | "certificate" => "network",
                "invalid_key" => "unauthorized",
                "js_exception" | "python_exception" => "code",
                "validation" => "invalid_input",
                "timeout" | "not_found" => kind,
                "called_workflow" => "other",
                _ => panic!("{kind} has a class"),
            };
            assert_eq!(classes.classify(text).as_str(), expected, "{text}");
        }
    }
}
