//! Promotion: by the gate, by force, back, and by a night that is killed on the way.

use super::world::{
    FIRST, NOISE, SECOND, THIRD, aliases, artifact, champion, checks, gate, model, models, overwrite, train, verdict,
    world,
};
use crate::support::{World, said, scorehouse};

/// A world with a candidate in its second night.
fn candidate() -> (World, String) {
    let world = world();
    train(&world, SECOND);
    let candidate = aliases(&world)[2].clone().unwrap();
    (world, candidate)
}

#[test]
fn a_candidate_that_passes_becomes_the_champion_in_one_commit() {
    let (world, candidate) = candidate();
    let before = champion(&world);
    assert_ne!(candidate, before);
    let registry = world.versions()["registry"];
    let verdict = verdict(&gate(&world, SECOND).ok());
    assert_eq!((&verdict["passed"], checks(&verdict, "fail")), (&serde_json::Value::Bool(true), vec![]));
    // On rows that neither was trained on.
    let check = verdict["checks"].as_array().unwrap().iter().find(|c| c["metric"] == "average_precision").unwrap();
    assert_eq!(
        check["note"],
        format!("{} rows younger than what either was trained on", 4 * super::world::PEOPLE).as_str()
    );
    let until =
        world.query(&format!("select trained_until from registry where version = '{before}' and event = 'trained'"));
    let first = world.query("select min(as_of) as first from training_sets.again where part = 'test'");
    assert!(first[0]["first"].as_str() >= until[0]["trained_until"].as_str(), "{first:?} {until:?}");
    assert_eq!(aliases(&world), [Some(candidate.clone()), Some(before.clone()), None, Some(before.clone())]);
    assert_eq!(world.versions()["registry"], registry + 1);
    // The earlier night still sees its own champion.
    world.job("score", FIRST).ok();
    world.job("score", SECOND).ok();
    let rows =
        world.query("select logical_date, min(model_version) as version from scores.again group by 1 order by 1");
    assert_eq!((rows[0]["version"].as_str(), rows[1]["version"].as_str()), (Some(&*before), Some(&*candidate)));
    let events = world.query("select event, alias, sequence from registry order by sequence");
    let events: Vec<_> = events.iter().map(|e| (e["event"].as_str().unwrap(), e["alias"].as_str())).collect();
    let expected = [
        ("trained", Some("candidate")),
        ("promoted", Some("champion")),
        ("anchored", Some("anchor")),
        ("trained", Some("candidate")),
        ("promoted", Some("champion")),
        ("demoted", Some("previous")),
    ];
    assert_eq!(events, expected);
}

#[test]
fn a_candidate_is_judged_once() {
    let (world, _) = candidate();
    gate(&world, SECOND).ok();
    let before = world.versions();
    let again = gate(&world, SECOND).ok();
    assert_eq!(world.versions(), before);
    let verdict = verdict(&again);
    assert_eq!(
        (&verdict["earlier"], &verdict["passed"]),
        (&serde_json::Value::Bool(true), &serde_json::Value::Bool(true))
    );
    assert!(verdict["checks"].as_array().unwrap().len() > 5);
    train(&world, SECOND);
    assert_eq!(world.versions(), before, "trained once too");
}

#[test]
fn a_refusal_is_said_again_and_commits_nothing() {
    let world = world();
    world.write("models/again.yaml", &model(NOISE, &[("action_changes", "{max: 0}")], ""));
    train(&world, SECOND);
    gate(&world, SECOND).refuses(4, &["action_changes"]);
    let before = world.versions();
    let again = gate(&world, SECOND).refuses(4, &["action_changes"]);
    assert_eq!(world.versions(), before);
    assert_eq!(checks(&verdict(&again), "fail"), ["action_changes"]);
    // Nothing to judge in another night.
    assert!(gate(&world, FIRST).ok().line("gates/again")["status"].as_str().unwrap().contains("was judged before"));
}

