//! The closed vocabularies of the synthetic marketplace, and how numbers become words and identifiers.

pub const COUNTRIES: [&str; 6] = ["PL", "CZ", "SK", "HU", "DE", "LT"];
pub const GENDERS: [&str; 2] = ["female", "male"];
pub const CITIES: [&str; 12] = [
    "Warszawa",
    "Kraków",
    "Łódź",
    "Wrocław",
    "Poznań",
    "Gdańsk",
    "Szczecin",
    "Bydgoszcz",
    "Lublin",
    "Białystok",
    "Katowice",
    "Gdynia",
];
pub const DEVICES: [&str; 3] = ["app", "mobile web", "desktop"];
pub const PAGES: [&str; 5] = ["home", "search", "product", "cart", "checkout"];
pub const CATEGORIES: [&str; 8] = ["electronics", "fashion", "home", "garden", "toys", "beauty", "sport", "books"];
pub const DELIVERY_METHODS: [&str; 3] = ["courier", "parcel locker", "pickup point"];
pub const CARRIERS: [&str; 4] = ["InPost", "DPD", "DHL", "Poczta"];
pub const CHANNELS: [&str; 3] = ["app", "web", "terminal"];
pub const PAYMENT_METHODS: [&str; 5] = ["credit card", "blik", "bank transfer", "cash on delivery", "instalments"];
pub const CANCEL_REASONS: [&str; 4] = ["changed mind", "too slow", "found cheaper", "ordered by mistake"];
pub const REFUSAL_REASONS: [&str; 3] = ["not at home", "does not want it", "damaged parcel"];
pub const RETURN_REASONS: [&str; 4] = ["wrong size", "not as described", "defect", "changed mind"];
pub const PLANS: [&str; 2] = ["monthly", "yearly"];
pub const SUBSCRIPTION_ACTIONS: [&str; 2] = ["started", "stopped"];
pub const REPAYMENT_KINDS: [&str; 3] = ["paid", "missed", "defaulted"];

/// Indices into [`PAYMENT_METHODS`].
pub const CARD: u8 = 0;
pub const BLIK: u8 = 1;
pub const CASH_ON_DELIVERY: u8 = 3;
pub const INSTALMENTS: u8 = 4;

/// Product nouns by category.
pub const NOUNS: [[&str; 6]; 8] = [
    ["headphones", "usb cable", "power bank", "keyboard", "monitor", "smart watch"],
    ["jacket", "sneakers", "dress", "jeans", "backpack", "scarf"],
    ["lamp", "duvet", "frying pan", "curtain", "vacuum cleaner", "shelf"],
    ["hose", "grill", "lawn seed", "planter", "pruner", "solar lamp"],
    ["building blocks", "puzzle", "doll", "board game", "scooter", "plush bear"],
    ["face cream", "perfume", "hair dryer", "lipstick", "shampoo", "razor"],
    ["yoga mat", "dumbbells", "bike helmet", "tent", "running shorts", "football"],
    ["novel", "cookbook", "atlas", "comic", "textbook", "diary"],
];
pub const COLOURS: [&str; 6] = ["black", "white", "navy", "green", "red", "grey"];
/// Words that are told apart by trait `w`: the first half more often where it is set, the second half where it is not.
pub const TONES: [&str; 8] =
    ["outlet", "clearance", "refurbished", "unboxed", "premium", "original", "certified", "warranty"];
/// A tone index that stands for no tone word.
pub const NO_TONE: u8 = u8::MAX;

/// Free-mail domains first, own domains after [`FREE_DOMAINS`].
pub const DOMAINS: [&str; 8] = [
    "gmail.com",
    "wp.pl",
    "onet.pl",
    "o2.pl",
    "kowalczyk-biuro.pl",
    "studio-nova.eu",
    "politechnika.edu.pl",
    "firma-transport.com",
];
pub const FREE_DOMAINS: u8 = 4;
const SYLLABLES: [&str; 20] = [
    "an", "ka", "mi", "ro", "to", "ma", "ja", "wi", "le", "no", "ba", "ry", "szy", "ce", "du", "ga", "lo", "pe", "zo",
    "ek",
];

/// Appends `value` in decimal, padded with zeros to at least `width` digits.
pub fn push_number(out: &mut Vec<u8>, value: u64, width: usize) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value;
    while rest > 0 || digits.len() - at < width {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends the identifier of a user's thing, unique for its prefix.
pub fn push_id(out: &mut Vec<u8>, prefix: u8, person: u32, number: u32) {
    out.push(prefix);
    push_number(out, u64::from(person), 7);
    out.push(b'-');
    push_number(out, u64::from(number), 4);
}

/// Appends a made-up name: three syllables chosen by `code`.
pub fn push_name(out: &mut Vec<u8>, code: u32) {
    let n = SYLLABLES.len() as u32;
    for part in [code % n, code / n % n, code / n / n % n] {
        out.extend_from_slice(SYLLABLES[part as usize].as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_padded_and_never_cut() {
        let text = |value, width| {
            let mut out = Vec::new();
            push_number(&mut out, value, width);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(0, 1), "0");
        assert_eq!(text(42, 5), "00042");
        assert_eq!(text(123_456, 3), "123456");
        assert_eq!(text(u64::MAX, 0), u64::MAX.to_string());
    }
}
