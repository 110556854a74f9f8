//! The raw tables: what each kind of row is called and which columns it has (the contract is `sql/sources.yaml`).

use arrow::array::RecordBatch;

use super::columns::Columns;
use super::rows::*;
use super::vocabulary::*;
use crate::error::Result;

/// A kind of row that is delivered as Parquet.
pub trait Table: Timed {
    /// The folder under the raw root.
    const SOURCE: &'static str;
    /// Truths are delivered as they are; they never come late, twice or wrong.
    const EVENT: bool = true;

    fn encode(rows: &[Self]) -> Result<RecordBatch>;

    /// Changes an attribute as a correction would: never part of the key, the event time, a label or the planted risk.
    fn correct(&mut self) {}
}

impl Table for User {
    const SOURCE: &'static str = "user";

    fn encode(rows: &[Self]) -> Result<RecordBatch> {
        Columns::new(rows)
            .user()?
            .time("registered_at", |r| r.at)
            .text("email", push_email)?
            .date("birth_date", |r| r.born)
            .word("country", |r| COUNTRIES[usize::from(r.country)])
            .optional_word("gender", |r| r.gender.map(|g| GENDERS[usize::from(g)]))
            .finish()
    }

    fn correct(&mut self) {
        self.country = next(self.country, COUNTRIES.len());
    }
}

impl Table for Address {
    const SOURCE: &'static str = "delivery_address";

    fn encode(rows: &[Self]) -> Result<RecordBatch> {
        Columns::new(rows)
            .id("geo_address_id", b'a', |r| r.number)?
            .user()?
            .time("created_at", |r| r.at)
            .word("city", |r| CITIES[usize::from(r.city)])
            .text("postal_code", |r, out| push_number(out, u64::from(r.postcode), 5))?
            .finish()
    }

    fn correct(&mut self) {
        self.city = next(self.city, CITIES.len());
    }
}

impl Table for Login {
    const SOURCE: &'static str = "login";

    fn encode(rows: &[Self]) -> Result<RecordBatch> {
        Columns::new(rows)
            .id("login_id", b'g', |r| r.number)?
            .user()?
            .time("logged_in_at", |r| r.at)
            .word("device", |r| DEVICES[usize::from(r.device)])
            .finish()
    }

    fn correct(&mut self) {
        self.device = next(self.device, DEVICES.len());
    }
}

impl Table for Visit {
    const SOURCE: &'static str = "visit";

    fn encode(rows: &[Self]) -> Result<RecordBatch> {
        Columns::new(rows)
            .id("visit_id", b'v', |r| r.number)?
            .user()?
            .time("visited_at", |r| r.at)
            .word("page", |r| PAGES[usize::from(r.page)])
            .word("category", |r| CATEGORIES[usize::from(r.category)])
            .finish()
    }

    fn correct(&mut self) {
        self.category = next(self.category, CATEGORIES.len());
    }
}

impl Table for Order {
    const SOURCE: &'static str = "purchase_order";

    fn encode(rows: &[Self]) -> Result<RecordBatch> {
        Columns::new(rows)
            .id("purchase_id", b'o', |r| r.number)?
            .user()?
            .time("ordered_at", |r| r.at)
            .id("geo_address_id", b'a', |r| r.address)?
            .word("delivery_method", |r| DELIVERY_METHODS[usize::from(r.delivery_method)])
            .int("items", |r| i32::from(r.items))
            .money("amount", |r| r.cents)?
            .finish()
    }

    fn correct(&mut self) {
        self.delivery_method = next(self.delivery_method, DELIVERY_METHODS.len());
    }
}

impl Table for Item {
    const SOURCE: &'static str = "order_item";

    fn encode(rows: &[Self]) -> Result<RecordBatch> {
        Columns::new(rows)
            .id("purchase_id", b'o', |r| r.number)?
            .int("line_no", |r| i32::from(r.line) + 1)
            .user()?
            .time("ordered_at", |r| r.at)
            .text("product_id", |r, out| {
                out.push(b'c');
                push_number(out, u64::from(r.category), 1);
                out.push(b'-');
                push_number(out, u64::from(r.product), 3);
            })?
            .word("category", |r| CATEGORIES[usize::from(r.category)])
            .text("description", push_description)?
            .int("quantity", |r| i32::from(r.quantity))
            .money("unit_price", |r| r.cents)?
            .finish()
    }

    fn correct(&mut self) {
        self.colour = next(self.colour, COLOURS.len());
    }
}

impl Table for Payment {
    const SOURCE: &'static str = "payment";

    fn encode(rows: &[Self]) -> Result<RecordBatch> {
        Columns::new(rows)
            .id("payment_id", b'p', |r| r.number)?
            .user()?
            .id("purchase_id", b'o', |r| r.order)?
            .time("paid_at", |r| r.at)
            .money("amount", |r| r.cents)?
            .word("payment_method", |r| PAYMENT_METHODS[usize::from(r.method)])
            .word("channel", |r| CHANNELS[usize::from(r.channel)])
            .finish()
    }

    fn correct(&mut self) {
        self.channel = next(self.channel, CHANNELS.len());
    }
}

impl Table for Delivery {
    const SOURCE: &'static str = "delivery";

    fn encode(rows: &[Self]) -> Result<RecordBatch> {
        Columns::new(rows)
            .id("purchase_id", b'o', |r| r.order)?
            .user()?
            .time("delivered_at", |r| r.at)
            .word("delivery_method", |r| DELIVERY_METHODS[usize::from(r.delivery_method)])
            .word("carrier", |r| CARRIERS[usize::from(r.carrier)])
            .finish()
    }

    fn correct(&mut self) {
        self.carrier = next(self.carrier, CARRIERS.len());
    }
}

