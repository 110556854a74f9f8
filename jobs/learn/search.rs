//! Hyperparameters by a bounded, seeded search: the tree-structured Parzen estimator, with hopeless trials ended early.
//!
//! TPE (J. Bergstra, R. Bardenet, Y. Bengio and B. Kégl, "Algorithms for Hyper-Parameter Optimization", 2011) models,
//! parameter by parameter, the values of the better trials and those of the others, and tries next what is likely among
//! the ones and unlikely among the others. Trial 0 is the head as it is defined, without the parameters that are looked
//! for, so that a search never ends below it on the rows it is measured on. The next ones are random.
//!
//! What trial n tries is a function of the definition and of what the trials before it came to: every parameter of every
//! trial has a generator of its own, seeded by seed, number and name. A search that was stopped is therefore resumed by
//! telling it the stored trials ([`Search::restore`]), and ends as if it had not been stopped.
//!
//! **Pruning** is the median rule (D. Golovin et al., "Google Vizier", 2017, §3.2.2), with a benefit of the doubt: a
//! trial is ended at a checkpoint if the least loss it had so far lies above the median of the earlier trials' at the
//! same round, and if, going on at the pace of the second half of its rounds until the last one, it would still not come
//! below the least loss of all. Curves of losses flatten, so that pace is flattering: a slow learner is not mistaken for
//! a bad one.
//!
//! Trials are measured on the rows that stop training ([`super::train::Prepared`]); test rows are never touched.

use std::collections::BTreeMap;

use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tpe::density_estimation::DefaultEstimatorBuilder;
use tpe::{TpeOptimizer, TpeOptimizerBuilder};

use super::metrics::Metrics;
use super::train::Prepared;
use crate::define::model::{self, Range, Scale, SearchMetric};
use crate::error::{Error, Kind, Result};

/// By name.
pub type Params = BTreeMap<String, Value>;

/// Random trials before the estimator takes over, of a search that is long enough.
const RANDOM: u32 = 10;

/// The share of trials that count as good.
const GOOD: f64 = 0.2;

/// Rounds between two checkpoints of a trial.
pub const CHECKPOINT: u32 = 5;

/// Checkpoints before which nothing is pruned.
const WARM_UP: usize = 2;

/// Trials that ended by themselves before any is pruned.
const TO_JUDGE_BY: usize = 4;

/// What became of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Complete,
    /// Ended early, since it was hopeless.
    Pruned,
    /// Its parameters do not go together.
    Failed,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Complete => "complete",
            State::Pruned => "pruned",
            State::Failed => "failed",
        }
    }

    pub fn named(name: &str) -> Option<State> {
        [State::Complete, State::Pruned, State::Failed].into_iter().find(|state| state.name() == name)
    }
}

/// A trial that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    pub number: u32,
    /// Those looked for; none in trial 0.
    pub params: Params,
    /// By the search's metric; of complete trials only.
    pub value: Option<f64>,
    pub state: State,
    /// Rounds that were trained.
    pub rounds: u32,
    /// The least loss so far, at every [`CHECKPOINT`] rounds.
    pub losses: Vec<f64>,
}

/// What a search found, as an artifact keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    pub metric: SearchMetric,
    pub trials: u32,
    pub pruned: u32,
    pub failed: u32,
    /// The trial that was best; 0 is the head as defined.
    pub best: u32,
    pub value: f64,
    /// What the head as defined reached.
    pub default_value: Option<f64>,
    /// What is trained with, beside the definition's own parameters.
    pub params: Params,
}

/// A search under way.
pub struct Search<'a> {
    definition: &'a model::Search,
    dimensions: Vec<Dimension<'a>>,
    done: Vec<Done>,
}

