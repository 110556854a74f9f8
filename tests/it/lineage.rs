//! Column lineage: trees of the shipped project, edges of queries that are hard to read, and a graph without loose ends.

use std::collections::BTreeSet;
use std::path::Path;

use scorehouse::define::lineage::{Direction, Graph, Kind, Place};
use scorehouse::pipeline::lineage;
use serde_json::Value;

use crate::small;
use crate::support::{World, root};

fn said(arguments: &[&str]) -> String {
    let project = root().display().to_string();
    World::new().run(&[&["lineage", "--project", &project], arguments].concat()).ok().stdout
}

#[test]
fn a_feature_is_traced_to_its_sources_and_models() {
    let expected = "\
payments.cod_share_180d: Share of payments made in cash on delivery, of the last 180 days; null without payments.

comes from
├─ payments.cod_payments_180d
│  ├─ order_payments
│  │  ├─ join: payment.paid_at, payment.purchase_id, purchase_order.ordered_at, purchase_order.purchase_id
│  │  └─ rows: payment, purchase_order
│  └─ filter: order_payments.payment_method ← payment.payment_method
├─ payments.payments_180d ← order_payments …
└─ rows: payments
   ├─ time: order_payments.paid_at ← payment.paid_at
   ├─ entity: order_payments.user_id ← payment.user_id
   ├─ entity: users.user_id ← user.user_id
   ├─ rows: order_payments …
   └─ rows: users
      └─ rows: user

goes into
└─ buying, credit
";
    assert_eq!(said(&["payments.cod_share_180d"]), expected);
}

#[test]
fn a_source_column_is_followed_to_what_is_made_of_it() {
    let expected = "\
user.email [personal: drop]: Only its shape is kept, in the email_ columns.

goes into
├─ user.email_digits → users.email_digits
├─ user.email_free → users.email_free
└─ user.email_separated → users.email_separated
";
    assert_eq!(said(&["user.email", "--downstream"]), expected);
}