impl Table for Cancellation {
    const SOURCE: &'static str = "cancellation";

    fn encode(rows: &[Self]) -> Result<RecordBatch> {
        Columns::new(rows)
            .id("purchase_id", b'o', |r| r.order)?
            .user()?
            .time("cancelled_at", |r| r.at)
            .word("reason", |r| CANCEL_REASONS[usize::from(r.reason)])
            .finish()
    }

    fn correct(&mut self) {
        self.reason = next(self.reason, CANCEL_REASONS.len());
    }
}

impl Table for Refusal {
    const SOURCE: &'static str = "refusal";

    fn encode(rows: &[Self]) -> Result<RecordBatch> {
        Columns::new(rows)
            .id("purchase_id", b'o', |r| r.order)?
            .user()?
            .time("refused_at", |r| r.at)
            .word("reason", |r| REFUSAL_REASONS[usize::from(r.reason)])
            .finish()
    }

    fn correct(&mut self) {
        self.reason = next(self.reason, REFUSAL_REASONS.len());
    }
}

impl Table for Return {
    const SOURCE: &'static str = "return";

    fn encode(rows: &[Self]) -> Result<RecordBatch> {
        Columns::new(rows)
            .id("purchase_id", b'o', |r| r.order)?
            .user()?
            .time("returned_at", |r| r.at)
            .word("reason", |r| RETURN_REASONS[usize::from(r.reason)])
            .money("refund_amount", |r| r.cents)?
            .finish()
    }

    fn correct(&mut self) {
        self.reason = next(self.reason, RETURN_REASONS.len());
    }
}

impl Table for Subscription {
    const SOURCE: &'static str = "smart_subscription";

    fn encode(rows: &[Self]) -> Result<RecordBatch> {
        Columns::new(rows)
            .id("subscription_event_id", b's', |r| r.number)?
            .user()?
            .time("changed_at", |r| r.at)
            .word("plan", |r| PLANS[usize::from(r.plan)])
            .word("action", |r| SUBSCRIPTION_ACTIONS[usize::from(r.action)])
            .finish()
    }

    fn correct(&mut self) {
        self.plan = next(self.plan, PLANS.len());
    }
}

impl Table for Loan {
    const SOURCE: &'static str = "instalment_loan";

    fn encode(rows: &[Self]) -> Result<RecordBatch> {
        Columns::new(rows)
            .id("loan_id", b'l', |r| r.order)?
            .user()?
            .id("purchase_id", b'o', |r| r.order)?
            .time("opened_at", |r| r.at)
            .money("amount", |r| r.cents)?
            .int("instalments", |r| i32::from(r.instalments))
            .finish()
    }

    fn correct(&mut self) {
        self.instalments += 1;
    }
}

impl Table for Repayment {
    const SOURCE: &'static str = "repayment";

    fn encode(rows: &[Self]) -> Result<RecordBatch> {
        Columns::new(rows)
            .text("repayment_id", |r, out| {
                push_id(out, b'r', r.person, r.order);
                for part in [r.instalment, r.kind] {
                    out.push(b'-');
                    push_number(out, u64::from(part), 1);
                }
            })?
            .id("loan_id", b'l', |r| r.order)?
            .user()?
            .int("instalment_no", |r| i32::from(r.instalment))
            .word("kind", |r| REPAYMENT_KINDS[usize::from(r.kind)])
            .time("recorded_at", |r| r.at)
            .time("due_at", |r| r.due)
            .optional_time("paid_at", |r| r.paid)
            .money("amount", |r| r.cents)?
            .int("days_late", |r| r.days_late)
            .finish()
    }

    fn correct(&mut self) {
        self.cents += 100;
    }
}

impl Table for BuyingTruth {
    const SOURCE: &'static str = "truth_buying";
    const EVENT: bool = false;

    fn encode(rows: &[Self]) -> Result<RecordBatch> {
        Columns::new(rows)
            .id("purchase_id", b'o', |r| r.order)?
            .user()?
            .time("as_of", |r| r.at)
            .int("label", |r| i32::from(r.label))
            .float("p_full", |r| r.full)
            .float("p_aggregates", |r| r.aggregates)
            .finish()
    }
}

impl Table for CreditTruth {
    const SOURCE: &'static str = "truth_credit";
    const EVENT: bool = false;

    fn encode(rows: &[Self]) -> Result<RecordBatch> {
        Columns::new(rows)
            .id("loan_id", b'l', |r| r.order)?
            .user()?
            .time("as_of", |r| r.at)
            .int("label", |r| i32::from(r.label))
            .float("p_full", |r| r.full)
            .float("p_aggregates", |r| r.aggregates)
            .finish()
    }
}

fn push_email(user: &User, out: &mut Vec<u8>) {
    let email = &user.email;
    push_name(out, email.name);
    if email.separator != 0 {
        out.push(email.separator);
    }
    push_name(out, user.name);
    if email.digits > 0 {
        let most = 10u64.pow(u32::from(email.digits));
        push_number(out, u64::from(email.value) % most, usize::from(email.digits));
    }
    out.push(b'@');
    out.extend_from_slice(DOMAINS[usize::from(email.domain)].as_bytes());
}

fn push_description(item: &Item, out: &mut Vec<u8>) {
    out.extend_from_slice(COLOURS[usize::from(item.colour)].as_bytes());
    out.push(b' ');
    out.extend_from_slice(NOUNS[usize::from(item.category)][usize::from(item.noun)].as_bytes());
    if item.tone != NO_TONE {
        out.push(b' ');
        out.extend_from_slice(TONES[usize::from(item.tone)].as_bytes());
    }
}

/// The next of `n` words.
fn next(word: u8, n: usize) -> u8 {
    (usize::from(word) + 1) as u8 % n as u8
}
