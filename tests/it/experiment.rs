//! Experiments and searches over a small lake: what is compared, stored and found again; and what cannot be compared.

use serde_json::Value;

use crate::models::{self, MODEL, NIGHT};
use crate::small::{self, Pay, batch, deliver};
use crate::support::{Said, World, said, scorehouse};

const HEADS: &str = "\
experiment: heads
description: Which head suits.
model: again
common: {calibration: {kind: platt, hold_out: 4}}
variants:
  own:
  line: {head: {kind: logistic}}
  little: {inputs: [spine.amount]}
segments: [all, frequent]
repetitions: 50
";

/// With a segment.
fn model() -> String {
    format!("{MODEL}segments: {{frequent: pays.payments_30d > 8}}\n")
}

/// Sixty users over two months, each with a habit: how often somebody paid tells whether they pay again soon.
fn with(experiment: &str) -> World {
    let world = small::world();
    world.write("models/again.yaml", &model());
    for day in 0..60_usize {
        let date = chrono::NaiveDate::from_ymd_opt(2024, 2, 1).unwrap() + chrono::Days::new(day as u64);
        let pays = |user: &usize| (user * 7919 + day * 104_729 + user * day * 31) % 100 < [8, 20, 40, 60, 85][user % 5];
        let rows: Vec<(String, String, String, i128)> = (0..60)
            .filter(pays)
            .map(|user| {
                let at = format!("{date}T{:02}:30:00Z", user % 24);
                let amount = 100 + ((user * 31 + day * 17) * 48_271 % 901) as i128;
                (format!("p{day}-{user}"), format!("u{user:02}"), at, amount)
            })
            .collect();
        let rows: Vec<Pay> = rows.iter().map(|r| (r.0.as_str(), Some(r.1.as_str()), Some(r.2.as_str()), r.3)).collect();
        deliver(&world, &format!("day={date}/a.parquet"), &batch(&rows));
    }
    for job in ["ingest", "tables", "features"] {
        world.job(job, NIGHT).ok();
    }
    world.write("models/experiments/heads.yaml", experiment);
    world
}

fn experiment(world: &World, flags: &[&str]) -> Said {
    let project = world.project.display().to_string();
    world.run(&[&["experiment", "heads", "--date", NIGHT, "--project", &project], flags].concat())
}

fn rows(said: &Said) -> Vec<Value> {
    said.json()["rows"].as_array().unwrap().clone()
}

fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap_or_else(|| panic!("{key} of {row}"))
}

#[test]
fn variants_are_compared_on_identical_rows_and_stored_once() {
    let world = with(HEADS);
    let said = experiment(&world, &["--json"]).ok();
    assert_eq!(said.line("experiments/")["status"], "written");
    let first = rows(&said);
    assert_eq!(first.len(), 2 * 3 * 3, "segments, variants, metrics");
    for segment in ["all", "frequent"] {
        let of: Vec<&Value> = first.iter().filter(|row| row["segment"] == segment).collect();
        assert!(of.iter().all(|row| row["rows"] == of[0]["rows"] && row["positives"] == of[0]["positives"]));
        for metric in ["roc_auc", "average_precision", "f1"] {
            let of: Vec<&&Value> = of.iter().filter(|row| row["metric"] == metric).collect();
            let most = of.iter().map(|row| number(row, "value")).fold(f64::MIN, f64::max);
            let best: Vec<&&&Value> = of.iter().filter(|row| row["best"] == true).collect();
            assert_eq!((best.len(), number(best[0], "value")), (1, most), "{segment} {metric}");
            let (low, high) = (number(best[0], "difference_low"), number(best[0], "difference_high"));
            assert_eq!(best[0]["more_than_noise"] == true, low > 0.0 || high < 0.0);
            let second = of.iter().find(|row| row["variant"] == best[0]["second"]).unwrap();
            assert!((most - number(second, "value") - number(best[0], "difference")).abs() < 1e-12);
            assert!(of.iter().all(|row| number(row, "low") <= number(row, "high")));
        }
    }
    let auc = |variant: &str| {
        let found = first.iter().find(|r| r["variant"] == variant && r["segment"] == "all" && r["metric"] == "roc_auc");
        number(found.unwrap(), "value")
    };
    assert!(auc("own") > 0.6 && auc("own") > auc("little"), "the amount alone tells less");
    // Again: nothing is trained, and the same is said.
    let versions = world.versions();
    let again = experiment(&world, &["--json"]).ok();
    assert_eq!(again.line("experiments/")["status"], "unchanged");
    assert_eq!((rows(&again), world.versions()), (first.clone(), versions));
    let stored = world.query(
        "select variant, head, value from experiments.heads where segment = 'all' and metric = 'roc_auc' order by position",
    );
    assert_eq!(
        stored.iter().map(|row| row["head"].as_str().unwrap()).collect::<Vec<_>>(),
        ["lightgbm", "logistic", "lightgbm"]
    );
    assert_eq!(number(&stored[0], "value"), auc("own"));
    let text = experiment(&world, &[]).ok().stdout;
    for says in
        ["heads: variants of again", "variant  head", "frequent: ", &format!("{:.4}", auc("line")), "leaves out zero"]
    {
        assert!(text.contains(says), "{says}\n{text}");
    }
    let page = std::fs::read_to_string(world.lake().join("reports/experiments/heads.html")).unwrap();
    for says in ["<h1>heads</h1>", "Segment frequent", "ROC AUC by variant", &format!("{:.4}", auc("line"))] {
        assert!(page.contains(says), "{says}");
    }
    let index = std::fs::read_to_string(world.lake().join("reports/index.html")).unwrap();
    assert!(index.contains("experiments/heads.html"), "{index}");
    // Another definition replaces the night's rows.
    world.write("models/experiments/heads.yaml", &HEADS.replace("  little: {inputs: [spine.amount]}\n", ""));
    assert_eq!(rows(&experiment(&world, &["--json"]).ok()).len(), 2 * 2 * 3);
    assert_eq!(world.query("select count(*) n from experiments.heads")[0]["n"], 12);
    // Nothing of it is a version of the model.
    assert!(!world.lake().join("models").exists() && !world.lake().join("registry").exists());
}

