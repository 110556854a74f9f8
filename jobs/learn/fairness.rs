//! Are groups treated alike? Differences in how often they are accepted, overall and among those who deserve it.
//!
//! **Demographic parity** compares the share of each group that gets the favourable decision. **Equal opportunity**
//! compares that share among the rows whose outcome was good (M. Hardt, E. Price, N. Srebro, "Equality of Opportunity
//! in Supervised Learning", NeurIPS 2016). The difference is the largest share minus the smallest, the ratio the
//! smallest over the largest. Equals fairlearn's `demographic_parity_difference`, `demographic_parity_ratio` and
//! `equal_opportunity_difference` with `y_true` = good and `y_pred` = favoured, but for small groups: below
//! `min_rows` rows a group's share is mostly chance, so it is shown and not compared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Rows, decisions and outcomes by group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fairness {
    /// In the order of their names; rows without a group are the group `null`.
    pub groups: Vec<Group>,
    pub demographic_parity: Option<Gap>,
    pub equal_opportunity: Option<Gap>,
}

/// One group's counts and shares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    pub rows: u64,
    /// Rows with the favourable decision.
    pub favoured: u64,
    /// Rows with a good outcome, and those of them with the favourable decision; 0 where no outcome is known.
    pub good: u64,
    pub good_favoured: u64,
    /// Whether it has rows enough to be compared.
    pub compared: bool,
}

impl Group {
    /// Share favoured.
    pub fn selection_rate(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.favoured as f64 / self.rows as f64)
    }

    /// Share favoured among the good.
    pub fn true_positive_rate(&self) -> Option<f64> {
        (self.good > 0).then(|| self.good_favoured as f64 / self.good as f64)
    }
}

/// The distance between the best and the worst treated of the compared groups.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// Largest minus smallest share, in [0, 1].
    pub difference: f64,
    /// Smallest over largest share, in [0, 1]; `None` where nobody is favoured.
    pub ratio: Option<f64>,
}

/// Compares groups. `favoured` and `groups` are by row; `good` says how a row turned out, `None` where it is not known
/// for any. Gaps are `None` where fewer than two groups can be compared; equal opportunity compares groups of at least
/// `min_rows` good rows. `Internal` error where lengths differ.
pub fn fairness(groups: &[Option<&str>], favoured: &[bool], good: Option<&[bool]>, min_rows: u64) -> Result<Fairness> {
    if favoured.len() != groups.len() || good.is_some_and(|good| good.len() != groups.len()) {
        return Err(Error::internal(format!("fairness of {} groups and {} decisions", groups.len(), favoured.len())));
    }
    let mut counts: BTreeMap<&str, Group> = BTreeMap::new();
    for (row, name) in groups.iter().enumerate() {
        let name = name.unwrap_or("null");
        let group = counts.entry(name).or_insert_with(|| Group {
            name: name.to_string(),
            rows: 0,
            favoured: 0,
            good: 0,
            good_favoured: 0,
            compared: false,
        });
        let good = good.is_some_and(|good| good[row]);
        group.rows += 1;
        group.favoured += u64::from(favoured[row]);
        group.good += u64::from(good);
        group.good_favoured += u64::from(good && favoured[row]);
    }
    let enough = min_rows.max(1);
    let groups: Vec<Group> =
        counts.into_values().map(|group| Group { compared: group.rows >= enough, ..group }).collect();
    let selection = groups.iter().filter(|group| group.compared).filter_map(Group::selection_rate);
    let opportunity = groups.iter().filter(|group| group.good >= enough).filter_map(Group::true_positive_rate);
    let (demographic_parity, equal_opportunity) = (gap(selection), gap(opportunity));
    Ok(Fairness { groups, demographic_parity, equal_opportunity })
}

fn gap(shares: impl Iterator<Item = f64>) -> Option<Gap> {
    let shares: Vec<f64> = shares.collect();
    if shares.len() < 2 {
        return None;
    }
    let (low, high) = shares.iter().fold((1.0f64, 0.0f64), |(low, high), share| (low.min(*share), high.max(*share)));
    Some(Gap { difference: high - low, ratio: (high > 0.0).then(|| low / high) })
}

