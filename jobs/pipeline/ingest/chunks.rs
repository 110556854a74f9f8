//! Which days to load at a time, so that memory stays bounded however much there is.

use std::collections::BTreeMap;
use std::ops::Range;

/// Rows held at a time, about.
pub(super) const CHUNK_ROWS: u64 = 3_000_000;

/// Days of a file, first and last, and its rows.
pub(super) type Span = (Option<(i32, i32)>, u64);

/// Consecutive ranges of days that cover all of them, each with about `at_once` rows of new files and of what is there
/// already. Rows of a file are taken to be spread evenly over its days; a file is read once per range that it touches.
pub(super) fn chunks(files: &[Span], present: &BTreeMap<i32, u64>, at_once: u64) -> Vec<Range<i32>> {
    let everything = i32::MIN..i32::MAX;
    let total: u64 = files.iter().map(|(_, rows)| rows).sum();
    let unknown =
        files.iter().any(|(days, _)| days.is_some_and(|(low, high)| i64::from(high) - i64::from(low) > 40_000));
    if unknown || total + present.values().sum::<u64>() <= at_once {
        return vec![everything];
    }
    let mut rows: BTreeMap<i32, f64> = BTreeMap::new();
    for (days, count) in files {
        let Some((low, high)) = *days else { continue };
        let share = *count as f64 / f64::from(high - low + 1);
        for day in low..=high {
            *rows.entry(day).or_default() += share;
        }
    }
    for (day, count) in present {
        if let Some(sum) = rows.get_mut(day) {
            *sum += *count as f64;
        }
    }
    let (mut cuts, mut sum) = (vec![everything.start], 0.0);
    for (day, count) in rows {
        if sum > 0.0 && sum + count > at_once as f64 {
            cuts.push(day);
            sum = 0.0;
        }
        sum += count;
    }
    cuts.push(everything.end);
    cuts.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_one_chunk_and_much_is_cut_between_days() {
        let none = BTreeMap::new();
        assert_eq!(chunks(&[(Some((3, 4)), 10), (None, 5)], &none, CHUNK_ROWS), vec![i32::MIN..i32::MAX; 1]);
        let year: Vec<Span> = (0..400).map(|day| (Some((day - 5, day)), 75_000)).collect();
        let cut = chunks(&year, &none, CHUNK_ROWS);
        assert!((10..=12).contains(&cut.len()), "{cut:?}");
        assert_eq!((cut[0].start, cut[cut.len() - 1].end), (i32::MIN, i32::MAX));
        assert!(cut.windows(2).all(|pair| pair[0].end == pair[1].start));
        let present = (0..400).map(|day| (day, 1_000_000)).collect();
        assert!(chunks(&year, &present, CHUNK_ROWS).len() > 100);
        assert_eq!(chunks(&[(Some((i32::MIN, i32::MAX - 1)), 9 * CHUNK_ROWS)], &none, CHUNK_ROWS).len(), 1);
    }
}
