//! Feature groups that are wrong: each is refused before anything is read, with file, line, what was found and what to
//! write instead. And what only the data can do wrong to a feature: an overflow stops the night, NaN does not.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};

use crate::small::{self, batch, deliver, micros};
use crate::support::World;

const DAY: &str = "2024-02-29";

/// `check` on the small project with one more group over `payments`; its aggregation stands in line 6.
fn group(aggregation: &str, says: &[&str]) {
    over("payments", &format!("aggregations:\n  - {aggregation}\n"), says);
}

fn over(table: &str, rest: &str, says: &[&str]) {
    let world = small::world();
    let static_source =
        "  country:\n    location: country/*.parquet\n    static: true\n    columns: {user_id: string}\n";
    world.write("sql/sources.yaml", &format!("{}{static_source}", small::SOURCES));
    world.write("features/g.yaml", &format!("group: g\nentity: user_id\nentities: people\ntable: {table}\n{rest}"));
    let project = world.project.display().to_string();
    let said = world.run(&["check", "--project", &project]).refuses(2, says);
    assert!(said.stderr.contains("features/g.yaml:"), "{}", said.stderr);
}

#[test]
fn a_group_needs_a_table_with_event_time() {
    let rest = "aggregations:\n  - {fn: count}\n";
    let says = ["features/g.yaml:4:1: table country has no event time", "a table with `event_time`", "static table"];
    over("country", rest, &says);
    over("people", rest, &["features/g.yaml:4:1: table people has no event time", "a table with `event_time`"]);
}

#[test]
fn a_function_of_order_needs_a_total_order() {
    let world = small::world();
    world.write("sql/sources.yaml", &small::SOURCES.replace("    key: [id]\n", ""));
    world.write("sql/marts/payments.yaml", &small::PAYMENTS.replace("key: [id]\n", ""));
    let project = world.project.display().to_string();
    let said = world.run(&["check", "--project", &project]).refuses(
        2,
        &[
            "features/pays.yaml:6:5: `amount_last_1d` depends on the order of rows with equal event time",
            "features/trail.yaml:4:1: `trail` depends on the order",
            "expected: `tie_breaker` or `key` of table payments",
        ],
    );
    assert!(!said.stderr.contains("amount_sum"), "only what depends on order: {}", said.stderr);
}

#[test]
fn a_window_has_a_length() {
    let positive = "expected: a positive duration, such as 30d";
    group("{fn: count, over: [0d]}", &["features/g.yaml:6:17", "a window of no length", "found: 0d", positive]);
    for (window, found) in [("-7d", "found: -7d"), ("7 days", "found: 7 days"), ("1.5d", "found: 1.5d")] {
        let says = ["features/g.yaml:6:24", "invalid duration", found, "a whole number and s, m, h, d or w"];
        group(&format!("{{fn: count, over: [{window}]}}"), &says);
    }
    group("{fn: count, over: 7d}", &["features/g.yaml:6:17", "found: string \"7d\"", "expected: a list"]);
}

#[test]
fn a_condition_fits_the_types_of_the_table() {
    let place = "features/g.yaml:6:17";
    group("{fn: count, where: amount}", &[place, "`amount` is not a condition", "decimal(18,2)", "expected: bool"]);
    let ten = ["`amount` is compared with 'ten'", "found: amount = 'ten'", "a value of type decimal(18,2)"];
    group("{fn: count, where: \"amount = 'ten'\"}", &[place, ten[0], ten[1], ten[2]]);
    group("{fn: count, where: \"amount in (1, 'ten')\"}", &[place, ten[0], ten[2]]);
    group("{fn: count, where: \"paid_at > 'yesterday'\"}", &[place, "'yesterday'", "a value of type timestamp"]);
    group("{fn: count, where: id = 3}", &[place, "`id` is a string", "int64", "put the value in quotes"]);
    group("{fn: count, where: amount + id > 3}", &[place, "amount + id > 3", "id string", "amount decimal(18,2)"]);
    group("{fn: count, where: paid_at > 3}", &[place, "paid_at timestamp", "help: Cannot infer common argument type"]);
    group("{fn: count, where: amount > }", &[place, "found: amount >", "paid_at timestamp"]);
    group("{fn: count, by: {of: amount, values: [ten]}}", &["features/g.yaml:6:", "'ten'", "decimal(18,2)"]);
    over("payments", "where: amount\naggregations: []\n", &["features/g.yaml:5:1", "`amount` is not a condition"]);
    group("{of: id, fn: sum}", &["features/g.yaml:6:6: `id` of id_sum is no number", "found: string"]);
    group("{of: amount, fn: share, values: [ten]}", &["features/g.yaml:6:29", "`ten` can never be equal to `of`"]);
}