#[test]
fn a_variant_is_what_train_makes_of_the_same_definition() {
    let world = with("experiment: heads\nmodel: again\nvariants: {own: , line: {head: {kind: logistic}}}\n");
    let compared = rows(&experiment(&world, &["--json"]).ok());
    let trained = world.job("train", NIGHT).ok().line("models/");
    for metric in ["roc_auc", "average_precision", "f1"] {
        let row = compared.iter().find(|r| r["variant"] == "own" && r["segment"] == "all" && r["metric"] == metric);
        assert_eq!(number(row.unwrap(), "value"), number(&trained["details"], metric), "{metric}");
    }
}

#[test]
fn reject_inference_is_compared_on_the_default_rate_too() {
    let inferred = |kind: &str| format!("  {kind}: {{reject_inference: {{kind: {kind}, accepted: amount < 7}}}}\n");
    let variants: String = ["augmentation", "parcelling", "fuzzy", "inverse_propensity"].map(inferred).concat();
    let text = format!(
        "experiment: heads\nmodel: again\nvariants:\n  none:\n{variants}metrics: [roc_auc]\nacceptance_rate: 0.6\n\
         repetitions: 50\nsegments: [all]\n"
    );
    let world = with(&text);
    let rows = rows(&experiment(&world, &["--json"]).ok());
    assert_eq!(rows.len(), 5 * 2);
    let (first, all) = (&rows[0], "select count(*) n from payments");
    assert!(number(first, "rows") < world.query(all)[0]["n"].as_f64().unwrap());
    let rate = number(first, "positives") / number(first, "rows");
    let rates: Vec<f64> =
        rows.iter().filter(|row| row["metric"] == "default_rate").map(|row| number(row, "value")).collect();
    assert!(rates.len() == 5 && rates.iter().all(|accepted| *accepted < rate), "{rates:?}, {rate} of all");
    let best = rows.iter().find(|row| row["metric"] == "default_rate" && row["best"] == true).unwrap();
    assert_eq!(number(best, "value"), rates.iter().copied().fold(1.0, f64::min), "less is better");
    let values: Vec<f64> = rows.iter().filter(|row| row["metric"] == "roc_auc").map(|r| number(r, "value")).collect();
    assert!(values.windows(2).any(|pair| pair[0] != pair[1]), "inference has an effect: {values:?}");
}

#[test]
fn seeds_are_averaged() {
    let one = |seeds: &str, draw: &str| {
        let text = format!(
            "experiment: heads\nmodel: again\nvariants: {{own: {{head: {{kind: lightgbm, rounds: 20, params: \
             {{feature_fraction: 0.5, min_data_in_leaf: 5}}}}}}, line: {{head: {{kind: logistic}}}}}}\n\
             seeds: {seeds}\nsegments: [all]\nmetrics: [{draw}]\nrepetitions: 20\n"
        );
        number(&rows(&experiment(&with(&text), &["--json"]).ok())[0], "value")
    };
    let (a, b, both) = (one("[1]", "log_loss"), one("[2]", "log_loss"), one("[1, 2]", "log_loss"));
    assert!(a != b && ((a + b) / 2.0 - both).abs() < 1e-12, "{a} {b} {both}");
}

