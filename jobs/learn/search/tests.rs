//! Searches on landscapes that are known, and on rows whose truth is known.

use super::super::fixture::{self, DEFAULTS, Fixture, NAMES};
use super::super::matrix::Matrix;
use super::super::prior::ClassWeight;
use super::super::split::{DAY, TestStart, Validation};
use super::super::train::FitRequest;
use super::*;
use crate::define::model::HeadKind;

fn definition(text: &str) -> model::Search {
    serde_yaml::from_str(text).unwrap()
}

/// Least at rate 0.03, 20 leaves, `b`; without parameters 1.3.
fn landscape(params: &Params) -> f64 {
    if params.is_empty() {
        return 1.3;
    }
    let rate = params["rate"].as_f64().unwrap();
    let leaves = params["leaves"].as_i64().unwrap();
    assert!((0.001..=1.0).contains(&rate) && (2..=64).contains(&leaves), "{params:?}");
    let kind = if params["kind"] == "b" { 0.0 } else { 0.5 };
    (rate / 0.03).ln().abs() / 2.0 + ((leaves - 20) as f64 / 30.0).abs() + kind
}

const SPACE: &str = "seed: 3
metric: log_loss
space:
  rate: {from: 0.001, to: 1.0, scale: log}
  leaves: {from: 2, to: 64}
  kind: {choices: [a, b, c]}
";

fn on_landscape(definition: &model::Search, search: &mut Search, trials: usize) {
    for _ in 0..trials {
        let Some((number, params)) = search.ask().unwrap() else { return };
        // Every seventh trial is pruned, every eleventh fails.
        let state = match number {
            n if n > 0 && n.is_multiple_of(7) => State::Pruned,
            n if n > 0 && n.is_multiple_of(11) => State::Failed,
            _ => State::Complete,
        };
        let value = (state == State::Complete).then(|| landscape(&params));
        search.tell(Done { number, params, value, state, rounds: 1, losses: Vec::new() }).unwrap();
    }
    assert!(search.done().len() <= definition.trials as usize);
}

fn whole(definition: &model::Search) -> (Vec<Done>, Found) {
    let mut search = Search::new(definition).unwrap();
    on_landscape(definition, &mut search, usize::MAX);
    (search.done().to_vec(), search.found().unwrap())
}

#[test]
fn a_better_value_than_the_default_is_found_and_than_by_chance() {
    let (mut found, mut random) = (Vec::new(), Vec::new());
    for seed in 1..=9 {
        let text = SPACE.replace("seed: 3", &format!("seed: {seed}"));
        let searched = definition(&format!("trials: 60\n{text}"));
        let (done, best) = whole(&searched);
        assert_eq!((done.len(), best.trials, best.default_value), (60, 60, Some(1.3)));
        // A search may settle for the second best kind, which costs 0.5.
        assert!(best.value < 0.8, "{best:?}");
        found.push(best.value);
        // Without what is told, every trial is drawn at random.
        let mut alone = f64::INFINITY;
        for number in 1..60 {
            let mut search = Search::new(&searched).unwrap();
            let draw = |dimension: &mut Dimension| {
                let mut generator = generator(seed, number, dimension.name);
                (dimension.name.to_string(), dimension.ask(true, &mut generator).unwrap())
            };
            alone = landscape(&search.dimensions.iter_mut().map(draw).collect()).min(alone);
        }
        random.push(alone);
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (found, random) = (median(&mut found), median(&mut random));
    assert!(found < 0.8 * random, "{found} by search, {random} by chance");
}

#[test]
fn the_same_seed_makes_the_same_trials_and_another_seed_others() {
    let one = definition(&format!("trials: 30\n{SPACE}"));
    assert_eq!(whole(&one), whole(&one));
    let other = definition(&format!("trials: 30\n{}", SPACE.replace("seed: 3", "seed: 4")));
    assert_ne!(whole(&one).0[1].params, whole(&other).0[1].params);
}

#[test]
fn a_search_that_was_stopped_anywhere_ends_as_if_it_was_not() {
    let one = definition(&format!("trials: 30\n{SPACE}"));
    let undisturbed = whole(&one);
    for stopped in [0, 1, 5, 11, 17, 29, 30] {
        let mut first = Search::new(&one).unwrap();
        on_landscape(&one, &mut first, stopped);
        let mut second = Search::new(&one).unwrap();
        for done in first.done() {
            // As they are stored: parameters as text.
            let params = serde_json::from_str(&serde_json::to_string(&done.params).unwrap()).unwrap();
            assert!(second.restore(Done { params, ..done.clone() }).unwrap());
        }
        on_landscape(&one, &mut second, usize::MAX);
        assert_eq!((second.done().to_vec(), second.found().unwrap()), undisturbed, "stopped after {stopped}");
    }
    let mut search = Search::new(&one).unwrap();
    let strange = Done { params: [("rate".to_string(), Value::from(0.5))].into(), ..undisturbed.0[0].clone() };
    assert!(!search.restore(strange).unwrap(), "a trial of another search");
}

fn matrix(fixture: &Fixture) -> Matrix {
    Matrix::from_batches(&fixture.batch.schema(), std::slice::from_ref(&fixture.batch), &NAMES).unwrap()
}

fn request<'a>(fixture: &'a Fixture, matrix: &'a Matrix, own: &'a Params) -> FitRequest<'a> {
    FitRequest {
        matrix,
        labels: &fixture.labels,
        entities: &fixture.entities,
        as_of: &fixture.as_of,
        weights: None,
        accepted: None,
        reject: None,
        validation: Validation::Time { test: TestStart::Last(60 * DAY), valid: Some(60 * DAY) },
        embargo: 10 * DAY,
        head: HeadKind::Lightgbm,
        params: own,
        class_weight: ClassWeight::None,
        rounds: 200,
        early_stopping: Some(30),
        seed: 7,
        threads: 2,
        encode: &DEFAULTS.encode,
        monotone: &DEFAULTS.monotone,
        calibration: &DEFAULTS.calibration,
        segments: &[],
        threshold: 0.3,
    }
}