#[test]
fn force_needs_a_reason_and_leaves_it() {
    let world = world();
    world.write("models/again.yaml", &model(NOISE, &[("action_changes", "{max: 0}")], ""));
    train(&world, SECOND);
    gate(&world, SECOND).refuses(4, &[]);
    let (before, refused) = (champion(&world), world.query("select version from registry where event = 'refused'"));
    let refused = refused[0]["version"].as_str().unwrap();
    models(&world, &["promote", "again", refused])
        .refuses(2, &["has not passed the gate", "action_changes", "--force"]);
    models(&world, &["promote", "again", refused, "--force"])
        .refuses(2, &["--force lacks its reason", "--reason TEXT"]);
    models(&world, &["promote", "again", refused, "--force", "--reason", " "])
        .refuses(2, &["--force lacks its reason"]);
    models(&world, &["promote", "again", "nothing"]).refuses(2, &["has no version `nothing`", &before]);
    models(&world, &["promote", "agian", refused]).refuses(2, &["there is no model called `agian`", "again"]);
    assert_eq!(champion(&world), before);
    models(&world, &["promote", "again", refused, "--force", "--reason", "the old one is worse"]).ok();
    assert_eq!(aliases(&world), [Some(refused.into()), Some(before.clone()), None, Some(before.clone())]);
    let note = world.query("select note from registry where event = 'promoted' order by sequence desc limit 1");
    assert_eq!(note[0]["note"], "forced: the old one is worse");
    let registry = world.versions()["registry"];
    models(&world, &["promote", "again", "champion", "--force", "--reason", "again"]).ok();
    assert_eq!(world.versions()["registry"], registry, "it is the champion already");
    // What was forced has not passed: once rolled back from, it must be forced again.
    models(&world, &["rollback", "again", "--reason", "it was not"]).ok();
    models(&world, &["promote", "again", refused]).refuses(2, &["has not passed the gate"]);
    let shown = models(&world, &["show", "again", refused]).ok().json();
    assert_eq!(shown["gate"]["passed"], false);
    let events: Vec<&str> = shown["events"].as_array().unwrap().iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["trained", "refused", "promoted", "demoted"]);
}

#[test]
fn a_rollback_takes_one_step() {
    let (world, candidate) = candidate();
    let before = champion(&world);
    models(&world, &["rollback", "again"]).refuses(2, &["has no previous version to go back to"]);
    gate(&world, SECOND).ok();
    let registry = world.versions()["registry"];
    models(&world, &["rollback", "again", "--reason", "complaints"]).ok();
    assert_eq!(world.versions()["registry"], registry + 1, "one commit");
    assert_eq!(aliases(&world), [Some(before.clone()), None, None, Some(before.clone())]);
    // Said twice, it is done once.
    models(&world, &["rollback", "again"]).refuses(2, &["has no previous version to go back to"]);
    world.job("score", SECOND).ok();
    let rows =
        world.query(&format!("select distinct model_version as v from scores.again where logical_date = '{SECOND}'"));
    assert_eq!(rows[0]["v"], before.as_str());
    // The gate has judged that night's candidate, and does not promote it again; by hand it may be.
    gate(&world, SECOND).ok();
    assert_eq!(champion(&world), before);
    models(&world, &["promote", "again", &candidate]).ok();
    assert_eq!(champion(&world), candidate);
    // What cannot be read does not become live.
    std::fs::remove_dir_all(artifact(&world, &before)).unwrap();
    models(&world, &["rollback", "again"]).refuses(3, &["is gone"]);
    assert_eq!(champion(&world), candidate);
}