#[cfg(test)]
mod tests {
    use super::super::reference::{cases, close};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn by_hand() {
        let groups = [Some("a"), Some("a"), Some("a"), Some("a"), Some("b"), Some("b"), None];
        let favoured = [true, true, true, false, true, false, false];
        let good = [true, true, false, true, true, true, true];
        let got = fairness(&groups, &favoured, Some(&good), 2).unwrap();
        let names: Vec<_> = got.groups.iter().map(|g| (g.name.as_str(), g.rows, g.compared)).collect();
        assert_eq!(names, [("a", 4, true), ("b", 2, true), ("null", 1, false)]);
        let gap = got.demographic_parity.unwrap();
        assert_eq!((gap.difference, gap.ratio), (0.25, Some(0.5 / 0.75)));
        let gap = got.equal_opportunity.unwrap();
        assert!((gap.difference - (2.0 / 3.0 - 0.5)).abs() < 1e-15, "{gap:?}");
        // With its one row, the group without a name counts too.
        let gap = fairness(&groups, &favoured, Some(&good), 0).unwrap().demographic_parity.unwrap();
        assert_eq!((gap.difference, gap.ratio), (0.75, Some(0.0)));
    }

    #[test]
    fn what_cannot_be_compared_has_no_gap() {
        let one = fairness(&[Some("a"); 3], &[true; 3], None, 1).unwrap();
        assert_eq!((one.demographic_parity, one.equal_opportunity), (None, None));
        let nobody = fairness(&[Some("a"), Some("b")], &[false; 2], None, 1).unwrap().demographic_parity.unwrap();
        assert_eq!((nobody.difference, nobody.ratio), (0.0, None));
        assert!(fairness(&[], &[], None, 1).unwrap().groups.is_empty());
        assert!(fairness(&[None], &[], None, 1).is_err());
        assert!(fairness(&[None], &[true], Some(&[]), 1).is_err());
    }

    #[derive(Deserialize)]
    struct Case {
        groups: Vec<String>,
        good: Vec<u8>,
        favoured: Vec<u8>,
        parity_difference: f64,
        parity_ratio: f64,
        opportunity_difference: f64,
    }

    #[test]
    fn equal_fairlearn() {
        for case in cases::<Case>("fairness") {
            let groups: Vec<Option<&str>> = case.groups.iter().map(|group| Some(group.as_str())).collect();
            let flags = |v: &[u8]| -> Vec<bool> { v.iter().map(|flag| *flag == 1).collect() };
            let got = fairness(&groups, &flags(&case.favoured), Some(&flags(&case.good)), 1).unwrap();
            let (parity, opportunity) = (got.demographic_parity.unwrap(), got.equal_opportunity.unwrap());
            assert!(close(parity.difference, case.parity_difference));
            assert!(close(parity.ratio.unwrap(), case.parity_ratio));
            assert!(close(opportunity.difference, case.opportunity_difference));
        }
    }

    proptest! {
        #[test]
        fn gaps_are_those_of_the_shares(
            rows in proptest::collection::vec((0usize..4, any::<bool>(), any::<bool>()), 1..80),
        ) {
            let names = ["a", "b", "c", "d"];
            let groups: Vec<_> = rows.iter().map(|r| Some(names[r.0])).collect();
            let favoured: Vec<bool> = rows.iter().map(|r| r.1).collect();
            let good: Vec<bool> = rows.iter().map(|r| r.2).collect();
            let got = fairness(&groups, &favoured, Some(&good), 3).unwrap();
            let shares = |among: &dyn Fn(&(usize, bool, bool)) -> bool| -> Vec<f64> {
                let of = |group: usize| {
                    let inside: Vec<_> = rows.iter().filter(|r| r.0 == group && among(r)).collect();
                    let hits = inside.iter().filter(|r| r.1).count();
                    (inside.len() >= 3).then(|| hits as f64 / inside.len() as f64)
                };
                (0..4).filter_map(of).collect()
            };
            for (got, shares) in [
                (got.demographic_parity, shares(&|_| true)),
                (got.equal_opportunity, shares(&|r| r.2)),
            ] {
                let pairs = shares.iter().flat_map(|a| shares.iter().map(move |b| a - b));
                let widest = (shares.len() > 1).then(|| pairs.fold(0.0, f64::max));
                prop_assert_eq!(got.map(|gap| gap.difference), widest);
            }
        }
    }
}
