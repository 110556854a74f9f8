//! How an order and a loan go on once chance has decided how they end, and how much of the end shows at any midnight.
//!
//! All delays are drawn independently of the hidden traits, so what has been observed of a case so far speaks for or
//! against the bad end by one ratio, the same in every state of the traits. `weigh` gives the two sides of it exactly,
//! for cases that are over and for those still open: a parcel that came makes a cancellation impossible, a third week
//! without a return makes a return less likely.

use super::draw::Draw;
use super::{DAY, HOUR};

/// How probable what has been seen of a case is, if it ends well and if it ends badly, up to a common factor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weight {
    pub good: f64,
    pub bad: f64,
    /// Nothing that is still to come can change it.
    pub settled: bool,
}

/// The three ways an order goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bad {
    Cancelled,
    Refused,
    Returned,
}

/// The course of one order.
#[derive(Debug, Clone)]
pub struct OrderCourse {
    pub ordered: i64,
    /// The days between order and delivery, at least and at most; known at the order from its delivery method.
    days: (f64, f64),
    /// How bad orders divide into cancelled, refused and returned; known at the order from how it is paid.
    mix: [f64; 3],
    /// None if cancelled or refused.
    pub delivered: Option<i64>,
    pub bad: Option<(i64, Bad)>,
}

const CANCEL: (i64, i64) = (HOUR, 20 * HOUR);
/// After the delivery. With at most 4 days to deliver every bad end lies within 30 days of the order.
const RETURN: (i64, i64) = (DAY, 20 * DAY);

impl OrderCourse {
    /// Draws the course of an order placed at `ordered`, given whether it ends badly.
    pub fn draw(draw: &mut Draw, ordered: i64, delivery_method: u8, cash_on_delivery: bool, bad: bool) -> Self {
        let days = match delivery_method {
            0 => (1.0, 3.0),
            1 => (1.0, 4.0),
            _ => (1.0, 2.0),
        };
        let mix = if cash_on_delivery { [0.3, 0.4, 0.3] } else { [0.4, 0.1, 0.5] };
        let arrives = ordered + (draw.between(days.0, days.1) * DAY as f64) as i64;
        let (bad, delivered) = match bad.then(|| draw.weighted(&mix)) {
            None => (None, Some(arrives)),
            Some(0) => (Some((ordered + draw.micros(CANCEL.0, CANCEL.1), Bad::Cancelled)), None),
            Some(1) => (Some((arrives, Bad::Refused)), None),
            Some(_) => (Some((arrives + draw.micros(RETURN.0, RETURN.1), Bad::Returned)), Some(arrives)),
        };
        OrderCourse { ordered, days, mix, delivered, bad }
    }

    /// What events before `known` say about the end.
    pub fn weigh(&self, known: i64) -> Weight {
        if self.bad.is_some_and(|(at, _)| at < known) {
            return Weight { good: 0.0, bad: 1.0, settled: true };
        }
        if let Some(delivered) = self.delivered.filter(|at| *at < known) {
            let waiting = 1.0 - uniform(known - delivered, RETURN);
            return Weight { good: 1.0, bad: self.mix[2] * waiting, settled: waiting == 0.0 };
        }
        let age = known - self.ordered;
        let span = ((self.days.0 * DAY as f64) as i64, (self.days.1 * DAY as f64) as i64);
        let under_way = 1.0 - uniform(age, span);
        let uncancelled = 1.0 - uniform(age, CANCEL);
        let bad = (self.mix[1] + self.mix[2]) * under_way + self.mix[0] * uncancelled;
        Weight { good: under_way, bad, settled: false }
    }
}

/// The course of one instalment loan; instalment k is due 30·k days after opening.
#[derive(Debug, Clone)]
pub struct LoanCourse {
    pub opened: i64,
    /// When each instalment is paid, from the first on; a loan that defaults stops early.
    pub paid: Vec<i64>,
    pub defaulted: Option<i64>,
}

pub const MONTH: i64 = 30 * DAY;
/// An instalment that is still unpaid this long after it was due is recorded as missed.
pub const MISSED_AFTER: i64 = 10 * DAY;
/// Of the loans that default, those that never pay at all; the others pay one instalment.
const NEVER_PAY: f64 = 0.6;
/// From the first instalment that is never paid. At most 60 + 29 days after opening: within 90.
const DEFAULT: (i64, i64) = (20 * DAY, 29 * DAY);
/// How late instalments are paid: (share, from, to), earliest first.
const LATENESS: [(f64, i64, i64); 3] = [(0.55, -3 * DAY, 0), (0.28, 0, 5 * DAY), (0.17, 5 * DAY, 19 * DAY)];

