//! docs/reference/functions.md, executed: every example gives, bit for bit, what the page says, and every function of
//! the language has one.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use futures::TryStreamExt;
use scorehouse::define::features::RawGroup;
use scorehouse::define::types::{timestamp, type_name};
use scorehouse::define::{FeatureGroup, aggregation, diagnostic, yaml};
use scorehouse::engine::pit;
use scorehouse::engine::session::{self, Session, SessionOptions};
use scorehouse::error::Error;
use serde_yaml::{Mapping, Value};

use crate::small::micros;
use crate::support::root;

const AS_OF: &str = "2024-03-31T00:00:00Z";

/// Columns of the examples' table, and their types.
fn columns() -> Vec<(&'static str, DataType)> {
    vec![
        ("at", timestamp()),
        ("id", DataType::Int64),
        ("amount", DataType::Decimal128(18, 2)),
        ("items", DataType::Int64),
        ("rating", DataType::Float64),
        ("method", DataType::Utf8),
        ("_known_from", timestamp()),
        ("_known_until", timestamp()),
    ]
}

/// A fenced block `yaml example`.
struct Example {
    /// Of the page.
    line: usize,
    text: String,
}

fn examples() -> Vec<Example> {
    let page = std::fs::read_to_string(root().join("docs/reference/functions.md")).unwrap();
    let mut found = Vec::new();
    let mut open: Option<Example> = None;
    for (index, line) in page.lines().enumerate() {
        match (&mut open, line) {
            (None, "```yaml example") => open = Some(Example { line: index + 1, text: String::new() }),
            (Some(_), "```") => found.extend(open.take()),
            (Some(example), line) => example.text += &format!("{line}\n"),
            (None, _) => {}
        }
    }
    assert!(open.is_none(), "the last example does not end");
    found
}

/// The value of a cell as a type has it; text is parsed, and floats are taken as they are.
fn scalar(value: &Value, data_type: &DataType) -> ScalarValue {
    let text = match (value, data_type) {
        (Value::Null, _) => return ScalarValue::try_from(data_type).unwrap(),
        (Value::Number(number), DataType::Float64) => return ScalarValue::Float64(number.as_f64()),
        (Value::Number(number), _) => number.to_string(),
        (Value::String(text), _) => text.clone(),
        (other, _) => panic!("{other:?} is no {data_type}"),
    };
    ScalarValue::try_from_string(text, data_type).unwrap()
}