impl<'a> Search<'a> {
    pub fn new(definition: &'a model::Search) -> Result<Search<'a>> {
        let dimensions = definition.space.iter().map(|(name, range)| Dimension::new(name, range));
        Ok(Search { definition, dimensions: dimensions.collect::<Result<_>>()?, done: Vec::new() })
    }

    /// The next trial's number and parameters; none when all are done.
    pub fn ask(&mut self) -> Result<Option<(u32, Params)>> {
        let number = self.done.len() as u32;
        if number >= self.definition.trials {
            return Ok(None);
        }
        let random = number <= RANDOM.min(self.definition.trials / 3);
        let mut params = Params::new();
        for dimension in &mut self.dimensions {
            dimension.asked = None;
            if number > 0 {
                let mut generator = generator(self.definition.seed, number, dimension.name);
                params.insert(dimension.name.to_string(), dimension.ask(random, &mut generator)?);
            }
        }
        Ok(Some((number, params)))
    }

    /// Takes in what became of the trial that [`Search::ask`] gave last.
    pub fn tell(&mut self, done: Done) -> Result<()> {
        let worst = f64::INFINITY;
        let value = done.value.map_or(worst, |value| if self.higher_is_better() { -value } else { value });
        for dimension in &mut self.dimensions {
            let asked = dimension.asked.take().unwrap_or(f64::NAN);
            dimension.optimizer.tell(asked, value).map_err(|e| Error::internal(e.to_string()))?;
        }
        self.done.push(done);
        Ok(())
    }

    /// Takes in a stored trial as if it had been made just now. False where it is none of this search.
    pub fn restore(&mut self, done: Done) -> Result<bool> {
        match self.ask()? {
            Some((number, params)) if number == done.number && same(&params, &done.params) => {
                // Numbers that were read from text may differ in the last bit.
                self.tell(Done { params, ..done })?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Makes a trial. `own` are the head's other parameters.
    pub fn attempt(&self, prepared: &Prepared, number: u32, params: Params, own: &Params) -> Result<Done> {
        let all: Params = own.clone().into_iter().chain(params.clone()).collect();
        let mut curve = Curve::default();
        let trained = prepared.trial(&all, &mut |round, loss| {
            let checked = curve.push(round, loss);
            !(checked && self.definition.prune && self.is_hopeless(&curve.losses, prepared.rounds()))
        });
        let done = |value, state, rounds, losses| Done { number, params, value, state, rounds, losses };
        match trained {
            // Trial 0 is the definition itself: what is wrong with it is no accident of a draw.
            Err(error) if error.kind() == Kind::Definition && number > 0 => {
                tracing::warn!(trial = number, %error, "the parameters of a trial do not go together");
                Ok(done(None, State::Failed, 0, Vec::new()))
            }
            Err(error) => Err(error),
            Ok(trial) if trial.pruned => Ok(done(None, State::Pruned, curve.rounds, curve.losses)),
            Ok(trial) => {
                let metrics = Metrics::of(&prepared.labels(), &trial.probabilities, 0.5)?;
                let value = match self.definition.metric {
                    SearchMetric::RocAuc => metrics.roc_auc,
                    SearchMetric::AveragePrecision => metrics.average_precision,
                    SearchMetric::LogLoss => metrics.log_loss,
                };
                Ok(done(value, State::Complete, curve.rounds.max(trial.rounds), curve.losses))
            }
        }
    }

    /// The trials so far.
    pub fn done(&self) -> &[Done] {
        &self.done
    }

    /// The best of all trials, the first of equals.
    pub fn found(&self) -> Result<Found> {
        let sign = if self.higher_is_better() { -1.0 } else { 1.0 };
        let values = self.done.iter().filter_map(|done| Some((sign * done.value?, done)));
        let best = values.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.number.cmp(&b.1.number)));
        let (value, best) = best.ok_or_else(|| Error::data("no trial of the search came to an end"))?;
        let count = |state: State| self.done.iter().filter(|done| done.state == state).count() as u32;
        Ok(Found {
            metric: self.definition.metric,
            trials: self.done.len() as u32,
            pruned: count(State::Pruned),
            failed: count(State::Failed),
            best: best.number,
            value: sign * value,
            default_value: self.done.first().and_then(|done| done.value),
            params: best.params.clone(),
        })
    }

    fn higher_is_better(&self) -> bool {
        self.definition.metric != SearchMetric::LogLoss
    }

    /// Whether a trial with this curve, of at most so many rounds, cannot become the best.
    fn is_hopeless(&self, losses: &[f64], rounds: u32) -> bool {
        let at = losses.len();
        let others = || self.done.iter().filter(|done| done.state == State::Complete && !done.losses.is_empty());
        if at <= WARM_UP || others().count() < TO_JUDGE_BY {
            return false;
        }
        // Who ended earlier stays at what it had.
        let mut there: Vec<f64> = others().map(|done| done.losses[(at - 1).min(done.losses.len() - 1)]).collect();
        there.sort_unstable_by(f64::total_cmp);
        let median = (there[(there.len() - 1) / 2] + there[there.len() / 2]) / 2.0;
        let now = losses[at - 1];
        if now <= median {
            return false;
        }
        let least = others().filter_map(|done| done.losses.last().copied()).fold(f64::INFINITY, f64::min);
        let half = at / 2;
        let pace = (losses[half - 1] - now) / (at - half) as f64;
        let left = (rounds / CHECKPOINT).saturating_sub(at as u32);
        now - pace * f64::from(left) > least
    }
}

/// The losses of a trial under way.
#[derive(Default)]
struct Curve {
    rounds: u32,
    least: Option<f64>,
    losses: Vec<f64>,
}

impl Curve {
    /// Whether this round is a checkpoint.
    fn push(&mut self, round: u32, loss: f64) -> bool {
        self.rounds = round;
        self.least = Some(self.least.map_or(loss, |least| least.min(loss)));
        let checkpoint = round.is_multiple_of(CHECKPOINT);
        if checkpoint {
            self.losses.extend(self.least);
        }
        checkpoint
    }
}

/// One parameter, and what is known of its values.
struct Dimension<'a> {
    name: &'a str,
    kind: Values,
    optimizer: TpeOptimizer<DefaultEstimatorBuilder>,
    bounds: (f64, f64),
    /// What the trial under way tries, as the estimator counts.
    asked: Option<f64>,
}

enum Values {
    Choices(Vec<Value>),
    /// Ends included.
    Whole {
        from: i64,
        to: i64,
        log: bool,
    },
    Real {
        from: f64,
        to: f64,
        log: bool,
    },
}

impl<'a> Dimension<'a> {
    fn new(name: &'a str, range: &'a Range) -> Result<Dimension<'a>> {
        let log = range.scale == Scale::Log;
        let kind = match (&range.from, &range.to) {
            (Some(from), Some(to)) => match (from.as_i64(), to.as_i64(), from.as_f64(), to.as_f64()) {
                (Some(from), Some(to), ..) => Values::Whole { from, to, log },
                (_, _, Some(from), Some(to)) => Values::Real { from, to, log },
                _ => return Err(Error::internal(format!("the bounds of {name} are no numbers"))),
            },
            _ => Values::Choices(range.choices.iter().map(serde_json::to_value).collect::<Result<_, _>>()?),
        };
        let scaled = |x: f64, log: bool| if log { x.ln() } else { x };
        let (bounds, estimator) = match &kind {
            Values::Choices(choices) => ((0.0, choices.len() as f64), tpe::histogram_estimator()),
            // The upper end is outside of what is drawn: the last number has as much room as the others.
            Values::Whole { from, to, log } => {
                ((scaled(*from as f64, *log), scaled(*to as f64 + 1.0, *log)), tpe::parzen_estimator())
            }
            Values::Real { from, to, log } => ((scaled(*from, *log), scaled(*to, *log)), tpe::parzen_estimator()),
        };
        let wrong = |e: String| Error::internal(format!("where to look for {name}: {e}"));
        let range = tpe::range(bounds.0, bounds.1).map_err(|e| wrong(e.to_string()))?;
        let optimizer =
            TpeOptimizerBuilder::new().gamma(GOOD).build(estimator, range).map_err(|e| wrong(e.to_string()))?;
        Ok(Dimension { name, kind, optimizer, bounds, asked: None })
    }

