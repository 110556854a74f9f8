//! Monitoring: what moved is measured every night, what warns is said, and what fails ends the night with 3, with its
//! scores written.

use super::world::{FIRST, GOOD, SECOND, THIRD, model, world};

#[test]
fn drift_and_past_scores_are_measured_every_night() {
    let world = world();
    world.job("monitor", FIRST).ok();
    let rows = world.query(
        "select what, subject, status, change from monitoring.again where what in ('psi', 'population') order by 1, 2",
    );
    let found: Vec<_> =
        rows.iter().map(|row| (row["what"].as_str().unwrap(), row["subject"].as_str().unwrap())).collect();
    let inputs = ["pays.amount_sum_30d", "pays.payments_1d", "pays.payments_30d"];
    let psi = inputs.map(|input| ("psi", input));
    assert_eq!(found, [&[("population", "rows")], &psi[..], &[("psi", "score")]].concat());
    // The night of training is the baseline: nothing has moved.
    assert!(rows.iter().all(|row| row["status"] == "ok" && row["change"].as_f64().unwrap().abs() < 1e-9), "{rows:#?}");
    let versions = world.versions();
    world.job("monitor", FIRST).ok();
    assert_eq!(world.versions(), versions, "once per night and inputs");
    // Scores of the first night are known right or wrong a day later.
    world.job("score", SECOND).ok();
    world.job("score", THIRD).ok();
    world.job("monitor", THIRD).ok();
    let rows = world.query(&format!(
        "select what, value, baseline, status, note from monitoring.again where logical_date = '{THIRD}' \
         and what in ('auc_drop', 'base_rate', 'calibration_error') order by what"
    ));
    assert_eq!(rows.len(), 3);
    for row in &rows {
        assert!(row["value"].is_number() && row["status"] != "skipped", "{row}");
    }
    // Of 240 people on thirty days, those who paid.
    let days = "select distinct user_id, date_trunc('day', paid_at) from pay";
    let by_hand = world.query(&format!("select count(*) / {}.0 as rate from ({days}) d", 30 * super::world::PEOPLE));
    let rate = by_hand[0]["rate"].as_f64().unwrap();
    assert!((rows[1]["value"].as_f64().unwrap() - rate).abs() < 1e-9, "{rate} {rows:?}");
}

#[test]
fn what_warns_is_said_and_what_fails_ends_with_three_after_the_scores() {
    let world = world();
    let sharp = |level: &str| {
        // A base rate that may not move by a thousandth.
        model(GOOD, &[], &format!("monitoring: {{base_rate: {{{level}: 0.000001}}}}\n"))
    };
    world.job("score", SECOND).ok();
    world.write("models/again.yaml", &sharp("warn"));
    let said = world.job("monitor", SECOND).ok();
    assert!(said.stderr.contains("base_rate of label is "), "{}", said.stderr);
    assert!(said.line("monitoring/again")["details"]["warn"].as_u64() >= Some(1));
    let rows = world.query("select status, change from monitoring.again where what = 'base_rate'");
    assert_eq!(rows[0]["status"], "warn", "{rows:?}");
    world.write("models/again.yaml", &sharp("fail"));
    let night = world
        .job("nightly", THIRD)
        .refuses(3, &["monitoring failed: again: base_rate of label is", "the scores are written"]);
    assert_eq!(night.line("scores/again")["rows"].as_u64(), Some(super::world::PEOPLE as u64));
    let versions = world.versions();
    world.job("monitor", THIRD).refuses(3, &["monitoring failed"]);
    assert_eq!(world.versions(), versions);
}
