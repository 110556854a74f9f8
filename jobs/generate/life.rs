//! One user's life, from registration to the last generated day.
//!
//! When a user browses and orders is decided first and depends on nothing else. Then the orders are gone through in
//! order of time: the aggregates known at the last midnight give the risk, chance and the hidden traits give the end,
//! and the end gives events that later decisions see. Habits and cadence do not react to the hidden traits, hence what
//! [`Belief`] computes is exact.

use super::belief::{Belief, truth};
use super::draw::Draw;
use super::observed::{History, Paid, Repaid};
use super::outcome::{Bad, LoanCourse, MISSED_AFTER, OrderCourse};
use super::person::Person;
use super::risk::{self, has};
use super::rows::*;
use super::vocabulary::*;
use super::{DAY, HOUR, MINUTE};

/// Payments that are split in two between the same methods: the share of orders paid at once that are.
const SPLIT: f64 = 0.6;
/// How often a split payment has the e-wallet before the card where trait z is set; without it, as often the other way.
const WALLET_FIRST: f64 = 0.85;
/// How often an item's description has a tone word, and how often that is one of the trait's own list.
const TONED: f64 = 0.6;
const OWN_TONE: f64 = 0.75;
/// Orders are placed in this part of the day, which leaves time to pay before midnight.
const SHOP_HOURS: (i64, i64) = (7 * HOUR, 22 * HOUR);
/// The latest an order may be moved to within its day to keep a user's orders apart.
const LAST_ORDER: i64 = 22 * HOUR + 50 * MINUTE;

pub const BUYING_HORIZON: i64 = 30 * DAY;
pub const CREDIT_HORIZON: i64 = 90 * DAY;

/// The generated time, in microseconds since 1970.
#[derive(Clone, Copy)]
pub struct Span {
    pub start: i64,
    pub end: i64,
}

/// Buffers that are used again for the next user.
pub struct Life {
    span: Span,
    seed: u64,
    history: History,
    belief: Belief,
    order_times: Vec<i64>,
    sessions: Vec<(i64, bool)>,
}

/// What changes while one user's life is told.
struct Telling<'a> {
    person: u32,
    who: Person,
    draw: Draw,
    rows: &'a mut Rows,
    /// Log of the present price level relative to the user's usual one.
    level: f64,
    payments: u32,
    addresses: u32,
}

/// How an order is paid.
enum Plan {
    OnDelivery,
    Instalments,
    Split { wallet_first: bool },
    AtOnce { method: u8 },
}

impl Life {
    pub fn new(span: Span, seed: u64) -> Self {
        Life {
            span,
            seed,
            history: History::default(),
            belief: Belief::new(),
            order_times: Vec::new(),
            sessions: Vec::new(),
        }
    }

    /// Appends everything that happens to a user to `rows`; may reach beyond the last day.
    pub fn tell(&mut self, person: u32, rows: &mut Rows) {
        self.history.clear();
        self.belief.clear();
        let mut draw = Draw::new(self.seed, u64::from(person));
        let who = Person::draw(&mut draw);
        let mut t = Telling { person, who, draw, rows, level: 0.0, payments: 0, addresses: 0 };
        let registered = self.register(&mut t);
        self.plan_orders(&mut t, registered);
        self.browse(&mut t, registered);
        self.subscribe(&mut t, registered);
        for number in 0..self.order_times.len() {
            self.order(&mut t, number);
        }
    }

    /// Most users are there within the first tenth of the days, at most thirty; the others come evenly.
    fn register(&mut self, t: &mut Telling) -> i64 {
        let days = self.span.end - self.span.start;
        let early = (days / 10).clamp(DAY, 30 * DAY).min(days);
        let until = if t.draw.chance(0.75) { early } else { days };
        let day = t.draw.micros(0, until) / DAY * DAY;
        let registered = self.span.start + day + t.draw.micros(HOUR, 6 * HOUR);
        let (email, ratio) = t.who.email(&mut t.draw);
        self.belief.hint(registered, 2, ratio);
        let country = [0, 0, 0, 0, 1, 2, 3, 4, 5][t.draw.below(9) as usize];
        let gender = (!t.draw.chance(0.15)).then(|| t.draw.below(2) as u8);
        let born = t.draw.below(19_000) as i32 - 5_000;
        let name = t.draw.below(u32::MAX);
        t.rows.users.push(User { at: registered, person: t.person, name, born, country, gender, email });
        let soon = registered + t.draw.micros(MINUTE, 30 * MINUTE);
        t.add_address(soon);
        registered
    }

