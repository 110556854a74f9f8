//! What windowed aggregates can say about a user at a decision: the inputs of the planted risk.
//!
//! A decision at `T` sees events before the last midnight only, as a nightly table would have told it, in half-open
//! windows `[T - d, T)` exact to the microsecond. So a feature group with `visibility: known` over the generated tables
//! yields exactly these numbers (where no file came late), and a model that is given them can reach `p_aggregates`.

use super::DAY;

/// A payment as far as aggregates see it.
#[derive(Clone, Copy)]
pub struct Paid {
    pub at: i64,
    pub cents: i64,
    pub cash_on_delivery: bool,
}

/// A repayment record as far as aggregates see it.
#[derive(Clone, Copy)]
pub struct Repaid {
    pub at: i64,
    /// `paid` at least one whole day after it was due.
    pub late: bool,
    pub missed: bool,
    pub defaulted: bool,
}

/// One user's events, each list in order of time; events that are already certain but lie ahead are in it too.
#[derive(Default)]
pub struct History {
    pub payments: Vec<Paid>,
    pub orders: Vec<i64>,
    /// Cancellations, refusals and returns.
    pub bad: Vec<i64>,
    pub visits: Vec<i64>,
    /// Opening time and principal in hundredths.
    pub loans: Vec<(i64, i64)>,
    pub repayments: Vec<Repaid>,
}

/// The aggregates that the planted risk depends on; the number is the window in days, amounts are in PLN.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Observed {
    pub payments_30: f64,
    pub paid_30: f64,
    pub payments_180: f64,
    pub cod_180: f64,
    pub payments_365: f64,
    pub paid_365: f64,
    pub orders_30: f64,
    pub orders_180: f64,
    /// Days since the last order ever; `None` before the first.
    pub days_since_order: Option<f64>,
    pub bad_180: f64,
    pub visits_30: f64,
    pub visits_90: f64,
    pub lent_180: f64,
    pub late_180: f64,
    pub missed_180: f64,
    pub defaulted_365: f64,
}

impl History {
    pub fn clear(&mut self) {
        self.payments.clear();
        self.orders.clear();
        self.bad.clear();
        self.visits.clear();
        self.loans.clear();
        self.repayments.clear();
    }

    pub fn add_payment(&mut self, paid: Paid) {
        let at = self.payments.partition_point(|p| p.at <= paid.at);
        self.payments.insert(at, paid);
    }

    pub fn add_bad(&mut self, time: i64) {
        let at = self.bad.partition_point(|t| *t <= time);
        self.bad.insert(at, time);
    }

    pub fn add_repayment(&mut self, repaid: Repaid) {
        let at = self.repayments.partition_point(|r| r.at <= repaid.at);
        self.repayments.insert(at, repaid);
    }

    /// The aggregates at a decision at `now`, of events before the midnight `known`.
    pub fn observe(&self, now: i64, known: i64) -> Observed {
        let mut seen = Observed::default();
        let since = |days: i64| now - days * DAY;
        let before = self.payments.partition_point(|p| p.at < known);
        for paid in self.payments[..before].iter().rev().take_while(|p| p.at >= since(365)) {
            let amount = paid.cents as f64 / 100.0;
            seen.payments_365 += 1.0;
            seen.paid_365 += amount;
            if paid.at >= since(180) {
                seen.payments_180 += 1.0;
                seen.cod_180 += f64::from(u8::from(paid.cash_on_delivery));
            }
            if paid.at >= since(30) {
                seen.payments_30 += 1.0;
                seen.paid_30 += amount;
            }
        }
        let count = |times: &[i64], days: i64| {
            (times.partition_point(|t| *t < known) as f64 - times.partition_point(|t| *t < since(days)) as f64).max(0.0)
        };
        seen.orders_30 = count(&self.orders, 30);
        seen.orders_180 = count(&self.orders, 180);
        seen.bad_180 = count(&self.bad, 180);
        seen.visits_30 = count(&self.visits, 30);
        seen.visits_90 = count(&self.visits, 90);
        let ordered = self.orders.partition_point(|t| *t < known);
        seen.days_since_order = ordered.checked_sub(1).map(|last| (now - self.orders[last]) as f64 / DAY as f64);
        for (at, cents) in &self.loans {
            if *at < known && *at >= since(180) {
                seen.lent_180 += *cents as f64 / 100.0;
            }
        }
        for repaid in self.repayments.iter().filter(|r| r.at < known && r.at >= since(365)) {
            seen.defaulted_365 += f64::from(u8::from(repaid.defaulted));
            if repaid.at >= since(180) {
                seen.late_180 += f64::from(u8::from(repaid.late));
                seen.missed_180 += f64::from(u8::from(repaid.missed));
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::super::draw::Draw;
    use super::*;

    /// Every aggregate by its definition: one pass over all rows, each asked whether it lies in the window.
    fn naive(history: &History, now: i64, known: i64) -> Observed {
        let inside = |at: i64, days: i64| at >= now - days * DAY && at < now && at < known;
        let paid = |days| history.payments.iter().filter(move |p| inside(p.at, days));
        let sum = |days| paid(days).map(|p| p.cents as f64 / 100.0).sum();
        let count = |times: &[i64], days| times.iter().filter(|t| inside(**t, days)).count() as f64;
        let repaid = |days, kind: fn(&Repaid) -> bool| {
            history.repayments.iter().filter(|r| inside(r.at, days) && kind(r)).count() as f64
        };
        let last = history.orders.iter().filter(|t| **t < known).max();
        Observed {
            payments_30: paid(30).count() as f64,
            paid_30: sum(30),
            payments_180: paid(180).count() as f64,
            cod_180: paid(180).filter(|p| p.cash_on_delivery).count() as f64,
            payments_365: paid(365).count() as f64,
            paid_365: sum(365),
            orders_30: count(&history.orders, 30),
            orders_180: count(&history.orders, 180),
            days_since_order: last.map(|t| (now - t) as f64 / DAY as f64),
            bad_180: count(&history.bad, 180),
            visits_30: count(&history.visits, 30),
            visits_90: count(&history.visits, 90),
            lent_180: history.loans.iter().filter(|l| inside(l.0, 180)).map(|l| l.1 as f64 / 100.0).sum(),
            late_180: repaid(180, |r| r.late),
            missed_180: repaid(180, |r| r.missed),
            defaulted_365: repaid(365, |r| r.defaulted),
        }
    }

    #[test]
    fn windows_agree_with_their_definition() {
        let mut draw = Draw::new(5, 0);
        for _ in 0..500 {
            // Few distinct times a day, so that rows fall on the edges of windows and midnights.
            let mut time = |n: u32| i64::from(draw.below(n * 2)) * DAY / 2;
            let mut history = History::default();
            for n in 0..40 {
                // Whole PLN, so that sums do not depend on their order.
                history.add_payment(Paid { at: time(800), cents: n * 100, cash_on_delivery: n % 3 == 0 });
                history.add_bad(time(800));
                let kind = n % 4;
                history.add_repayment(Repaid {
                    at: time(800),
                    late: kind == 0,
                    missed: kind == 1,
                    defaulted: kind == 2,
                });
                history.loans.push((time(800), n * 100));
                history.orders.push(time(800));
                history.visits.push(time(800));
            }
            history.orders.sort_unstable();
            history.visits.sort_unstable();
            let now = time(800);
            for known in [now.div_euclid(DAY) * DAY, now] {
                assert_eq!(history.observe(now, known), naive(&history, now, known));
            }
        }
    }
}
