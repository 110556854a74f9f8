//! Sums without rounding: the result does not depend on the order in which values came, nor on what was added and
//! left again.

use arrow::datatypes::i256;

/// From this magnitude on (2^960) floats are summed apart, so that no sum on the way can leave the range of float64.
const BIG: f64 = f64::from_bits((960 + 1023) << 52);
/// 2^-64, by which those are scaled.
const DOWN: f64 = f64::from_bits((1023 - 64) << 52);
/// Floats between these magnitudes (2^-480 and 2^480) have squares that two floats hold exactly, and so has the square
/// of their sum.
const SMALLEST_SQUARED: f64 = f64::from_bits((1023 - 480) << 52);
const GREATEST_SQUARED: f64 = f64::from_bits((1023 + 480) << 52);

/// The sum of floats as non-overlapping partial sums, rounded once when it is read (Shewchuk 1997, "Adaptive precision
/// floating-point arithmetic"; as in Python's `math.fsum`). What is read depends on the exact sum and on nothing else.
/// Only finite values may be added.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct FloatSum {
    partials: Vec<f64>,
    /// Of values beyond [`BIG`], scaled down.
    big: Vec<f64>,
}

impl FloatSum {
    pub fn clear(&mut self) {
        self.partials.clear();
        self.big.clear();
    }

    pub fn add(&mut self, value: f64) {
        if value.abs() < BIG { grow(&mut self.partials, value) } else { grow(&mut self.big, value * DOWN) }
    }

    pub fn merge(&mut self, other: &FloatSum) {
        other.partials.iter().for_each(|&value| grow(&mut self.partials, value));
        other.big.iter().for_each(|&value| grow(&mut self.big, value));
    }

    /// The sum, correctly rounded; `None` if it is beyond the range of float64.
    pub fn value(&self) -> Option<f64> {
        if self.big.is_empty() {
            return Some(rounded(&self.partials)).filter(|sum| sum.is_finite());
        }
        let mut total = self.big.clone();
        for &partial in &self.partials {
            let scaled = partial * DOWN;
            // Too small to be held: only its sign can matter, where the sum is exactly between two floats.
            let held = if scaled.is_normal() { scaled } else { f64::MIN_POSITIVE.copysign(partial) };
            grow(&mut total, held);
        }
        Some(rounded(&total) / DOWN).filter(|sum| sum.is_finite())
    }

    /// The partial sums: (small, big).
    pub fn parts(&self) -> (&[f64], &[f64]) {
        (&self.partials, &self.big)
    }

    pub fn from_parts(partials: Vec<f64>, big: Vec<f64>) -> FloatSum {
        FloatSum { partials, big }
    }
}

/// Adds a value to non-overlapping partial sums.
fn grow(partials: &mut Vec<f64>, value: f64) {
    let mut x = value;
    let mut kept = 0;
    for index in 0..partials.len() {
        let mut y = partials[index];
        if x.abs() < y.abs() {
            std::mem::swap(&mut x, &mut y);
        }
        let high = x + y;
        let low = y - (high - x);
        if low != 0.0 {
            partials[kept] = low;
            kept += 1;
        }
        x = high;
    }
    partials.truncate(kept);
    if x != 0.0 {
        partials.push(x);
    }
}

/// The partial sums' sum, rounded to the nearest float, ties to even.
fn rounded(partials: &[f64]) -> f64 {
    let Some((last, rest)) = partials.split_last() else { return 0.0 };
    let mut high = *last;
    let mut low = 0.0;
    let mut rest = rest.iter().rev();
    for &y in rest.by_ref() {
        let x = high;
        high = x + y;
        low = y - (high - x);
        if low != 0.0 {
            break;
        }
    }
    // Exactly half way: the next partial says to which side.
    if let Some(&next) = rest.next()
        && ((low < 0.0 && next < 0.0) || (low > 0.0 && next > 0.0))
    {
        let twice = low * 2.0;
        let nearer = high + twice;
        if twice == nearer - high {
            high = nearer;
        }
    }
    high
}

/// Sum and sum of squares of floats.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct FloatMoments {
    pub sum: FloatSum,
    /// Of values large enough to have a square.
    pub squared: FloatSum,
    pub squares: FloatSum,
}

impl FloatMoments {
    pub fn clear(&mut self) {
        self.sum.clear();
        self.squared.clear();
        self.squares.clear();
    }

