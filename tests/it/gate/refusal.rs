//! Each check refuses: a situation in which it is red and nothing else is.

use super::world::{
    FIRST, GOOD, NOISE, SECOND, THIRD, aliases, artifact, champion, checks, fresh, gate, lake_file, model, models,
    train, verdict, world,
};
use crate::support::World;

/// Trains such a model in the second night; it is refused by this check alone, and the champion scores.
#[track_caller]
fn refused(text: &str, by: &[&str]) -> (World, serde_json::Value) {
    let world = world();
    let before = champion(&world);
    world.write("models/again.yaml", text);
    train(&world, SECOND);
    let said = gate(&world, SECOND).refuses(4, &["the gate refused", "is refused: "]);
    let verdict = verdict(&said);
    assert_eq!(checks(&verdict, "fail"), by, "{verdict:#}");
    assert_eq!(verdict["passed"], false);
    assert_eq!(champion(&world), before);
    world.job("score", SECOND).ok();
    let rows = world.query(&format!(
        "select count(*) as n, count(distinct model_version) as versions, min(model_version) as version \
         from scores.again where logical_date = '{SECOND}'"
    ));
    assert_eq!(rows[0]["version"], before.as_str(), "{rows:?}");
    assert_eq!(rows[0]["versions"], 1);
    (world, verdict)
}

#[test]
fn average_precision_is_worse_by_more_than_chance() {
    let (world, verdict) =
        refused(&model(NOISE, &[("average_precision", "{min_change: -0.05}")], ""), &["average_precision"]);
    let check = verdict["checks"].as_array().unwrap().iter().find(|c| c["metric"] == "average_precision").unwrap();
    assert!(check["high"].as_f64().unwrap() < -0.05, "{check}");
    assert!(check["candidate"].as_f64().unwrap() + 0.1 < check["champion"].as_f64().unwrap(), "{check}");
    // Side by side, what matters first.
    let csv = lake_file(&world, &format!("reports/again/{SECOND}/differences.csv"));
    let lines: Vec<&str> = csv.split("\r\n").collect();
    assert_eq!(lines[0], "user_id,as_of,score,live_score,absolute_difference,action,live_action,action_changes");
    assert_eq!(lines.len(), super::world::PEOPLE + 2);
    let changes: Vec<bool> = lines[1..lines.len() - 1].iter().map(|line| line.ends_with(",true")).collect();
    let first = changes.iter().filter(|changes| **changes).count();
    assert!(first > 20 && changes[..first].iter().all(|changes| *changes), "{first} of {}", changes.len());
    let far: Vec<f64> = lines[1..=first].iter().map(|line| line.split(',').nth(4).unwrap().parse().unwrap()).collect();
    assert!(far.windows(2).all(|pair| pair[0] >= pair[1]), "{far:?}");
    let stored = world.query(
        "select count(*) as n, sum(case when action_changes then 1 else 0 end) as changes from differences.again",
    );
    assert_eq!(
        (stored[0]["n"].as_u64(), stored[0]["changes"].as_u64()),
        (Some(super::world::PEOPLE as u64), Some(first as u64))
    );
    let actions = format!("{first} of {} people would get another action", super::world::PEOPLE);
    assert!(verdict["checks"].as_array().unwrap().iter().any(|c| c["note"] == actions.as_str()), "{verdict:#}");
}

#[test]
fn roc_auc_is_worse() {
    refused(&model(NOISE, &[("roc_auc", "{min_change: -0.05, confidence: 0.9}")], ""), &["roc_auc"]);
}

#[test]
fn probabilities_are_wrong() {
    refused(&model(GOOD, &[("calibration_error", "{max: 0.0001}")], ""), &["calibration_error"]);
}

#[test]
fn other_inputs_matter() {
    let (_, verdict) = refused(&model(NOISE, &[("rank_agreement", "{min: 0.5}")], ""), &["rank_agreement"]);
    let check = verdict["checks"].as_array().unwrap().iter().find(|c| c["metric"] == "rank_agreement").unwrap();
    assert_eq!(check["note"], "trained on other columns: 1 that the champion lacks, without 3 of its own");
}

#[test]
fn too_many_get_another_action() {
    refused(&model(NOISE, &[("action_changes", "{max: 0.05}")], ""), &["action_changes"]);
}

#[test]
fn scores_are_distributed_otherwise() {
    refused(&model(NOISE, &[("psi", "{max: 0.25}")], ""), &["psi"]);
}

#[test]
fn too_few_are_covered() {
    // Who did not pay on the last day has no such amount.
    refused(&model("[pays.amount_last_1d]", &[("coverage", "{min: 0.95}")], ""), &["coverage"]);
}

#[test]
fn groups_are_treated_apart() {
    let more = "fairness: {groups: {habit: \"case when pays.payments_30d > 8 then 'often' else 'seldom' end\"}, min_rows: 20}\n";
    let parity = [("demographic_parity", "{max: 0.2}")];
    let (world, _) = refused(&model(GOOD, &parity, more), &["demographic_parity.habit"]);
    let rows = world.query("select model_version, \"group\", rows, favoured from fairness.again order by 1, 2");
    assert_eq!(rows.len(), 4, "two groups by candidate and champion: {rows:?}");
    refused(&model(GOOD, &[("equal_opportunity", "{max: 0.05}")], more), &["equal_opportunity.habit"]);
}

