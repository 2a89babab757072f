/// What was odd about something the API returned. A closed set: each is a value of the label
/// `reason` of `cortex_workflow_exporter_anomalies_total` and is explained in
/// `src/metrics/README.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anomaly {
    /// A status outside the known ones; its own word, or `OTHER`, became the label.
    UnknownStatus,
    /// An origin outside the known ones; its own word, or `OTHER`, became the label.
    UnknownOrigin,
    /// A finished run lacks an instant that a duration needs.
    MissingTimestamp,
    /// An instant that a duration needs came as a bare date, without a time of day.
    DateOnlyTimestamp,
    /// A timestamp that is no timestamp; taken as missing.
    UnreadableTimestamp,
    /// Something ended before it began; counted without a duration.
    NegativeDuration,
    /// Credits that are negative, not a number, or too many to add up; left out.
    InvalidCredits,
    /// An open run that the API no longer knows; it left the gauges.
    VanishedRun,
    /// An item of a list of runs that is no run; reported once per run.
    UndecodableRun,
    /// A step that is no step; the rest of its run was counted.
    UndecodableStep,
    /// An item of the list of workflows that is no workflow, or whose id can be no label.
    UndecodableWorkflow,
    /// A list moved while it was read, so that its pages did not join; it is read again.
    ShiftedPages,
    /// Two apps list one workflow; only one of them shows it.
    SharedWorkflow,
}

impl Anomaly {
    /// All of them, in the order of the table in `src/metrics/README.md`.
    pub const ALL: [Self; 13] = [
        Self::UnknownStatus,
        Self::UnknownOrigin,
        Self::MissingTimestamp,
        Self::DateOnlyTimestamp,
        Self::UnreadableTimestamp,
        Self::NegativeDuration,
        Self::InvalidCredits,
        Self::VanishedRun,
        Self::UndecodableRun,
        Self::UndecodableStep,
        Self::UndecodableWorkflow,
        Self::ShiftedPages,
        Self::SharedWorkflow,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownStatus => "unknown_status",
            Self::UnknownOrigin => "unknown_origin",
            Self::MissingTimestamp => "missing_timestamp",
            Self::DateOnlyTimestamp => "date_only_timestamp",
            Self::UnreadableTimestamp => "unreadable_timestamp",
            Self::NegativeDuration => "negative_duration",
            Self::InvalidCredits => "invalid_credits",
            Self::VanishedRun => "vanished_run",
            Self::UndecodableRun => "undecodable_run",
            Self::UndecodableStep => "undecodable_step",
            Self::UndecodableWorkflow => "undecodable_workflow",
            Self::ShiftedPages => "shifted_pages",
            Self::SharedWorkflow => "shared_workflow",
        }
    }
}