    /// Adds a value, or takes one away that was added (`sign` is then -1).
    pub fn add(&mut self, value: f64, sign: f64, squares: bool) -> Option<()> {
        self.sum.add(value * sign);
        if squares && value.abs() >= SMALLEST_SQUARED {
            if value.abs() >= GREATEST_SQUARED {
                return None;
            }
            let (high, low) = product(value, value);
            self.squared.add(value * sign);
            self.squares.add(high * sign);
            self.squares.add(low * sign);
        }
        Some(())
    }

    pub fn merge(&mut self, other: &FloatMoments) {
        self.sum.merge(&other.sum);
        self.squared.merge(&other.squared);
        self.squares.merge(&other.squares);
    }

    /// n·Σx² − (Σx)², exact, rounded once.
    pub fn spread(&self, count: i64) -> Option<f64> {
        let mut spread = FloatSum::default();
        let mut add = |a: f64, b: f64| {
            let (high, low) = product(a, b);
            high.is_finite().then(|| {
                spread.add(high);
                spread.add(low);
            })
        };
        for &square in self.squares.parts().0 {
            add(square, count as f64)?;
        }
        let sums = self.squared.parts().0;
        for &a in sums {
            for &b in sums {
                add(-a, b)?;
            }
        }
        if !self.squares.parts().1.is_empty() || !self.squared.parts().1.is_empty() {
            return None;
        }
        spread.value()
    }
}

/// a·b as the sum of two floats, exactly.
fn product(a: f64, b: f64) -> (f64, f64) {
    let high = a * b;
    (high, a.mul_add(b, -high))
}

/// Count, sum and, if asked for, sum of squares of integers. `None` from a reading is an overflow.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Moments {
    /// Modulo 2^128; `carry` says how often it went round, so that only the total can overflow, not the way to it.
    pub sum: i128,
    pub carry: i64,
    /// Σx² is the sum of both: squares go to the first while they fit.
    pub squares: i128,
    pub wide_squares: i256,
}

impl Moments {
    pub fn clear(&mut self) {
        *self = Moments::default();
    }

    pub fn add(&mut self, value: i128) {
        let (sum, round) = self.sum.overflowing_add(value);
        self.sum = sum;
        self.carry += i64::from(round) * if value < 0 { -1 } else { 1 };
    }

    pub fn subtract(&mut self, value: i128) {
        let (sum, round) = self.sum.overflowing_sub(value);
        self.sum = sum;
        self.carry -= i64::from(round) * if value < 0 { -1 } else { 1 };
    }

    /// Adds the square of a value, or takes it away (`sign` is then -1).
    pub fn square(&mut self, value: i128, sign: i128) -> Option<()> {
        let narrow = i64::try_from(value).ok().and_then(|v| {
            let v = i128::from(v);
            self.squares.checked_add(v * v * sign)
        });
        match narrow {
            Some(squares) => self.squares = squares,
            None => {
                let wide = i256::from_i128(value);
                let square = wide.checked_mul(wide)?.checked_mul(i256::from_i128(sign))?;
                self.wide_squares = self.wide_squares.checked_add(square)?;
            }
        }
        Some(())
    }

    pub fn merge_sum(&mut self, other: &Moments) {
        self.add(other.sum);
        self.carry += other.carry;
    }

    pub fn merge(&mut self, other: &Moments) -> Option<()> {
        self.merge_sum(other);
        match self.squares.checked_add(other.squares) {
            Some(squares) => self.squares = squares,
            None => self.wide_squares = self.wide_squares.checked_add(i256::from_i128(other.squares))?,
        }
        if other.wide_squares != i256::ZERO {
            self.wide_squares = self.wide_squares.checked_add(other.wide_squares)?;
        }
        Some(())
    }

    pub fn sum(&self) -> Option<i128> {
        (self.carry == 0).then_some(self.sum)
    }

    /// n·Σx² − (Σx)², rounded once.
    pub fn spread(&self, count: i64) -> Option<f64> {
        let sum = self.sum()?;
        if self.wide_squares == i256::ZERO
            && let (Some(scaled), Some(square)) = (self.squares.checked_mul(count.into()), sum.checked_mul(sum))
        {
            return Some((scaled - square) as f64);
        }
        let squares = i256::from_i128(self.squares).checked_add(self.wide_squares)?;
        let scaled = squares.checked_mul(i256::from_i128(i128::from(count)))?;
        let sum = i256::from_i128(sum);
        let spread = scaled.checked_sub(sum.checked_mul(sum)?)?;
        Some(spread.to_i128().map_or_else(|| wide_to_float(spread), |narrow| narrow as f64))
    }
}

