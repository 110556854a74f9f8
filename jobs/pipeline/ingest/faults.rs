//! What is wrong with the rows of a piece: the first fault of each.

use std::collections::BTreeSet;

/// Why a row is bad, and whether it counts against `max_bad_share`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub reason: String,
    pub counts: bool,
}

/// Faults by row. Reasons name columns and never values: those may be personal.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Option<Fault>>);

impl Faults {
    /// A fault of these rows, unless they have an earlier one.
    pub(super) fn note(&mut self, rows: impl IntoIterator<Item = usize>, reason: &str, counts: bool) {
        for row in rows {
            if self.0.len() <= row {
                self.0.resize(row + 1, None);
            }
            self.0[row].get_or_insert_with(|| Fault { reason: reason.to_string(), counts });
        }
    }

    pub(super) fn rows(&self) -> BTreeSet<usize> {
        (0..self.0.len()).filter(|row| self.0[*row].is_some()).collect()
    }

    pub(super) fn take(&mut self, row: usize) -> Option<Fault> {
        self.0.get_mut(row).and_then(Option::take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fault_of_a_row_stays() {
        let mut faults = Faults::default();
        faults.note([3], "a", true);
        faults.note([1, 3], "b", false);
        assert_eq!(faults.rows(), BTreeSet::from([1, 3]));
        assert_eq!(faults.take(3), Some(Fault { reason: "a".into(), counts: true }));
        assert_eq!((faults.take(1).map(|f| f.reason), faults.take(9)), (Some("b".into()), None));
    }
}