#[test]
fn what_is_wrong_is_said_at_its_line() {
    let world = with(HEADS);
    let project = world.project.display().to_string();
    let cases: [(&str, &str, usize, &[&str]); 6] = [
        ("spine.amount", "spine.amuont", 8, &["unknown feature `spine.amuont`", "spine.amount"]),
        ("kind: logistic", "kind: logistic, params: {c: 1}", 7, &["it has C, penalty, tol, transform"]),
        ("kind: logistic", "kind: logstic", 7, &["did you mean `logistic`?"]),
        ("model: again", "model: agian", 3, &["did you mean `again`?"]),
        ("frequent]", "frequently]", 9, &["no such segment", "did you mean `frequent`?"]),
        ("repetitions", "repetition", 10, &["did you mean `repetitions`?"]),
    ];
    for (from, to, line, says) in cases {
        world.write("models/experiments/heads.yaml", &HEADS.replace(from, to));
        let place = format!("models/experiments/heads.yaml:{line}:");
        let says: Vec<&str> = [place.as_str()].into_iter().chain(says.iter().copied()).collect();
        world.run(&["check", "--project", &project]).refuses(2, &says);
    }
    world.write("models/experiments/heads.yaml", HEADS);
    let said = world.run(&["experiment", "haeds", "--date", NIGHT, "--project", &project]);
    said.refuses(2, &["there is no experiment `haeds`", "did you mean `heads`?"]);
    assert!(!world.lake().join("experiments").exists());
}

const SEARCH: &str = "search:
  trials: 9
  seed: 2
  metric: log_loss
  space: {learning_rate: {from: 0.01, to: 0.5, scale: log}, num_leaves: {from: 2, to: 31}}
";

fn trials(world: &World) -> Vec<Value> {
    world.query("select trial, params, value, state, rounds, losses from searches.again order by trial")
}

fn found(world: &World, line: &Value) -> Value {
    let file = world.lake().join(line["table"].as_str().unwrap()).join("metrics.json");
    let metrics: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    metrics["search"].clone()
}

#[test]
fn a_search_is_part_of_training_and_goes_on_where_it_was_killed() {
    let searching = format!("{MODEL}{SEARCH}");
    let undisturbed = models::world(&searching);
    let line = undisturbed.job("train", NIGHT).ok().line("models/");
    let all = trials(&undisturbed);
    assert_eq!(all.len(), 9);
    assert_eq!((all[0]["params"].as_str(), all[0]["state"].as_str()), (Some("{}"), Some("complete")));
    let best = found(&undisturbed, &line);
    let least = all.iter().filter_map(|trial| trial["value"].as_f64()).fold(f64::MAX, f64::min);
    assert_eq!((best["trials"].as_u64(), number(&best, "value")), (Some(9), least));
    assert!(number(&best, "value") <= number(&best, "default_value"));
    // What was found is trained with: a definition that says so gives the same trees.
    let params = &best["params"];
    assert!(params["num_leaves"].is_i64() && params["learning_rate"].is_f64(), "{best}");
    let own = format!(
        "min_data_in_leaf: 5, num_leaves: {}, learning_rate: {}",
        params["num_leaves"], params["learning_rate"]
    );
    let fixed = models::world(&MODEL.replace("min_data_in_leaf: 5", &own));
    let other = fixed.job("train", NIGHT).ok().line("models/");
    let trees = |world: &World, line: &Value| {
        std::fs::read_to_string(world.lake().join(line["table"].as_str().unwrap()).join("model.txt")).unwrap()
    };
    assert_eq!(trees(&fixed, &other), trees(&undisturbed, &line));

    // Killed after the fourth trial was stored, and before the sixth.
    let killed = models::world(&searching);
    let project = killed.project.display().to_string();
    for armed in ["after-commit:searches/again#4=kill", "before-commit:searches/again#2=kill"] {
        let mut command = scorehouse(&["train", "--date", NIGHT, "--project", &project, "--json"]);
        command.arg("--raw").arg(killed.raw()).arg("--lake").arg(killed.lake());
        assert_ne!(said(command.env("SCOREHOUSE_FAILPOINT", armed).output().unwrap()).code, 0);
    }
    assert_eq!(trials(&killed).len(), 5);
    let resumed = killed.job("train", NIGHT).ok().line("models/");
    assert_eq!(trials(&killed), all);
    assert_eq!((resumed["table"].clone(), found(&killed, &resumed)), (line["table"].clone(), best));
    let project = killed.project.display().to_string();
    let shown = killed.run(&["models", "show", "again", "candidate", "--project", &project]).ok().stdout;
    for says in ["Search: trial ", " of 9 (", "num_leaves"] {
        assert!(shown.contains(says), "{says}\n{shown}");
    }
    // Once more: nothing is due, nothing is searched.
    assert_eq!(killed.job("train", NIGHT).ok().line("models/")["status"], "unchanged");
    assert_eq!(trials(&killed).len(), 9);
}
