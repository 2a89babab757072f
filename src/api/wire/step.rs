//! A run's steps, and how long each took.

use std::{borrow::Cow, collections::HashMap};

use super::leaf::{Context, Leaf, Object, Several, fields};
use crate::model::{Anomaly, Label, Status, Step, StepDuration, Timestamp, epoch_ms};

fields! {
    #[derive(Clone, Copy)]
    pub(super) struct WireStep<'a> {
        key: Leaf<'a> = "key",
        step_type: Leaf<'a> = "type",
        status: Leaf<'a> = "status",
        start: Leaf<'a> = "start",
        end: Leaf<'a> = "end",
        error: Leaf<'a> = "error",
    }
}

fields! {
    /// A step in a workflow's version: only there the first form has its type.
    pub(super) struct WireStepDefinition<'a> {
        key: Leaf<'a> = "key",
        step_type: Leaf<'a> = "type",
    }
}

fields! {
    pub(super) struct WireStepCredits<'a> {
        total: Leaf<'a> = "total",
    }
}

/// A usable step before it is known when it ended. Times are epoch milliseconds.
struct Draft<'a> {
    key: Cow<'a, str>,
    step_type: Option<Cow<'a, str>>,
    status: Status,
    start: Option<f64>,
    end: Option<f64>,
    error: Leaf<'a>,
}

/// The step that ended a run which FAILED, if one did.
pub(super) struct FailedStep<'a> {
    pub(super) key: Label,
    pub(super) step_type: Label,
    pub(super) error: Leaf<'a>,
}

/// Takes over a run's steps. The types of those without one come from `definitions`,
/// of which the first that has the key counts; credits come from `usage`. Also returns the FAILED
/// step that ended last: one before it was tolerated ("Continue on Error").
pub(super) fn read_all<'a>(
    output: Several<'a, Object<WireStep<'a>>>,
    definitions: [Several<'a, Object<WireStepDefinition<'a>>>; 2],
    usage: Several<'a, Object<WireStepCredits<'a>>>,
    run_ended_at: Option<Timestamp>,
    context: &mut Context,
) -> (Vec<Step>, Option<FailedStep<'a>>) {
    let drafts = read_drafts(output, run_ended_at, context);
    let types = if drafts.iter().all(|draft| draft.step_type.is_some()) {
        HashMap::new()
    } else {
        types_by_key(definitions)
    };
    let credits = credits_by_key(usage, context);
    let label =
        |draft: &Draft<'a>| type_label(draft.step_type.as_ref().or_else(|| types.get(&draft.key)));
    let failed = drafts.iter().filter(|draft| draft.status == Status::Failed);
    // The first form has no end where a start is missing; then the order of the list counts.
    let ended = |draft: &Draft<'_>| draft.end.or(draft.start).unwrap_or(f64::NEG_INFINITY);
    let failed = failed.max_by(|a, b| ended(a).total_cmp(&ended(b))).map(|draft| FailedStep {
        key: Label::new(&draft.key),
        step_type: label(draft),
        error: draft.error,
    });
    let finish = |draft: Draft<'a>| Step {
        step_type: label(&draft),
        duration: duration(&draft),
        credits: credits.get(&draft.key).copied(),
        key: Label::new(&draft.key),
        status: draft.status,
    };
    (drafts.into_iter().map(finish).collect(), failed)
}

fn read_drafts<'a>(
    output: Several<'a, Object<WireStep<'a>>>,
    run_ended_at: Option<Timestamp>,
    context: &mut Context,
) -> Vec<Draft<'a>> {
    let mut drafts = Vec::new();
    match output {
        Several::Map(steps) => {
            // Of two with one key, the last one counts.
            let places = steps.iter().enumerate().map(|(place, (key, _))| (key.text(), place));
            let last: HashMap<_, _> = places.collect();
            for (place, (key, step)) in steps.into_iter().enumerate() {
                if last.get(&key.text()) == Some(&place) {
                    drafts.extend(read(key, step, context));
                }
            }
        }
        Several::List(steps) => {
            let listed = steps.len();
            for step in steps {
                let key = step.0.map(|step| step.key).unwrap_or_default();
                drafts.extend(read(key, step, context));
            }
            if drafts.len() == listed {
                infer_ends(&mut drafts, run_ended_at);
            }
        }
    }
    drafts
}

