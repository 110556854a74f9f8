//! Reports: what a page says is what the lake says; the same lake gives the same bytes; who is erased is on no page; and
//! a report that cannot be written fails no night.

use serde_json::Value;

use super::world::{
    FIRST, GOOD, NOISE, PEOPLE, SECOND, champion, fresh, gate, lake_file, model, train, verdict, world,
};
use crate::support::{Said, World};

fn report(world: &World, arguments: &[&str]) -> Said {
    let project = world.project.display().to_string();
    world.run(&[&["report", "--project", &project, "--json"], arguments].concat())
}

fn statuses(said: &Said) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let outputs = said.json()["outputs"].as_array().unwrap().clone();
    outputs.iter().map(|line| (text(&line["table"]), text(&line["status"]))).collect()
}

/// The rows of the table of customers.
fn customers(page: &str) -> Vec<Value> {
    let data = page.split("id=\"customers-data\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    let columns: Vec<&str> = data["columns"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    let row = |row: &Value| {
        let cells = columns.iter().zip(row.as_array().unwrap()).map(|(c, v)| ((*c).to_string(), v.clone()));
        Value::Object(cells.collect())
    };
    data["rows"].as_array().unwrap().iter().map(row).collect()
}

/// A section of a page as text without its tags.
fn section(page: &str, id: &str) -> String {
    let found = page.split(&format!("<section id=\"{id}\"")).nth(1).unwrap().split("</section>").next().unwrap();
    let mut text = String::new();
    for part in found.split('<').skip(1) {
        text.push_str(part.split_once('>').map_or("", |(_, text)| text));
        text.push(' ');
    }
    text
}

#[test]
fn a_page_says_what_the_lake_says() {
    let world = world();
    world.job("monitor", FIRST).ok();
    let said = report(&world, &["--date", FIRST]).ok();
    let page = format!("reports/again/{FIRST}.html");
    assert_eq!(statuses(&said), [page.as_str(), "reports/index.html"].map(|p| (p.to_string(), "written".to_string())));
    let html = lake_file(&world, &page);
    assert!(html.contains("Promoted") && html.contains(&champion(&world)));
    // Everybody who was scored, the highest probabilities first.
    let rows = customers(&html);
    let scored = world.query(&format!(
        "select user_id, probability, decision from scores.again where logical_date = '{FIRST}' order by probability desc, \
         user_id"
    ));
    assert_eq!((rows.len(), scored.len()), (PEOPLE, PEOPLE));
    for (row, scored) in rows.iter().zip(&scored) {
        assert_eq!(row["entity"]["user_id"], scored["user_id"]);
        assert_eq!(row["action"], scored["decision"]);
        assert!((row["probability"].as_f64().unwrap() - scored["probability"].as_f64().unwrap()).abs() < 1e-6);
    }
    let actions = world
        .query(&format!("select count(*) as n from scores.again where logical_date = '{FIRST}' and decision = 'wait'"));
    assert!(section(&html, "decisions").contains(&format!(" {} ", actions[0]["n"])));
    // Metrics of the artifact, curves of the rows that it was measured on, measures of the night.
    let metrics: Value =
        serde_json::from_str(&lake_file(&world, &format!("models/again/{}/metrics.json", champion(&world)))).unwrap();
    let evaluations = metrics["evaluations"].as_array().unwrap();
    let all = evaluations.iter().find(|e| e["part"] == "test" && e["segment"] == "all").unwrap();
    let auc = format!("{:.4}", all["metrics"]["roc_auc"].as_f64().unwrap());
    assert!(section(&html, "quality").contains(&auc) && section(&html, "curves").contains(&auc), "{auc}");
    assert!(section(&html, "monitoring").contains("pays.payments_30d"));
    assert!(section(&html, "importances").contains("pays.payments_30d"));
    assert!(section(&html, "actions").contains("No candidate was compared"));
    assert!(section(&html, "fairness").contains("declares no groups"));
    // The index leads there, and the file for machines says the same.
    assert!(lake_file(&world, "reports/index.html").contains(&format!("href=\"again/{FIRST}.html\"")));
    let summary: Value = serde_json::from_str(&lake_file(&world, &format!("reports/again/{FIRST}.json"))).unwrap();
    assert_eq!((&summary["outcome"], &summary["scored"]), (&"promoted".into(), &PEOPLE.into()));
}