/// A hopeless default among what may be good: one leaf's worth of learning, hardly any pace.
const TREES: &str = "trials: 24
seed: 1
metric: log_loss
space:
  learning_rate: {from: 0.0005, to: 0.3, scale: log}
  num_leaves: {from: 2, to: 31}
  min_data_in_leaf: {from: 5, to: 800, scale: log}
";

fn on_rows(text: &str, fixture: &Fixture) -> Vec<Done> {
    let (matrix, own) = (matrix(fixture), Params::new());
    let request = request(fixture, &matrix, &own);
    let prepared = Prepared::new(&request).unwrap();
    let last = fixture.as_of.iter().max().unwrap();
    assert!(prepared.rows().iter().all(|row| fixture.as_of[*row] + 60 * DAY < *last), "no row of the test part");
    let definition = definition(text);
    let mut search = Search::new(&definition).unwrap();
    while let Some((number, params)) = search.ask().unwrap() {
        let done = search.attempt(&prepared, number, params, &own).unwrap();
        search.tell(done).unwrap();
    }
    search.done().to_vec()
}

fn best(done: &[Done]) -> &Done {
    done.iter().filter(|d| d.value.is_some()).min_by(|a, b| a.value.unwrap().total_cmp(&b.value.unwrap())).unwrap()
}

#[test]
fn pruning_saves_rounds_and_keeps_the_best() {
    let fixture = fixture::rows(4000, 1);
    let pruned = on_rows(TREES, &fixture);
    let unpruned = on_rows(&format!("{TREES}prune: false\n"), &fixture);
    let rounds = |done: &[Done]| done.iter().map(|done| done.rounds).sum::<u32>();
    assert!(pruned.iter().any(|done| done.state == State::Pruned));
    assert!(unpruned.iter().all(|done| done.state == State::Complete));
    let (less, more) = (rounds(&pruned), rounds(&unpruned));
    assert!(f64::from(less) < 0.9 * f64::from(more), "{less} of {more} rounds");
    assert_eq!(pruned, on_rows(TREES, &fixture), "the same trials again");
    // Both searches are the same until the first is pruned; then they go their own ways, and end about as well.
    let (a, b) = (best(&pruned).value.unwrap(), best(&unpruned).value.unwrap());
    assert!((a - b).abs() < 0.005, "{a} with pruning, {b} without");
    // No trial that was pruned would have been the best: made again without, each ends above it.
    let (matrix, own) = (matrix(&fixture), Params::new());
    let request = request(&fixture, &matrix, &own);
    let prepared = Prepared::new(&request).unwrap();
    for done in pruned.iter().filter(|done| done.state == State::Pruned) {
        let trial = prepared.trial(&done.params, &mut |_, _| true).unwrap();
        let loss = Metrics::of(&prepared.labels(), &trial.probabilities, 0.5).unwrap().log_loss.unwrap();
        assert!(loss > a, "{done:?} would have reached {loss}, the best {a}");
    }
}

#[test]
fn parameters_that_do_not_go_together_fail_their_trial_only() {
    let fixture = fixture::rows(2000, 2);
    // A forest without bagging is none.
    let text = "trials: 12\nspace: {boosting: {choices: [gbdt, rf]}, num_leaves: {from: 2, to: 20}}\n";
    let done = on_rows(text, &fixture);
    let count = |state| done.iter().filter(|done| done.state == state).count();
    assert_eq!(done.len(), 12);
    assert!(count(State::Failed) > 0 && count(State::Complete) > 0, "{done:#?}");
}
