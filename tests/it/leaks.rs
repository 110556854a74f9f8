//! `scorehouse verify` on a project with definitions of every kind: it passes, and each way in which a query can look
//! ahead, or be another the next time, is caught with its place.

use serde_json::Value;

use crate::lender::{self, NIGHT};
use crate::support::{Said, World};

const QUERY: &str = "features/since_application.sql";
const KNOWN: &str = " and p._known_from <= s.as_of and (p._known_until is null or s.as_of < p._known_until)";

fn verify(world: &World, arguments: &[&str]) -> Said {
    let project = world.project.display().to_string();
    let mut all = vec!["verify", "--date", NIGHT, "--project", &project];
    all.extend(arguments);
    world.run(&all)
}

/// The lender's tables, with this instead of that in its query.
fn with(from: &str, to: &str) -> World {
    let world = lender::copy();
    let text = std::fs::read_to_string(world.project.join(QUERY)).unwrap();
    assert!(text.contains(from), "{from}");
    world.write(QUERY, &text.replace(from, to));
    lender::march(&world);
    // Enough payments for their order and their versions to matter.
    let ids: Vec<String> = (0..400).map(|id| format!("q{id}")).collect();
    let times: Vec<String> = (0..400).map(|id| format!("2024-03-{:02}T{:02}:30:00Z", 11 + id / 20, id % 20)).collect();
    let row = |id: usize| -> lender::Payment {
        let user = if id.is_multiple_of(3) { "u1" } else { "u2" };
        (&ids[id], user, "pl1", "debit", &times[id], 101 + (id as i128 * 7919) % 9973, false)
    };
    for day in 0..20 {
        let rows: Vec<_> = (day * 20..day * 20 + 20).map(row).collect();
        lender::payments(&world, &times[day * 20][..10], &rows);
    }
    for job in ["ingest", "tables"] {
        world.job(job, NIGHT).ok();
    }
    world
}

#[test]
fn every_kind_of_definition_holds_and_is_stored_as_it_says() {
    let world = lender::world();
    lender::march(&world);
    lender::crowd(&world);
    lender::night(&world, NIGHT);
    let proofs = verify(&world, &["--json"]).ok().json();
    let proofs = proofs["definitions"].as_array().unwrap();
    let line = |proof: &Value| {
        let (name, features) = (proof["definition"].as_str().unwrap(), proof["features"].as_u64().unwrap());
        assert!(proof["perturbed"].as_u64() > Some(0) && proof["spine_rows"].as_u64() > Some(0), "{proof}");
        (name.to_string(), features)
    };
    let expected = [
        ("group cards", 3),
        ("group payments", 3),
        ("sequence trail", 6),
        ("SQL features since_application", 2),
        ("attributes asked", 4),
    ];
    assert_eq!(proofs.iter().map(line).collect::<Vec<_>>(), expected.map(|(name, n)| (name.to_string(), n)));
    let text = verify(&world, &["--sample", "10"]).ok().stdout;
    for (table, against) in [
        ("features/cards", "2        3  naive evaluation"),
        ("features/payments", "10        3  naive evaluation"),
        ("sequences/trail", "10        6  naive evaluation"),
        ("features/since_application", "10        2  the query again "),
    ] {
        let line = text.lines().find(|line| line.starts_with(table)).unwrap_or_else(|| panic!("no {table}: {text}"));
        assert!(line.contains(against) && line.ends_with("  agrees"), "{line}");
    }
}

