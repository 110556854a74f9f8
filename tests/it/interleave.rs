//! Sequences interleaved from several tables: in the order of time, each event with its type, nothing not yet known.

use serde_json::{Value, json};

use crate::lender::{self, NIGHT};
use crate::support::World;

const FILE: &str = "features/trail.yaml";

fn trail(world: &World, date: &str, user: &str) -> Value {
    let sql = "select kind, amount, currency, bank, paid, hours_since_previous from sequences.trail";
    world.query(&format!("{sql} where logical_date = '{date}' and user_id = '{user}'")).remove(0)
}

#[test]
fn events_of_both_tables_come_in_the_order_of_time() {
    let world = lender::world();
    lender::march(&world);
    lender::night(&world, NIGHT);
    // p4 was refused, and a payment has no currency.
    let expected = json!({
        "kind": ["paid", "asked", "paid", "asked"],
        "amount": [10.0, 1000.0, 20.0, 100.0],
        "currency": [null, "PLN", null, "EUR"],
        "bank": ["pl1", null, "pl1", null],
        "paid": [10.0, null, 20.0, null],
        "hours_since_previous": [null, 25.0, 119.0, 241.0],
    });
    assert_eq!(trail(&world, NIGHT, "u1"), expected);
    assert_eq!(trail(&world, NIGHT, "u3")["kind"], json!(["asked"]));
}

#[test]
fn equal_instants_follow_the_list_of_tables_and_then_their_tie_breakers() {
    let world = lender::world();
    lender::march(&world);
    let at = "2024-03-28T10:00:00Z";
    let at_once = [
        ("p92", "u3", "pl1", "debit", at, 200, false),
        ("p91", "u3", "de1", "debit", at, 100, false),
        ("p93", "u3", "pl1", "debit", at, 300, false),
    ];
    lender::payments(&world, "2024-03-28", &at_once);
    lender::applications(&world, "2024-03-28", &[("l9", "u3", None, None, at, 900, "PLN", None)]);
    lender::night(&world, NIGHT);
    let trail = trail(&world, NIGHT, "u3");
    assert_eq!(trail["kind"], json!(["asked", "paid", "paid", "paid"]));
    assert_eq!(trail["amount"], json!([9.0, 1.0, 2.0, 3.0]), "and the first application is the fifth from the end");
}

#[test]
fn what_is_late_in_either_table_changes_no_earlier_night() {
    let world = lender::world();
    lender::march(&world);
    lender::night(&world, "2024-03-16");
    let expected = trail(&world, "2024-03-16", "u2");
    assert_eq!(expected["kind"], json!(["asked", "paid"]));
    lender::payments(&world, "2024-03-17", &[("p6", "u2", "de1", "credit", "2024-03-14T10:00:00Z", 100, false)]);
    let earlier = ("l0", "u2", None, None, "2024-03-01T10:00:00Z", 100, "PLN", None);
    lender::applications(&world, "2024-03-17", &[earlier]);
    lender::night(&world, "2024-03-17");
    world.job("features", "2024-03-16").ok();
    assert_eq!(trail(&world, "2024-03-16", "u2"), expected);
    assert_eq!(trail(&world, "2024-03-17", "u2")["kind"], json!(["asked", "asked", "paid", "paid"]));
}

fn refuses(change: (&str, &str), says: &[&str]) {
    let world = lender::copy();
    let text = std::fs::read_to_string(world.project.join(FILE)).unwrap();
    assert!(text.contains(change.0), "{change:?}");
    world.write(FILE, &text.replace(change.0, change.1));
    world.run(&["check", "--project", world.project.to_str().unwrap()]).refuses(2, says);
}

#[test]
fn what_does_not_fit_is_said_with_its_line() {
    let at = |line: usize| format!("{FILE}:{line}:");
    refuses(
        ("amount: amount, bank: bank", "amount: cast(amount as double), bank: bank"),
        &[&at(7), "`amount` is of one type in one table", "found: float64", "expected: decimal(18,2)"],
    );
    refuses(("upper(currency)", "upper(curency)"), &[&at(6), "did you mean `currency`?"]);
    refuses(("not refused", "refusd"), &[&at(7), "did you mean `refused`?"]);
    refuses(("not refused", "bank"), &[&at(7), "not a condition"]);
    refuses(("table: payment", "table: paymnt"), &[&at(7), "there is no table `paymnt`", "did you mean `payment`?"]);
    refuses(("{table: payment, as: paid", "{table: bank, as: paid"), &[&at(7), "table bank has no event time"]);
    refuses(("as: paid", "as: asked"), &[&at(7), "two tables give events of type `asked`"]);
    refuses(("{amount: amount, bank: bank}", "{amount: amount, kind: bank}"), &[&at(7), "is the type of the event"]);
    refuses(("- currency", "- curency"), &[&at(12), "did you mean `currency`?"]);
    refuses(("events:\n", "table: payment\nevents:\n"), &["either `table` or `events`"]);
    refuses(("length: 4", "length: 4\nevent_time: paid_at"), &["several tables have an event time each"]);
    refuses((", as: kind", ""), &["this field is not complete", "`as: <name>`"]);
    refuses(("entity: user_id", "entity: loan_id"), &["has no column `loan_id`", &at(7)]);
}

#[test]
fn one_table_has_no_types_of_events() {
    let world = lender::copy();
    let head = "sequence: trail\nentity: user_id\nentities: users\ntable: payment\nlength: 2\n";
    world.write(FILE, &format!("{head}fields: [amount, {{fn: event_type, as: kind}}]\n"));
    let said = world.run(&["check", "--project", world.project.to_str().unwrap()]);
    said.refuses(2, &["`event_type` tells nothing", "`events`, in place of `table`"]);
}