fn read<'a>(key: Leaf<'a>, step: Object<WireStep<'a>>, context: &mut Context) -> Option<Draft<'a>> {
    let key = key.text_or_number().filter(|key| !key.is_empty());
    let usable = step.0.and_then(|step| Some((key?, step.status.text()?, step)));
    let Some((key, status, step)) = usable else {
        context.anomalies.push(Anomaly::UndecodableStep);
        return None;
    };
    Some(Draft {
        key,
        step_type: step.step_type.text(),
        status: Status::new(&status),
        start: moment(step.start, context),
        end: moment(step.end, context),
        error: step.error,
    })
}

/// An instant in epoch milliseconds; unlike a run's, a step's may have a fraction.
fn moment(leaf: Leaf<'_>, context: &mut Context) -> Option<f64> {
    let instant = leaf.timestamp(context)?.instant()?;
    Some(leaf.number().and_then(epoch_ms).unwrap_or(instant as f64))
}

/// The first form has only the start of steps: one ended when the next one started, the last one
/// when the run ended. Where a step that was carried out lacks its start, that is unknown for all.
fn infer_ends(drafts: &mut [Draft<'_>], run_ended_at: Option<Timestamp>) {
    let lacks_start = |draft: &Draft<'_>| draft.start.is_none() && draft.status != Status::Skipped;
    if drafts.iter().any(lacks_start) {
        return;
    }
    let mut started: Vec<_> =
        drafts.iter_mut().filter_map(|draft| Some((draft.start?, draft))).collect();
    started.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut next = run_ended_at.and_then(Timestamp::instant).map(|ended| ended as f64);
    for (start, draft) in started.into_iter().rev() {
        draft.end = draft.end.or(next);
        next = Some(start);
    }
}

fn duration(draft: &Draft<'_>) -> StepDuration {
    match (draft.start, draft.end) {
        _ if draft.status == Status::Running => StepDuration::Unknown,
        (Some(start), Some(end)) if end < start => StepDuration::Negative,
        (Some(start), Some(end)) => StepDuration::Seconds((end - start) / 1000.0),
        _ => StepDuration::Unknown,
    }
}

fn types_by_key<'a>(
    versions: [Several<'a, Object<WireStepDefinition<'a>>>; 2],
) -> HashMap<Cow<'a, str>, Cow<'a, str>> {
    let mut types = HashMap::new();
    for version in versions {
        let Several::List(definitions) = version else {
            continue;
        };
        for definition in definitions.into_iter().filter_map(|definition| definition.0) {
            if let (Some(key), Some(step_type)) =
                (definition.key.text_or_number(), definition.step_type.text())
            {
                types.entry(key).or_insert(step_type);
            }
        }
    }
    types
}

fn credits_by_key<'a>(
    usage: Several<'a, Object<WireStepCredits<'a>>>,
    context: &mut Context,
) -> HashMap<Cow<'a, str>, f64> {
    let Several::Map(steps) = usage else {
        return HashMap::new();
    };
    let mut read = |(key, credits): (Leaf<'a>, Object<WireStepCredits<'a>>)| {
        Some((key.text_or_number()?, credits.0?.total.credits(context)?))
    };
    steps.into_iter().filter_map(&mut read).collect()
}

/// A step's type as a label: a word of the API's kind, since it is no free text there.
fn type_label(step_type: Option<&Cow<'_, str>>) -> Label {
    let is_word = |word: &str| {
        (1..=32).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    Label::new(match step_type {
        None => "unknown",
        Some(word) if is_word(word) => word,
        Some(_) => "other",
    })
}
