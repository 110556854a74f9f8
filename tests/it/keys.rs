//! Entities of several keys: a group per bank and kind of card, stored for every night, and read by a model of users
//! beside groups of users, through the columns of the decision.

use serde_json::json;

use crate::lender::{self, NIGHT};

const END: &str = "2024-04-30";

#[test]
fn a_night_stores_a_row_for_every_pair() {
    let world = lender::world();
    lender::march(&world);
    lender::night(&world, NIGHT);
    let rows = world.query(
        "select bank, card_type, payments_30d, refused_30d, refused_share_30d as share from features.cards \
         order by bank, card_type",
    );
    let expected = [
        json!({"bank": "de1", "card_type": "credit", "payments_30d": 3, "refused_30d": 2, "share": 2.0 / 3.0}),
        json!({"bank": "pl1", "card_type": "debit", "payments_30d": 2, "refused_30d": 0, "share": 0.0}),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn a_model_of_users_reads_the_cards_of_its_decisions() {
    let world = lender::world();
    lender::march(&world);
    lender::crowd(&world);
    // A pair that no event has: nothing is known of it, and that is 0 payments.
    let stranger = ("l5", "u1", Some("de1"), Some("debit"), "2024-03-25T11:00:00Z", 100, "PLN", None);
    lender::applications(&world, "2024-03-25", &[stranger]);
    lender::night(&world, END);
    lender::live(&world, "default", END);
    let rows = world.query(
        "select loan_id, cards__payments_30d as cards, cards__refused_30d as refused, payments__payments_30d as own \
         from training_sets.default where loan_id like 'l%' order by loan_id",
    );
    let expected = [
        json!({"loan_id": "l1", "cards": 1, "refused": 0, "own": 1}),
        json!({"loan_id": "l2", "cards": 1, "refused": 1, "own": 1}),
        json!({"loan_id": "l3", "cards": 3, "refused": 2, "own": 3}),
        json!({"loan_id": "l4", "cards": 0, "refused": 0, "own": 0}),
        json!({"loan_id": "l5", "cards": 0, "refused": 0, "own": 3}),
    ];
    assert_eq!(rows, expected);
    let night = "2024-05-01";
    let last = ("l9", "u1", Some("de1"), Some("credit"), "2024-05-01T10:00:00Z", 100, "PLN", None);
    lender::applications(&world, night, &[last]);
    lender::night(&world, night);
    world.job("score", night).ok();
    assert_eq!(
        world.query("select count(*) as n from scores.default where probability is not null"),
        [json!({"n": 1})]
    );
}

/// The entity is the pair; a group about one of its keys is read beside one about both.
#[test]
fn a_population_of_pairs_is_scored_from_what_is_stored() {
    let world = lender::copy();
    world.write("sql/marts/banks.sql", "select bank from payment group by bank");
    let docs = "columns: {bank: {doc: The bank.}}";
    world.write("sql/marts/banks.yaml", &format!("key: [bank]\nmaterialized: full\n{docs}\n"));
    let count = "aggregations: [{fn: count, as: payments, over: [30d]}]";
    world.write(
        "features/banks.yaml",
        &format!("group: banks\nentity: bank\nentities: banks\ntable: payment\n{count}\n"),
    );
    std::fs::remove_file(world.project.join("models/default.yaml")).unwrap();
    world.write(
        "models/refusal.yaml",
        "model: refusal\nentity: [bank, card_type]\n\
         spine: {population: cards, every: 7d, history: 28d}\n\
         label: {table: payment, where: refused, horizon: 7d}\n\
         inputs: [cards.*, banks.*]\n\
         head: {kind: lightgbm, rounds: 5, early_stopping: 0, params: {min_data_in_leaf: 1}}\n\
         validation: {kind: time, test: 7d}\n\
         decisions: [{action: accept, below: 0.5}, {action: watch}]\n",
    );
    lender::march(&world);
    lender::payments(&world, "2024-03-16", &[("p7", "u1", "pl1", "credit", "2024-03-16T09:00:00Z", 100, false)]);
    lender::night(&world, NIGHT);
    lender::live(&world, "refusal", NIGHT);
    world.job("score", NIGHT).ok();
    let rows = world.query("select bank, card_type from scores.refusal where probability is not null order by 1, 2");
    let pair = |bank: &str, card: &str| json!({"bank": bank, "card_type": card});
    assert_eq!(rows, [pair("de1", "credit"), pair("pl1", "credit"), pair("pl1", "debit")]);
    let trained = world.query(
        "select max(banks__payments_30d) as bank, max(cards__payments_30d) as pair from training_sets.refusal \
         where bank = 'pl1' and card_type = 'debit'",
    );
    assert_eq!(trained, [json!({"bank": 3, "pair": 2})]);
}

#[test]
fn keys_that_a_decision_does_not_name_or_types_otherwise_are_refused() {
    let check = |file: &str, from: &str, to: &str, says: &[&str]| {
        let world = lender::copy();
        let text = std::fs::read_to_string(world.project.join(file)).unwrap();
        assert!(text.contains(from), "{from}");
        world.write(file, &text.replace(from, to));
        world.run(&["check", "--project", world.project.to_str().unwrap()]).refuses(2, says);
    };
    let model = "models/default.yaml";
    check(
        model,
        "spine: {table: application, key: [loan_id], attributes: [amount]}",
        "spine: {table: rate}",
        &["cards is about a `bank`, which no decision of model default names"],
    );
    let sources = "sql/sources.yaml";
    let bank = "bank: {type: string, nullable: true, doc: Bank of the card that pays back.}";
    let says =
        ["models/default.yaml:7:1: `bank` of application and of payment are of different types", "found: string"];
    check(sources, bank, "bank: {type: int64, nullable: true}", &says);
    check("features/cards.yaml", "[bank, card_type]", "[bank, card]", &["has no column `card`"]);
    check("features/cards.yaml", "entities: cards", "entities: users", &["table users does not name the entity"]);
}
