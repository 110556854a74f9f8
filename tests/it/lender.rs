//! Events for the project `tests/projects/lender`: loans asked for, payments by card, exchange rates, banks. Few, and
//! chosen so that a test can say by hand what every feature is.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use chrono::NaiveDate;

use crate::small::{micros, write};
use crate::support::{World, root};

/// The night of the tests.
pub const NIGHT: &str = "2024-03-31";

/// (loan, user, bank, card, instant, amount in hundredths, currency, first due date)
pub type Application<'a> =
    (&'a str, &'a str, Option<&'a str>, Option<&'a str>, &'a str, i128, &'a str, Option<&'a str>);
/// (payment, user, bank, card, instant, amount in hundredths, refused)
pub type Payment<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, i128, bool);
/// (currency, instant, value)
pub type Rate<'a> = (&'a str, &'a str, f64);

/// The lender's project over a lake of its own.
pub fn world() -> World {
    World { project: root().join("tests/projects/lender"), ..World::new() }
}

/// The lender's project as a copy that a test may change.
pub fn copy() -> World {
    let world = World::with(&[]);
    for folder in ["sql", "sql/marts", "features", "models"] {
        for entry in std::fs::read_dir(root().join("tests/projects/lender").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
                world.write(&name, &std::fs::read_to_string(path).unwrap());
            }
        }
    }
    world
}

pub fn night(world: &World, date: &str) {
    for job in ["ingest", "tables", "features"] {
        world.job(job, date).ok();
    }
}

/// Trains the model of a night and makes it live, whatever the gate says of so few rows.
pub fn live(world: &World, model: &str, date: &str) {
    world.job("train", date).ok();
    if world.job("gate", date).code == 4 {
        let project = world.project.display().to_string();
        let what = ["models", "promote", model, "candidate", "--force", "--reason", "a test", "--project", &project];
        let version =
            world.query("select version from registry where event = 'refused' order by sequence desc limit 1");
        let version = version[0]["version"].as_str().unwrap();
        world.run(&what.map(|word| if word == "candidate" { version } else { word })).ok();
    }
}

/// Two users who apply and pay in March, and one who only applies; rates change on the 20th.
pub fn march(world: &World) {
    let (de, pl) = (Some("de1"), Some("pl1"));
    applications(
        world,
        "2024-03-10",
        &[
            ("l1", "u1", pl, Some("debit"), "2024-03-10T10:00:00Z", 100_000, "PLN", Some("2024-04-10")),
            ("l2", "u2", de, Some("credit"), "2024-03-10T11:00:00Z", 20_000, "EUR", Some("2024-03-30")),
        ],
    );
    applications(
        world,
        "2024-03-25",
        &[
            ("l3", "u1", de, Some("credit"), "2024-03-25T10:00:00Z", 10_000, "EUR", Some("2024-04-24")),
            ("l4", "u3", None, None, "2024-03-25T12:00:00Z", 5_000, "GBP", None),
        ],
    );
    payments(
        world,
        "2024-03-09",
        &[
            ("p1", "u1", "pl1", "debit", "2024-03-09T09:00:00Z", 1_000, false),
            ("p2", "u2", "de1", "credit", "2024-03-09T09:30:00Z", 7_000, true),
        ],
    );
    payments(
        world,
        "2024-03-15",
        &[
            ("p3", "u1", "pl1", "debit", "2024-03-15T09:00:00Z", 2_000, false),
            ("p4", "u1", "de1", "credit", "2024-03-15T09:00:00Z", 3_000, true),
            ("p5", "u2", "de1", "credit", "2024-03-15T10:00:00Z", 500, false),
        ],
    );
    rates(world, "2024-03-01", &[("EUR", "2024-03-01T12:00:00Z", 4.0), ("PLN", "2024-03-01T12:00:00Z", 1.0)]);
    rates(world, "2024-03-20", &[("EUR", "2024-03-20T12:00:00Z", 4.5)]);
    banks(world, "2024-03-01", &[("pl1", "PL"), ("de1", "DE")]);
}

/// Twenty more who apply, so that there is something to train on.
pub fn crowd(world: &World) {
    let names: Vec<(String, String)> = (10..30).map(|i| (format!("x{i}"), format!("v{i}"))).collect();
    let at = "2024-03-12T08:00:00Z";
    let rows: Vec<Application> =
        names.iter().map(|(loan, user)| (loan.as_str(), user.as_str(), None, None, at, 10_000, "PLN", None)).collect();
    applications(world, "2024-03-12", &rows);
}

pub fn applications(world: &World, day: &str, rows: &[Application]) {
    let amounts: Decimal128Array = rows.iter().map(|row| Some(row.5)).collect();
    let days = |text: &str| text.parse::<NaiveDate>().unwrap().to_epoch_days();
    let due: Date32Array = rows.iter().map(|row| row.7.map(days)).collect();
    // Who defaults is told by the last digit of the loan, so that there is something of both.
    let defaulted: BooleanArray = rows.iter().map(|row| Some(row.0.ends_with(['2', '4', '6', '8', '0']))).collect();
    deliver(
        world,
        "application",
        day,
        vec![
            ("loan_id", texts(rows.iter().map(|row| Some(row.0)))),
            ("user_id", texts(rows.iter().map(|row| Some(row.1)))),
            ("bank", texts(rows.iter().map(|row| row.2))),
            ("card_type", texts(rows.iter().map(|row| row.3))),
            ("applied_at", instants(rows.iter().map(|row| row.4))),
            ("amount", Arc::new(amounts.with_precision_and_scale(18, 2).unwrap())),
            ("currency", texts(rows.iter().map(|row| Some(row.6)))),
            ("first_due_date", Arc::new(due)),
            ("defaulted", Arc::new(defaulted)),
        ],
    );
}

pub fn payments(world: &World, day: &str, rows: &[Payment]) {
    let amounts: Decimal128Array = rows.iter().map(|row| Some(row.5)).collect();
    deliver(
        world,
        "payment",
        day,
        vec![
            ("payment_id", texts(rows.iter().map(|row| Some(row.0)))),
            ("user_id", texts(rows.iter().map(|row| Some(row.1)))),
            ("bank", texts(rows.iter().map(|row| Some(row.2)))),
            ("card_type", texts(rows.iter().map(|row| Some(row.3)))),
            ("paid_at", instants(rows.iter().map(|row| row.4))),
            ("amount", Arc::new(amounts.with_precision_and_scale(18, 2).unwrap())),
            ("refused", Arc::new(rows.iter().map(|row| Some(row.6)).collect::<BooleanArray>())),
        ],
    );
}

pub fn rates(world: &World, day: &str, rows: &[Rate]) {
    deliver(
        world,
        "rate",
        day,
        vec![
            ("currency", texts(rows.iter().map(|row| Some(row.0)))),
            ("quoted_at", instants(rows.iter().map(|row| row.1))),
            ("pln", Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>())),
        ],
    );
}

pub fn banks(world: &World, day: &str, rows: &[(&str, &str)]) {
    let (code, country) = (texts(rows.iter().map(|row| Some(row.0))), texts(rows.iter().map(|row| Some(row.1))));
    deliver(world, "bank", day, vec![("code", code), ("country", country)]);
}

fn deliver(world: &World, source: &str, day: &str, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)));
    let folder = world.raw().join(source).join(format!("day={day}"));
    std::fs::create_dir_all(&folder).unwrap();
    let count = std::fs::read_dir(&folder).unwrap().count();
    write(&folder.join(format!("{count}.parquet")), &batch.unwrap());
}

fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn instants<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(values.map(|text| Some(micros(text))).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}