    /// A renewal process with bursts and pauses.
    fn plan_orders(&mut self, t: &mut Telling, registered: i64) {
        self.order_times.clear();
        let mean = 1.0 / t.who.order_rate;
        let mut day = registered as f64 / DAY as f64 + t.draw.exponential(mean);
        let mut last = i64::MIN;
        while day < self.span.end as f64 / DAY as f64 {
            let midnight = day.floor() as i64 * DAY;
            let at = (midnight + t.draw.micros(SHOP_HOURS.0, SHOP_HOURS.1)).max(last.saturating_add(25 * MINUTE));
            if at >= registered + HOUR && at < midnight + LAST_ORDER && at < self.span.end {
                self.order_times.push(at);
                last = at;
            }
            let stretch = if t.draw.chance(0.75) { 0.55 } else { 2.35 };
            day += t.draw.exponential(mean * stretch);
        }
    }

    /// Sessions of page views: on their own, at a rate that drifts from month to month, and before each order.
    fn browse(&mut self, t: &mut Telling, registered: i64) {
        self.sessions.clear();
        let mut month = registered;
        while month < self.span.end {
            let rate = t.who.session_rate * (0.6 * t.draw.normal() - 0.18).exp();
            let end = (month + 30 * DAY).min(self.span.end);
            let mut at = month + (t.draw.exponential(1.0 / rate) * DAY as f64) as i64;
            while at < end {
                self.sessions.push((at, false));
                at += (t.draw.exponential(1.0 / rate) * DAY as f64) as i64 + HOUR;
            }
            month = end;
        }
        for at in &self.order_times {
            self.sessions.push((at - 20 * MINUTE, true));
        }
        self.sessions.sort_unstable();
        let (mut visits, mut logins) = (0, 0);
        for (began, buys) in &self.sessions {
            if *buys || t.draw.chance(0.45) {
                let device = if t.draw.chance(0.8) { t.who.device } else { t.draw.below(3) as u8 };
                t.rows.logins.push(Login { at: *began, person: t.person, number: logins, device });
                logins += 1;
            }
            let mut at = *began;
            loop {
                at += t.draw.micros(MINUTE / 6, 4 * MINUTE);
                let category = if t.draw.chance(0.5) { t.who.favourite } else { t.draw.below(8) as u8 };
                let page = t.draw.below(4) as u8;
                t.rows.visits.push(Visit { at, person: t.person, number: visits, page, category });
                visits += 1;
                self.history.visits.push(at);
                if t.draw.chance(0.4) || at > began + 15 * MINUTE {
                    break;
                }
            }
        }
        self.history.visits.sort_unstable();
    }

    fn subscribe(&mut self, t: &mut Telling, registered: i64) {
        if !t.who.subscriber {
            return;
        }
        let mut at = registered + (t.draw.exponential(60.0) * DAY as f64) as i64 + HOUR;
        for number in 0..8 {
            if at >= self.span.end {
                break;
            }
            let plan = t.draw.below(2) as u8;
            t.rows.subscriptions.push(Subscription { at, person: t.person, number, plan, action: (number % 2) as u8 });
            at += (t.draw.exponential(100.0) * DAY as f64) as i64 + HOUR;
        }
    }

    fn order(&mut self, t: &mut Telling, number: usize) {
        let at = self.order_times[number];
        let known = at.div_euclid(DAY) * DAY;
        let seen = self.history.observe(at, known);
        let belief = self.belief.at(known);
        let by_state = risk::by_state(risk::buying(&seen), risk::BUYING);
        let bad = t.draw.chance(by_state[t.who.traits]);
        let number = number as u32;
        if at + BUYING_HORIZON <= self.span.end {
            let truth = truth(&belief, &by_state);
            let (full, aggregates, label) = (truth.full, truth.aggregates, u8::from(bad));
            t.rows.buying.push(BuyingTruth { at, person: t.person, order: number, label, full, aggregates });
        }
        // Whoever has been seen to default is lent to less often; that, too, aggregates can see.
        let lend = t.who.instalments * if seen.defaulted_365 > 0.0 { 0.4 } else { 1.0 };
        let plan = t.plan(lend);
        let dear = if matches!(plan, Plan::Instalments) { 2.5 } else { 1.0 };
        let cents = self.fill_basket(t, at, number, dear);
        if t.draw.chance(0.03) {
            let before = at - t.draw.micros(MINUTE, 10 * MINUTE);
            t.add_address(before);
        }
        let delivery_method = t.draw.weighted(&[0.45, 0.4, 0.15]) as u8;
        let items = t.rows.items.iter().rev().take_while(|i| i.person == t.person && i.number == number).count() as u8;
        let address = t.draw.below(t.addresses);
        t.rows.orders.push(Order { at, person: t.person, number, address, delivery_method, items, cents });
        self.history.orders.push(at);
        let on_delivery = matches!(plan, Plan::OnDelivery);
        let course = OrderCourse::draw(&mut t.draw, at, delivery_method, on_delivery, bad);
        self.pay(t, at, number, &plan, cents, &course);
        self.finish(t, number, cents, delivery_method, &course);
        self.belief.add_order(course, by_state);
        if matches!(plan, Plan::Instalments) {
            let opened = at + t.draw.micros(MINUTE, 5 * MINUTE);
            self.lend(t, opened, number, cents, &belief);
        }
    }

