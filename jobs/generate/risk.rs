//! The planted risk: which aggregates an outcome depends on and how, and what the hidden traits add.
//!
//! The log-odds of an outcome are `a(aggregates) + z·c_z + w·c_w + e·c_e`, each trait -1 or +1. `a` is smooth and not
//! linear; what it depends on, all at the decision instant and up to the last midnight (see [`Observed`]):
//!
//! | label | windowed features that carry `a` |
//! |---|---|
//! | buying | cash-on-delivery share of payments 180d · (bad outcomes 180d) / (orders 180d) · visits 30d against orders 30d · mean payment 30d against mean payment 365d · mean payment 365d · days since the last order |
//! | credit | late repayments 180d · missed instalments 180d · defaults 365d · principal lent 180d against payments 365d · visits 30d against visits 90d · mean payment 365d · cash-on-delivery share of payments 180d |
//!
//! Nothing else about a decision matters: not its own amount, method or items, not the day.

use super::observed::Observed;

/// Number of combinations of the hidden traits (z, w, e).
pub const STATES: usize = 8;

/// What the hidden traits add to the log-odds.
#[derive(Clone, Copy)]
pub struct Effects {
    pub z: f64,
    pub w: f64,
    pub e: f64,
}

pub const BUYING: Effects = Effects { z: 0.8, w: 0.6, e: 0.6 };
pub const CREDIT: Effects = Effects { z: 0.7, w: -0.7, e: 0.6 };

/// Trait z (order), w (texts) or e (e-mail) of a state: its bits 0, 1 and 2.
pub fn has(state: usize, bit: usize) -> bool {
    state >> bit & 1 == 1
}

/// The probability of the outcome in each state, given `a`.
pub fn by_state(a: f64, effects: Effects) -> [f64; STATES] {
    let sign = |state, bit| if has(state, bit) { 1.0 } else { -1.0 };
    std::array::from_fn(|s| sigmoid(a + effects.z * sign(s, 0) + effects.w * sign(s, 1) + effects.e * sign(s, 2)))
}

/// `a` of the label *buying*: this order is cancelled, refused or returned within 30 days.
pub fn buying(seen: &Observed) -> f64 {
    let cod = seen.cod_180 / seen.payments_180.max(1.0);
    let bad = (seen.bad_180 + 0.4) / (seen.orders_180 + 3.0);
    let browsing = ((seen.visits_30 + 1.0) / (seen.orders_30 + 1.0)).ln();
    let usual = mean(seen.paid_365, seen.payments_365, USUAL_PAYMENT);
    let rise = (mean(seen.paid_30, seen.payments_30, usual) / usual).ln();
    let recency = seen.days_since_order.map_or(0.0, |days| (-days / 12.0).exp());
    let dear = ((usual / USUAL_PAYMENT).ln() / 0.8).tanh();
    -2.68
        + 0.9 * (cod * 1.8).tanh()
        + 0.6 * (3.0 * (bad - 0.13)).tanh()
        + 0.4 * (browsing - 1.7).tanh()
        + 0.5 * (1.5 * rise).tanh()
        + 0.4 * recency
        + 0.35 * dear * (1.0 + 1.5 * cod)
}

/// `a` of the label *credit*: this loan defaults within 90 days.
pub fn credit(seen: &Observed) -> f64 {
    let cod = seen.cod_180 / seen.payments_180.max(1.0);
    let usual = mean(seen.paid_365, seen.payments_365, USUAL_PAYMENT);
    let dear = ((usual / USUAL_PAYMENT).ln() / 0.8).tanh();
    let debt = seen.lent_180 / (seen.paid_365 + 300.0);
    let fading = ((seen.visits_90 / 3.0 + 1.0) / (seen.visits_30 + 1.0)).ln();
    -3.55
        + 0.3 * (1.0 + seen.late_180).ln()
        + 0.5 * (0.7 * seen.missed_180).tanh()
        + 0.5 * (0.8 * seen.defaulted_365).tanh()
        + 0.7 * (2.0 * debt).tanh()
        + 0.8 * (1.2 * fading).tanh()
        + 0.7 * dear
        + 1.0 * (cod * 1.8).tanh()
}

/// The payment, in PLN, that stands in where a user has none yet.
const USUAL_PAYMENT: f64 = 150.0;

fn mean(sum: f64, count: f64, otherwise: f64) -> f64 {
    if count > 0.0 { sum / count } else { otherwise }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
