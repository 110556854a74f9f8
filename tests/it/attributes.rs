//! Features over a decision's own attributes: differences of dates, amounts at the rate that was known, a register's
//! entry as it was.

use serde_json::{Value, json};

use crate::lender;
use crate::support::World;

const FILE: &str = "features/asked.yaml";
const END: &str = "2024-04-30";

/// Trains the model and gives these columns of what it was trained on, per loan.
fn trained(world: &World, columns: &str) -> Vec<Value> {
    lender::crowd(world);
    lender::night(world, END);
    world.job("train", END).ok();
    let sql = "from training_sets.default where loan_id like 'l%' order by loan_id";
    world.query(&format!("select loan_id, {columns} {sql}"))
}

#[test]
fn a_decision_knows_its_dates_its_rate_and_its_bank() {
    let world = lender::world();
    lender::march(&world);
    let columns = "asked__days_to_first_due as days, asked__amount_pln as pln, asked__rate_age_hours as age, \
                   asked__bank_country as country";
    let expected = [
        json!({"loan_id": "l1", "days": 31, "pln": 1000.0, "age": 214.0, "country": "PL"}),
        json!({"loan_id": "l2", "days": 20, "pln": 800.0, "age": 215.0, "country": "DE"}),
        json!({"loan_id": "l3", "days": 30, "pln": 450.0, "age": 118.0, "country": "DE"}),
        // No rate for its currency, no bank, no date.
        json!({"loan_id": "l4"}),
    ];
    assert_eq!(trained(&world, columns), expected);
}

#[test]
fn a_lookup_sees_what_was_known_and_no_more() {
    let world = lender::world();
    lender::march(&world);
    // A rate of the 24th that arrives on the 26th, one that starts at the very instant of a decision, and a bank that
    // moves between two decisions.
    lender::rates(&world, "2024-03-26", &[("EUR", "2024-03-24T12:00:00Z", 99.0)]);
    lender::rates(&world, "2024-03-25", &[("EUR", "2024-03-25T10:00:00Z", 98.0)]);
    lender::banks(&world, "2024-03-12", &[("de1", "AT")]);
    let expected = [
        json!({"loan_id": "l1", "pln": 1000.0, "country": "PL"}),
        json!({"loan_id": "l2", "pln": 800.0, "country": "DE"}),
        json!({"loan_id": "l3", "pln": 450.0, "country": "AT"}),
        json!({"loan_id": "l4"}),
    ];
    assert_eq!(trained(&world, "asked__amount_pln as pln, asked__bank_country as country"), expected);
}

#[test]
fn scoring_reads_them_too() {
    let world = lender::world();
    lender::march(&world);
    lender::crowd(&world);
    lender::night(&world, END);
    lender::live(&world, "default", END);
    let night = "2024-05-01";
    lender::applications(&world, night, &[("l9", "u1", Some("de1"), None, "2024-05-01T10:00:00Z", 100, "EUR", None)]);
    lender::night(&world, night);
    world.job("score", night).ok();
    let scored = world.query("select loan_id, decision from scores.default where logical_date = '2024-05-01'");
    assert_eq!(scored.len(), 1);
    assert_ne!(scored[0]["decision"], "no_champion");
}

fn refuses(file: &str, change: (&str, &str), says: &[&str]) {
    let world = lender::copy();
    let text = std::fs::read_to_string(world.project.join(file)).unwrap();
    assert!(text.contains(change.0), "{change:?}");
    world.write(file, &text.replace(change.0, change.1));
    world.run(&["check", "--project", world.project.to_str().unwrap()]).refuses(2, says);
}

#[test]
fn what_does_not_fit_is_said_with_its_line() {
    let at = |line: usize| format!("{FILE}:{line}:");
    let here = |change, says: &[&str]| refuses(FILE, change, says);
    here(("amount * fx.pln", "amuont * fx.pln"), &[&at(9), "has no column `amuont`", "did you mean `amount`?"]);
    here(("amount * fx.pln", "amount * fx.pnl"), &[&at(9), "has no column `fx.pnl`", "did you mean `fx.pln`?"]);
    here(("amount * fx.pln", "amount * fy.pln"), &[&at(9), "did you mean `fx.pln`?"]);
    here(
        ("amount * fx.pln", "event_date - fx.event_date + fx.pln"),
        &[&at(9), "more than one relation has a column `event_date`"],
    );
    here(("amount * fx.pln", "sum(amount)"), &[&at(9), "aggregates"]);
    here(("amount * fx.pln", "as_of - fx.quoted_at"), &[&at(9), "a type that features cannot have"]);
    here(("register.country", "register._known_from"), &[&at(11), "has no column `register._known_from`"]);
    here(("register.country", "currency"), &[&at(6), "no feature reads the lookup `register`"]);
    here(("table: rate", "table: rates"), &[&at(5), "there is no table `rates`", "did you mean `rate`?"]);
    here(("on: currency", "on: curency"), &[&at(5), "table rate has no column `curency`", "the spine application has"]);
    here(("{code: bank}", "{code: amount}"), &[&at(6), "of different types", "found: string", "decimal(18,2)"]);
    here(("on: currency", "on: []"), &[&at(5), "a lookup by nothing"]);
    here(("on: currency", "on: currency, event_time: pln"), &[&at(5), "`pln` is no time", "found: float64"]);
    here(("on: currency", "on: currency, event_time: when"), &[&at(5), "event time is no column"]);
    here(("register: {", "bank: {"), &[&at(6), "`bank` is a column of the spine too"]);
    here(("fx: {", "spine: {"), &[&at(5), "`spine` is the decision itself"]);
    here(("spine: application", "spine: aplication"), &[&at(3), "did you mean `application`?"]);
    here(("  amount_pln: What", "  amount_eur: What"), &[&at(13), "has no feature `amount_eur`"]);
    here(("attributes: asked", "attributes: payments"), &["there are other features called payments"]);
    let model = "models/default.yaml";
    refuses(model, ("asked.*", "asked.amount"), &["did you mean `asked.amount_pln`?"]);
    let grid = (
        "spine: {table: application, key: [loan_id], attributes: [amount]}",
        "spine: {population: users, every: 7d, history: 28d}",
    );
    let mut text = std::fs::read_to_string(lender::world().project.join(model)).unwrap();
    text = text.replace(grid.0, grid.1).replace("spine.amount, ", "").replace("scoring: {applications: 1d}\n", "");
    let world = lender::copy();
    world.write(
        model,
        &text.replace("label: {column: defaulted, known_after: 30d}", "label: {table: payment, horizon: 7d}"),
    );
    let said = world.run(&["check", "--project", world.project.to_str().unwrap()]);
    said.refuses(2, &["asked are attributes of application, which model default does not score"]);
}

#[test]
fn a_lookup_needs_an_order_of_its_rows() {
    let world = lender::copy();
    let sources = std::fs::read_to_string(world.project.join("sql/sources.yaml")).unwrap();
    world.write("sql/sources.yaml", &sources.replace("    key: [currency, quoted_at]\n", ""));
    let said = world.run(&["check", "--project", world.project.to_str().unwrap()]);
    said.refuses(2, &[&format!("{FILE}:5:"), "`fx` depends on the order of rows with equal event time"]);
}
