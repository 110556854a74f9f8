//! `scorehouse why`: what it prints, to the letter, for every reason there is.

use crate::lender;
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
        .refuses(2, &["there are no features called `pay`", "did you mean `pays`?"]);
    why(&world, &["payments_30d", "--entity", "u1"]).refuses(2, &["expected: GROUP.FEATURE"]);
    why(&world, &["pays.payments_30d", "--entity", "u1", "--entity", "u2"])
        .refuses(2, &["2 values for the entity", "--entity with user_id"]);
    why(&world, &["pays.payments_30d", "--entity", "u1", "--as-of", "2024-03-03"])
        .refuses(2, &["lies after the night, which ends at 2024-03-02T00:00:00Z"]);
    why(&world, &["pays.payments_30d", "--entity", "u1", "--as-of", "noon"]).refuses(2, &["expected an instant"]);
}

fn why_lender(world: &World, arguments: &[&str]) -> Said {
    let project = world.project.display().to_string();
    let mut all = vec!["why"];
    all.extend(arguments);
    all.extend(["--date", lender::NIGHT, "--project", &project]);
    world.run(&all)
}

fn lender_world() -> World {
    let world = lender::world();
    lender::march(&world);
    lender::payments(&world, "2024-03-28", &[("p9", "u1", "de1", "credit", "2024-03-26T09:00:00Z", 900, false)]);
    for job in ["ingest", "tables"] {
        world.job(job, lender::NIGHT).ok();
    }
    world
}

#[test]
fn a_query_shows_what_it_could_see() {
    let world = lender_world();
    let arguments = ["since_application.payments", "--entity", "u1", "--as-of", "2024-03-28", "--limit", "2"];
    let expected = "\
since_application.payments of user_id = u1 at 2024-03-28T00:00:00Z is 0
Payments since the latest application; null without one.

features/since_application.sql computes it. What it could see of user_id = u1, and what not:

Rows of application with applied_at before 2024-03-28T00:00:00Z, as known then:

         applied_at            loan_id  known from            known until
visible  2024-03-25T10:00:00Z  l3       2024-03-26T00:00:00Z
visible  2024-03-10T10:00:00Z  l1       2024-03-11T00:00:00Z

2 visible; 2 in all

Rows of payment with paid_at before 2024-03-28T00:00:00Z, as known then:

               paid_at               payment_id  known from            known until
visible        2024-03-15T09:00:00Z  p3          2024-03-16T00:00:00Z
visible        2024-03-15T09:00:00Z  p4          2024-03-16T00:00:00Z
not yet known  2024-03-26T09:00:00Z  p9          2024-03-29T00:00:00Z

3 visible, 1 not yet known; 4 in all
";
    assert_eq!(why_lender(&world, &arguments).ok().stdout, expected);
    let answer = why_lender(&world, &["since_application.amount", "--entity", "u1", "--json"]).ok().json();
    assert_eq!(
        (answer["value"].as_str(), answer["query"]["tables"][1]["counts"]["visible"].as_u64()),
        (Some("9.00"), Some(4))
    );
}

#[test]
fn an_attribute_shows_its_inputs_and_where_they_were_looked_up() {
    let world = lender_world();
    let expected = "\
asked.amount_pln of loan_id = l3 at 2024-03-25T10:00:00Z is 450.0
What was asked for, in PLN, at the latest rate that was known.

= amount * fx.pln

input   value
amount  100.00  [in its currency]
fx.pln  4.5     Value of one unit. [PLN]

The newest visible row is looked up.
Rows of rate with quoted_at before 2024-03-25T10:00:00Z, as known then:

         quoted_at             currency  known from            known until
visible  2024-03-20T12:00:00Z  EUR       2024-03-21T00:00:00Z
visible  2024-03-01T12:00:00Z  EUR       2024-03-02T00:00:00Z

2 visible; 2 in all
";
    assert_eq!(why_lender(&world, &["asked.amount_pln", "--entity", "l3"]).ok().stdout, expected);
    // Without a key of its own to look up by, and at another instant.
    let said = why_lender(&world, &["asked.bank_country", "--entity", "l4"]).ok().stdout;
    assert!(said.contains(" at 2024-03-25T12:00:00Z is null\n") && said.contains("register.country  null"), "{said}");
    let said = why_lender(&world, &["asked.amount_pln", "--entity", "l3", "--as-of", "2024-03-20T13:00:00Z"]);
    assert!(said.ok().stdout.contains(" is 400.0\n"));
    why_lender(&world, &["asked.amount_pln", "--entity", "l99"]).refuses(2, &["0 rows of application are called l99"]);
}

#[test]
fn entities_of_several_keys_and_what_is_no_feature() {
    let world = lender_world();
    let said = why_lender(&world, &["cards.refused_share_30d", "--entity", "de1,credit", "--json"]).ok().json();
    assert_eq!(said["entity"], serde_json::json!({"bank": "de1", "card_type": "credit"}));
    assert_eq!(said["derived"]["inputs"][1]["value"], "2");
    why_lender(&world, &["trail.amount", "--entity", "u1"]).refuses(
        2,
        &["trail is a sequence, and why explains features", "select * from sequences.trail where user_id = '…'"],
    );
    why_lender(&world, &["askd.amount_pln", "--entity", "l1"]).refuses(2, &["did you mean `asked`?"]);
    why_lender(&world, &["asked.amount", "--entity", "l1"])
        .refuses(2, &["asked has no feature `amount`", "amount_pln"]);
    why_lender(&world, &["since_application.paymnts", "--entity", "u1"])
        .refuses(2, &["since_application has no feature `paymnts`", "did you mean `payments`?"]);
}
