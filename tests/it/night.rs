//! Nights of the shipped project on generated events, through the binary, as a scheduler runs them.

use std::sync::LazyLock;

use crate::support::World;

/// A world after one night, shared by the tests that only look at it.
pub static NIGHT: LazyLock<World> = LazyLock::new(|| {
    let world = World::new();
    generate(&world, "2025-06-30");
    world.job("nightly", "2025-06-30").ok();
    world
});

fn generate(world: &World, date: &str) {
    world.run(&["generate", "--users", "4000", "--days", "400", "--seed", "3", "--date", date]).ok();
}

#[test]
fn everybody_is_scored_once_and_decided_by_the_thresholds() {
    let users = NIGHT.query("select count(*) as n from users")[0]["n"].as_u64().unwrap();
    assert!(users > 1000, "{users}");
    for (model, actions) in [
        ("credit", &["emi", "no_emi"][..]),
        ("buying", &["cash_on_delivery_free_delivery", "cash_on_delivery", "prepaid_only"][..]),
    ] {
        let rows = NIGHT.query(&format!(
            "select count(*) as n, count(distinct user_id) as users, min(score) as low, max(score) as high, \
             count(probability) as scored, min(as_of) as first, max(as_of) as last from scores.{model}"
        ));
        assert_eq!(rows[0]["n"], users, "{model}");
        assert_eq!(rows[0]["users"], users, "{model}");
        assert_eq!(rows[0]["scored"], users, "{model}");
        assert_eq!(rows[0]["first"], rows[0]["last"]);
        assert!(rows[0]["first"].as_str().unwrap().starts_with("2025-07-01T00:00:00"), "{rows:?}");
        let (low, high) = (rows[0]["low"].as_f64().unwrap(), rows[0]["high"].as_f64().unwrap());
        // Scorecard points have no ends.
        assert!(low < high && (model == "credit" || low >= 0.0 && high <= 100.0), "{low} {high}");
        let decisions = NIGHT.query(&format!("select distinct decision from scores.{model}"));
        for row in decisions {
            assert!(actions.contains(&row["decision"].as_str().unwrap()), "{row}");
        }
    }
}

#[test]
fn a_second_run_of_the_night_commits_nothing() {
    let world = World::new();
    world.run(&["generate", "--users", "300", "--days", "400", "--seed", "4", "--date", "2025-06-30"]).ok();
    let first = world.job("nightly", "2025-06-30");
    assert!(first.code == 0 || first.code == 4, "{first:#?}");
    let before = world.versions();
    let second = world.job("nightly", "2025-06-30");
    assert_eq!(second.code, first.code);
    assert_eq!(world.versions(), before, "{}", second.stdout);
}

#[test]
fn open_loans_are_those_that_the_events_leave_open() {
    let book = "select l.loan_id, l.user_id, l.amount, l.instalments, coalesce(r.paid, 0) as paid, r.amount as repaid, \
                coalesce(r.defaulted, 0) as defaulted from instalment_loan l left join (select loan_id, \
                sum(case when kind = 'paid' then 1 else 0 end) as paid, \
                sum(case when kind = 'defaulted' then 1 else 0 end) as defaulted, \
                sum(case when kind = 'paid' then amount end) as amount from repayment \
                group by loan_id) r on r.loan_id = l.loan_id";
    let by_events = NIGHT.query(&format!(
        "select count(*) as loans, count(distinct user_id) as users, cast(sum(amount - coalesce(repaid, 0)) as varchar) \
         as owed from ({book}) where paid < instalments and defaulted = 0",
    ));
    let by_features = NIGHT.query(
        "select sum(loans) as loans, sum(case when loans > 0 then 1 else 0 end) as users, \
         cast(sum(owed) as varchar) as owed from features.open_loans",
    );
    assert!(by_events[0]["loans"].as_u64() > Some(100), "{by_events:?}");
    assert_eq!(by_features, by_events);
    let late = NIGHT.query("select min(days_overdue) as least, max(days_overdue) as most from features.open_loans");
    let (least, most) = (late[0]["least"].as_f64().unwrap(), late[0]["most"].as_f64().unwrap());
    assert!((-60.0..0.0).contains(&least) && most > 0.0, "{late:?}");
}

#[test]
fn ingest_accounts_for_every_row() {
    let rows = NIGHT.query(
        "select source, sum(rows_read) as read, sum(rows_written) as written, sum(duplicates) as duplicate, \
         sum(quarantined) as quarantined from manifest group by source order by source",
    );
    assert_eq!(rows.len(), 14, "{rows:#?}");
    for row in rows {
        let n = |key: &str| row[key].as_i64().unwrap();
        assert_eq!(n("read"), n("written") + n("duplicate") + n("quarantined"), "{row}");
    }
}

#[test]
fn every_job_leaves_a_row_in_runs() {
    let rows = NIGHT.query("select job, status, peak_memory from runs order by started_at");
    let jobs: Vec<&str> = rows.iter().map(|row| row["job"].as_str().unwrap()).collect();
    assert_eq!(jobs, ["ingest", "tables", "features", "train", "gate", "score", "monitor", "report"]);
    assert!(rows.iter().all(|row| row["status"] == "ok" && row["peak_memory"].as_u64().unwrap() > 1 << 20));
}

#[test]
fn training_rows_are_only_those_whose_label_is_known() {
    for (model, days) in [("credit", 91), ("buying", 30)] {
        let rows = NIGHT.query(&format!("select max(as_of) as last from training_sets.{model}"));
        let last = rows[0]["last"].as_str().unwrap()[..10].parse::<chrono::NaiveDate>().unwrap();
        let limit = chrono::NaiveDate::from_ymd_opt(2025, 7, 1).unwrap() - chrono::Days::new(days);
        assert!(last <= limit, "{model}: {last} > {limit}");
    }
}

#[test]
fn a_model_is_not_far_from_the_best_that_aggregates_allow() {
    // Small data: this guards against a broken chain, not against a weak model. Full size: benches/night.sh.
    for model in ["credit", "buying"] {
        let rows = NIGHT.query(&format!("select metrics from registry where model = '{model}' and event = 'trained'"));
        let metrics: serde_json::Value = serde_json::from_str(rows[0]["metrics"].as_str().unwrap()).unwrap();
        let auc = metrics["roc_auc"].as_f64().unwrap();
        assert!((0.55..0.95).contains(&auc), "{model}: {auc}");
    }
}

#[test]
fn a_night_before_there_is_a_champion_decides_nothing() {
    let world = World::new();
    world.run(&["generate", "--users", "200", "--days", "90", "--seed", "5", "--date", "2025-06-30"]).ok();
    for job in ["ingest", "tables", "features", "score"] {
        world.job(job, "2025-06-30").ok();
    }
    let rows =
        world.query("select decision, count(probability) as scored, count(*) as n from scores.credit group by 1");
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0]["decision"].as_str(), rows[0]["scored"].as_u64()), (Some("no_champion"), Some(0)));
}
