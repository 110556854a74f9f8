//! The search for a head's parameters inside a training, and its history.
//!
//! A model that declares `search` looks each time it is trained: the data have changed, and so may what suits them. Every
//! trial is a row of `searches/<model>`, committed as soon as it is over. A training that is killed finds the trials of
//! its own search there, known by the fingerprint of definition and data that the version will have too, and goes on
//! with the next one; it ends with what an undisturbed search would have ended with.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef};
use datafusion::logical_expr::lit;
use datafusion::prelude::col;
use tokio::runtime::Handle;

use super::job::{Job, fingerprint};
use super::learning::{self, Learning};
use super::progress::Step;
use crate::define::Model;
use crate::define::model::SearchMetric;
use crate::error::{Context, Error, Result};
use crate::lake::{Replace, TableSpec, Unit, documented};
use crate::learn::search::{CHECKPOINT, Done, Found, Params, Search, State};
use crate::learn::train::Prepared;

/// What a model is trained with: the definition's own parameters, and what a search found beside them.
///
/// `source` names definition and data. Blocks for as long as the trials take, on a thread of its own.
pub async fn parameters(
    job: &Job,
    model: &Model,
    learning: &Arc<Learning>,
    source: &str,
) -> Result<(Params, Option<Found>)> {
    let own = learning::params(model)?;
    let Some(definition) = model.search.clone() else { return Ok((own, None)) };
    let stored = history(job, &model.name, source).await?;
    let step = job.progress.steps(format!("search {}", model.name), u64::from(definition.trials));
    let (job, model, learning) = (job.clone(), model.clone(), Arc::clone(learning));
    let source = source.to_string();
    let handle = Handle::current();
    let task = tokio::task::spawn_blocking(move || -> Result<(Params, Found)> {
        let request = learning.request(&model, &own);
        let prepared = Prepared::new(&request).context("the search")?;
        let mut search = Search::new(&definition)?;
        for done in stored {
            let number = done.number;
            if !search.restore(done)? {
                return Err(Error::internal(format!("trial {number} of searches/{} is of another search", model.name)));
            }
            step.advance(1);
        }
        let resumed = search.done().len();
        while let Some((number, params)) = search.ask()? {
            let done = search.attempt(&prepared, number, params, &own).with_context(|| format!("trial {number}"))?;
            handle.block_on(append(&job, &model.name, &source, &done))?;
            search.tell(done)?;
            step.advance(1);
            say(&step, &search);
        }
        let found = search.found()?;
        step.done(&summary(&found, resumed));
        let all = own.clone().into_iter().chain(found.params.clone()).collect();
        Ok((all, found))
    });
    let (params, found) = task.await.map_err(|e| Error::internal(format!("a search did not end: {e}")))??;
    Ok((params, Some(found)))
}

fn say(step: &Step, search: &Search) {
    if let Ok(found) = search.found() {
        step.say(&format!("best {:.4} in trial {}, {} pruned", found.value, found.best, found.pruned));
    }
}

fn summary(found: &Found, resumed: usize) -> String {
    let metric = match found.metric {
        SearchMetric::RocAuc => "roc_auc",
        SearchMetric::AveragePrecision => "average_precision",
        SearchMetric::LogLoss => "log_loss",
    };
    let default = found.default_value.map_or("none".to_string(), |value| format!("{value:.4}"));
    let resumed = if resumed > 0 { format!(", {resumed} of them made before") } else { String::new() };
    format!(
        "{metric} {:.4} in trial {} of {}{resumed} ({} pruned, {} failed); as defined {default}",
        found.value, found.best, found.trials, found.pruned, found.failed
    )
}

fn table(model: &str) -> String {
    format!("searches/{model}")
}