#[test]
fn a_refused_candidate_is_compared_customer_by_customer() {
    let world = world();
    let before = champion(&world);
    world.write("models/again.yaml", &model(NOISE, &[("average_precision", "{min_change: -0.05}")], ""));
    train(&world, SECOND);
    let verdict = verdict(&gate(&world, SECOND).refuses(4, &["is refused"]));
    world.job("score", SECOND).ok();
    report(&world, &["--date", SECOND]).ok();
    let html = lake_file(&world, &format!("reports/again/{SECOND}.html"));
    assert!(html.contains("Refused") && html.contains(&before));
    let checks = verdict["checks"].as_array().unwrap();
    let shown = section(&html, "gate");
    let of = |status: &str| checks.iter().filter(|check| check["status"] == status).count();
    let counts = format!("{} passed, {} failed, {} skipped", of("pass"), of("fail"), of("skipped"));
    assert!(shown.contains(&counts), "{counts}: {shown}");
    for check in checks {
        let Some(value) = check["candidate"].as_f64() else { continue };
        let text = if value.abs() < 10.0 { format!("{:.4}", value.abs()) } else { format!("{value:.2}") };
        assert!(shown.contains(&text), "{check} is not in {shown}");
    }
    let changes = world.query("select count(*) as n from differences.again where action_changes")[0]["n"].clone();
    assert!(section(&html, "actions").contains(&format!("{changes} of {PEOPLE} customers")), "{changes}");
    let rows = customers(&html);
    let stored = world.query(
        "select user_id, score, live_score, action, live_action from differences.again order by action_changes desc, \
         absolute_difference desc, user_id",
    );
    assert_eq!(rows.len(), PEOPLE);
    for (row, stored) in rows.iter().zip(&stored) {
        assert_eq!(
            [&row["entity"]["user_id"], &row["action"], &row["live_action"]],
            [&stored["user_id"], &stored["action"], &stored["live_action"]]
        );
        assert!((row["live_score"].as_f64().unwrap() - stored["live_score"].as_f64().unwrap()).abs() < 1e-6);
    }
    assert!(html.contains(&format!("href=\"{SECOND}/differences.csv\"")));
    assert!(world.lake().join(format!("reports/again/{SECOND}/differences.csv")).exists());
}

#[test]
fn the_same_lake_gives_the_same_bytes() {
    let world = world();
    // Without a date: the last night that scored.
    let first = report(&world, &[]).ok();
    assert_eq!(statuses(&first)[0].0, format!("reports/again/{FIRST}.html"));
    let pages = || {
        ["index.html", &format!("again/{FIRST}.html"), &format!("again/{FIRST}.json")]
            .map(|p| lake_file(&world, &format!("reports/{p}")))
    };
    let before = pages();
    let again = report(&world, &["--model", "aga*"]).ok();
    assert!(statuses(&again).iter().all(|(_, status)| status == "unchanged"), "{again:#?}");
    assert_eq!(pages(), before);
    std::fs::remove_dir_all(world.lake().join("reports")).unwrap();
    report(&world, &[]).ok();
    assert_eq!(pages(), before);
}

#[test]
fn who_is_erased_is_on_no_page() {
    let world = world();
    report(&world, &[]).ok();
    let page = format!("reports/again/{FIRST}.html");
    assert!(lake_file(&world, &page).contains("u017"));
    let project = world.project.display().to_string();
    let said = world.run(&["erase", "--entity", "u017", "--project", &project, "--json"]).ok();
    assert!(said.json()["objects"].as_array().unwrap().iter().any(|object| object == page.as_str()), "{said:#?}");
    assert!(!world.lake().join(&page).exists());
    // The others are there again, and the index has led nowhere meanwhile.
    report(&world, &["--date", FIRST]).ok();
    let html = lake_file(&world, &page);
    assert!(!html.contains("u017") && customers(&html).len() == PEOPLE - 1);
}

#[test]
fn a_report_that_cannot_be_written_fails_no_night() {
    let world = world();
    world.write("models/again.yaml", &model(GOOD, &[], ""));
    let _ = std::fs::remove_dir_all(world.lake().join("reports"));
    std::fs::write(world.lake().join("reports"), "in the way").unwrap();
    let night = world.job("nightly", FIRST).ok();
    assert!(night.stderr.contains("the report could not be written"), "{}", night.stderr);
    assert!(night.line("reports")["status"].as_str().unwrap().starts_with("failed: "));
    assert_eq!(night.line("scores/again")["table"], "scores/again");
    let runs = world.query("select status, error from runs where job = 'report'");
    assert_eq!(runs[0]["status"], "failed");
    std::fs::remove_file(world.lake().join("reports")).unwrap();
    report(&world, &[]).ok();
}

#[test]
fn what_cannot_be_reported_is_said() {
    let world = fresh();
    world.write("models/again.yaml", &model(GOOD, &[], ""));
    report(&world, &["--model", "agian"]).refuses(2, &["there is no model `agian`", "did you mean `again`?"]);
    report(&world, &[]).refuses(3, &["no night has trained or scored anything yet", "scorehouse nightly"]);
    // A night before there is anything is a page of sentences.
    report(&world, &["--date", FIRST]).ok();
    let html = lake_file(&world, &format!("reports/again/{FIRST}.html"));
    assert!(html.contains("No champion") && !html.contains("<svg"));
}
