//! Synthetic events of a marketplace with a pay-later arm, with planted behaviour whose truth is known.
//!
//! [`run`] writes the fourteen raw sources of `sql/sources.yaml` as Parquet, one file per source, day of delivery and
//! block of users, and two truths beside them (see [`TRUTH_SOURCES`]): for every order and every loan whose outcome
//! lies within the generated days, the label, the probability of it given everything observed up to the midnight before
//! the decision (`p_full`), and given only what windowed aggregates can carry (`p_aggregates`). Both are exact for the
//! process that made the events, so the AUC of either is the best that any model of its kind can reach.
//!
//! How a user's life comes about, each step in its own module: `person` draws habits, which aggregates can see, and
//! three hidden traits, which they cannot; `life` tells what happens; `observed` and `risk` say what the
//! probability of an outcome depends on; `outcome` how outcomes unfold; `belief` what an observer can conclude. The
//! traits show in three ways only, besides in outcomes:
//! - z in the **order** of payments: of an order paid in two parts, blik and credit card within half an hour, blik
//!   comes first more often where z is set. Amounts, counts and methods are the same either way, so that no windowed
//!   count, sum, mean, share, minimum or maximum can tell. (`first`, `last` and a `time_since` of one method would tell
//!   it of one pair, hardly more than nothing.)
//! - w in the **words** of item descriptions: outlet, clearance, refurbished, unboxed where it is set; premium,
//!   original, certified, warranty where it is not.
//! - e in the **shape** of the e-mail address: two or more digits, no separator and a free-mail domain where it is set.
//!
//! Truths count an event as observed from the midnight after it, whatever day its file is delivered on. With the
//! default small shares of late and corrected files that makes no difference that could be measured.
//!
//! The same configuration gives the same bytes, whatever the number of threads: each user has a random stream of their
//! own, and each file is made by one thread from rows in the order of users.

mod belief;
mod columns;
mod deliver;
mod draw;
mod files;
mod life;
mod observed;
mod outcome;
mod person;
mod risk;
mod rows;
mod tables;
mod vocabulary;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use chrono::{NaiveDate, NaiveTime};
use serde::{Deserialize, Serialize};

use crate::define::types::DAY;
use crate::error::{Error, Result};
use life::{Life, Span};
use rows::{Rows, Sorted};
use tables::Table;

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;

/// The two truths, declared in the language of `sql/sources.yaml` but not part of it: no model may see them.
pub const TRUTH_SOURCES: &str = include_str!("truth_sources.yaml");

/// User-days that are simulated before they are written; bounds the memory (some 35 bytes each).
const BLOCK_USER_DAYS: u64 = 20_000_000;
/// Users that one thread simulates at a time.
const CHUNK_USERS: u32 = 500;
const MOST_DAYS: u32 = 20_000;

/// What to generate, and where.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory under which `<source>/day=YYYY-MM-DD/*.parquet` is written.
    pub raw: PathBuf,
    pub users: u64,
    pub days: u32,
    /// The first day; all event times lie in `[start, start + days)`, UTC.
    pub start: NaiveDate,
    pub seed: u64,
    /// Does not change the result.
    pub threads: usize,
    /// Shares of the day files that come late, are delivered again, or have rows corrected.
    pub late_share: f64,
    pub redelivered_share: f64,
    pub corrected_share: f64,
}

/// What lies under the raw root after a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Distinct events by source; re-delivered and corrected rows are not counted again.
    pub events: BTreeMap<String, u64>,
    /// Files, truths included, and their bytes.
    pub files: u64,
    pub bytes: u64,
    /// Nothing was written, because the same configuration has been generated there before.
    #[serde(skip)]
    pub unchanged: bool,
}

impl Summary {
    pub fn total_events(&self) -> u64 {
        self.events.values().sum()
    }
}

/// What writing some files came to.
#[derive(Default)]
struct Delivered {
    events: u64,
    bytes: u64,
    files: Vec<PathBuf>,
}

/// Generates; `progress` is told how many more events have been written, from any thread.
///
/// Files of an earlier generation that are not part of this one are removed, files of others are left alone.
///
/// # Errors
/// [`Kind::Definition`](crate::error::Kind::Definition) for a configuration that cannot be,
/// [`Kind::Temporary`](crate::error::Kind::Temporary) where the directory cannot be written. A run that failed can
/// be repeated; until it succeeds there is no `_generated.json`.
pub fn run(config: &Config, progress: &(dyn Fn(u64) + Sync)) -> Result<Summary> {
    let span = check(config)?;
    if let Some(done) = files::already_done(config)? {
        return Ok(done);
    }
    files::begin(config)?;
    let mut summary = Summary::default();
    let mut written = Vec::new();
    let per_block = (BLOCK_USER_DAYS / u64::from(config.days)).clamp(1_000, 1_000_000) as u32;
    for (block, first) in (0..config.users as u32).step_by(per_block as usize).enumerate() {
        let users = first..first.saturating_add(per_block).min(config.users as u32);
        let chunks = simulate(config, span, users)?;
        write_block(config, &chunks, block as u32, progress, &mut summary, &mut written)?;
    }
    summary.files = written.len() as u64;
    files::finish(config, &summary, &written)?;
    Ok(summary)
}