    fn ask(&mut self, random: bool, generator: &mut Pcg64) -> Result<Value> {
        let (from, to) = self.bounds;
        let asked = match random {
            true => uniform(from, to, generator),
            false => self.optimizer.ask(generator).map_err(|e| Error::internal(e.to_string()))?,
        };
        self.asked = Some(asked);
        Ok(match &self.kind {
            Values::Choices(choices) => choices[(asked as usize).min(choices.len() - 1)].clone(),
            Values::Whole { from, to, log } => {
                let at = if *log { asked.exp() } else { asked };
                Value::from((at.floor() as i64).clamp(*from, *to))
            }
            Values::Real { from, to, log } => {
                let at = if *log { asked.exp() } else { asked };
                Value::from(at.clamp(*from, *to))
            }
        })
    }
}

/// From the 53 upper bits of a draw, below `to`.
fn uniform(from: f64, to: f64, generator: &mut Pcg64) -> f64 {
    let share = (bits(generator) >> 11) as f64 / (1u64 << 53) as f64;
    let at = from + share * (to - from);
    if at < to { at } else { from }
}

fn bits(generator: &mut Pcg64) -> u64 {
    use rand_pcg::rand_core::Rng;
    generator.next_u64()
}

/// The generator of one parameter of one trial.
fn generator(seed: u64, number: u32, name: &str) -> Pcg64 {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_be_bytes());
    hasher.update(number.to_be_bytes());
    hasher.update(name.as_bytes());
    let hash = hasher.finalize();
    let half = |from: usize| hash[from..from + 16].iter().fold(0u128, |whole, byte| (whole << 8) | u128::from(*byte));
    Pcg64::new(half(0), half(16))
}

/// Equal but for what text does to the last bit of a number.
fn same(one: &Params, other: &Params) -> bool {
    let close = |a: &Value, b: &Value| match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-12 * a.abs().max(b.abs()),
        _ => a == b,
    };
    one.len() == other.len() && one.iter().zip(other).all(|((n, a), (m, b))| n == m && close(a, b))
}

#[cfg(test)]
mod tests;
