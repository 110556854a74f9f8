//! `scorehouse why`: what it prints, to the letter, for every reason there is.

use crate::small::{self, batch, deliver};
use crate::support::{Said, World};

const GROUP: &str = "\
group: pays
entity: user_id
entities: people
table: payments
where: amount < 1000
aggregations:
  - {of: 'case when amount > 50 then null else amount end', as: small, fn: mean, where: amount <> 7, over: [2d]}
  - {fn: count, as: payments, over: [1d, 30d]}
derived:
  share_1d: payments_1d / payments_30d
";

const PAIRS: &str = "\
group: pairs
entity: [user_id, id]
entities: payments
table: payments
aggregations:
  - {of: amount, fn: sum}
";

/// Payments of u1 with one row for each reason not to count.
fn world() -> World {
    let mut files = small::files();
    files.retain(|(path, _)| *path != "features/pays.yaml" && *path != "features/trail.yaml");
    files.extend([("features/pays.yaml", GROUP), ("features/pairs.yaml", PAIRS)]);
    let world = World::with(&files);
    let first = [
        ("early", Some("u1"), Some("2024-02-27T23:59:59.999999Z"), 1100),
        ("edge", Some("u1"), Some("2024-02-28T00:00:00Z"), 1200),
        ("mended", Some("u1"), Some("2024-02-28T10:00:00Z"), 1300),
        ("large", Some("u1"), Some("2024-02-28T11:00:00Z"), 6000),
        ("other", Some("u2"), Some("2024-02-28T12:00:00Z"), 1400),
        ("seven", Some("u1"), Some("2024-02-28T13:00:00Z"), 700),
        ("huge", Some("u1"), Some("2024-02-28T14:00:00Z"), 100_000),
    ];
    deliver(&world, "day=2024-02-28/a.parquet", &batch(&first));
    let second = [
        ("mended", Some("u1"), Some("2024-02-28T10:00:00Z"), 1500),
        ("last", Some("u1"), Some("2024-02-29T09:00:00Z"), 1600),
    ];
    deliver(&world, "day=2024-02-29/a.parquet", &batch(&second));
    let third = [
        ("late", Some("u1"), Some("2024-02-29T10:00:00Z"), 1700),
        ("next", Some("u1"), Some("2024-03-01T00:00:00Z"), 1800),
    ];
    deliver(&world, "day=2024-03-01/a.parquet", &batch(&third));
    for date in ["2024-02-28", "2024-02-29", "2024-03-01"] {
        for job in ["ingest", "tables"] {
            world.job(job, date).ok();
        }
    }
    world
}

fn why(world: &World, arguments: &[&str]) -> Said {
    let project = world.project.display().to_string();
    let mut all = vec!["why"];
    all.extend(arguments);
    all.extend(["--date", "2024-03-01", "--project", &project]);
    world.run(&all)
}