#[test]
fn an_artifact_of_a_newer_format_is_refused_by_name() {
    let (world, candidate) = candidate();
    let before = champion(&world);
    // As a newer version would write it, checksums included.
    let schema = artifact(&world, &candidate).join("schema.json");
    overwrite(&schema, |text| {
        text.replacen("\"format\": 1", "\"format\": 99", 1).replacen("\"format\": 2", "\"format\": 99", 1)
    });
    let bytes = std::fs::read(&schema).unwrap();
    let sha: String = {
        use sha2::{Digest, Sha256};
        Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    overwrite(&artifact(&world, &candidate).join("_files.json"), |text| {
        let mut list: serde_json::Value = serde_json::from_str(&text).unwrap();
        list["schema.json"] = serde_json::json!({"bytes": bytes.len(), "sha256": sha});
        list.to_string()
    });
    gate(&world, SECOND).refuses(2, &["the candidate cannot be judged", "format 99", "upgrade it"]);
    assert_eq!(champion(&world), before);
}

#[test]
fn a_candidate_on_other_columns_is_compared_and_may_pass() {
    let world = world();
    let before = champion(&world);
    world.write(
        "models/again.yaml",
        &model("[pays.payments_30d, pays.hours_since_last]", &[], "").replace("hours_since_last", "time_since_last"),
    );
    let names = world.query("select * from features.pays limit 1");
    let since = names[0].as_object().unwrap().keys().find(|name| name.contains("since")).unwrap().clone();
    world.write("models/again.yaml", &model(&format!("[pays.payments_30d, pays.{since}]"), &[], ""));
    train(&world, SECOND);
    let verdict = verdict(&gate(&world, SECOND).ok());
    let check = verdict["checks"].as_array().unwrap().iter().find(|c| c["metric"] == "rank_agreement").unwrap();
    assert_eq!(check["note"], "trained on other columns: 1 that the champion lacks, without 2 of its own");
    assert_ne!(champion(&world), before);
    // It scores by its own inputs, whatever the definition says by now.
    world.write("models/again.yaml", &model(NOISE, &[], ""));
    world.job("score", SECOND).ok();
    let rows = world.query(&format!("select count(distinct probability) as n, max(missing_inputs) as missing from scores.again where logical_date = '{SECOND}'"));
    assert!(rows[0]["n"].as_u64() > Some(3), "{rows:?}");
}

/// Runs the gate with a fail point.
fn with(world: &World, point: &str) -> crate::support::Said {
    let mut command = scorehouse(&["gate", "--date", SECOND, "--json"]);
    command.arg("--project").arg(&world.project).arg("--raw").arg(world.raw()).arg("--lake").arg(world.lake());
    said(command.env("SCOREHOUSE_FAILPOINT", point).output().unwrap())
}

#[test]
fn a_gate_that_is_killed_anywhere_is_finished_by_the_next() {
    let points = [
        "before-commit:differences/again=kill",
        "after-commit:differences/again=kill",
        "before-write:differences.csv=kill",
        "before-commit:gates/again=kill",
        "after-commit:gates/again=kill",
        "before-commit:registry=kill",
        "after-commit:registry=kill",
        "before-commit:registry=error",
    ];
    let (whole, candidate) = candidate();
    let before = champion(&whole);
    let verdict_of = |world: &World| {
        world.query("select metric, candidate_value, low, status from gates.again where candidate like '2024-03-21%' order by place")
    };
    gate(&whole, SECOND).ok();
    for point in points {
        let (world, ours) = self::candidate();
        assert_eq!(ours, candidate, "the same bytes have the same name");
        let said = with(&world, point);
        assert_ne!(said.code, 0, "{point}: {said:#?}");
        let held = champion(&world);
        assert!(held == before || (point.starts_with("after-commit:registry") && held == candidate), "{point}: {held}");
        gate(&world, SECOND).ok();
        assert_eq!(aliases(&world), aliases(&whole), "{point}");
        assert_eq!(verdict_of(&world), verdict_of(&whole), "{point}");
        let rows = |world: &World| world.query("select count(*) as n from differences.again");
        assert_eq!(rows(&world), rows(&whole), "{point}");
        let versions = world.versions();
        gate(&world, SECOND).ok();
        assert_eq!(world.versions(), versions, "{point}");
    }
}

/// A rollback while the gate holds its commit back: one of them wins, the other is told to run again.
#[test]
fn two_changes_of_a_champion_conflict() {
    let (world, candidate) = candidate();
    gate(&world, SECOND).ok();
    train(&world, THIRD);
    let latest = aliases(&world)[2].clone().unwrap();
    let go = world.dir.path().join("go");
    let mut command = scorehouse(&["gate", "--date", THIRD, "--json"]);
    command.arg("--project").arg(&world.project).arg("--raw").arg(world.raw()).arg("--lake").arg(world.lake());
    command.env("SCOREHOUSE_FAILPOINT", format!("before-commit:registry=hold:{}", go.display()));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let held = command.spawn().unwrap();
    while !world.dir.path().join("go.held").exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    models(&world, &["rollback", "again", "--reason", "complaints"]).ok();
    std::fs::write(&go, "").unwrap();
    let lost = said(held.wait_with_output().unwrap());
    assert_eq!(lost.code, 75, "{lost:#?}");
    assert_ne!(champion(&world), candidate);
    assert_ne!(champion(&world), latest);
    // Run again, it compares with the champion of now.
    let verdict = verdict(&gate(&world, THIRD).ok());
    assert_eq!(verdict["champion"], aliases(&world)[1].clone().unwrap().as_str());
    assert_eq!(champion(&world), latest);
}

#[test]
fn what_there_is_can_be_listed_and_shown() {
    let (world, candidate) = candidate();
    let listed = models(&world, &["list"]).ok().json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!((listed[0]["version"].as_str(), &listed[0]["last"]), (Some(&*candidate), &"trained".into()));
    assert!(listed[1]["bytes"].as_u64() > Some(1000) && listed[1]["metrics"]["roc_auc"].as_f64() > Some(0.7));
    let shown = models(&world, &["show", "again"]).ok().json();
    assert_eq!(shown["version"], listed[1]["version"], "the champion by default");
    assert_eq!(shown["inputs"].as_array().unwrap().len(), 3);
    let project = world.project.display().to_string();
    let text = world.run(&["models", "show", "again", "candidate", "--project", &project]).ok().stdout;
    assert!(text.contains(&format!("again {candidate}: candidate")) && text.contains("schema.json"), "{text}");
    let table = world.run(&["gate", "--date", SECOND, "--project", &project]).ok().stdout;
    assert!(table.contains("metric") && table.contains("average_precision") && table.contains(": promoted"), "{table}");
    models(&world, &["list", "--date", "2024-01-01"]).ok();
}