fn events(given: &[Value]) -> RecordBatch {
    let user = Arc::new(StringArray::from(vec!["u"; given.len()])) as ArrayRef;
    let mut arrays = vec![("user_id", user)];
    for (name, data_type) in columns() {
        let key = name.trim_start_matches('_');
        let cells = given.iter().map(|row| {
            let missing = if name == "_known_from" { &row["at"] } else { &Value::Null };
            scalar(row.get(key).unwrap_or(missing), &data_type)
        });
        arrays.push((name, ScalarValue::iter_to_array(cells).unwrap()));
    }
    RecordBatch::try_from_iter_with_nullable(arrays.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn group(example: &Mapping) -> Result<FeatureGroup, Error> {
    let mut definition = example.clone();
    for key in ["given", "expect", "error", "type"] {
        definition.remove(key);
    }
    let head = "group: g\nentity: user_id\nentities: users\ntable: t\nevent_time: at\n";
    let text = format!("{head}{}", serde_yaml::to_string(&definition).unwrap());
    let mut out = Vec::new();
    let group = yaml::parse::<RawGroup>("features/g.yaml", &text, &mut out)
        .map(|(raw, origin)| FeatureGroup::validate(raw, &origin, &mut out));
    group.filter(|_| out.is_empty()).ok_or_else(|| diagnostic::into_error(out))
}

/// The one row of features of the one entity.
async fn compute(example: &Mapping) -> Result<RecordBatch, Error> {
    let group = group(example)?;
    let session = Session::new(&SessionOptions::default())?;
    let spine = RecordBatch::try_from_iter([
        ("user_id", Arc::new(StringArray::from(vec!["u"])) as ArrayRef),
        ("as_of", Arc::new(TimestampMicrosecondArray::from(vec![micros(AS_OF)]).with_timezone("UTC"))),
        ("_row", Arc::new(Int64Array::from(vec![0]))),
    ])?;
    let given = example["given"].as_sequence().unwrap();
    let (events, spine) = (session.context().read_batch(events(given))?, session.context().read_batch(spine)?);
    let stream = pit::features(&session, &group, "at", &["id".to_string()], events, spine).await?;
    let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(session::error)?;
    Ok(arrow::compute::concat_batches(&batches[0].schema(), &batches)?)
}

/// What is wrong with a cell, if anything is.
fn compare(result: &RecordBatch, name: &str, expected: &Value, data_type: Option<&str>) -> Option<String> {
    let Some(column) = result.column_by_name(name) else { return Some(format!("there is no column {name}")) };
    if let Some(wanted) = data_type.filter(|wanted| *wanted != type_name(column.data_type())) {
        return Some(format!("{name} is {}, not {wanted}", type_name(column.data_type())));
    }
    let found = ScalarValue::try_from_array(column, 0).unwrap();
    let same = match (&found, expected) {
        (ScalarValue::Map(map), Value::Mapping(expected)) => {
            let entries = map.value(0);
            let keys = (0..entries.len()).map(|i| ScalarValue::try_from_array(entries.column(0), i).unwrap());
            let values = (0..entries.len()).map(|i| ScalarValue::try_from_array(entries.column(1), i).unwrap());
            let wanted =
                |(key, value): (&Value, &Value)| (scalar(key, &DataType::Utf8), scalar(value, &DataType::Float64));
            keys.zip(values).eq(expected.iter().map(wanted))
        }
        (found, Value::Null) => found.is_null(),
        // Bits, so that NaN is itself and the zeros differ.
        (ScalarValue::Float64(Some(found)), Value::Number(expected)) => {
            let expected = expected.as_f64().unwrap();
            found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan())
        }
        (found, expected) => *found == scalar(expected, column.data_type()),
    };
    (!same).then(|| format!("{name} is {found}, not {expected:?}"))
}

/// Runs an example; what is wrong with it.
async fn run(example: &Mapping) -> Vec<String> {
    let wanted_error = example.get("error").map(|text| text.as_str().unwrap());
    let result = match (compute(example).await, wanted_error) {
        (Err(error), Some(wanted)) if error.to_string().contains(wanted) => return Vec::new(),
        (Err(error), _) => return vec![error.to_string()],
        (Ok(_), Some(wanted)) => return vec![format!("no error `{wanted}`")],
        (Ok(result), None) => result,
    };
    let data_type = example.get("type").map(|text| text.as_str().unwrap());
    let expect = example["expect"].as_mapping().unwrap();
    expect.iter().filter_map(|(name, value)| compare(&result, name.as_str().unwrap(), value, data_type)).collect()
}

#[tokio::test]
async fn every_example_gives_what_it_says() {
    let mut wrong = String::new();
    let examples = examples();
    for example in &examples {
        let parsed: Mapping = serde_yaml::from_str(&example.text).unwrap_or_else(|e| panic!("{}: {e}", example.line));
        for fault in run(&parsed).await {
            wrong += &format!("\nfunctions.md:{}: {fault}", example.line);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(examples.len() > 25, "{} examples", examples.len());
}

#[test]
fn every_function_has_a_section_and_an_example() {
    let page = std::fs::read_to_string(root().join("docs/reference/functions.md")).unwrap();
    let mut shown = BTreeSet::new();
    for example in examples() {
        let parsed: Value = serde_yaml::from_str(&example.text).unwrap();
        for aggregation in parsed["aggregations"].as_sequence().unwrap() {
            let names = match &aggregation["fn"] {
                Value::Sequence(names) => names.clone(),
                name => vec![name.clone()],
            };
            shown.extend(names.iter().map(|name| name.as_str().unwrap().to_string()));
        }
    }
    let names: Vec<&str> = aggregation::names().collect();
    for name in &names {
        assert!(shown.contains(*name), "no example of `{name}`");
        assert!(page.contains(&format!("\n### {name}\n")), "no section on `{name}`");
    }
    let headings = page.lines().filter_map(|line| line.strip_prefix("### "));
    let others = headings.filter(|heading| !names.contains(heading)).collect::<Vec<_>>();
    assert_eq!(others, ["where", "by", "derived"]);
}
