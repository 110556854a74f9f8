//! Models by their definitions: every head over a small lake, weights, anchors, and what cannot be learned or declared.

use crate::small::{self, Pay, batch, deliver};
use crate::support::World;

pub const NIGHT: &str = "2024-03-31";

/// Payments decide; whoever pays again within a few days is labelled. `{…}` is for tests to replace.
pub const MODEL: &str = "\
model: again
entity: user_id
spine: {table: payments, key: [id], attributes: [amount]}
label: {table: payments, horizon: 2d}
inputs: [pays.*, spine.amount]
head: {kind: lightgbm, rounds: 20, early_stopping: 5, params: {min_data_in_leaf: 5}}
validation: {kind: time, test: 15d}
decisions: [{action: ask, below: 0.3}, {action: leave}]
";

const REASONS: &str = "\
reasons:
  count: 2
  groups:
    payments: {code: P1, sentence: Pays often., inputs: [\"pays.payments*\"]}
    amounts: {code: P2, sentence: Pays much., inputs: [\"pays.*\", spine.amount]}
";

const FAIRNESS: &str = "\
fairness: {groups: {habit: \"case when pays.payments_30d > 8 then 'often' else 'seldom' end\"}, min_rows: 1}
";

/// 40 users over February and March: some pay daily, some now and then.
pub fn world(model: &str) -> World {
    let world = small::world();
    world.write("models/again.yaml", model);
    let ids: Vec<(String, String, String, i128)> = (0..60i128)
        .flat_map(|day| (0..40i128).map(move |user| (day, user)))
        .filter(|(day, user)| (day * 7 + user * user * 3) % (2 + user % 5) == 0)
        .map(|(day, user)| {
            let date = chrono::NaiveDate::from_ymd_opt(2024, 2, 1).unwrap() + chrono::Days::new(day as u64);
            let at = format!("{date}T{:02}:{:02}:00Z", 6 + user % 12, (day * 13 + user) % 60);
            (format!("p{day}-{user}"), format!("u{user}"), at, 100 + (day * 31 + user * 17) % 900)
        })
        .collect();
    // A file a day: what a decision may know of it is what had come by then.
    for of_day in ids.chunk_by(|a, b| a.2[..10] == b.2[..10]) {
        let rows: Vec<Pay> = of_day
            .iter()
            .map(|(id, user, at, amount)| (id.as_str(), Some(user.as_str()), Some(at.as_str()), *amount))
            .collect();
        deliver(&world, &format!("day={}/pay.parquet", &of_day[0].2[..10]), &batch(&rows));
    }
    for job in ["ingest", "tables", "features"] {
        world.job(job, NIGHT).ok();
    }
    world
}

fn with(from: &str, to: &str) -> String {
    let text = MODEL.replace(from, to);
    assert_ne!(text, MODEL, "{from}");
    text
}

fn refused(model: &str, code: i32, says: &[&str]) {
    world(model).job("train", NIGHT).refuses(code, says);
}

#[test]
fn every_head_trains_scores_and_keeps_its_artifact() {
    let heads = [
        ("lightgbm", "{kind: lightgbm, rounds: 10}"),
        ("random_forest", "{kind: random_forest, rounds: 10}"),
        ("extra_trees", "{kind: extra_trees, rounds: 10}"),
        ("tree", "{kind: tree}"),
        ("logistic", "{kind: logistic, params: {C: 0.5}}"),
        ("linear_svm", "{kind: linear_svm}\ncalibration: {kind: platt, hold_out: 2}"),
        ("mlp", "{kind: mlp, rounds: 30, params: {hidden: [8]}}\ncalibration: {kind: isotonic, hold_out: 2}"),
    ];
    let world = world(MODEL);
    let old = MODEL.lines().find(|line| line.starts_with("head:")).unwrap();
    for (name, head) in heads {
        // Long enough for some of everybody's payments to be followed by one.
        let model = MODEL.replace("model: again", &format!("model: {name}")).replace("horizon: 2d", "horizon: 4d");
        let reasons = if name == "mlp" { "" } else { REASONS };
        world.write(
            &format!("models/{name}.yaml"),
            &(model.replace(old, &format!("head: {head}")) + reasons + FAIRNESS),
        );
    }
    let night = world.job("nightly", NIGHT).ok();
    for (name, _) in heads {
        let line = night.line(&format!("models/{name}/"));
        assert!(line["details"]["roc_auc"].as_f64().unwrap() > 0.6, "{line}");
        let folder = world.lake().join(line["table"].as_str().unwrap());
        let files = |name: &str| folder.join(name).is_file();
        let trees = !["logistic", "linear_svm", "mlp"].contains(&name);
        assert_eq!((files("model.txt"), files("weights.json")), (trees, !trees), "{name}");
        assert!(files("curves.json") && files("baseline.json"));
        let columns = "count(*) n, min(probability) low, max(probability) high, min(model_version) version";
        let rows = world.query(&format!("select {columns} from scores.{name}"));
        assert!(rows[0]["n"].as_i64().unwrap() > 0, "{rows:?}");
        let (low, high) = (rows[0]["low"].as_f64().unwrap(), rows[0]["high"].as_f64().unwrap());
        assert!(0.0 <= low && low < high && high <= 1.0, "{name}: {low} {high}");
        assert!(line["table"].as_str().unwrap().ends_with(rows[0]["version"].as_str().unwrap()), "{name}");
        let treated = world.query(&format!("select \"group\", rows from fairness.{name} order by 1"));
        assert_eq!(treated.len(), 2, "{name}: {treated:?}");
        let people: i64 = treated.iter().map(|group| group["rows"].as_i64().unwrap()).sum();
        assert_eq!(Some(people), rows[0]["n"].as_i64(), "{name}: {treated:?}");
        if name != "mlp" {
            // All inputs are of the two groups. Who has neither reason has nothing that raises the margin above where
            // every row starts, and who has both has nothing that lowers it.
            let margin =
                |count: usize| format!("case when coalesce(cardinality(reason_codes), 0) = {count} then margin end");
            let rows = world.query(&format!(
                "select max({}) neither, min({}) both, count(distinct reason_codes) kinds from scores.{name}",
                margin(0),
                margin(2)
            ));
            assert!(rows[0]["kinds"].as_i64().unwrap() > 1, "{name}: {rows:?}");
            if let (Some(neither), Some(both)) = (rows[0]["neither"].as_f64(), rows[0]["both"].as_f64()) {
                assert!(neither <= both, "{name}: {rows:?}");
            }
        }
    }
}

/// A feature that came after the night's features were computed: `train` goes without the night's population, and
/// `gate` says what to run.
#[test]
fn a_feature_added_after_the_features_of_the_night_is_asked_for() {
    let everybody =
        MODEL.replace(", spine.amount", "").replace(", attributes: [amount]", "").replace("horizon: 2d", "horizon: 4d");
    let world = world(&format!("{everybody}scoring: {{population: people}}\n"));
    let added = small::FEATURES.replace("derived:\n", "derived:\n  twice: 2 * payments_30d\n");
    world.write("features/pays.yaml", &added);
    world.job("train", NIGHT).ok();
    world.job("gate", NIGHT).refuses(
        3,
        &[
            "feature pays.twice in features/pays of 2024-03-31 is not in the lake yet",
            "help: run `scorehouse features --date 2024-03-31` first",
        ],
    );
    world.job("nightly", NIGHT).ok();
    let scored = world.query("select count(distinct user_id) scored from scores.again");
    assert_eq!(scored[0]["scored"], world.query("select count(distinct user_id) people from people")[0]["people"]);
}

#[test]
fn weights_that_are_none_stop_training_with_the_entity() {
    let weighted = |sql: &str| format!("{MODEL}weight: {{column: \"{sql}\"}}\n");
    refused(&weighted("case when user_id = 'u1' then null else 1.0 end"), 3, &["weight of a decision of u1 is null"]);
    refused(&weighted("case when user_id = 'u2' then -1 else 1 end"), 3, &["weight of a decision of u2 is -1"]);
    refused(&weighted("0"), 3, &["rows have a weight of 0"]);
    let world = small::world();
    let project = world.project.display().to_string();
    for (sql, says) in [("user_id", "a weight is a number"), ("propensity", "propensity")] {
        world.write("models/again.yaml", &weighted(sql));
        world.run(&["check", "--project", &project]).refuses(2, &["models/again.yaml:9", says]);
    }
}

#[test]
fn weights_have_an_effect_and_are_cut() {
    let world = world(MODEL);
    let trained = |model: &str| {
        world.write("models/again.yaml", model);
        world.job("train", NIGHT).ok().json().to_string()
    };
    let weighted =
        |rest: &str| format!("{MODEL}weight: {{column: \"case when user_id < 'u3' then 9 else 1 end\"{rest}}}\n");
    let plain = trained(MODEL);
    assert_ne!(trained(&weighted("")), plain);
    assert!(trained(&weighted(", max: 1")).contains("roc_auc"));
}

#[test]
fn a_horizon_that_starts_at_an_anchor_takes_only_decisions_that_have_one() {
    let world = world(MODEL);
    let rows = |model: &str| {
        world.write("models/again.yaml", model);
        world.job("train", NIGHT).ok();
        let found =
            world.query("select count(*) n, sum(case when label then 1 else 0 end) positive from training_sets.again");
        (found[0]["n"].as_i64().unwrap(), found[0]["positive"].as_i64().unwrap())
    };
    let anchored = with(
        "label: {table: payments, horizon: 2d}",
        "label: {table: payments, horizon: 3d, anchor: {table: payments, within: 5d}}",
    );
    let ((all, _), (some, positive)) = (rows(MODEL), rows(&anchored));
    assert!(some < all && positive > 0 && positive < some, "{some} of {all}, {positive}");
    // By hand: the next payment within five days, and another one within three days of that.
    let by_hand = world.query(
        "with p as (select user_id, id, paid_at from payments), \
         a as (select p.id, p.user_id, min(q.paid_at) at from p join p q on p.user_id = q.user_id \
               and q.paid_at > p.paid_at and q.paid_at < p.paid_at + interval '5 days' \
               where p.paid_at <= timestamp '2024-04-01T00:00:00Z' - interval '8 days' group by 1, 2), \
         hit as (select distinct a.id from a join p q on q.user_id = a.user_id \
               and q.paid_at > a.at and q.paid_at < a.at + interval '3 days') \
         select (select count(*) from a) n, (select count(*) from hit) positive",
    );
    assert_eq!((some, positive), (by_hand[0]["n"].as_i64().unwrap(), by_hand[0]["positive"].as_i64().unwrap()));
}

#[test]
fn what_cannot_be_learned_says_why() {
    let far = with("horizon: 2d", "horizon: 400d");
    refused(&far, 3, &["no label is known yet: one takes 400.0 days", "days old", "help: a shorter horizon"]);
    let never = with("table: payments, horizon: 2d", "table: payments, horizon: 2d, where: amount > 1000000");
    refused(&never, 3, &["one class only: 0 positive"]);
    let nobody = with("horizon: 2d}", "horizon: 2d, eligible: amount > 1000000}");
    refused(&nobody, 3, &["has a label", "`eligible`"]);
    let lonely = with("horizon: 2d}", "horizon: 2d, anchor: {table: payments, where: amount > 1000000, within: 1d}}");
    refused(&lonely, 3, &["no decision has an anchor"]);
    let small = format!("{MODEL}max_size: 4KiB\n");
    refused(&small, 2, &["is too large", "at most 4096, its `max_size`", "help: fewer or smaller trees"]);
}

#[test]
fn names_that_are_none_are_refused_at_their_lines_with_the_nearest() {
    let cases: [(&str, &[&str]); 11] = [
        (
            "encode: {features: {pays.amount_sum_30: {kind: target}}}",
            &["no input of model again", "pays.amount_sum_30d"],
        ),
        ("encode: {features: {pays.amount_sum_30d: {kind: target}}}", &["is no text, and a number as it is"]),
        ("monotone: {pays.payment_30d: increasing}", &["no input of model again", "pays.payments_30d"]),
        ("segments: {s: pays.payment_30d > 1}", &["segment s cannot be read", "pays.payments_30d"]),
        ("fairness: {groups: {g: pays.payment_30d}}", &["group g cannot be read", "pays.payments_30d"]),
        (
            "reasons: {groups: {r: {code: R1, sentence: S, inputs: [pays.nothing*]}}}",
            &["`pays.nothing*` is no input of model again"],
        ),
        ("search: {trials: 2, space: {num_leave: {from: 2, to: 9}}}", &["not a LightGBM parameter", "num_leaves"]),
        ("search: {trials: 2, space: {num_leaves: {from: 1, to: 9}}}", &["expected an integer from 2"]),
        ("reject_inference: {kind: fuzzy, accepted: amount}", &["`reject_inference.accepted` is no condition"]),
        ("reject_inference: {kind: fuzzy, accepted: granted}", &["granted"]),
        ("gate: {asserts: [{name: n, where: pays.payment_30d > 1, action: ask}]}", &["assert `n` cannot be read"]),
    ];
    let world = small::world();
    let project = world.project.display().to_string();
    for (line, says) in cases {
        world.write("models/again.yaml", &format!("{MODEL}{line}\n"));
        let says: Vec<&str> = ["models/again.yaml:9"].into_iter().chain(says.iter().copied()).collect();
        world.run(&["check", "--project", &project]).refuses(2, &says);
    }
    let wrong = with(
        "{table: payments, horizon: 2d}",
        "{table: payments, horizon: 2d, anchor: {table: people, match: [id], within: 1d}}",
    );
    world.write("models/again.yaml", &wrong);
    world.run(&["check", "--project", &project]).refuses(2, &["label.anchor.match", "has no event time"]);
    let logistic = with(
        "kind: lightgbm, rounds: 20, early_stopping: 5, params: {min_data_in_leaf: 5}",
        "kind: logistic, params: {num_leaves: 5}",
    );
    world.write("models/again.yaml", &logistic);
    world
        .run(&["check", "--project", &project])
        .refuses(2, &["models/again.yaml:6", "it has C, penalty, tol, transform"]);
}
