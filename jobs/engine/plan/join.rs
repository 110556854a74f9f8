//! Joins of rewritten plans: when a joined row became known, and which days may meet.

use std::sync::Arc;

use datafusion::common::{Column, JoinType};
use datafusion::functions_aggregate::min_max::max;
use datafusion::logical_expr::utils::{conjunction, find_valid_equijoin_key_pair, split_conjunction};
use datafusion::logical_expr::{Aggregate, BinaryExpr, Expr, Join, LogicalPlan, Operator, Projection};

use super::day::is_day;
use super::rewrite::{Carried, Failure, Rewriter, columns, latest_of, not_local, refuse};

const HOW_TO_JOIN: &str = "join on event_date of both sides, or declare how many days apart partners may be with \
                           `lookback` (before the row) and `lookahead` (after it)";

/// The day of a joined row.
type JoinedDay = Option<(Expr, Vec<bool>, bool)>;

impl Rewriter<'_> {
    pub(super) fn join(&mut self, join: &Join, wanted: Option<usize>) -> Result<Carried, Failure> {
        let width = join.left.schema().fields().len();
        let left = self.rewrite(&join.left, wanted.filter(|i| *i < width))?;
        let right = self.rewrite(&join.right, wanted.and_then(|i| i.checked_sub(width)))?;
        match join.join_type {
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => self.both_sides(join, left, right),
            JoinType::LeftSemi => self.semi(join, left, right),
            JoinType::LeftAnti => self.anti(join, left, right),
            _ => refuse(
                "a subquery beside `or` leaves open when a row became known",
                "write a left join and test its columns, or two queries with `union`",
            ),
        }
    }

    fn both_sides(&mut self, join: &Join, left: Carried, right: Carried) -> Result<Carried, Failure> {
        let (bound, day) = self.meet(join, &left, &right)?;
        let filter = conjunction(join.filter.clone().into_iter().chain(bound));
        let known = latest_of(vec![Expr::Column(left.known), Expr::Column(right.known)]);
        let original = join.schema.columns().into_iter().map(Expr::Column).collect();
        let joined = Join::try_new(
            Arc::new(left.plan),
            Arc::new(right.plan),
            join.on.clone(),
            filter,
            join.join_type,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        )?;
        self.carry(LogicalPlan::Join(joined), original, known, day)
    }

    /// Which days meet: a condition to add, and the day of the joined row.
    fn meet(&self, join: &Join, left: &Carried, right: &Carried) -> Result<(Option<Expr>, JoinedDay), Failure> {
        let (keeps_left, keeps_right) = match join.join_type {
            JoinType::Left => (true, false),
            JoinType::Right => (false, true),
            JoinType::Full => (true, true),
            _ => (false, false),
        };
        let Some(reach) = self.reach else { return Ok((None, None)) };
        let widths = (join.left.schema().fields().len(), join.right.schema().fields().len());
        let beside = |same: &[bool], on_left: bool| match on_left {
            true => [same, &vec![false; widths.1]].concat(),
            false => [&vec![false; widths.0], same].concat(),
        };
        let column = |c: &Column| Expr::Column(c.clone());
        match (&left.day, &right.day) {
            (None, None) => Ok((None, None)),
            (Some(_), None) if keeps_right => {
                not_local("an outer join that keeps rows without a day", "join the other way")
            }
            (None, Some(_)) if keeps_left => {
                not_local("an outer join that keeps rows without a day", "join the other way")
            }
            (Some(day), None) => Ok((None, Some((column(&day.column), beside(&day.same, true), day.drives)))),
            (None, Some(day)) => Ok((None, Some((column(&day.column), beside(&day.same, false), day.drives)))),
            (Some(l), Some(r)) if equates_days(join, &l.same, &r.same)? => {
                let day = match (keeps_left, keeps_right) {
                    (true, true) => {
                        datafusion::functions::core::expr_fn::coalesce(vec![column(&l.column), column(&r.column)])
                    }
                    (false, true) => column(&r.column),
                    _ => column(&l.column),
                };
                Ok((None, Some((day, [l.same.clone(), r.same.clone()].concat(), l.drives || r.drives))))
            }
            (Some(_), Some(_)) if reach.before == 0 && reach.after == 0 => {
                not_local("a join of rows of different days", HOW_TO_JOIN)
            }
            (Some(l), Some(r)) if l.drives && !keeps_right => {
                let bound = reach.bound(&l.column, &r.column);
                Ok((Some(bound), Some((column(&l.column), beside(&l.same, true), true))))
            }
            (Some(l), Some(r)) if r.drives && !keeps_left => {
                let bound = reach.bound(&r.column, &l.column);
                Ok((Some(bound), Some((column(&r.column), beside(&r.same, false), true))))
            }
            (Some(l), Some(r)) if l.drives || r.drives => not_local(
                "an outer join that keeps rows of other days than the event time's",
                "start from the rows that have the event time and left join the others",
            ),
            _ => not_local(
                "a join of different days before the rows with the event time are joined",
                "start from the rows that have the event time and join the others one by one",
            ),
        }
    }

    /// `in` and `exists`: the inner join with the distinct keys of the other side, known with the latest of their rows.
    fn semi(&mut self, join: &Join, left: Carried, right: Carried) -> Result<Carried, Failure> {
        self.same_day(join, &left, &right)?;
        let (pairs, rest) = equalities(join)?;
        if !rest.is_empty() || pairs.is_empty() {
            return refuse(
                "`in` or `exists` with a condition other than equality leaves open when a row became known",
                "write a join and aggregate it to one row each",
            );
        }
        let mut keys = Vec::new();
        let mut on = Vec::new();
        for (of_left, of_right) in pairs {
            let name = self.fresh("key");
            keys.push(of_right.alias(&name));
            on.push((of_left, Expr::Column(Column::from_name(name))));
        }
        let (given, known) = (self.fresh("given"), self.fresh("known"));
        let groups = on.iter().map(|(_, key)| key.clone()).collect();
        keys.push(Expr::Column(right.known).alias(&given));
        let keys = Projection::try_new(keys, Arc::new(right.plan))?;
        let latest = vec![max(Expr::Column(Column::from_name(given))).alias(&known)];
        let distinct = Aggregate::try_new(Arc::new(LogicalPlan::Projection(keys)), groups, latest)?;
        let joined = Join::try_new(
            Arc::new(left.plan),
            Arc::new(LogicalPlan::Aggregate(distinct)),
            on,
            None,
            JoinType::Inner,
            join.join_constraint,
            join.null_equality,
            false,
        )?;
        let known = latest_of(vec![Expr::Column(left.known), Expr::Column(Column::from_name(known))]);
        let day = left.day.map(|day| (Expr::Column(day.column), day.same, day.drives));
        self.carry(LogicalPlan::Join(joined), columns(&join.left), known, day)
    }

    fn anti(&mut self, join: &Join, left: Carried, right: Carried) -> Result<Carried, Failure> {
        self.same_day(join, &left, &right)?;
        let joined = Join::try_new(
            Arc::new(left.plan),
            Arc::new(right.plan),
            join.on.clone(),
            join.filter.clone(),
            JoinType::LeftAnti,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        )?;
        Ok(Carried { plan: LogicalPlan::Join(joined), known: left.known, day: left.day })
    }

    fn same_day(&self, join: &Join, left: &Carried, right: &Carried) -> Result<(), Failure> {
        let local = match (&left.day, &right.day) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(l), Some(r)) => equates_days(join, &l.same, &r.same)?,
        };
        if local { Ok(()) } else { not_local("`in` or `exists` over rows of other days", "compare event_date too") }
    }
}

/// True if the join equates a day of one side with a day of the other.
fn equates_days(join: &Join, left: &[bool], right: &[bool]) -> Result<bool, Failure> {
    let (pairs, _) = equalities(join)?;
    let (l, r) = (join.left.schema(), join.right.schema());
    Ok(pairs.iter().any(|(a, b)| is_day(a, l, left) && is_day(b, r, right)))
}

/// The two sides of `left = right`.
type Equality = (Expr, Expr);

/// The equalities of a join's condition, (left, right), and what else there is.
fn equalities(join: &Join) -> Result<(Vec<Equality>, Vec<Expr>), Failure> {
    let mut pairs = join.on.clone();
    let mut rest = Vec::new();
    for part in join.filter.iter().flat_map(split_conjunction) {
        let pair = match part {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
                find_valid_equijoin_key_pair(left, right, join.left.schema(), join.right.schema())?
            }
            _ => None,
        };
        match pair {
            Some(pair) => pairs.push(pair),
            None => rest.push(part.clone()),
        }
    }
    Ok((pairs, rest))
}
