//! Sums without rounding: the result does not depend on the order in which values came, nor on what was added and
//! left again.

use arrow::datatypes::i256;

/// The sum of floats as non-overlapping partial sums, rounded once at the end (Shewchuk 1997; as in Python's
/// `math.fsum`). Only finite values may be added.
#[derive(Debug, Default, Clone)]
pub struct FloatSum {
    partials: Vec<f64>,
}

impl FloatSum {
    pub fn clear(&mut self) {
        self.partials.clear();
    }

    pub fn add(&mut self, value: f64) {
        let mut x = value;
        let mut kept = 0;
        for index in 0..self.partials.len() {
            let mut y = self.partials[index];
            if x.abs() < y.abs() {
                std::mem::swap(&mut x, &mut y);
            }
            let high = x + y;
            let low = y - (high - x);
            if low != 0.0 {
                self.partials[kept] = low;
                kept += 1;
            }
            x = high;
        }
        self.partials.truncate(kept);
        if x != 0.0 {
            self.partials.push(x);
        }
    }

    /// The sum, correctly rounded; `None` if it, or a sum on the way, is beyond the range of float64.
    pub fn value(&self) -> Option<f64> {
        let Some((last, rest)) = self.partials.split_last() else { return Some(0.0) };
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
        high.is_finite().then_some(high)
    }
}

/// Count, sum and, if asked for, sum of squares of integers. `None` from a reading is an overflow.
#[derive(Debug, Default, Clone)]
pub struct Moments {
    count: i64,
    /// Modulo 2^128; `carry` says how often it went round, so that only the total can overflow, not the way to it.
    sum: i128,
    carry: i64,
    overflow: bool,
    /// Σx² is the sum of both: squares go to the first while they fit.
    squares: i128,
    wide_squares: i256,
}

impl Moments {
    pub fn clear(&mut self) {
        *self = Moments::default();
    }

    pub fn add(&mut self, value: i128) {
        self.count += 1;
        let (sum, round) = self.sum.overflowing_add(value);
        self.sum = sum;
        self.carry += i64::from(round) * if value < 0 { -1 } else { 1 };
    }

    /// As [`Self::add`], for a count, a sum and the squares.
    pub fn add_squared(&mut self, value: i128) {
        self.add(value);
        let narrow = i64::try_from(value).ok().and_then(|v| {
            let v = i128::from(v);
            self.squares.checked_add(v * v)
        });
        match narrow {
            Some(squares) => self.squares = squares,
            None => {
                let wide = i256::from_i128(value);
                match wide.checked_mul(wide).and_then(|square| self.wide_squares.checked_add(square)) {
                    Some(squares) => self.wide_squares = squares,
                    None => self.overflow = true,
                }
            }
        }
    }

    pub fn sum(&self) -> Option<i128> {
        (self.carry == 0).then_some(self.sum)
    }

    /// n·Σx² − (Σx)², rounded once.
    pub fn spread(&self) -> Option<f64> {
        if self.overflow {
            return None;
        }
        let squares = i256::from_i128(self.squares).checked_add(self.wide_squares)?;
        let scaled = squares.checked_mul(i256::from_i128(i128::from(self.count)))?;
        let sum = i256::from_i128(self.sum()?);
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
            values.iter().for_each(|&v| moments.add_squared(v));
            let mut pairs = i256::ZERO;
            for (i, x) in values.iter().enumerate() {
                for y in &values[..i] {
                    let gap = i256::from_i128(x - y);
                    pairs += gap * gap;
                }
            }
            let expected = pairs.to_i128().map_or_else(|| wide_to_float(pairs), |v| v as f64);
            prop_assert_eq!(moments.spread(), Some(expected));
        }
    }
}
