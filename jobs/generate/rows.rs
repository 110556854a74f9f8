//! Rows as the simulation makes them: numbers only, as small as they go; text comes in when they are written.
//!
//! `person` is the user's index and `number` counts the rows of one kind (or of their purchases) within the user, so
//! that identifiers are unique without any coordination between threads.

/// A row of one user with a time of its own, which decides the day it belongs to.
pub trait Timed: Copy + Send + Sync {
    /// Microseconds since 1970.
    fn at(&self) -> i64;
    fn person(&self) -> u32;
}

macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub struct $name {
            pub at: i64,
            pub person: u32,
            $(pub $field: $type),*
        }

        impl Timed for $name {
            fn at(&self) -> i64 {
                self.at
            }

            fn person(&self) -> u32 {
                self.person
            }
        }
    )*};
}

rows! {
    User { name: u32, born: i32, country: u8, gender: Option<u8>, email: Email }
    Address { number: u32, city: u8, postcode: u32 }
    Login { number: u32, device: u8 }
    Visit { number: u32, page: u8, category: u8 }
    Order { number: u32, address: u32, delivery_method: u8, items: u8, cents: i64 }
    Item { number: u32, line: u8, category: u8, noun: u8, colour: u8, tone: u8, product: u16, quantity: u8, cents: i64 }
    Payment { number: u32, order: u32, method: u8, channel: u8, cents: i64 }
    Delivery { order: u32, delivery_method: u8, carrier: u8 }
    Cancellation { order: u32, reason: u8 }
    Refusal { order: u32, reason: u8 }
    Return { order: u32, reason: u8, cents: i64 }
    Subscription { number: u32, plan: u8, action: u8 }
    Loan { order: u32, instalments: u8, cents: i64 }
    Repayment { order: u32, instalment: u8, kind: u8, due: i64, paid: Option<i64>, days_late: i32, cents: i64 }
    /// What was knowable of an order's outcome when it was placed.
    BuyingTruth { order: u32, label: u8, full: f64, aggregates: f64 }
    /// What was knowable of a loan's outcome when it was opened.
    CreditTruth { order: u32, label: u8, full: f64, aggregates: f64 }
}

/// The shape of an e-mail address: what trait `e` shows in, and the name it is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Email {
    pub name: u32,
    pub domain: u8,
    /// `.`, `_`, `-` or 0 for none.
    pub separator: u8,
    /// Digits at the end of the local part, and their value.
    pub digits: u8,
    pub value: u16,
}

/// Rows of one kind in order of their day; within a day in the order in which they were made.
pub struct ByDay<R> {
    rows: Vec<R>,
    starts: Vec<u32>,
}

impl<R: Timed> ByDay<R> {
    /// Sorts rows by day; those outside of `first .. first + days` are dropped.
    pub fn new(rows: Vec<R>, first: i64, days: usize) -> Self {
        let day = |row: &R| {
            let day = (row.at() - first).div_euclid(super::DAY);
            usize::try_from(day).ok().filter(|d| *d < days)
        };
        let mut starts = vec![0u32; days + 1];
        for row in &rows {
            if let Some(day) = day(row) {
                starts[day + 1] += 1;
            }
        }
        for day in 0..days {
            starts[day + 1] += starts[day];
        }
        let Some(any) = rows.first().copied() else {
            return ByDay { rows, starts };
        };
        let mut next = starts.clone();
        let mut sorted = vec![any; starts[days] as usize];
        for row in &rows {
            if let Some(day) = day(row) {
                sorted[next[day] as usize] = *row;
                next[day] += 1;
            }
        }
        ByDay { rows: sorted, starts }
    }

    pub fn day(&self, day: usize) -> &[R] {
        &self.rows[self.starts[day] as usize..self.starts[day + 1] as usize]
    }
}

macro_rules! collections {
    ($($field:ident: $row:ident),* $(,)?) => {
        /// The rows of some users, one list per kind.
        #[derive(Default)]
        pub struct Rows {
            $(pub $field: Vec<$row>),*
        }

        /// The rows of some users by kind and day.
        pub struct Sorted {
            $(pub $field: ByDay<$row>),*
        }

        impl Rows {
            pub fn by_day(self, first: i64, days: usize) -> Sorted {
                Sorted { $($field: ByDay::new(self.$field, first, days)),* }
            }
        }
    };
}

collections! {
    users: User,
    addresses: Address,
    logins: Login,
    visits: Visit,
    orders: Order,
    items: Item,
    payments: Payment,
    deliveries: Delivery,
    cancellations: Cancellation,
    refusals: Refusal,
    returns: Return,
    subscriptions: Subscription,
    loans: Loan,
    repayments: Repayment,
    buying: BuyingTruth,
    credit: CreditTruth,
}