#[test]
fn a_text_that_reads_as_the_other_type_may_be_compared_with_it() {
    let world = small::world();
    let wheres = ["amount > '9'", "paid_at >= '2024-02-01'", "event_date = '2024-02-29'", "id in ('p1', '2')"];
    let lines: Vec<String> =
        wheres.iter().enumerate().map(|(i, w)| format!("  - {{fn: count, where: \"{w}\", as: x{i}}}\n")).collect();
    world.write(
        "features/pays.yaml",
        &format!("{}{}", small::FEATURES.split("derived").next().unwrap(), lines.concat()),
    );
    let project = world.project.display().to_string();
    world.run(&["check", "--project", &project]).ok();
}

#[test]
fn an_unknown_column_or_function_has_a_near_name() {
    let near = "did you mean `amount`?";
    group("{of: amuont, fn: sum}", &["features/g.yaml:6:6", "found: amuont", "one of id, user_id", near]);
    group("{fn: count, where: amuont > 0}", &["features/g.yaml:6:17", "found: amuont", near]);
    group("{of: id, fn: count, by: {of: amuont, values: [1]}}", &["features/g.yaml:6:", "found: amuont", near]);
    group("{of: amount, fn: ratio, to: amuont}", &["features/g.yaml:6:", "found: amuont", near]);
    group("{of: amount, fn: percentil, at: 50}", &["features/g.yaml:6:18", "did you mean `percentile`?"]);
    group("{of: amount, fn: [sum, time_since]}", &["features/g.yaml:6:18", "found: time_since", "one of count,"]);
    group("{of: amount, fn: sum, ovr: [7d]}", &["features/g.yaml:6:27", "unknown key `ovr`", "did you mean `over`?"]);
}

#[test]
fn a_function_has_its_keys() {
    group("{of: amount, fn: percentile}", &["features/g.yaml:6:5", "`percentile` needs `at`", "`at: 50`"]);
    group("{of: amount, fn: percentile, at: 101}", &["features/g.yaml:6:34", "found: 101", "0 to 100"]);
    group("{of: amount, fn: percentile, at: median}", &["features/g.yaml:6:34", "a number or a list of numbers"]);
    group("{of: amount, fn: top_k, top: -1}", &["features/g.yaml:6:29", "a whole number, 0 or more"]);
    group("{of: amount, fn: exp_weighted_mean}", &["features/g.yaml:6:5", "`half_life: 30d`"]);
    group("{of: amount, fn: ratio}", &["features/g.yaml:6:5", "`to: <column or SQL expression>`", "1 error in"]);
    group(
        "{of: amount, fn: sum, at: 50}",
        &["features/g.yaml:6:27", "`sum` takes no `at`", "it belongs to percentile"],
    );
    group("{fn: time_since_last, unit: weeks}", &["features/g.yaml:6:27", "one of minutes, hours, days"]);
    group("{of: amount * 2, fn: sum}", &["features/g.yaml:6:6", "an expression gives no name", "`as: <name>`"]);
    group("{of: amount, fn: []}", &["features/g.yaml:6:18", "no function", "[sum, mean]"]);
}

#[test]
fn a_definition_that_would_explode_is_refused_with_the_number() {
    let values: Vec<String> = (0..100_000).map(|i| format!("v{i}")).collect();
    let says = ["features/g.yaml:6:", "100000 categories would make 100000 columns", "at most 4096", "`top`"];
    group(&format!("{{of: id, fn: share, values: [{}]}}", values.join(", ")), &says);
    let says = ["features/g.yaml:6:", "100000 categories would make 400000 columns", "at most 4096"];
    let by = format!("by: {{of: id, values: [{}]}}", values.join(", "));
    group(&format!("{{of: amount, fn: [sum, mean], over: [1d, 2d], {by}}}"), &says);
    // Each aggregation is small enough, all of them are not.
    let some = values[..2000].join(", ");
    let line = |name: &str| format!("  - {{of: id, fn: share, values: [{some}], as: {name}}}\n");
    let text = format!("aggregations:\n{}{}{}", line("a"), line("b"), line("c"));
    over("payments", &text, &["features/g.yaml:5:1", "group g has 6000 columns", "at most 4096"]);
}