#[test]
fn a_query_that_looks_ahead_is_caught_at_its_line() {
    let world = with(" and p.paid_at < s.as_of\n", "");
    let says = [
        &format!("{QUERY}:12:66: amount of SQL features since_application sees more than was known of user_id = u"),
        " at 2024-",
        &format!("{QUERY}:12:39: payments of SQL features since_application sees more than"),
        " with other rows that a decision then could not see\n  expected: ",
        ", whatever those rows are",
        "help: a row counts only if event_time < as_of and _known_from <= as_of",
    ];
    verify(&world, &[]).refuses(2, &says);
    let leaks = verify(&world, &["--json", "--select", "since*"]).json()["definitions"][0]["leaks"].clone();
    let leak = &leaks[0];
    assert_eq!(leak["cause"], "future", "{leaks:#}");
    for key in ["entity", "as_of", "column", "expected", "found"] {
        assert!(leak[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {leak}");
    }
    assert_ne!(leak["expected"], leak["found"]);
}

#[test]
fn a_query_that_reads_late_rows_or_later_corrections_is_caught() {
    for (honest, leaking) in [
        (KNOWN, ""),
        (KNOWN, " and (p._known_until is null or s.as_of < p._known_until)"),
        (KNOWN, " and p._known_from <= s.as_of and p._known_until is null"),
        (KNOWN, " and p._known_from <= s.as_of"),
        ("paid_at < s.as_of", "paid_at <= s.as_of"),
        // The other table of the two.
        ("a.applied_at < s.as_of\n", "true\n"),
        (" and a._known_from <= s.as_of", ""),
    ] {
        let said = verify(&with(honest, leaking), &["--select", "since_application"]);
        assert_eq!(said.code, 2, "`{leaking}` for `{honest}`: {}", said.stdout);
        said.refuses(2, &[QUERY, "sees more than was known of user_id = "]);
    }
}

#[test]
fn a_query_that_is_another_the_next_time_has_not_seen_the_future() {
    let shares = "count(p.payment_id) as payments, sum(p.amount) as amount";
    for (other, column) in [
        // Floats add up to something else in another order …
        ("count(p.payment_id) as payments, sum(1 / cast(p.amount as double)) as amount", "amount"),
        // … and others are asked about at another time.
        ("count(*) over () as payments, sum(p.amount) as amount", "payments"),
    ] {
        let world = with(shares, other);
        let said = verify(&world, &["--select", "since_application"]);
        assert!(said.stdout.contains("UNSTABLE"), "{}", said.stdout);
        let says = [
            &format!("{column} of SQL features since_application is not always the same for user_id = u"),
            "in whatever order rows come, and whoever else is asked about",
            "help: sum decimals instead of floats",
        ];
        said.refuses(2, &says);
    }
}

#[test]
fn a_table_that_is_older_than_its_query_is_told() {
    let world = with("sum(p.amount)", "sum(p.amount)");
    world.job("features", NIGHT).ok();
    verify(&world, &["--sample", "5"]).ok();
    let text = std::fs::read_to_string(world.project.join(QUERY)).unwrap();
    world.write(QUERY, &text.replace("sum(p.amount)", "max(p.amount) * 2"));
    verify(&world, &["--sample", "5", "--select", "since_application"]).refuses(
        1,
        &["features/since_application: amount of user_id = u", "expected: decimal(", "--date 2024-03-31` again; what"],
    );
}

#[test]
fn a_query_about_several_keys_is_held_to_the_same() {
    let world = lender::copy();
    let twin = "sql_features: users_of_card\nentity: [bank, card_type]\nentities: cards\n\
                columns: {users: {doc: Who paid with it., unit: users}}\n";
    world.write("features/users_of_card.yaml", twin);
    let on = "on p.bank = s.bank and p.card_type = s.card_type and p.paid_at < s.as_of";
    let query = format!(
        "select s._row, count(distinct p.user_id) as users\nfrom spine s join payment p {on}{} group by s._row",
        KNOWN.trim_end()
    );
    world.write("features/users_of_card.sql", &query);
    lender::march(&world);
    lender::night(&world, NIGHT);
    let select = ["--select", "users_of_card"];
    assert!(verify(&world, &select).ok().stdout.contains("holds"));
    assert!(verify(&world, &[&select[..], &["--sample", "9"]].concat()).ok().stdout.contains("  agrees"));
    let project = world.project.display().to_string();
    let why = ["why", "users_of_card.users", "--entity", "de1,credit", "--date", NIGHT, "--project", &project];
    let said = world.run(&why).ok().stdout;
    assert!(said.starts_with("users_of_card.users of bank = de1, card_type = credit at 2024-04-01T00:00:00Z is 2\n"));
    world.write("features/users_of_card.sql", &query.replace(" and p.paid_at < s.as_of", ""));
    let says = [
        "features/users_of_card.sql:1:45: users of SQL features users_of_card sees more than was known of bank = ",
        ", card_type = ",
    ];
    verify(&world, &select).refuses(2, &says);
}
