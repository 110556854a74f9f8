//! Nights of all sorts, drawn by chance: events in time, late, far back and in the future, corrected, moved to another
//! user or hour, delivered again; nights left out and nights run again.

use super::project::{Pay, again, date, deliver, night, world};
use crate::small::micros;
use crate::support::World;

const DAY: i64 = 86_400_000_000;
const USERS: u64 = 7;

/// Steele, Lea and Flood's SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize].clone()
    }
}

struct Script {
    chance: Chance,
    /// Every payment there is, as it was delivered last.
    paid: Vec<Pay>,
}

impl Script {
    /// A payment on or before that day.
    fn pay(&mut self, day: i128) -> Pay {
        let chance = &mut self.chance;
        // Some at the very beginning of a day, where windows begin, and some of them at once.
        let within = if chance.one_in(4) { 0 } else { chance.below(DAY as u64) as i64 };
        let whose = chance.below(USERS);
        Pay {
            id: format!("p{}", self.paid.len()),
            user: (!chance.one_in(12)).then(|| format!("u{whose}")),
            at: micros(&format!("{}T00:00:00Z", date(day))) + within,
            amount: if chance.one_in(60) { 95_000 } else { 100 + chance.below(9_000) as i128 },
            method: chance.of(&[Some("card"), Some("card"), Some("blik"), Some("cash"), None]),
            weight: chance.of(&[None, Some(0.1), Some(-0.3), Some(1e15), Some(f64::NAN), Some(0.7)]),
        }
    }

    fn day(&mut self, world: &World, day: i128) {
        let rows: Vec<Pay> = (0..3 + self.chance.below(4)).map(|_| self.keep(day)).collect();
        deliver(world, &format!("day={}/a.parquet", date(day)), &rows);
    }

    fn keep(&mut self, day: i128) -> Pay {
        let pay = self.pay(day);
        self.paid.push(pay.clone());
        pay
    }

    /// What else arrives on a day.
    fn surprise(&mut self, world: &World, day: i128) {
        let file = |name: &str| format!("day={}/{name}.parquet", date(day));
        let back = |chance: &mut Chance, days: u64| day - i128::from(chance.below(days));
        match self.chance.below(6) {
            0 => {
                let late = back(&mut self.chance, 12);
                let row = self.keep(late);
                deliver(world, &file("late"), &[row]);
            }
            1 => {
                let ahead = self.keep(day + 2);
                deliver(world, &file("ahead"), &[ahead]);
            }
            // A correction of anything but identity and day; of young payments rather than of old ones.
            2 | 3 => {
                let young = self.paid.len() - 1 - self.chance.below(40.min(self.paid.len() as u64)) as usize;
                let Pay { id, at, .. } = self.paid[young].clone();
                let new = self.pay(0);
                let within = if self.chance.one_in(2) { at } else { new.at };
                let at = at.div_euclid(DAY) * DAY + within.rem_euclid(DAY);
                self.paid[young] = Pay { id, at, ..new };
                deliver(world, &file("fix"), &self.paid[young..=young]);
            }
            // The same content under another name.
            4 => {
                let earlier = date(back(&mut self.chance, 9));
                let file = |name: &str| world.raw().join(format!("pay/day={earlier}/{name}.parquet"));
                let _ = std::fs::copy(file("a"), file("again"));
            }
            _ => {}
        }
    }
}

fn nights(seed: u64) -> (usize, usize) {
    let world = world();
    let mut script = Script { chance: Chance(seed), paid: Vec::new() };
    for day in -30..30 {
        script.day(&world, day);
    }
    night(&world, &date(29));
    let (mut incremental, mut rebuilt) = (0, 0);
    for day in 30..42 {
        script.day(&world, day);
        for _ in 0..2 {
            script.surprise(&world, day);
        }
        if script.chance.one_in(5) {
            continue;
        }
        let mut went = night(&world, &date(day));
        if script.chance.one_in(4) {
            script.surprise(&world, day);
            went.extend(night(&world, &date(day)));
        }
        if script.chance.one_in(6) {
            again(&world, &date(day - 1));
        }
        incremental += went.values().filter(|one| one.way == "incremental").count();
        rebuilt += went.values().filter(|one| one.line["details"]["rebuilt"].is_number()).count();
    }
    (incremental, rebuilt)
}

#[test]
fn nights_of_all_sorts_agree() {
    let (incremental, rebuilt) = nights(1);
    assert!(incremental > 15 && rebuilt > 0, "{incremental} incremental, {rebuilt} with entities from their rows");
}

#[test]
fn other_nights_of_all_sorts_agree() {
    let (incremental, rebuilt) = nights(2);
    assert!(incremental > 15 && rebuilt > 0, "{incremental} incremental, {rebuilt} with entities from their rows");
}
