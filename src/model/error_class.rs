//! What kind of error a text describes. The text itself goes nowhere.

use std::sync::LazyLock;

use regex::{RegexSet, RegexSetBuilder, bytes};

use super::Label;

/// The classes that this version knows, `none` and `other` included.
pub const ERROR_CLASSES: [&str; 12] = [
    "timeout",
    "rate_limited",
    "unauthorized",
    "not_found",
    "invalid_input",
    "network",
    "upstream",
    "model",
    "quota",
    "code",
    OTHER,
    NONE,
];

const OTHER: &str = "other";
const NONE: &str = "none";

/// A status code, as clients and gateways mention one: not any number in a text.
macro_rules! status {
    ($codes:literal) => {
        concat!(
            r#"(?:status|code|https?(?:/\d(?:\.\d)?)?|error|returned|response|responded with|"#,
            r#"failed with|replied with)"?[\s:=(\["']{0,3}(?:status|code|error|http)?"?[\s:=(\["']{0,3}(?:"#,
            $codes,
            r")\b|[(\[](?:",
            $codes,
            r")[)\]]|^\W{0,3}(?:",
            $codes,
            r")\b|\b(?:",
            $codes,
            r"):? (?:bad|unauth|forbid|not |request|payment|too |client|server|internal|service|gateway|",
            r"proxy|unprocess|conflict|method|resource|error|web server|connection|origin|ssl|site)"
        )
    };
}

/// A model, as those who call one name it.
macro_rules! model {
    () => {
        r"\b(?:llm|model|assistant|ai|gpt[\w.-]*|claude[\w.-]*|gemini[\w.-]*|chat ?completion)s?\b"
    };
}

/// What it answered.
macro_rules! answer {
    () => {
        concat!(
            model!(),
            r"(?:(?:[`'\x22]|’)?s)? (?:\w+ ){0,2}(?:output|response|answer|reply|completion|message|json)"
        )
    };
}