#[test]
fn every_reason_is_given() {
    let world = world();
    let said = why(&world, &["pays.small_2d", "--entity", "u1", "--as-of", "2024-03-01"]).ok();
    let expected = "\
pays.small_2d of user_id = u1 at 2024-03-01T00:00:00Z is 14.333333333333334
Mean of case when amount > 50 then null else amount end, where amount <> 7, over the last 2d.

Rows of payments where (amount < 1000) and (amount <> 7) with paid_at in [2024-02-28T00:00:00Z, 2024-03-01T00:00:00Z), as known then:

                   paid_at                      case when amount > 50 then null else amount end  id      known from            known until
counted            2024-02-29T09:00:00Z         16.00                                            last    2024-03-01T00:00:00Z
counted            2024-02-28T10:00:00Z         15.00                                            mended  2024-03-01T00:00:00Z
counted            2024-02-28T00:00:00Z         12.00                                            edge    2024-02-29T00:00:00Z
after as_of        2024-03-01T00:00:00Z         18.00                                            next    2024-03-02T00:00:00Z
not yet known      2024-02-29T10:00:00Z         17.00                                            late    2024-03-02T00:00:00Z
superseded         2024-02-28T10:00:00Z         13.00                                            mended  2024-02-29T00:00:00Z  2024-03-01T00:00:00Z
before the window  2024-02-27T23:59:59.999999Z  11.00                                            early   2024-02-29T00:00:00Z
filtered out       2024-02-28T14:00:00Z         null                                             huge    2024-02-29T00:00:00Z
filtered out       2024-02-28T13:00:00Z         7.00                                             seven   2024-02-29T00:00:00Z
null               2024-02-28T11:00:00Z         null                                             large   2024-02-29T00:00:00Z

3 counted, 1 after as_of, 1 not yet known, 1 superseded, 1 before the window, 2 filtered out, 1 null; 10 in all
";
    assert_eq!(said.stdout, expected);

    // An hour before midnight the lake knows nothing of the day yet.
    let said = why(&world, &["pays.payments_30d", "--entity", "u1", "--as-of", "2024-02-29T23:00:00Z", "--limit", "1"]);
    let text = said.ok().stdout;
    assert!(text.starts_with("pays.payments_30d of user_id = u1 at 2024-02-29T23:00:00Z is 5\n"), "{text}");
    assert!(text.ends_with("\n5 counted, 1 after as_of, 3 not yet known, 1 filtered out; 10 in all\n"), "{text}");
    assert_eq!(text.lines().count(), 12, "one row of each kind: {text}");
}

#[test]
fn a_derived_feature_shows_its_inputs() {
    let world = world();
    let said = why(&world, &["pays.share_1d", "--entity", "u1", "--as-of", "2024-03-01"]).ok();
    let expected = "\
pays.share_1d of user_id = u1 at 2024-03-01T00:00:00Z is 0.16666666666666666
= payments_1d / payments_30d

= payments_1d / payments_30d

input         value
payments_1d   1      Number of rows, over the last 1d.
payments_30d  6      Number of rows, over the last 30d.
";
    assert_eq!(said.stdout, expected);
    let said = why(&world, &["pays.share_1d", "--entity", "u9", "--json"]).ok();
    let answer = said.json();
    assert_eq!(answer["value"], serde_json::Value::Null);
    assert_eq!(answer["derived"]["inputs"][1]["value"], "0");
}

#[test]
fn an_entity_of_two_keys_is_given_together_or_one_by_one() {
    let world = world();
    for entity in [&["--entity", "u1,edge"][..], &["--entity", "u1", "--entity", "edge"]] {
        let said = why(&world, &[&["pairs.amount_sum"], entity].concat()).ok();
        let head = "pairs.amount_sum of user_id = u1, id = edge at 2024-03-02T00:00:00Z is 12.00\n";
        assert!(said.stdout.starts_with(head) && said.stdout.ends_with("\n1 counted; 1 in all\n"), "{}", said.stdout);
    }
    why(&world, &["pairs.amount_sum", "--entity", "u1"]).refuses(2, &["1 values", "--entity with user_id, id"]);
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let world = world();
    why(&world, &["pays.paymets_30d", "--entity", "u1"])
        .refuses(2, &["group pays has no feature `paymets_30d`", "did you mean `payments_30d`?"]);
    why(&world, &["pay.payments_30d", "--entity", "u1"])
        .refuses(2, &["there is no feature group `pay`", "did you mean `pays`?"]);
    why(&world, &["payments_30d", "--entity", "u1"]).refuses(2, &["expected: GROUP.FEATURE"]);
    why(&world, &["pays.payments_30d", "--entity", "u1", "--entity", "u2"])
        .refuses(2, &["2 values for the entity", "--entity with user_id"]);
    why(&world, &["pays.payments_30d", "--entity", "u1", "--as-of", "2024-03-03"])
        .refuses(2, &["lies after the night, which ends at 2024-03-02T00:00:00Z"]);
    why(&world, &["pays.payments_30d", "--entity", "u1", "--as-of", "noon"]).refuses(2, &["expected an instant"]);
}
