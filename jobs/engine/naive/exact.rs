//! Exact arithmetic in integers as long as they need to be.

use num_bigint::BigInt;

/// Every finite float is a whole number of 2^-1074.
pub const FLOAT_PLACES: u32 = 1074;

/// A finite float in units of 2^-1074.
pub fn units(value: f64) -> BigInt {
    let bits = value.to_bits();
    let (exponent, fraction) = ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
    let magnitude = match exponent {
        0 => BigInt::from(fraction),
        _ => BigInt::from(fraction | 1 << 52) << (exponent - 1),
    };
    if value.is_sign_negative() { -magnitude } else { magnitude }
}

/// `n / 2^places`, rounded once to the nearest float, ties to even; `None` beyond the range of float64.
pub fn rounded(n: &BigInt, places: u32) -> Option<f64> {
    let zeros = n.trailing_zeros().unwrap_or(0).min(u64::from(places)) as u32;
    let (n, places) = (n >> zeros, places - zeros);
    // n / 2^p is n·5^p / 10^p, and decimal text of any length is read with correct rounding.
    let text = format!("{}e-{places}", n * BigInt::from(5).pow(places));
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_come_back() {
        for value in [0.0, 1.0, -0.1, f64::MAX, f64::MIN_POSITIVE, 5e-324, 1.0 / 3.0, -1e300] {
            assert_eq!(rounded(&units(value), FLOAT_PLACES), Some(value));
        }
        assert_eq!(rounded(&(units(f64::MAX) * 2), FLOAT_PLACES), None);
    }

    #[test]
    fn sums_are_rounded_once() {
        let sum = |values: &[f64]| rounded(&values.iter().copied().map(units).sum(), FLOAT_PLACES);
        assert_eq!(sum(&[0.1; 10]), Some(1.0));
        assert_eq!(sum(&[1e300, 1.0, -1e300]), Some(1.0));
        // Half way between neighbours: to the even one; a hair beyond: up.
        assert_eq!(sum(&[9007199254740992.0, 1.0]), Some(9007199254740992.0));
        assert_eq!(sum(&[9007199254740992.0, 1.0, 1e-300]), Some(9007199254740994.0));
    }
}
