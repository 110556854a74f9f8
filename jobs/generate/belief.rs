//! The exact posterior over the hidden traits, given what had been observed by a midnight.
//!
//! Two beliefs go side by side. *Full* knows everything: the order of payments, the item texts, the e-mail and all
//! outcomes so far. *Aggregates* knows what windowed aggregates can carry: the outcomes only. The traits are
//! independent fair coins, and nothing else of a user's life depends on them, so Bayes' rule over the eight states is
//! the whole of it and `p_full` and `p_aggregates` are exact, not estimates.

use super::outcome::{LoanCourse, OrderCourse, Weight};
use super::risk::{STATES, has};

/// A case that may still end either way.
struct Open<C> {
    course: C,
    /// Probability of the bad end in each state.
    bad: [f64; STATES],
}

/// What is believed about one user.
pub struct Belief {
    full: [f64; STATES],
    aggregates: [f64; STATES],
    /// Evidence for `full` alone that counts from the midnight after it came up: (time, likelihood by state).
    fresh: Vec<(i64, [f64; STATES])>,
    orders: Vec<Open<OrderCourse>>,
    loans: Vec<Open<LoanCourse>>,
}

/// One decision's probabilities.
#[derive(Debug, Clone, Copy)]
pub struct Truth {
    pub full: f64,
    pub aggregates: f64,
}

impl Belief {
    pub fn new() -> Self {
        let even = [1.0 / STATES as f64; STATES];
        Belief { full: even, aggregates: even, fresh: Vec::new(), orders: Vec::new(), loans: Vec::new() }
    }

    pub fn clear(&mut self) {
        *self = Belief::new();
    }

    /// Something seen at `time` that is `ratio` times as likely if the trait of this bit is set as if it is not.
    pub fn hint(&mut self, time: i64, bit: usize, ratio: f64) {
        self.fresh.push((time, std::array::from_fn(|s| if has(s, bit) { ratio } else { 1.0 })));
    }

    pub fn add_order(&mut self, course: OrderCourse, bad: [f64; STATES]) {
        self.orders.push(Open { course, bad });
    }

    pub fn add_loan(&mut self, course: LoanCourse, bad: [f64; STATES]) {
        self.loans.push(Open { course, bad });
    }

    /// Posterior over the states given all before `known` (midnights must not decrease): (full, aggregates).
    pub fn at(&mut self, known: i64) -> ([f64; STATES], [f64; STATES]) {
        let full = &mut self.full;
        self.fresh.retain(|(time, likelihood)| {
            if *time < known {
                multiply(full, likelihood);
            }
            *time >= known
        });
        let (mut full, mut aggregates) = ([1.0; STATES], [1.0; STATES]);
        let mut settled = [1.0; STATES];
        settle(&mut self.orders, known, |c| (c.ordered, c.weigh(known)), &mut settled, &mut full);
        settle(&mut self.loans, known, |c| (c.opened, c.weigh(known)), &mut settled, &mut full);
        multiply(&mut self.full, &settled);
        multiply(&mut self.aggregates, &settled);
        aggregates.copy_from_slice(&full);
        multiply(&mut full, &self.full);
        multiply(&mut aggregates, &self.aggregates);
        (full, aggregates)
    }
}

/// The probability of the outcome under each belief, given it by state.
pub fn truth((full, aggregates): &([f64; STATES], [f64; STATES]), bad: &[f64; STATES]) -> Truth {
    let mix = |belief: &[f64; STATES]| belief.iter().zip(bad).map(|(b, p)| b * p).sum();
    Truth { full: mix(full), aggregates: mix(aggregates) }
}

/// Multiplies the likelihood of each observed case into `open`, or into `settled` if it is over; then it is dropped.
fn settle<C>(
    cases: &mut Vec<Open<C>>,
    known: i64,
    weigh: impl Fn(&C) -> (i64, Weight),
    settled: &mut [f64; STATES],
    open: &mut [f64; STATES],
) {
    cases.retain(|case| {
        let (began, weight) = weigh(&case.course);
        if began >= known {
            return true;
        }
        let likelihood = case.bad.map(|p| p * weight.bad + (1.0 - p) * weight.good);
        multiply(if weight.settled { &mut *settled } else { &mut *open }, &likelihood);
        !weight.settled
    });
}

/// Bayes' rule: weights times likelihood, scaled to sum to one.
fn multiply(weights: &mut [f64; STATES], likelihood: &[f64; STATES]) {
    let mut sum = 0.0;
    for (weight, factor) in weights.iter_mut().zip(likelihood) {
        *weight *= factor;
        sum += *weight;
    }
    for weight in weights {
        *weight /= sum;
    }
}

#[cfg(test)]
mod tests {
    use super::super::DAY;
    use super::super::draw::Draw;
    use super::*;

    /// Asked every few days, with settled cases dropped on the way, a belief is what a new one makes of everything.
    #[test]
    fn updating_agrees_with_starting_over() {
        let mut draw = Draw::new(9, 0);
        for _ in 0..200 {
            let mut updated = Belief::new();
            let mut all: Vec<(OrderCourse, LoanCourse, [f64; STATES], f64)> = Vec::new();
            for midnight in (0..200).step_by(7).map(|day| day * DAY) {
                let (bad, ratio) = (draw.chance(0.3), draw.between(0.3, 3.0));
                let by_state = std::array::from_fn(|_| draw.between(0.05, 0.6));
                let order = OrderCourse::draw(&mut draw, midnight + DAY / 2, 1, false, bad);
                let loan = LoanCourse::draw(&mut draw, midnight + DAY / 2, 3, bad);
                all.push((order, loan, by_state, ratio));
                let mut anew = Belief::new();
                for (n, (order, loan, by_state, ratio)) in all.iter().enumerate() {
                    let fresh = n + 1 == all.len();
                    for belief in std::iter::once(&mut anew).chain(fresh.then_some(&mut updated)) {
                        belief.add_order(order.clone(), *by_state);
                        belief.add_loan(loan.clone(), *by_state);
                        belief.hint(order.ordered, n % 3, *ratio);
                    }
                }
                let (found, expected) = (updated.at(midnight), anew.at(midnight));
                for s in 0..STATES {
                    assert!((found.0[s] - expected.0[s]).abs() < 1e-9, "{found:?} and {expected:?}");
                    assert!((found.1[s] - expected.1[s]).abs() < 1e-9, "{found:?} and {expected:?}");
                }
            }
        }
    }

    /// What came up on the day itself is not known at its midnight, but at the next.
    #[test]
    fn the_last_midnight_bounds_what_is_known() {
        let mut belief = Belief::new();
        belief.hint(DAY + 1, 0, 4.0);
        assert!((belief.at(DAY).0[1] - 0.125).abs() < 1e-12);
        let (full, aggregates) = belief.at(2 * DAY);
        assert!((full[1] - 0.2).abs() < 1e-12 && (full[0] - 0.05).abs() < 1e-12);
        assert!((aggregates[1] - 0.125).abs() < 1e-12);
    }
}
