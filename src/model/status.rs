use serde::{Deserialize, Serialize};

use super::Label;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A word that this version doesn't know, as its label shows it.
            Other(Label),
        }

        impl From<String> for $name {
            fn from(word: String) -> Self {
                Self::new(&word)
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> Self {
                word.as_str().into()
            }
        }

        impl $name {
            /// Takes the API's word. An unknown one stays itself if it looks like one
            /// (`[A-Z_]{1,32}`), else it becomes `OTHER`.
            pub fn new(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)+
                    other if looks_like_a_word(other) => Self::Other(Label::new(other)),
                    _ => Self::Other(Label::new("OTHER")),
                }
            }

            /// The API's word, which is also the label value.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other(word) => word.as_str(),
                }
            }

            /// Whether this version doesn't know the word.
            pub fn is_unknown(&self) -> bool {
                matches!(self, Self::Other(_))
            }
        }
    };
}

words! {
    /// The status of a run or of a step.
    Status {
        /// A run that waits to be started.
        Pending = "PENDING",
        /// Under way.
        Running = "RUNNING",
        /// Ended well. The run can still hold failed steps ("Continue on Error").
        Completed = "COMPLETED",
        /// Ended without having been carried out.
        Skipped = "SKIPPED",
        /// Ended badly.
        Failed = "FAILED",
        /// Stopped by somebody; in newer answers only.
        Cancelled = "CANCELLED",
    }
}

words! {
    /// What started a run.
    Origin {
        /// The workflow itself was called.
        Workflow = "WORKFLOW",
        /// A record of a collection.
        Record = "RECORD",
        /// A test.
        Test = "TEST",
        /// A trigger; in newer answers only.
        Trigger = "TRIGGER",
        /// An endpoint; in newer answers only.
        Endpoint = "ENDPOINT",
        /// A webhook; in newer answers only.
        Webhook = "WEBHOOK",
    }
}

/// Whether a run is open or finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting or under way: it will be looked at again.
    Open,
    /// Ended: it is counted.
    Finished,
}

impl Status {
    /// The statuses of finished runs whose series exist from the start.
    pub const FINISHED: [Self; 4] = [Self::Completed, Self::Failed, Self::Skipped, Self::Cancelled];
    /// The statuses of open runs.
    pub const OPEN: [Self; 2] = [Self::Pending, Self::Running];

    /// Open or finished; an unknown status is finished when the run has ended.
    pub fn phase(&self, has_ended: bool) -> Phase {
        match self {
            Self::Completed | Self::Skipped | Self::Failed | Self::Cancelled => Phase::Finished,
            Self::Other(_) if has_ended => Phase::Finished,
            Self::Pending | Self::Running | Self::Other(_) => Phase::Open,
        }
    }
}

impl Origin {
    /// The origins whose series exist from the start.
    pub const PREDEFINED: [Self; 3] = [Self::Workflow, Self::Record, Self::Test];
}

fn looks_like_a_word(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_status_is_finished_exactly_when_the_run_has_ended() {
        let paused = Status::new("PAUSED");
        assert_eq!((paused.phase(false), paused.phase(true)), (Phase::Open, Phase::Finished));
        assert_eq!(Status::Running.phase(true), Phase::Open);
        assert_eq!(Status::Failed.phase(false), Phase::Finished);
    }

    #[test]
    fn an_unknown_word_is_its_own_label_only_if_it_looks_like_one() {
        assert_eq!(Status::new("TIMED_OUT").as_str(), "TIMED_OUT");
        assert_eq!(Origin::new("SCHEDULE").as_str(), "SCHEDULE");
        for word in ["", "paused", "A B", "2FAST", &"A".repeat(33), "ÄRGER"] {
            assert_eq!(Status::new(word).as_str(), "OTHER", "{word:?}");
        }
    }
}