/// Refuses what cannot be generated.
fn check(config: &Config) -> Result<Span> {
    let refuse = |what: &str, found: String, expected: &str| {
        Err(Error::definition(format!("generate: {what} is {found}, expected {expected}")))
    };
    if config.users == 0 || config.users >= u64::from(u32::MAX) {
        return refuse("the number of users", config.users.to_string(), "1 to 4294967294");
    }
    if config.days == 0 || config.days > MOST_DAYS {
        return refuse("the number of days", config.days.to_string(), &format!("1 to {MOST_DAYS}"));
    }
    let shares = [
        ("the share of late files", config.late_share),
        ("the share of re-delivered files", config.redelivered_share),
        ("the share of corrected files", config.corrected_share),
    ];
    for (what, share) in shares {
        if !(0.0..=1.0).contains(&share) {
            return refuse(what, share.to_string(), "0 to 1");
        }
    }
    let end = deliver::date(config, config.days)?;
    let micros = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc().timestamp_micros();
    Ok(Span { start: micros(config.start), end: micros(end) })
}

/// Lives of some users, in chunks in the order of users.
fn simulate(config: &Config, span: Span, users: std::ops::Range<u32>) -> Result<Vec<Sorted>> {
    let starts: Vec<u32> = users.clone().step_by(CHUNK_USERS as usize).collect();
    let chunks = in_parallel(
        config.threads,
        starts.len(),
        || Life::new(span, config.seed),
        |life, n| {
            let mut rows = Rows::default();
            for person in starts[n]..starts[n].saturating_add(CHUNK_USERS).min(users.end) {
                life.tell(person, &mut rows);
            }
            Ok(rows.by_day(span.start, config.days as usize))
        },
    )?;
    Ok(chunks)
}

/// Delivers one kind of row of one day and block.
type Deliver = fn(&Config, &[Sorted], u32, u32, usize) -> Result<Delivered>;

macro_rules! sources {
    ($($field:ident: $row:ident),* $(,)?) => {
        /// Every kind of row: its name and how it is delivered.
        const SOURCES: &[(&str, Deliver)] = &[$((
            rows::$row::SOURCE,
            |config, chunks, day, block, source| {
                let rows: Vec<rows::$row> =
                    chunks.iter().flat_map(|c| c.$field.day(day as usize)).copied().collect();
                let plan = match <rows::$row as Table>::EVENT {
                    true => deliver::Plan::draw(config, source, day, block),
                    false => deliver::Plan::on_time(day),
                };
                deliver::deliver(config, &rows, day, block, &plan)
            },
        )),*];
    };
}

sources! {
    visits: Visit,
    logins: Login,
    items: Item,
    payments: Payment,
    orders: Order,
    deliveries: Delivery,
    repayments: Repayment,
    loans: Loan,
    returns: Return,
    cancellations: Cancellation,
    refusals: Refusal,
    subscriptions: Subscription,
    addresses: Address,
    users: User,
    buying: BuyingTruth,
    credit: CreditTruth,
}

fn is_truth(source: &str) -> bool {
    source.starts_with("truth_")
}

fn write_block(
    config: &Config,
    chunks: &[Sorted],
    block: u32,
    progress: &(dyn Fn(u64) + Sync),
    summary: &mut Summary,
    written: &mut Vec<PathBuf>,
) -> Result<()> {
    let days = config.days as usize;
    let done = in_parallel(
        config.threads,
        SOURCES.len() * days,
        || (),
        |(), n| {
            // A day after the other, so that the files of a day are written close together.
            let (day, source) = (n / SOURCES.len(), n % SOURCES.len());
            let delivered = SOURCES[source].1(config, chunks, day as u32, block, source)?;
            if !is_truth(SOURCES[source].0) {
                progress(delivered.events);
            }
            Ok(delivered)
        },
    )?;
    for (n, delivered) in done.into_iter().enumerate() {
        let source = SOURCES[n % SOURCES.len()].0;
        if !is_truth(source) {
            *summary.events.entry(source.to_string()).or_default() += delivered.events;
        }
        summary.bytes += delivered.bytes;
        written.extend(delivered.files);
    }
    Ok(())
}

/// Does `tasks` pieces of work on some threads, each with a state of its own; results come in the order of tasks.
/// The first error ends it.
fn in_parallel<S, T: Send>(
    threads: usize,
    tasks: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<T>>> = Mutex::new((0..tasks).map(|_| None).collect());
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let worker = || {
        let mut state = state();
        loop {
            let task = next.fetch_add(1, Ordering::Relaxed);
            if task >= tasks {
                return;
            }
            match work(&mut state, task) {
                Ok(result) => results.lock().unwrap_or_else(PoisonError::into_inner)[task] = Some(result),
                Err(error) => {
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    next.store(tasks, Ordering::Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.clamp(1, tasks.max(1)) {
            scope.spawn(worker);
        }
        worker();
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(results.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests;
