//! `scorehouse verify`: it passes on what is right, and catches what leaks or is not what the definitions say.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::DataFrame;
use scorehouse::define::Diagnostic;
use scorehouse::define::features::{History, Visibility};
use scorehouse::engine::session::Session;
use scorehouse::error::Result;
use scorehouse::pipeline::verify::proof::{Proof, prove};
use scorehouse::pipeline::verify::subject::{Read, Subject};

use crate::agree::data::{DAY, Event, HOUR, START, some_event, table};
use crate::agree::run::{block_on, open};
use crate::night::NIGHT;
use crate::small::{self, two_days};
use crate::support::World;

/// A definition in SQL over `pay` and `spine`, as people write them.
struct Query {
    sql: &'static str,
    people: History,
}

impl Query {
    fn new(sql: &'static str) -> Query {
        let people = History {
            entity: vec!["user_id".into()],
            entities: "users".into(),
            table: "pay".into(),
            event_time: None,
            visibility: Visibility::Known,
            filter: None,
        };
        Query { sql, people }
    }
}

#[async_trait]
impl Subject for Query {
    fn name(&self) -> String {
        "query".into()
    }

    fn people(&self) -> &History {
        &self.people
    }

    fn reads(&self) -> Vec<Read> {
        vec![Read::new("pay", &["paid_at"], &self.people.entity)]
    }

    async fn compute(
        &self,
        session: &Session,
        mut tables: HashMap<String, DataFrame>,
        spine: DataFrame,
    ) -> Result<SendableRecordBatchStream> {
        session.register("pay", tables.remove("pay").unwrap().into_view())?;
        session.register("spine", spine.into_view())?;
        Ok(session.sql(self.sql).await?.execute_stream().await?)
    }

    fn at(&self, column: &str, message: String) -> Diagnostic {
        Diagnostic::new("features/query.sql", (1, 1), message).help(column)
    }
}

/// Ten users with a payment every few hours, known at the end of its day; one in seven comes two days late, one in five
/// is corrected a day later.
fn payments() -> RecordBatch {
    let mut events = Vec::new();
    for id in 0..400 {
        let time = START + id * 5 * HOUR / 2;
        let known = time / DAY * DAY + DAY * if id % 7 == 0 { 3 } else { 1 };
        let first = Event {
            user: Some(id % 10),
            id,
            time: Some(time),
            from: known,
            amount: Some(i128::from(id) * 17 % 4099),
            ..some_event()
        };
        if id % 5 == 0 {
            let mended = Event { from: known + DAY, amount: Some(1), ..first.clone() };
            events.extend([Event { until: Some(known + DAY), ..first }, mended]);
        } else {
            events.push(first);
        }
    }
    table(&events)
}

fn proof_of(query: &Query) -> Proof {
    let users: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10));
    let people = RecordBatch::try_from_iter([("user_id", users)]).unwrap();
    let tables = BTreeMap::from([("pay".to_string(), payments())]);
    block_on(prove(&open(2, None), query, &tables, &people, START + 30 * DAY, 1)).unwrap()
}

const HONEST: &str = "select s.user_id, s.as_of, s._row, sum(p.amount) as paid, count(p.pay_id) as payments
    from spine s left join pay p on p.user_id = s.user_id
        and p.paid_at < s.as_of and p._known_from <= s.as_of
        and (p._known_until is null or s.as_of < p._known_until)
    group by 1, 2, 3";

#[test]
fn a_query_that_keeps_to_what_was_known_holds() {
    let proof = proof_of(&Query::new(HONEST));
    assert_eq!(proof.leaks.len(), 0, "{:#?}", proof.leaks);
    assert_eq!((proof.spine_rows, proof.features), (50, 2));
    assert!(proof.perturbed > 500, "{proof:?}");
}