fn schema() -> SchemaRef {
    let item = Arc::new(Field::new_list_field(DataType::Float64, true));
    Arc::new(Schema::new(vec![
        documented("search", DataType::Utf8, false, "Fingerprint of the definition and data that are searched for."),
        documented("logical_date", DataType::Date32, false, "The night of the training."),
        documented("trial", DataType::Int64, false, "Number, from 0: the head as defined."),
        documented("params", DataType::Utf8, false, "The parameters looked for, as JSON; none in trial 0."),
        documented("value", DataType::Float64, true, "By the search's metric, on the rows that stop training."),
        documented("state", DataType::Utf8, false, "complete, pruned, or failed: its parameters do not go together."),
        documented("rounds", DataType::Int64, false, "Rounds that were trained."),
        documented(
            "losses",
            DataType::List(item),
            false,
            &format!("The least log loss so far, every {CHECKPOINT} rounds, on the rows that stop training."),
        ),
    ]))
}

/// The trials that were made of a search, in their order; what is not the beginning of it is left out.
async fn history(job: &Job, model: &str, source: &str) -> Result<Vec<Done>> {
    let Some(snapshot) = job.lake.snapshot(&table(model)).await? else { return Ok(Vec::new()) };
    let session = job.session()?;
    let frame = session.context().read_table(snapshot.provider()?)?.filter(col("search").eq(lit(source)))?;
    let mut all = Vec::new();
    for batch in frame.collect().await? {
        for row in 0..batch.num_rows() {
            all.push(read(&batch, row)?);
        }
    }
    all.sort_by_key(|done| done.number);
    all.dedup_by_key(|done| done.number);
    let whole = all.iter().enumerate().take_while(|(at, done)| *at as u32 == done.number).count();
    all.truncate(whole);
    Ok(all)
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| Error::data(format!("a search's history has no column {name}")))
}

fn read(batch: &RecordBatch, row: usize) -> Result<Done> {
    let text = |name: &str| -> Result<String> {
        let values = arrow::compute::cast(column(batch, name)?, &DataType::Utf8)?;
        Ok(values.as_string::<i32>().value(row).to_string())
    };
    let number = |name: &str| -> Result<u32> {
        let value = column(batch, name)?.as_primitive::<Int64Type>().value(row);
        u32::try_from(value).map_err(|_| Error::data(format!("a search's history has {name} {value}")))
    };
    let value = column(batch, "value")?.as_primitive::<Float64Type>();
    let losses = column(batch, "losses")?.as_list::<i32>().value(row);
    let state = text("state")?;
    Ok(Done {
        number: number("trial")?,
        params: serde_json::from_str(&text("params")?)?,
        value: value.is_valid(row).then(|| value.value(row)),
        state: State::named(&state).ok_or_else(|| Error::data(format!("a search's history has state {state}")))?,
        rounds: number("rounds")?,
        losses: losses.as_primitive::<Float64Type>().values().to_vec(),
    })
}

async fn append(job: &Job, model: &str, source: &str, done: &Done) -> Result<()> {
    let spec = TableSpec {
        name: table(model),
        description: format!("Every trial of the searches for parameters of {model}."),
        schema: schema(),
        partition_by: None,
        no_statistics: Vec::new(),
    };
    let text = |value: &str| Arc::new(StringArray::from(vec![value.to_string()])) as ArrayRef;
    let number = |value: u32| Arc::new(Int64Array::from(vec![i64::from(value)])) as ArrayRef;
    let losses = done.losses.iter().map(|loss| Some(*loss));
    let params = serde_json::to_string(&done.params)?;
    let columns: Vec<ArrayRef> = vec![
        text(source),
        Arc::new(Date32Array::from(vec![job.date.to_epoch_days()])),
        number(done.number),
        text(&params),
        Arc::new(Float64Array::from(vec![done.value])),
        text(done.state.name()),
        number(done.rounds),
        Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>([Some(losses)])),
    ];
    let mut writer = job.lake.writer(&spec).await?;
    writer.write(&RecordBatch::try_new(schema(), columns)?).await?;
    let unit = Unit { key: format!("search:{model}:{source}:{}", done.number), fingerprint: fingerprint(&[&params]) };
    writer.commit(Replace::Nothing, &unit, Default::default()).await?;
    Ok(())
}