#[test]
fn a_floor_is_not_reached() {
    let text = model(GOOD, &[], "gate:\n  floors: {roc_auc: 0.999}\n");
    refused(&text, &["floor.roc_auc"]);
}

#[test]
fn a_model_that_says_the_same_of_everybody_is_refused() {
    let trees = model(GOOD, &[], "").replace("min_data_in_leaf: 20", "min_data_in_leaf: 100000");
    let head = trees.lines().find(|line| line.starts_with("head:")).unwrap();
    // So strong a penalty that no weight is worth its price.
    let linear = trees.replace(head, "head: {kind: logistic, params: {C: 0.000001, penalty: l1}}");
    for text in [trees, linear] {
        let (_, verdict) = refused(&text, &["distinct_scores"]);
        let notes: Vec<&str> =
            verdict["checks"].as_array().unwrap().iter().map(|check| check["note"].as_str().unwrap()).collect();
        assert!(notes.iter().any(|note| note.contains("the same of everybody")), "{notes:?}");
    }
}

#[test]
fn asserts_name_cases_that_must_get_an_action() {
    let entity = "gate:\n  asserts: [{name: a good payer, entity: u000, action: wait}]\n";
    refused(&model(GOOD, &[], entity), &["assert.a good payer"]);
    let rows = "gate:\n  asserts: [{name: who pays, where: pays.payments_30d > 8, action: wait, share: 0.5}]\n";
    let (_, verdict) = refused(&model(GOOD, &[], rows), &["assert.who pays"]);
    let check = verdict["checks"].as_array().unwrap().iter().find(|c| c["metric"] == "assert.who pays").unwrap();
    assert_eq!(check["threshold"], 0.5);
    assert!(check["note"].as_str().unwrap().contains("get wait"), "{check}");
}

#[test]
fn an_assert_that_names_nobody_is_an_error_of_the_definition() {
    let world = world();
    let before = champion(&world);
    let text = model(GOOD, &[], "gate:\n  asserts:\n    - {name: somebody, entity: u999, action: wait}\n");
    let line = text.lines().position(|line| line.contains("u999")).unwrap() + 1;
    world.write("models/again.yaml", &text);
    train(&world, SECOND);
    let place = format!("models/again.yaml:{line}:");
    gate(&world, SECOND).refuses(2, &["assert `somebody` names an unknown entity", &place, "found: u999", "240"]);
    assert_eq!(champion(&world), before);
    // A night scores all the same, and says so last.
    let night = world.job("nightly", SECOND).refuses(2, &["names an unknown entity"]);
    assert_eq!(night.line("scores/again")["details"]["model_version"], before.as_str());
}

#[test]
fn small_losses_do_not_add_up() {
    let world = world();
    let first = champion(&world);
    world.write("models/again.yaml", &model(NOISE, &[], ""));
    train(&world, SECOND);
    gate(&world, SECOND).ok();
    let worse = champion(&world);
    assert_ne!(worse, first);
    // No worse than the champion, but far worse than the anchor.
    let checks_of = [("average_precision", "{min_change: -0.1}"), ("anchor", "{min_change: -0.1}")];
    world.write("models/again.yaml", &model(NOISE, &checks_of, ""));
    train(&world, THIRD);
    let said = gate(&world, THIRD).refuses(4, &["anchor is "]);
    assert_eq!(checks(&verdict(&said), "fail"), ["anchor"]);
    // Another anchor, declared by hand, lets it pass.
    models(&world, &["promote", "again", &worse, "--anchor", "--reason", "prices changed"]).ok();
    assert_eq!(aliases(&world)[3], Some(worse));
}

#[test]
fn a_first_version_is_held_to_floors_asserts_and_coverage() {
    let world = fresh();
    let more = "gate:\n  floors: {roc_auc: 0.6}\n  asserts: [{name: a good payer, entity: u000, action: write}]\n";
    world.write("models/again.yaml", &model(GOOD, &[], more));
    for job in ["ingest", "tables", "features", "train"] {
        world.job(job, FIRST).ok();
    }
    assert_eq!(aliases(&world)[0], None, "training promotes nobody");
    let verdict = verdict(&gate(&world, FIRST).ok());
    assert_eq!(checks(&verdict, "pass"), ["floor.roc_auc", "distinct_scores", "coverage", "assert.a good payer"]);
    assert_eq!(verdict["champion"], serde_json::Value::Null);
    let [champion, previous, candidate, anchor] = aliases(&world);
    assert!(champion.is_some() && champion == anchor && previous.is_none() && candidate.is_none());
}

#[test]
fn a_champion_that_cannot_be_read_is_named_and_stays() {
    let broken = |damage: &dyn Fn(&std::path::Path), code: i32, says: &[&str]| {
        let world = world();
        let before = champion(&world);
        train(&world, SECOND);
        damage(&artifact(&world, &before));
        gate(&world, SECOND).refuses(code, says);
        assert_eq!(champion(&world), before);
        world.job("score", SECOND).refuses(code, &["the champion cannot score"]);
    };
    let gone = ["the champion cannot be compared with", "is gone", "models rollback"];
    broken(&|dir| std::fs::remove_dir_all(dir).unwrap(), 3, &gone);
    let cut = |dir: &std::path::Path| std::fs::write(dir.join("model.txt"), "tree\n").unwrap();
    broken(&cut, 3, &["the champion cannot be compared with", "model.txt is not what was written"]);
}