impl LoanCourse {
    /// Draws the course of a loan opened at `opened`, given whether it defaults.
    pub fn draw(draw: &mut Draw, opened: i64, instalments: u8, defaults: bool) -> Self {
        let pays = if !defaults {
            i64::from(instalments)
        } else if draw.chance(NEVER_PAY) {
            0
        } else {
            1
        };
        let shares = LATENESS.map(|(share, _, _)| share);
        let paid = (1..=pays).map(|k| {
            let (_, from, to) = LATENESS[draw.weighted(&shares)];
            opened + k * MONTH + draw.micros(from, to)
        });
        let paid = paid.collect();
        let defaulted = defaults.then(|| opened + (pays + 1) * MONTH + draw.micros(DEFAULT.0, DEFAULT.1));
        LoanCourse { opened, paid, defaulted }
    }

    pub fn due(&self, instalment: usize) -> i64 {
        self.opened + instalment as i64 * MONTH
    }

    /// What events before `known` say about a default. A missed instalment follows from the calendar and says no more
    /// than the payment that did not come.
    pub fn weigh(&self, known: i64) -> Weight {
        if self.defaulted.is_some_and(|at| at < known) {
            return Weight { good: 0.0, bad: 1.0, settled: true };
        }
        let unpaid = |k: usize| 1.0 - lateness(known - self.due(k));
        let standing = |k: usize| 1.0 - uniform(known - self.due(k), DEFAULT);
        match self.paid.iter().filter(|at| **at < known).count() {
            0 => {
                let bad = NEVER_PAY * standing(1) + (1.0 - NEVER_PAY) * unpaid(1) * standing(2);
                Weight { good: unpaid(1) * unpaid(2), bad, settled: false }
            }
            1 => Weight { good: unpaid(2), bad: (1.0 - NEVER_PAY) * standing(2), settled: false },
            _ => Weight { good: 1.0, bad: 0.0, settled: true },
        }
    }
}

/// Distribution function of the uniform distribution over a range.
fn uniform(x: i64, (low, high): (i64, i64)) -> f64 {
    ((x - low) as f64 / (high - low) as f64).clamp(0.0, 1.0)
}

/// Distribution function of the time from due to paid.
fn lateness(x: i64) -> f64 {
    LATENESS.iter().map(|(share, from, to)| share * uniform(x, (*from, *to))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Among many cases with a bad end of probability p, those that look the same at a midnight end badly as often as
    /// their weights say.
    #[test]
    fn weights_are_calibrated_at_every_age() {
        let p = 0.4;
        let mut draw = Draw::new(3, 0);
        for age in [0, 1, 2, 3, 5, 12, 28, 33, 40, 52, 61, 75, 88] {
            let (mut expected, mut found, mut variance) = ([0.0; 2], [0.0; 2], [0.0; 2]);
            for _ in 0..20_000 {
                let bad = draw.chance(p);
                let known = age * DAY + 7 * HOUR;
                let order = OrderCourse::draw(&mut draw, 0, 1, false, bad).weigh(known);
                let loan = LoanCourse::draw(&mut draw, 0, 6, bad).weigh(known);
                for (slot, weight) in [order, loan].into_iter().enumerate() {
                    let posterior = p * weight.bad / (p * weight.bad + (1.0 - p) * weight.good);
                    expected[slot] += posterior;
                    found[slot] += f64::from(u8::from(bad));
                    variance[slot] += posterior * (1.0 - posterior);
                }
            }
            for slot in 0..2 {
                let off = (expected[slot] - found[slot]).abs();
                assert!(off <= 4.5 * f64::sqrt(variance[slot]) + 1e-6, "age {age}, case {slot}: {off}");
            }
        }
    }

    #[test]
    fn ends_lie_within_their_horizon() {
        let mut draw = Draw::new(4, 0);
        for n in 0..20_000 {
            let order = OrderCourse::draw(&mut draw, 0, (n % 3) as u8, n % 2 == 0, true);
            assert!(order.bad.is_some_and(|(at, _)| at > 0 && at < 30 * DAY));
            let loan = LoanCourse::draw(&mut draw, 0, 3, true);
            assert!(loan.defaulted.is_some_and(|at| at > 0 && at < 90 * DAY));
            assert!(loan.paid.len() < 2);
        }
    }
}
