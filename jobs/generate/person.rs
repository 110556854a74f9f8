//! Who a user is: hidden traits, and habits that any windowed aggregate can see.
//!
//! The habits (how often, how much, how paid) and the hidden traits (z, w, e) are drawn independently, so that habits
//! say nothing about the traits.

use super::draw::Draw;
use super::risk::has;
use super::rows::Email;
use super::vocabulary::{DOMAINS, FREE_DOMAINS};

/// The constants of one user's life.
pub struct Person {
    /// The hidden traits as a state: bit 0 is z (order), bit 1 is w (texts), bit 2 is e (e-mail).
    pub traits: usize,
    /// Orders and sessions a day; both heavy-tailed over users, and related.
    pub order_rate: f64,
    pub session_rate: f64,
    /// Median price of an item in PLN.
    pub price: f64,
    /// Share of orders paid on delivery, and of the others by instalments.
    pub cash_on_delivery: f64,
    pub instalments: f64,
    pub favourite: u8,
    pub device: u8,
    pub subscriber: bool,
}

impl Person {
    pub fn draw(draw: &mut Draw) -> Self {
        let activity = lognormal(draw, 0.75).min(12.0);
        let browsing = lognormal(draw, 0.6);
        // A third of users never pays on delivery, a few nearly always do.
        let cash_on_delivery = if draw.chance(0.35) { 0.0 } else { draw.unit().powf(2.2) };
        Person {
            traits: draw.below(8) as usize,
            order_rate: 0.045 * activity,
            session_rate: 0.165 * activity.powf(0.7) * browsing,
            price: 60.0 * lognormal(draw, 0.7),
            cash_on_delivery,
            instalments: if draw.chance(0.4) { draw.between(0.1, 0.5) } else { 0.0 },
            favourite: draw.below(8) as u8,
            device: draw.below(3) as u8,
            subscriber: draw.chance(0.25),
        }
    }

    /// An e-mail address in which trait `e` shows, and how much likelier its shape is with the trait than without.
    pub fn email(&self, draw: &mut Draw) -> (Email, f64) {
        let e = has(self.traits, 2);
        let mut ratio = 1.0;
        let mut shape = |draw: &mut Draw, with: f64, without: f64| {
            let shown = draw.chance(if e { with } else { without });
            ratio *= if shown { with / without } else { (1.0 - with) / (1.0 - without) };
            shown
        };
        let many_digits = shape(draw, 0.75, 0.25);
        let separated = shape(draw, 0.30, 0.70);
        let free = shape(draw, 0.85, 0.45);
        let digits = if many_digits { 2 + draw.below(3) } else { draw.below(2) };
        let domain = match free {
            true => draw.below(u32::from(FREE_DOMAINS)),
            false => u32::from(FREE_DOMAINS) + draw.below(DOMAINS.len() as u32 - u32::from(FREE_DOMAINS)),
        };
        let email = Email {
            name: draw.below(u32::MAX),
            domain: domain as u8,
            separator: if separated { [b'.', b'_', b'-'][draw.below(3) as usize] } else { 0 },
            digits: digits as u8,
            value: draw.below(10_000) as u16,
        };
        (email, ratio)
    }
}

/// Log-normal with mean 1.
fn lognormal(draw: &mut Draw, sigma: f64) -> f64 {
    (sigma * draw.normal() - sigma * sigma / 2.0).exp()
}