    /// The items of an order; returns their sum in hundredths.
    fn fill_basket(&mut self, t: &mut Telling, at: i64, number: u32, dear: f64) -> i64 {
        t.level = 0.75 * t.level + 0.4 * t.draw.normal();
        let price = t.who.price * (t.level).exp() * dear;
        let items = 1 + t.draw.weighted(&[0.5, 0.28, 0.14, 0.08]) as u8;
        let mut total = 0;
        for line in 0..items {
            let category = if t.draw.chance(0.4) { t.who.favourite } else { t.draw.below(8) as u8 };
            let quantity = 1 + t.draw.weighted(&[0.85, 0.1, 0.05]) as u8;
            let cents = ((price * (0.6 * t.draw.normal()).exp() * 100.0) as i64).clamp(199, 2_000_000);
            let tone = self.tone(t, at);
            let (noun, colour) = (t.draw.below(6) as u8, t.draw.below(6) as u8);
            let product = u16::from(noun) * 100 + t.draw.below(100) as u16;
            let person = t.person;
            total += cents * i64::from(quantity);
            t.rows.items.push(Item {
                at,
                person,
                number,
                line,
                category,
                noun,
                colour,
                tone,
                product,
                quantity,
                cents,
            });
        }
        total
    }

    /// A tone word in which trait `w` shows, or none.
    fn tone(&mut self, t: &mut Telling, at: i64) -> u8 {
        if !t.draw.chance(TONED) {
            return NO_TONE;
        }
        let own = if has(t.who.traits, 1) { OWN_TONE } else { 1.0 - OWN_TONE };
        let first_list = t.draw.chance(own);
        let odds = OWN_TONE / (1.0 - OWN_TONE);
        self.belief.hint(at, 1, if first_list { odds } else { 1.0 / odds });
        let half = TONES.len() as u32 / 2;
        (t.draw.below(half) + if first_list { 0 } else { half }) as u8
    }

    fn pay(&mut self, t: &mut Telling, at: i64, order: u32, plan: &Plan, cents: i64, course: &OrderCourse) {
        let soon = at + t.draw.micros(MINUTE, 12 * MINUTE);
        match plan {
            Plan::OnDelivery => {
                if let Some(delivered) = course.delivered {
                    self.add_payment(t, delivered, order, CASH_ON_DELIVERY, cents);
                }
            }
            Plan::Instalments => self.add_payment(t, soon, order, INSTALMENTS, cents),
            Plan::AtOnce { method } => self.add_payment(t, soon, order, *method, cents),
            Plan::Split { wallet_first } => {
                let methods = if *wallet_first { [BLIK, CARD] } else { [CARD, BLIK] };
                let odds = WALLET_FIRST / (1.0 - WALLET_FIRST);
                self.belief.hint(soon, 0, if *wallet_first { odds } else { 1.0 / odds });
                let first = (cents as f64 * t.draw.between(0.2, 0.8)) as i64;
                let later = soon + t.draw.micros(MINUTE, 12 * MINUTE);
                self.add_payment(t, soon, order, methods[0], first);
                self.add_payment(t, later, order, methods[1], cents - first);
            }
        }
    }