/// Rounds the low half first; the error is far below the float's last bit, and the same on every platform.
fn wide_to_float(value: i256) -> f64 {
    let (low, high) = value.to_parts();
    high as f64 * 2.0_f64.powi(128) + low as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn float_sum(values: &[f64]) -> Option<f64> {
        let mut sum = FloatSum::default();
        values.iter().for_each(|&v| sum.add(v));
        sum.value()
    }

    #[test]
    fn nothing_is_lost_between_large_and_small() {
        assert_eq!(float_sum(&[1e300, 1.0, -1e300]), Some(1.0));
        assert_eq!(float_sum(&[0.1; 10]), Some(1.0));
        assert_eq!(float_sum(&[]), Some(0.0));
        assert_eq!(float_sum(&[1e16, 1.0, 1e-16]), Some(10000000000000002.0));
        assert_eq!(float_sum(&[f64::MAX, f64::MAX]), None);
    }

    #[test]
    fn an_overflow_is_never_a_wrong_value() {
        let mut moments = Moments::default();
        moments.add(i128::MAX);
        assert_eq!(moments.sum(), Some(i128::MAX));
        moments.add(1);
        assert_eq!(moments.sum(), None);
        moments.add(-1);
        assert_eq!(moments.sum(), Some(i128::MAX));
        moments.subtract(i128::MAX);
        moments.subtract(i128::MIN);
        assert_eq!(moments.sum(), None);
        moments.subtract(1);
        moments.add(i128::MIN);
        assert_eq!(moments.sum(), Some(-1));
    }

    #[test]
    fn the_way_to_a_sum_may_leave_the_range() {
        assert_eq!(float_sum(&[f64::MAX, f64::MAX, -f64::MAX]), Some(f64::MAX));
        assert_eq!(float_sum(&[1e300, f64::MAX, 1.0, -f64::MAX, -1e300]), Some(1.0));
        assert_eq!(float_sum(&[f64::MAX, f64::MAX, -f64::MAX, -f64::MAX, 5e-324]), Some(5e-324));
    }

    proptest! {
        #[test]
        fn the_order_of_floats_is_irrelevant(values in prop::collection::vec(-1e200..1e200_f64, 0..40)) {
            let mut reversed = values.clone();
            reversed.reverse();
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let sum = float_sum(&values).map(f64::to_bits);
            prop_assert_eq!(sum, float_sum(&reversed).map(f64::to_bits));
            prop_assert_eq!(sum, float_sum(&sorted).map(f64::to_bits));
        }

        #[test]
        fn a_float_sum_is_the_integer_sum_rounded(values in prop::collection::vec(any::<i64>(), 0..40)) {
            // Each is a multiple of 2^-20 held exactly; their sum in integers is exact, its rounding correct.
            let floats: Vec<f64> = values.iter().map(|v| (v >> 11) as f64 / 1048576.0).collect();
            let exact: i128 = values.iter().map(|v| i128::from(v >> 11)).sum();
            prop_assert_eq!(float_sum(&floats), Some(exact as f64 / 1048576.0));
        }

        #[test]
        fn the_spread_is_the_one_of_pairs(values in prop::collection::vec(any::<i128>().prop_map(|v| v >> 30), 0..6)) {
            // n·Σx² − (Σx)² = Σ over pairs of (x − y)².
            let mut moments = Moments::default();
            for &v in &values {
                moments.add(v);
                moments.square(v, 1).unwrap();
            }
            let mut pairs = i256::ZERO;
            for (i, x) in values.iter().enumerate() {
                for y in &values[..i] {
                    let gap = i256::from_i128(x - y);
                    pairs += gap * gap;
                }
            }
            let expected = pairs.to_i128().map_or_else(|| wide_to_float(pairs), |v| v as f64);
            prop_assert_eq!(moments.spread(values.len() as i64), Some(expected));
        }

        #[test]
        fn what_was_added_can_be_taken_away(kept in prop::collection::vec(-1e150..1e150_f64, 0..20),
                                            left in prop::collection::vec(-1e150..1e150_f64, 0..20)) {
            let sums = |values: &[f64]| {
                let mut moments = FloatMoments::default();
                values.iter().for_each(|&v| moments.add(v, 1.0, true).unwrap_or_default());
                moments
            };
            let tame = |values: Vec<f64>| values.into_iter().map(|v| v / 1e10).collect::<Vec<_>>();
            let (kept, left) = (tame(kept), tame(left));
            let mut moments = sums(&[left.clone(), kept.clone()].concat());
            left.iter().for_each(|&v| moments.add(v, -1.0, true).unwrap_or_default());
            let expected = sums(&kept);
            prop_assert_eq!(moments.sum.value(), expected.sum.value());
            let count = kept.len() as i64;
            prop_assert_eq!(moments.spread(count), expected.spread(count));
        }
    }
}