#[test]
fn windows_and_unions_are_read_off_the_plan() {
    let expected = "\
item_risk.risk: Return lines per order line of the product so far, drawn towards 1 in 50.

comes from
├─ group: order_line.product_id ← order_item.product_id
├─ group: return_line.product_id ← return_item.product_id
├─ order: order_line.line_no ← order_item.line_no
├─ order: order_line.ordered_at ← order_item.event_time
├─ order: order_line.purchase_id ← order_item.purchase_id
├─ order: return_line.line_no ← return_item.line_no
├─ order: return_line.return_id ← return_item.purchase_id
├─ order: return_line.returned_at ← return_item.event_time
└─ rows: item_risk
";
    let project = root().join("tests/projects/online_retail").display().to_string();
    let text = World::new().run(&["lineage", "item_risk.risk", "--upstream", "--project", &project]).ok().stdout;
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn a_query_comes_from_its_tables_and_from_who_exists() {
    let expected = "\
open_loans.owed: What is left to pay back of them; null without one.

comes from
├─ repayments.amount ← repayment.amount
├─ instalment_loan.amount
├─ filter: repayments.kind ← repayment.kind
└─ rows: open_loans
   ├─ filter: repayments.kind …
   ├─ filter: instalment_loan.instalments
   ├─ join: repayments.loan_id ← repayment.loan_id
   ├─ join: repayments.recorded_at ← repayment.recorded_at
   ├─ join: users.user_id ← user.user_id
   ├─ join: instalment_loan.loan_id, instalment_loan.opened_at, instalment_loan.user_id
   ├─ group: instalment_loan.amount, instalment_loan.instalments, instalment_loan.loan_id, instalment_loan.opened_at
   ├─ entity: users.user_id …
   ├─ rows: repayments
   │  └─ rows: repayment
   ├─ rows: users
   │  └─ rows: user
   └─ rows: instalment_loan
";
    assert_eq!(said(&["open_loans.owed", "--upstream"]), expected);
}

#[test]
fn without_a_name_every_dataset_has_a_line() {
    let text = said(&[]);
    let line = |name: &str| text.lines().find(|line| line.split_whitespace().nth(1) == Some(name)).unwrap().to_string();
    let words = |name: &str| line(name).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(
        words("order_payments"),
        "table order_payments 13 columns ← payment, purchase_order → payment_orders, payments"
    );
    assert_eq!(words("open_loans"), "query open_loans 3 columns ← instalment_loan, repayments, users");
    assert!(words("credit").starts_with("model credit ← activity, baskets, instalment_book,"), "{text}");
}

#[test]
fn json_has_the_nodes_and_edges_of_the_way() {
    let value: Value = serde_json::from_str(&said(&["payment_orders.is_part", "--upstream", "--json"])).unwrap();
    let ids: BTreeSet<&str> = value["nodes"].as_array().unwrap().iter().map(|n| n["id"].as_str().unwrap()).collect();
    assert!(
        ids.contains("sequences/payment_orders.is_part") && ids.contains("tables/purchase_order.amount"),
        "{ids:?}"
    );
    assert!(!ids.contains("tables/payment.channel"), "{ids:?}");
    let edge = value["edges"].as_array().unwrap().iter().find(|e| e["to"] == "sequences/payment_orders.is_part");
    assert_eq!(edge.unwrap()["from"], "tables/order_payments.amount");
    assert_eq!((&edge.unwrap()["through"], &edge.unwrap()["direct"]), (&"value".into(), &true.into()));
}

#[test]
fn an_unknown_name_has_a_neighbour() {
    let world = World::new();
    world.run(&["lineage", "payments.cod_shaer_180d"]).refuses(2, &["did you mean `payments.cod_share_180d`?"]);
    world.run(&["lineage", "nothing_like_it_at_all"]).refuses(2, &["`nothing_like_it_at_all`", "`scorehouse lineage`"]);
}

#[test]
fn a_project_that_is_wrong_says_so_first() {
    let world = small::world();
    world.write("features/pays.yaml", &small::FEATURES.replace("of: amount", "of: amuont"));
    let project = world.project.display().to_string();
    world.run(&["lineage", "--project", &project]).refuses(2, &["features/pays.yaml:6:", "did you mean `amount`?"]);
}

// ---- the graph --------------------------------------------------------------------------------------------------

/// `through from` of everything that a place depends on at one step, its own dataset's rows aside.
fn parents(graph: &Graph, name: &str) -> Vec<String> {
    let found = graph.find(name);
    let place = found.first().unwrap_or_else(|| panic!("no {name}"));
    let parents =
        graph.next(place, Direction::Up).filter(|(_, from)| from.dataset != place.dataset || from.column.is_some());
    parents.map(|(through, from)| format!("{} {}", through.name(), from.name())).collect()
}

/// The small project with one more table, `t`.
fn with_table(sql: &str, columns: &str) -> Graph {
    let world = small::world();
    let docs: Vec<String> = columns.split_whitespace().map(|name| format!("  {name}: {{doc: A column.}}\n")).collect();
    world.write("sql/t.sql", sql);
    world.write("sql/t.yaml", &format!("materialized: full\ncolumns:\n{}", docs.concat()));
    lineage::run(&world.project).unwrap()
}

#[test]
fn values_and_what_chooses_among_them_are_told_apart() {
    let graph = with_table(
        "select case when id = 'x' then amount else 0 end as a, coalesce(user_id, id) as b, 1 as c from pay",
        "a b c",
    );
    assert_eq!(parents(&graph, "t.a"), ["value pay.amount", "condition pay.id"]);
    assert_eq!(parents(&graph, "t.b"), ["value pay.id", "value pay.user_id"]);
    assert_eq!(parents(&graph, "t.c"), [""; 0]);
    assert_eq!(parents(&graph, "t"), ["rows pay"]);
}

#[test]
fn grouping_filters_and_aggregates() {
    let sql = "select user_id, sum(amount) filter (where id <> 'x') as s, count(*) as n from pay where amount > 0 \
               group by user_id having max(paid_at) is not null";
    let graph = with_table(sql, "user_id s n");
    assert_eq!(parents(&graph, "t.s"), ["value pay.amount", "filter pay.id"]);
    assert_eq!(parents(&graph, "t.n"), [""; 0]);
    assert_eq!(parents(&graph, "t"), ["filter pay.amount", "filter pay.paid_at", "group pay.user_id", "rows pay"]);
}

#[test]
fn subqueries_are_joins_and_stars_are_columns() {
    let sql = "with good as (select * from payments) select g.* from good g \
               where exists (select 1 from people p where p.user_id = g.user_id)";
    let graph = with_table(sql, "id user_id paid_at amount event_date");
    assert_eq!(parents(&graph, "t.amount"), ["value payments.amount"]);
    assert_eq!(parents(&graph, "t"), ["join payments.user_id", "join people.user_id", "rows payments", "rows people"]);
}

#[test]
fn features_depend_on_what_they_name() {
    let world = small::world();
    world.write(
        "features/pays.yaml",
        "group: pays\nentity: user_id\nentities: people\ntable: payments\nwhere: amount > 0\naggregations:\n\
         - {of: amount, fn: [sum, last], where: \"id <> 'amount'\", over: [1d]}\n\
         - {fn: time_since_last}\n\
         derived: {x: \"amount_sum_1d / time_since_last\", y: \"case when x > 1 then 1 else 0 end\"}\n",
    );
    let graph = lineage::run(&world.project).unwrap();
    assert_eq!(parents(&graph, "pays.amount_sum_1d"), ["value payments.amount", "filter payments.id"]);
    assert_eq!(
        parents(&graph, "pays.amount_last_1d"),
        ["value payments.amount", "filter payments.id", "order payments.id"]
    );
    assert_eq!(parents(&graph, "pays.time_since_last"), ["value payments.paid_at"]);
    assert_eq!(parents(&graph, "pays.x"), ["value pays.amount_sum_1d", "value pays.time_since_last"]);
    assert_eq!(parents(&graph, "pays.y"), ["condition pays.x"]);
    let expected = [
        "filter payments.amount",
        "time payments.paid_at",
        "entity payments.user_id",
        "entity people.user_id",
        "rows payments",
        "rows people",
    ];
    assert_eq!(parents(&graph, "pays"), expected);
}

#[test]
fn queries_attributes_and_interleaved_tables() {
    let graph = lineage::run(&root().join("tests/projects/lender")).unwrap();
    assert_eq!(
        parents(&graph, "asked.amount_pln"),
        [
            "value application.amount",
            "value rate.pln",
            "join application.currency",
            "join rate.currency",
            "order rate.currency",
            "order rate.quoted_at",
            "time rate.quoted_at",
        ]
    );
    let first_due = ["value application.applied_at", "value application.first_due_date"];
    assert_eq!(parents(&graph, "asked.days_to_first_due"), first_due);
    assert_eq!(parents(&graph, "asked"), ["rows application", "rows bank", "rows rate"]);
    assert_eq!(parents(&graph, "since_application.amount"), ["value payment.amount"]);
    assert_eq!(parents(&graph, "trail.amount"), ["value application.amount", "value payment.amount"]);
    assert_eq!(parents(&graph, "trail.kind"), ["value application", "value payment"]);
    assert_eq!(parents(&graph, "trail.currency"), ["value application.currency"]);
    let times = ["value application.applied_at", "value payment.paid_at"];
    assert_eq!(parents(&graph, "trail.hours_since_previous"), times);
    let model = parents(&graph, "default");
    for input in ["value asked.bank_country", "value since_application.payments", "rows asked", "rows cards"] {
        assert!(model.iter().any(|parent| parent == input), "{input}: {model:#?}");
    }
}

#[test]
fn weights_anchors_and_acceptance_are_part_of_what_a_model_is_made_from() {
    let world = small::world();
    let model = "model: m\ndescription: D.\nentity: user_id\nspine: {table: payments, key: [id]}\nlabel:\n  table: payments\n  \
                 horizon: 7d\n  anchor: {table: payments, where: amount > 5, within: 3d}\nweight: {column: 1 / amount}\n\
                 reject_inference: {kind: augmentation, accepted: id <> 'p9'}\ninputs: [pays.payments_30d]\n\
                 head: {kind: tree}\nvalidation: {kind: time, test: 7d}\nfairness: {groups: {regulars: pays.payments_1d > 1}}\n\
                 decisions: [{action: a, below: 0.5}, {action: b}]\nscoring: {population: people}\n";
    world.write("models/m.yaml", model);
    let model = parents(&lineage::run(&world.project).unwrap(), "m");
    for parent in [
        "weight payments.amount",
        "filter payments.id",
        "label payments.amount",
        "label payments.paid_at",
        "label payments.user_id",
        "segment pays.payments_1d",
        "value pays.payments_30d",
    ] {
        assert!(model.iter().any(|found| found == parent), "{parent}: {model:#?}");
    }
}

#[test]
fn what_a_query_may_say_and_a_table_may_not_is_traced_too() {
    let world = small::world();
    let twin = "sql_features: f\nentity: user_id\nentities: people\ncolumns: {a: {doc: A.}, b: {doc: B.}}\n";
    world.write("features/f.yaml", twin);
    world.write(
        "features/f.sql",
        "select distinct on (s._row) s._row, p.amount as a, s.as_of > p.paid_at as b from spine s join payments p \
         on p.user_id = s.user_id order by s._row, p.id",
    );
    let graph = lineage::run(&world.project).unwrap();
    assert_eq!(parents(&graph, "f.a"), ["value payments.amount"]);
    assert_eq!(parents(&graph, "f.b"), ["value payments.paid_at"]);
    world.write(
        "features/f.sql",
        "select s._row, (select amount from payments order by id limit 1) as a, (select max(amount) from payments) as b \
         from spine s",
    );
    let graph = lineage::run(&world.project).unwrap();
    assert_eq!(parents(&graph, "f.a"), ["value payments.amount"]);
    assert_eq!(parents(&graph, "f.b"), ["value payments.amount"]);
}

#[test]
fn every_edge_joins_two_known_places_and_every_input_of_a_model_has_a_source() {
    for project in [".", "tests/projects/online_retail", "tests/projects/superlender", "tests/projects/lender"] {
        let graph = lineage::run(&root().join(Path::new(project))).unwrap();
        for (from, to, _) in graph.edges() {
            assert!(graph.node(from).is_some() && graph.node(to).is_some(), "{project}: {from} → {to}");
        }
        let kinds = [Kind::Group, Kind::SqlFeatures, Kind::Sequence, Kind::Attributes];
        let features: Vec<&Place> = graph.nodes().filter(|(_, n)| kinds.contains(&n.kind)).map(|(p, _)| p).collect();
        assert!(features.len() > 10);
        for feature in features {
            let up = graph.reach(&[feature], &[Direction::Up]);
            let sources = up.nodes().filter(|(place, node)| node.kind == Kind::Source && place.column.is_some());
            assert!(sources.count() > 0, "{project}: {feature} comes from no source");
        }
    }
}
