//! The ledger's families in one format, kept in pieces so that what hasn't changed isn't rendered
//! or compressed again.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;

use super::{
    encoding::{Deflater, Encoding, Joined, Joiner, Piece},
    families::{FAMILIES, Family, Now, Published, Scope},
    format::Encoder,
    sample::Sink,
};
use crate::{
    ledger::State,
    model::{AppId, WorkflowId},
};

/// So many workflows are rendered together, more or less: when one of them changes, all are.
const GROUP: u32 = 64;

/// A piece ends when it has so many series: a change inside it compresses all of it anew.
const PIECE: usize = 512;

/// All families that don't move with the clock, as of one state.
pub(super) struct Rendering {
    encoder: Encoder,
    groups: Vec<Group>,
    /// Of the families that belong to no workflow; the others have no pieces here.
    common: Vec<Rendered>,
}

/// Neighbouring workflows, and what each family has of them.
struct Group {
    workflows: Vec<Published>,
    families: Vec<Rendered>,
}

/// A stretch of a family.
#[derive(Clone, Default)]
struct Rendered {
    pieces: Vec<Arc<Piece>>,
    /// How many series are in it.
    series: usize,
}

impl Rendering {
    /// Of an empty state.
    pub(super) fn new(encoder: Encoder) -> Self {
        Self { encoder, groups: Vec::new(), common: vec![Rendered::default(); FAMILIES.len()] }
    }

    /// Takes over another state.
    pub(super) fn update(&mut self, state: &State, now: Now) {
        let encoder = &self.encoder;
        let by_first = |group: Group| {
            let first = group.workflows.first();
            first.map(|first| (first.app_id.clone(), first.id.clone())).zip(Some(group))
        };
        let mut old: HashMap<(AppId, WorkflowId), Group> =
            std::mem::take(&mut self.groups).into_iter().filter_map(by_first).collect();
        for workflows in groups(state) {
            let key = (workflows[0].app_id.clone(), workflows[0].id.clone());
            let mut group = old.remove(&key).unwrap_or_default();
            group.update(workflows, encoder);
            self.groups.push(group);
        }
        for (family, rendered) in FAMILIES.iter().zip(&mut self.common) {
            if family.scope() == Scope::State {
                rendered.update(family, encoder, |sink| family.of_state(state, now, sink));
            }
        }
    }

    /// All of it, family by family, and how many series there are.
    pub(super) fn join(&self, encoding: Encoding, deflater: &mut Deflater) -> (Joined, usize) {
        let mut joiner = Joiner::new(encoding, deflater);
        let mut series = 0;
        for (at, family) in FAMILIES.iter().enumerate() {
            let parts = self.groups.iter().map(|group| &group.families[at]);
            let parts = || parts.clone().chain([&self.common[at]]);
            let pieces = || parts().flat_map(|part| &part.pieces);
            // A family without samples isn't told of at all.
            if pieces().next().is_none() {
                continue;
            }
            let mut head = Vec::new();
            let length = pieces().map(|piece| piece.plain.len()).sum();
            self.encoder.head(&mut head, &family.head(), length);
            joiner.push_small(head);
            pieces().for_each(|piece| joiner.push(piece));
            series += parts().map(|part| part.series).sum::<usize>();
        }
        (joiner.joined(), series)
    }
}

impl Default for Group {
    fn default() -> Self {
        Self { workflows: Vec::new(), families: vec![Rendered::default(); FAMILIES.len()] }
    }
}

impl Group {
    fn update(&mut self, workflows: Vec<Published>, encoder: &Encoder) {
        let unchanged = |scope| {
            let pairs = || self.workflows.iter().zip(&workflows);
            self.workflows.len() == workflows.len()
                && pairs().all(|(old, new)| old.is_the_same(new, scope))
        };
        if unchanged(Scope::Workflows) {
            return;
        }
        let totals_changed = !unchanged(Scope::Totals);
        for (family, rendered) in FAMILIES.iter().zip(&mut self.families) {
            let changed = match family.scope() {
                Scope::Totals => totals_changed,
                Scope::Workflows => true,
                Scope::State | Scope::Clock => false,
            };
            if changed {
                rendered.update(family, encoder, |sink| family.of_workflows(&workflows, sink));
            }
        }
        self.workflows = workflows;
    }
}

impl Published {
    /// Whether nothing has changed from one to the other that a scope depends on.
    fn is_the_same(&self, new: &Self, scope: Scope) -> bool {
        let (old, new, same_id) = (&self.state, &new.state, self.id == new.id);
        same_id
            && (Arc::ptr_eq(old, new)
                || scope == Scope::Totals
                    && old.series.is(&new.series)
                    && old.record.listed.name == new.record.listed.name)
    }
}

impl Rendered {
    /// Renders anew, but keeps the pieces that come out the same with what they are compressed.
    fn update(&mut self, family: &Family, encoder: &Encoder, collect: impl FnOnce(&mut Sink<'_>)) {
        let head = family.head();
        let mut old = std::mem::take(&mut self.pieces).into_iter();
        let (mut pieces, mut buffer, mut in_piece) = (Vec::new(), Vec::new(), 0);
        self.series = 0;
        let mut cut = |buffer: &mut Vec<u8>| {
            let kept = old.next().filter(|piece| piece.plain == buffer[..]);
            let new = || Arc::new(Piece::new(Bytes::copy_from_slice(buffer)));
            pieces.push(kept.unwrap_or_else(new));
            buffer.clear();
        };
        collect(&mut |labels, sample| {
            encoder.sample(&mut buffer, &head, labels, sample);
            in_piece += sample.series();
            self.series += sample.series();
            if in_piece >= PIECE {
                cut(&mut buffer);
                in_piece = 0;
            }
        });
        if !buffer.is_empty() {
            cut(&mut buffer);
        }
        self.pieces = pieces;
    }
}

/// The published workflows in groups. Whether a group begins with a workflow depends on that one's
/// id alone, so that one that comes or goes leaves the other groups as they are.
fn groups(state: &State) -> Vec<Vec<Published>> {
    let mut groups: Vec<Vec<Published>> = Vec::new();
    for (app_id, app) in &state.apps {
        let mut begins = true;
        for (id, workflow) in app.published() {
            let workflow =
                Published { app_id: app_id.clone(), id: id.clone(), state: Arc::clone(workflow) };
            begins |= crc32fast::hash(id.as_str().as_bytes()).is_multiple_of(GROUP);
            match groups.last_mut().filter(|_| !begins) {
                Some(group) => group.push(workflow),
                None => groups.push(vec![workflow]),
            }
            begins = false;
        }
    }
    groups
}