#[test]
fn each_way_to_leak_is_caught() {
    for (honest, leaking) in [
        ("and p.paid_at < s.as_of", ""),
        ("and p._known_from <= s.as_of", ""),
        // A decision sees nothing of its own instant …
        ("p.paid_at < s.as_of", "p.paid_at <= s.as_of"),
        // … and cannot know that a version will be replaced.
        ("(p._known_until is null or s.as_of < p._known_until)", "p._known_until is null"),
        // … and does not count what was corrected by then.
        ("and (p._known_until is null or s.as_of < p._known_until)", ""),
    ] {
        let sql = HONEST.replace(honest, leaking);
        assert_ne!(sql, HONEST);
        assert!(!proof_of(&Query::new(sql.leak())).leaks.is_empty(), "`{leaking}` for `{honest}`");
    }
}

#[test]
fn a_leak_is_named_with_definition_entity_instant_feature_and_both_values() {
    let query = Query::new(
        "select s.user_id, s.as_of, s._row, count(*) as payments
        from spine s join pay p on p.user_id = s.user_id group by 1, 2, 3",
    );
    let proof = proof_of(&query);
    let leak = &proof.leaks[0];
    let text = leak.diagnostic.to_string();
    let (expected, found) = (&leak.difference.expected, &leak.difference.found);
    for part in [
        "features/query.sql:1:1: payments of query sees more than was known of user_id = ",
        &format!(" at {}", leak.as_of),
        &format!("found: {found} with other rows"),
        &format!("expected: {expected}, whatever those"),
        "help: a row counts only if event_time < as_of",
    ] {
        assert!(text.contains(part), "expected {part:?} in\n{text}");
    }
}

#[test]
fn a_query_that_fails_on_another_future_has_seen_it() {
    let proof = proof_of(&Query::new(
        "select s.user_id, s.as_of, s._row, 1 / cast(p.n = 480 as int) as x from spine s,
        (select count(*) as n from pay) p",
    ));
    assert!(proof.leaks[0].difference.found.contains("Divide by zero"), "{:#?}", proof.leaks);
}

fn verify(world: &World, date: &str, arguments: &[&str]) -> crate::support::Said {
    let project = world.project.display().to_string();
    let mut all = vec!["verify", "--date", date, "--project", &project, "--json"];
    all.extend(arguments);
    world.run(&all)
}

#[test]
fn the_shipped_project_does_not_leak_and_stores_what_it_says() {
    let proofs = verify(&NIGHT, "2025-06-30", &["--entities", "10"]).ok().json();
    let proofs = proofs["definitions"].as_array().unwrap().clone();
    assert!(proofs.len() >= 9, "{proofs:#?}");
    for proof in &proofs {
        assert_eq!(proof["leaks"].as_array().unwrap().len(), 0);
        assert!(proof["spine_rows"] == 50 && proof["perturbed"].as_u64() > Some(0), "{proof}");
    }
    assert!(proofs.iter().any(|proof| proof["definition"] == "SQL features open_loans"));
    let compared = verify(&NIGHT, "2025-06-30", &["--sample", "20"]).ok().json();
    for table in compared["tables"].as_array().unwrap() {
        assert_eq!((table["entities"].as_u64(), table["mismatches"].as_array().unwrap().len()), (Some(20), 0));
    }
}

#[test]
fn what_is_stored_is_held_to_the_definitions() {
    let world = small::world();
    two_days(&world);
    for job in ["ingest", "tables"] {
        world.job(job, "2024-02-29").ok();
    }
    verify(&world, "2024-02-29", &["--sample", "5"]).refuses(3, &["the night 2024-02-29 is not stored", "features"]);
    world.job("features", "2024-02-29").ok();
    verify(&world, "2024-02-29", &["--sample", "5"]).ok();
    verify(&world, "2024-02-29", &[]).ok();
    // The definition changes, the table does not.
    world.write("features/pays.yaml", &small::FEATURES.replace("fn: count, as", "fn: count, where: amount > 5, as"));
    verify(&world, "2024-02-29", &["--sample", "5", "--select", "pays"]).refuses(
        1,
        &[
            "features/pays: payments_30d of user_id = u1",
            "found: 3",
            "expected: 2",
            "scorehouse features --date 2024-02-29",
        ],
    );
}
