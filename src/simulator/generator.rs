//! Generates the runs of a world. It catches up with the clock whenever the world is used, and the
//! runs are the same however often that is.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    errors,
    plan::{self, RunPlan},
    profiles::{self, Profile},
    run::SimulatedRun,
    workflow::SimulatedWorkflow,
    world::World,
};
use crate::model::{Origin, Status};

/// How much history a world starts with.
const HISTORY_MS: i64 = 3 * 60 * 60 * 1000;

/// How long before that its workflows were made.
const AGE_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// How long after a failure a replay is asked for.
const REPLAY_AFTER_MS: std::ops::Range<i64> = 10_000..60_000;

/// How often a new version of a workflow is deployed.
const DEPLOYED_EVERY_MS: std::ops::Range<i64> = 30 * 60 * 1000..4 * 60 * 60 * 1000;

/// Everything that will happen, as far as it is known.
pub(super) struct RunGenerator {
    workflows: Vec<ProfiledWorkflow>,
    schedule: BinaryHeap<Reverse<(i64, u64, Event)>>,
    entries: u64,
    plans: BTreeMap<String, (usize, RunPlan)>,
    spikes: Vec<Spike>,
}

/// A workflow whose runs are generated, with random numbers of its own, so that none disturbs another.
struct ProfiledWorkflow {
    profile: Profile,
    id: String,
    random: StdRng,
    /// For errors and deployments, which leave the runs as they are.
    details: StdRng,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Create(usize),
    Start(String),
    Finish(String),
    Replay(usize, String),
    Deploy(usize),
}

/// A time in which runs that would end well fail.
struct Spike {
    workflow: Option<String>,
    until_ms: i64,
    ratio: f64,
}

impl RunGenerator {
    /// Adds its workflows to a world and generates their history, until now.
    pub(super) fn new(world: &mut World, seed: u64) -> Self {
        let begin = world.now_ms() - HISTORY_MS;
        let mut generator = Self {
            workflows: Vec::new(),
            schedule: BinaryHeap::new(),
            entries: 0,
            plans: BTreeMap::new(),
            spikes: Vec::new(),
        };
        for (index, profile) in profiles::all().into_iter().enumerate() {
            let mut workflow = profile.workflow.clone();
            workflow.created_at = Some(begin - AGE_MS);
            let id = world.add_workflow(workflow);
            let random = StdRng::seed_from_u64(seed.wrapping_mul(1000).wrapping_add(index as u64));
            let mut details = StdRng::seed_from_u64(!seed ^ index as u64);
            if profile.workflow.version.is_some() && profile.every.is_some() {
                let first = begin + plan::between(&DEPLOYED_EVERY_MS, &mut details);
                generator.enqueue(first, Event::Deploy(index));
            }
            generator.workflows.push(ProfiledWorkflow { profile, id, random, details });
            generator.enqueue(begin, Event::Create(index));
        }
        world.app_name = "Demo".into();
        generator.advance(world);
        generator
    }

    /// Until then, this part (0 to 1) of the runs that would complete fail: those of one workflow,
    /// or of all.
    pub(super) fn spike(&mut self, workflow: Option<String>, until_ms: i64, ratio: f64) {
        let ratio = ratio.clamp(0.0, 1.0);
        self.spikes.push(Spike { workflow, until_ms, ratio });
    }

    /// Catches up with the world's clock: everything happens that is due.
    pub(super) fn advance(&mut self, world: &mut World) {
        let now_ms = world.now_ms();
        while let Some(Reverse((at_ms, _, _))) = self.schedule.peek()
            && *at_ms <= now_ms
            && let Some(Reverse((at_ms, _, event))) = self.schedule.pop()
        {
            match event {
                Event::Create(workflow) => self.create(world, workflow, at_ms),
                Event::Start(run) => {
                    world.start_run_at(&run, at_ms);
                }
                Event::Finish(run) => self.finish(world, &run, at_ms),
                Event::Replay(workflow, run) => self.replay(world, workflow, &run, at_ms),
                Event::Deploy(workflow) => self.deploy(world, workflow, at_ms),
            }
        }
        self.spikes.retain(|spike| spike.until_ms > now_ms);
        for (id, (_, plan)) in &self.plans {
            if let Some(run) = world.run_mut(id).filter(|run| run.status == Status::Running) {
                let (steps, changed) = plan.steps_at(now_ms);
                run.steps = steps;
                run.updated_at = run.updated_at.max(changed);
            }
        }
        world.forget_old_runs();
    }