    fn add_payment(&mut self, t: &mut Telling, at: i64, order: u32, method: u8, cents: i64) {
        self.history.add_payment(Paid { at, cents, cash_on_delivery: method == CASH_ON_DELIVERY });
        let channel = if method == CASH_ON_DELIVERY { 2 } else { t.draw.below(2) as u8 };
        t.rows.payments.push(Payment { at, person: t.person, number: t.payments, order, method, channel, cents });
        t.payments += 1;
    }

    /// Delivery, cancellation, refusal and return.
    fn finish(&mut self, t: &mut Telling, order: u32, cents: i64, delivery_method: u8, course: &OrderCourse) {
        let person = t.person;
        if let Some(at) = course.delivered {
            let carrier = t.draw.below(4) as u8;
            t.rows.deliveries.push(Delivery { at, person, order, delivery_method, carrier });
        }
        let Some((at, bad)) = course.bad else { return };
        self.history.add_bad(at);
        let mut reason = |n| t.draw.below(n) as u8;
        match bad {
            Bad::Cancelled => t.rows.cancellations.push(Cancellation { at, person, order, reason: reason(4) }),
            Bad::Refused => t.rows.refusals.push(Refusal { at, person, order, reason: reason(3) }),
            Bad::Returned => t.rows.returns.push(Return { at, person, order, reason: reason(4), cents }),
        }
    }

    fn lend(&mut self, t: &mut Telling, at: i64, order: u32, cents: i64, belief: &([f64; 8], [f64; 8])) {
        let person = t.person;
        let seen = self.history.observe(at, at.div_euclid(DAY) * DAY);
        let by_state = risk::by_state(risk::credit(&seen), risk::CREDIT);
        let defaults = t.draw.chance(by_state[t.who.traits]);
        if at + CREDIT_HORIZON <= self.span.end {
            let truth = truth(belief, &by_state);
            let (full, aggregates, label) = (truth.full, truth.aggregates, u8::from(defaults));
            t.rows.credit.push(CreditTruth { at, person, order, label, full, aggregates });
        }
        let instalments = [3u8, 6, 10][t.draw.below(3) as usize];
        t.rows.loans.push(Loan { at, person, order, instalments, cents });
        self.history.loans.push((at, cents));
        let course = LoanCourse::draw(&mut t.draw, at, instalments, defaults);
        self.repay(t, order, cents / i64::from(instalments), &course);
        self.belief.add_loan(course, by_state);
    }

    /// One row per instalment paid, missed (whether or not it is paid later) and for the default.
    fn repay(&mut self, t: &mut Telling, order: u32, cents: i64, course: &LoanCourse) {
        let person = t.person;
        let mut record = |at: i64, instalment: usize, kind: u8, paid: Option<i64>| {
            let due = course.due(instalment);
            let days_late = ((at - due) / DAY).max(0) as i32;
            let instalment = instalment as u8;
            t.rows.repayments.push(Repayment { at, person, order, instalment, kind, due, paid, days_late, cents });
            self.history.add_repayment(Repaid {
                at,
                late: kind == 0 && days_late > 0,
                missed: kind == 1,
                defaulted: kind == 2,
            });
        };
        for (index, at) in course.paid.iter().enumerate() {
            if *at > course.due(index + 1) + MISSED_AFTER {
                record(course.due(index + 1) + MISSED_AFTER, index + 1, 1, None);
            }
            record(*at, index + 1, 0, Some(*at));
        }
        if let Some(at) = course.defaulted {
            let unpaid = course.paid.len() + 1;
            record(course.due(unpaid) + MISSED_AFTER, unpaid, 1, None);
            record(at, unpaid, 2, None);
        }
    }
}

impl Telling<'_> {
    fn add_address(&mut self, at: i64) {
        let (city, postcode) = (self.draw.below(12) as u8, self.draw.below(90_000) + 10_000);
        self.rows.addresses.push(Address { at, person: self.person, number: self.addresses, city, postcode });
        self.addresses += 1;
    }

    fn plan(&mut self, lend: f64) -> Plan {
        if self.draw.chance(lend) {
            Plan::Instalments
        } else if self.draw.chance(self.who.cash_on_delivery) {
            Plan::OnDelivery
        } else if self.draw.chance(SPLIT) {
            let wallet_first = if has(self.who.traits, 0) { WALLET_FIRST } else { 1.0 - WALLET_FIRST };
            Plan::Split { wallet_first: self.draw.chance(wallet_first) }
        } else {
            Plan::AtOnce { method: self.draw.weighted(&[0.4, 0.4, 0.2]) as u8 }
        }
    }
}