/// Which class a text belongs to: that of the first row that matches. Specific rows come before
/// general ones, and whatever names its own cause before a status code or an exception's type.
const TABLE: &[(&str, &str)] = &[
    // A model's answer that can't be parsed, whatever exception that became.
    (
        "model",
        concat!(
            r"(?:pars(?:e|ed|ing|able|eable)|decod(?:e|ed|ing)|malformed|not valid|\binvalid) .{0,40}",
            answer!(),
            r"|",
            answer!(),
            r".{0,40}(?:\bjson|pars|malformed|invalid|not valid|schema)",
            r"|(?:malformed|empty|invalid json|unpars\w*) .{0,40} (?:from|of|by) .{0,20}",
            model!(),
            r"|",
            model!(),
            r" (?:has |had )?(?:produced|returned|generated|gave|sent|responded with|replied with) .{0,20}(?:json|malformed|invalid|unpars)",
            r"|(?:pars(?:e|ed|ing)|invalid json|malformed).{0,40}(?:(?:tool|function)[ _-]?(?:call|argument)|structured output)",
            r"|(?:(?:tool|function)[ _-]?(?:call|argument)|structured output).{0,40}(?:\bjson|pars|malformed)",
        ),
    ),
    // An exception whose message may mention anything.
    (
        "code",
        r"cannot (?:read|set|destructure) propert|is not a function|is not defined|is not iterable|undefined \(reading|object has no attribute|nonetype|is not subscriptable|\bmodule ?not ?found|cannot find module|no module named|null ?pointer|nil pointer|division by zero|divide by zero|list index out of range|index out of bounds|maximum call stack|recursion depth|must be str, not|can only concatenate|unsupported operand|unexpected token .* in json|is not valid json|expecting value: line|unexpected end of json|json\.?decode|unterminated string|invalid literal for int|could not convert string|\b(?:key|name|attribute|index|unboundlocal|assertion|indentation|reference)error: ",
    ),
    (
        "quota",
        r"insufficient[_ ](?:quota|credits?|funds|balance)|exceeded your current quota|credit balance|payment required|out of credits|\bbilling\b|(?:usage|spend(?:ing)?|monthly|daily|budget|plan|credit) limit|limit.{0,20}(?:your|current) plan|not enough credits|trial (?:has )?(?:ended|expired)",
    ),
    (
        "rate_limited",
        r"quota.{0,200}per[ _]?(?:minute|second|min)|tokens per min|requests per (?:minute|second|min)|rate[ _-]?limit|too[ _-]?many[ _-]?requests|throttl|slow ?down|reached .{0,40}\b(?:rpm|tpm)\b|concurren(?:t|cy).{0,20}limit|limit.{0,20}concurren|resource[ _]?exhausted|error code: 1015\b",
    ),
    ("quota", r"\bquota"),
    ("quota", status!("402")),
    ("rate_limited", status!("420|429")),
    (
        "model",
        r"context[ _]?(?:length|window)|maximum context|prompt is too long|too many (?:input )?tokens|max[ _]?(?:output[ _]?)?tokens|token limit|tokens? .{0,20}exceed|content[ _]?(?:policy|filter|management|moderation)|responsible[ _]?ai|safety (?:system|setting|filter|reason|policy)|finish_?reason|flagged|blocked.{0,40}(?:prompt|response|content|recitation|safety)|recitation|refus(?:al|ed to (?:answer|respond|comply))|model[`'\x22: ].{0,80}(?:not[ _]found|does not exist|deprecated|decommissioned|not supported|unavailable|not available|no longer|access)|not_found_error.{0,40}model|model[_ ](?:not[_ ]found|not[_ ]available|decommissioned)|(?:unknown|unsupported|invalid|no such) model|could not parse (?:llm|model)|output ?pars|did not call a tool|no object generated|model (?:produced|returned|generated)|models/\S+ is not found",
    ),
    (
        "timeout",
        r"\btime[ds]?[ _-]?out|timeout|deadline[ _]?exceeded|took too long|etimedout|esockettimedout|time limit|did not (?:complete|respond|finish) (?:in|within)|not respond(?:ing)? in time|exceeded .{0,30}(?:seconds|execution time|max(?:imum)? duration)",
    ),
    ("timeout", status!("408|504|522|524")),
    (
        "upstream",
        r"bad gateway|service (?:is )?(?:temporarily )?unavailable|serviceunavailable|temporarily unavailable|internal ?server ?error|internal error|upstream (?:connect|request|server|prematurely|timed|service|returned|error|sent)|connecting to upstream|overloaded|server[ _]error|api_error|server had an error|\bgateway\b|no healthy|at capacity|(?:not enough|insufficient) capacity|server is busy|try again later|web server is down|origin (?:dns|is unreachable)|an error occurred while processing your request|model_?not_?ready|under maintenance|too many clients|too many connections|system is starting up",
    ),
    ("upstream", status!("5\\d\\d")),
    (
        "unauthorized",
        r"unauthori[sz]ed|un ?authenticated|forbidden|not authori[sz]ed|authenticat|authorization|(?:invalid|incorrect|missing|wrong|expired|revoked|no|provide).{0,20}(?:api|access|secret|x-api|subscription)[ _-]?key|(?:api|x-api)[ _-]?key.{0,40}(?:invalid|incorrect|missing|not valid|expired|revoked|not found|provided|required)|permission|access ?denied|\bcredentials?\b.{0,40}(?:invalid|incorrect|missing|expired|found|provider|rejected|wrong|load)|(?:invalid|incorrect|missing|expired|wrong|bad|no|load) credentials?\b|(?:invalid|expired|missing|bad|malformed)[ _](?:auth|bearer|access|refresh|session|security|jwt|id)?[ _-]?token|token.{0,40}(?:expired|revoked|is invalid|not valid)|invalid_grant|invalid_client|\bjwt\b|signature .{0,40}(?:match|invalid|expired)|login required|log in again|insufficient.{0,10}scope",
    ),
    ("unauthorized", status!("401|403|407")),
    (
        "network",
        r"\b(?:econn(?:reset|refused|aborted)|epipe|enotfound|eai_again|ehostunreach|enetunreach|eproto)\b|connection .{0,20}(?:refused|reset|closed|abort|error|fail|lost|terminated|broken|dropped)|connect(?:ion)? ?error|could not connect|couldn't connect|failed to connect|cannot connect|unable to connect|connection pool|socket (?:hang|closed|error|connection|disconnected|is not|ended)|socketexception|websocket|broken pipe|\bdns\b|getaddrinfo|name or service not known|name resolution|could not resolve|no such host|nodename nor servname|unknown ?host|network ?(?:error|is unreachable|request failed|connection|socket|changed|failure)|fetch failed|failed to fetch|\btls\b|\bssl\b|certificate|handshake|remote end closed|remote ?disconnected|incomplete ?read|error sending request|no route to host|(?:server|client|peer) disconnected|protocol ?error|other side closed|\bund_err|curl: \(|net::err_|actively refused|\beof\b|stream (?:was )?(?:closed|reset)|terminated$|tunneling",
    ),
    (
        "invalid_input",
        r"malformed|validation ?(?:error|exception|failed)|required (?:key|field|property)|zoderror",
    ),
    (
        "not_found",
        r"not[ _-]?found|no such (?:file|key|bucket|table|object|user|record|index|column|entity)|does ?n[o']t exist|do not exist|nosuch|\benoent\b|no longer exists|could not be found|could not find|cannot find|no results? found|unknown (?:id|record|user|table|index|column)|no (?:record|row|document|item)s? (?:matching|found|with)",
    ),
    ("not_found", status!("404|410")),
    (
        "code",
        r"^\W*(?:uncaught )?(?:type|syntax|range|eval|zerodivision|import|runtime|recursion|overflow|memory|os|arithmetic|notimplemented|lookup)error\b|^\W*(?:exception in thread|traceback|panic)|\bpanicked at|traceback \(most recent|segmentation fault|sigkill|sigsegv|out of memory|heap (?:space|limit)|heap out|exit(?:ed)?(?: with)? (?:code|status)|unhandled ?(?:promise)? ?rejection|illegalstate|classcast|stack ?overflow|unreachable code|assert(?:ion)? ?(?:error|failed)",
    ),
    (
        "invalid_input",
        r"invalid|validation|bad request|unprocessable|malformed|schema|required|missing|must (?:be|not|have|match|contain)|should (?:be|not|have|match)|expected .{0,60}(?:got|received|but|found)|unsupported|too (?:large|long|short|small|big|many)|not a valid|out of range|violates|constraint|duplicate (?:key|entry)|already exists|conflict|zod|pydantic|unable to parse|failed to parse|(?:could|can)(?: ?not|n?(?:'|’)t) (?:be )?pars|parse ?error|parsing|cannot be (?:empty|null|blank)|is empty|not allowed|not supported|unrecognized|unknown (?:field|parameter|argument|name)|unexpected (?:field|parameter|argument|keyword)|valueerror|cannot (?:be )?(?:cast|coerce|convert|deserialize)|wrong type|illegal argument|syntax error",
    ),
    ("invalid_input", status!("400|405|406|409|411|412|413|414|415|416|422")),
    ("code", r"\w(?:error|exception)\b.{0,5}:|^\w*(?:error|exception)$|uncaught"),
];