    fn enqueue(&mut self, at_ms: i64, event: Event) {
        self.entries += 1;
        self.schedule.push(Reverse((at_ms, self.entries, event)));
    }

    fn create(&mut self, world: &mut World, index: usize, at_ms: i64) {
        let workflow = &mut self.workflows[index];
        let origin = plan::origin(&workflow.profile, &mut workflow.random);
        let mut plan = RunPlan::new(&workflow.profile, at_ms, &mut workflow.random);
        errors::explain(&mut plan.steps, &mut workflow.details);
        let every = workflow.profile.every.as_ref();
        let next = every.map(|every| at_ms + plan::between(every, &mut workflow.random));
        let draft = origin == Origin::Test;
        let run = SimulatedRun::new(Status::Pending, origin).with_times(at_ms, None, None);
        let run = SimulatedRun { draft, ..run };
        // A workflow that was taken away has no more runs.
        let Some(id) = world.add_run(&workflow.id, run) else {
            return;
        };
        self.follow(index, id, plan);
        if let Some(next) = next {
            self.enqueue(next, Event::Create(index));
        }
    }

    fn follow(&mut self, workflow: usize, run: String, plan: RunPlan) {
        if let Some(start) = plan.start {
            self.enqueue(start, Event::Start(run.clone()));
        }
        self.enqueue(plan.end, Event::Finish(run.clone()));
        self.plans.insert(run, (workflow, plan));
    }

    fn deploy(&mut self, world: &mut World, index: usize, at_ms: i64) {
        let workflow = &mut self.workflows[index];
        // A bad version stays until somebody finds it and rolls it back.
        if !world.workflow(&workflow.id).is_some_and(SimulatedWorkflow::is_bad) {
            world.deploy_at(&workflow.id, at_ms);
        }
        let next = at_ms + plan::between(&DEPLOYED_EVERY_MS, &mut workflow.details);
        self.enqueue(next, Event::Deploy(index));
    }

    /// Which part of the runs fail that would complete, of this version of this workflow.
    fn spoilt(&self, world: &World, workflow: &str, version: Option<u32>, at_ms: i64) -> f64 {
        let spikes = self.spikes.iter().filter(|spike| {
            let named = spike.workflow.as_ref();
            spike.until_ms > at_ms && named.is_none_or(|named| named == workflow)
        });
        let bad = world.workflow(workflow).and_then(|it| it.bad.get(&version?)).copied();
        spikes.map(|it| it.ratio).chain(bad).fold(0.0, f64::max)
    }

    fn finish(&mut self, world: &mut World, id: &str, at_ms: i64) {
        let Some((index, mut plan)) = self.plans.remove(id) else {
            return;
        };
        let version = world.run(id).and_then(|run| run.version);
        let ratio = self.spoilt(world, &self.workflows[index].id, version, at_ms);
        let workflow = &mut self.workflows[index];
        let completes = plan.status == Status::Completed;
        if completes && ratio > 0.0 && workflow.random.random_bool(ratio) {
            plan.fail();
            errors::explain(&mut plan.steps, &mut workflow.details);
        }
        let Some(run) = world.run_mut(id).filter(|run| run.is_open()) else {
            return;
        };
        run.credits = plan.credits();
        run.steps = plan.steps;
        let failed = plan.status == Status::Failed;
        world.finish_run_at(id, plan.status, at_ms);
        let chance = f64::from(workflow.profile.replayed) / 100.0;
        if failed && chance > 0.0 && workflow.random.random_bool(chance) {
            let at_ms = at_ms + plan::between(&REPLAY_AFTER_MS, &mut workflow.random);
            self.enqueue(at_ms, Event::Replay(index, id.into()));
        }
    }

    fn replay(&mut self, world: &mut World, index: usize, id: &str, at_ms: i64) {
        let workflow = &mut self.workflows[index];
        if world.replay_run_at(id, at_ms) {
            let mut plan = RunPlan::replay(&workflow.profile, at_ms, &mut workflow.random);
            errors::explain(&mut plan.steps, &mut workflow.details);
            // It has been started already.
            self.enqueue(plan.end, Event::Finish(id.into()));
            self.plans.insert(id.into(), (index, plan));
        }
    }
}