// ---- what only the data can do wrong ------------------------------------------------------------------------------

fn run(world: &World, jobs: &[&str], date: &str) {
    for job in jobs {
        world.job(job, date).ok();
    }
}

#[test]
fn a_decimal_sum_that_overflows_names_its_entity_and_commits_nothing() {
    let world = small::world();
    let of = "cast(amount as decimal(38,2)) * cast('100000000000000000000' as decimal(21,0))";
    let line = format!("  - {{of: \"{of}\", as: huge, fn: sum, over: [30d]}}\n");
    world.write("features/pays.yaml", &small::FEATURES.replace("derived:", &format!("{line}derived:")));
    let most = 999_999_999_999_999_999;
    let rows = [
        ("p1", Some("u1"), Some("2024-02-29T10:00:00Z"), most),
        ("p2", Some("u2"), Some("2024-02-29T11:00:00Z"), most),
        ("p3", Some("u2"), Some("2024-02-29T12:00:00Z"), most),
    ];
    // One such payment fits, two of one user do not.
    deliver(&world, "day=2024-02-29/a.parquet", &batch(&rows[..2]));
    run(&world, &["ingest", "tables", "features"], DAY);
    let before = world.versions();
    deliver(&world, "day=2024-03-01/b.parquet", &batch(&rows[2..]));
    run(&world, &["ingest", "tables"], "2024-03-01");
    let says = ["user_id = u2", "huge_30d: the sum overflows decimal(38,2)"];
    world.job("features", "2024-03-01").refuses(3, &says);
    assert_eq!(world.versions()["features/pays"], before["features/pays"]);
}

#[test]
fn nan_and_infinities_are_counted_and_never_added() {
    let world = World::with(&[
        (
            "sql/sources.yaml",
            "sources:\n  rate:\n    location: rate/day={date}/*.parquet\n    event_time: at\n    key: [id]\n    \
             columns: {id: string, user_id: string, at: timestamp, value: float64}\n",
        ),
        (
            "features/rates.yaml",
            "group: rates\nentity: user_id\nentities: rate\ntable: rate\naggregations:\n  \
             - {of: value, fn: [count, count_distinct, sum, mean, min, max, stddev, last]}\n",
        ),
    ]);
    let values = [1.0, f64::NAN, 3.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    let times: TimestampMicrosecondArray =
        (0..6).map(|hour| Some(micros(&format!("2024-02-29T0{hour}:00:00Z")))).collect();
    let rows = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new((0..6).map(|i| Some(format!("r{i}"))).collect::<StringArray>()) as ArrayRef, true),
        ("user_id", Arc::new(StringArray::from(vec!["u1"; 6])), true),
        ("at", Arc::new(times.with_timezone("UTC")), true),
        ("value", Arc::new(Float64Array::from(values.to_vec())), true),
    ])
    .unwrap();
    deliver(&world, "../rate/day=2024-02-29/a.parquet", &rows);
    run(&world, &["ingest", "tables", "features"], DAY);
    let sql = "select value_count, value_count_distinct, value_sum, value_mean, value_min, value_max, \
               value_stddev * value_stddev as variance, isnan(value_last) as last_is_nan from features.rates";
    let row = &world.query(sql)[0];
    let numbers: Vec<f64> =
        ["value_count", "value_count_distinct", "value_sum", "value_mean", "value_min", "value_max"]
            .iter()
            .map(|name| row[*name].as_f64().unwrap_or_else(|| panic!("{name}: {row}")))
            .collect();
    assert_eq!(numbers, [6.0, 5.0, 4.0, 2.0, 1.0, 3.0], "{row}");
    assert!((row["variance"].as_f64().unwrap() - 2.0).abs() < 1e-12, "{row}");
    assert_eq!(row["last_is_nan"], true);
}