/// The first and the last of a longer text that is looked at, in bytes: a message comes first, the
/// cause of a traceback last.
const LOOKED_AT: usize = 4096;

/// A class of a team's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnErrorClass {
    /// The value of the label.
    pub name: String,
    /// A regular expression, matched without regard to case anywhere in the text.
    pub pattern: String,
}

/// Classifies errors: by a team's own classes first, then by the table.
#[derive(Clone, Debug, Default)]
pub struct ErrorClasses {
    own: Vec<OwnErrorClass>,
    patterns: RegexSet,
}

impl PartialEq for ErrorClasses {
    fn eq(&self, other: &Self) -> bool {
        self.own == other.own
    }
}

/// The table is in ASCII. With Unicode's letters and word boundaries, a text takes a hundred times as
/// long, and one that has others than ASCII's a thousand times.
static BUILT_IN: LazyLock<bytes::RegexSet> = LazyLock::new(|| {
    bytes::RegexSetBuilder::new(TABLE.iter().map(|(_, pattern)| pattern))
        .unicode(false)
        .case_insensitive(true)
        .dot_matches_new_line(true)
        .size_limit(MAX_SIZE)
        .dfa_size_limit(MAX_CACHE)
        .build()
        .expect("the table's patterns are right")
});

/// The most bytes that compiled patterns take, and what is remembered while they are matched.
/// Matching takes time in proportion to the text, whatever the pattern.
const MAX_SIZE: usize = 64 << 20;
const MAX_CACHE: usize = 8 << 20;

impl ErrorClasses {
    /// A team's own classes, of which the first that matches counts. The error is the pattern's.
    pub fn new(own: Vec<OwnErrorClass>) -> Result<Self, regex::Error> {
        let patterns = RegexSetBuilder::new(own.iter().map(|class| &class.pattern))
            .case_insensitive(true)
            .dot_matches_new_line(true)
            .size_limit(MAX_SIZE)
            .dfa_size_limit(MAX_CACHE)
            .build()?;
        Ok(Self { own, patterns })
    }

    /// The class of an error with this text; `none` without one.
    pub fn classify(&self, text: &str) -> Label {
        if text.trim().is_empty() {
            return Label::new(NONE);
        }
        let text = ends_of(text);
        let own = self.patterns.matches(&text).iter().next().map(|at| self.own[at].name.as_str());
        let row = || BUILT_IN.matches(text.as_bytes()).iter().next().map(|at| TABLE[at].0);
        Label::new(own.or_else(row).unwrap_or(OTHER))
    }

    /// The class of an error without a text.
    pub fn none() -> Label {
        Label::new(NONE)
    }
}

fn ends_of(text: &str) -> std::borrow::Cow<'_, str> {
    if text.len() <= 2 * LOOKED_AT {
        return text.into();
    }
    let (head, tail) = (text.floor_char_boundary(LOOKED_AT), text.len() - LOOKED_AT);
    format!("{}\n{}", &text[..head], &text[text.ceil_char_boundary(tail)..]).into()
}

#[cfg(test)]
mod tests;
