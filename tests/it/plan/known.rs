//! From when rows are known: the rewritten plans against a slow, obvious reference on random rows.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use arrow::array::{AsArray, Date32Array, Decimal128Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::NaiveDate;
use datafusion::catalog::TableProvider;
use datafusion::datasource::{MemTable, TableType};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use proptest::prelude::*;
use scorehouse::define::types::DAY;
use scorehouse::engine::plan::catalog::Catalog;
use scorehouse::engine::plan::known;
use scorehouse::engine::session::{Session, SessionOptions};

use super::one_table;

const NIGHT: i64 = 100;

/// A row of either event type: id, user, order or method, amount, day, and when this version was known.
#[derive(Debug, Clone)]
struct Event {
    id: u8,
    user: Option<u8>,
    other: Option<u8>,
    amount: i64,
    day: i32,
    from: i64,
    until: Option<i64>,
}

impl Event {
    fn visible(&self) -> bool {
        self.from <= NIGHT && self.until.is_none_or(|until| NIGHT < until)
    }
}

fn event() -> impl Strategy<Value = Event> {
    let name = || prop::option::weighted(0.9, 0u8..4);
    (0u8..5, name(), name(), 0i64..5, 0i32..5, 90i64..103, prop::option::weighted(0.2, 0i64..6)).prop_map(
        |(id, user, other, amount, day, from, open)| Event {
            id,
            user,
            other,
            amount,
            day,
            from,
            until: open.map(|n| from + 1 + n),
        },
    )
}

fn text(prefix: char, name: Option<u8>) -> String {
    name.map_or("null".into(), |n| format!("{prefix}{n}"))
}

/// Rows of an output, each with the instant from which it is known, in any order.
type Rows = Vec<(Vec<String>, i64)>;

/// The reference: what a query's rows are and when each was known, from the definition of it.
type Reference = fn(&[Event], &[Event]) -> Rows;

fn pairs<'a>(p: &'a [Event], o: &'a [Event]) -> impl Iterator<Item = (&'a Event, &'a Event)> {
    p.iter().flat_map(move |p| o.iter().filter(|o| p.other == Some(o.id)).map(move |o| (p, o)))
}

fn by_user(rows: &[Event]) -> BTreeMap<Option<u8>, Vec<&Event>> {
    let mut groups: BTreeMap<_, Vec<&Event>> = BTreeMap::new();
    rows.iter().for_each(|row| groups.entry(row.user).or_default().push(row));
    groups
}

fn latest(rows: &[&Event]) -> i64 {
    rows.iter().map(|row| row.from).max().unwrap_or(NIGHT)
}

fn same_user(a: &Event, b: &Event) -> bool {
    a.user.is_some() && a.user == b.user
}

fn left_join(p: &[Event], o: &[Event]) -> Rows {
    let alone = p.iter().filter(|p| o.iter().all(|o| p.other != Some(o.id)));
    let with = pairs(p, o).map(|(p, o)| (vec![text('p', Some(p.id)), text('u', o.user)], p.from.max(o.from)));
    with.chain(alone.map(|p| (vec![text('p', Some(p.id)), "null".into()], p.from))).collect()
}

/// Queries over payment (p) and purchase_order (o), with two columns each.
const SHAPES: &[(&str, Reference)] = &[
    ("select payment_id as x, user_id as y from payment where amount > 2", |p, _| {
        p.iter().filter(|p| p.amount > 2).map(|p| (vec![text('p', Some(p.id)), text('u', p.user)], p.from)).collect()
    }),
    ("select p.payment_id as x, o.user_id as y from payment p join purchase_order o on p.order_id = o.order_id", |p, o| {
        pairs(p, o).map(|(p, o)| (vec![text('p', Some(p.id)), text('u', o.user)], p.from.max(o.from))).collect()
    }),
    ("select p.payment_id as x, o.user_id as y from payment p left join purchase_order o on p.order_id = o.order_id", left_join),
    ("select p.payment_id as x, o.user_id as y from purchase_order o right join payment p using (order_id)", left_join),
    ("select p.payment_id as x, o.user_id as y from payment p full join purchase_order o on p.order_id = o.order_id", |p, o| {
        let mut rows = left_join(p, o);
        let alone = o.iter().filter(|o| p.iter().all(|p| p.other != Some(o.id)));
        rows.extend(alone.map(|o| (vec!["null".into(), text('u', o.user)], o.from)));
        rows
    }),
    ("select user_id as x, count(*) as y from payment group by user_id", |p, _| {
        by_user(p).iter().map(|(user, rows)| (vec![text('u', *user), rows.len().to_string()], latest(rows))).collect()
    }),
    ("select count(*) as x, 1 as y from payment", |p, _| {
        vec![(vec![p.len().to_string(), "1".into()], latest(&p.iter().collect::<Vec<_>>()))]
    }),
    ("select distinct user_id as x, 1 as y from payment", |p, _| {
        by_user(p).iter().map(|(user, rows)| (vec![text('u', *user), "1".into()], latest(rows))).collect()
    }),
    ("select payment_id as x, user_id as y from payment union all select order_id, user_id from purchase_order", |p, o| {
        let rows = p.iter().map(|e| ('p', e)).chain(o.iter().map(|e| ('o', e)));
        rows.map(|(prefix, e)| (vec![text(prefix, Some(e.id)), text('u', e.user)], e.from)).collect()
    }),
    ("select user_id as x, 1 as y from payment union select user_id, 1 from purchase_order", |p, o| {
        let all: Vec<Event> = p.iter().chain(o).cloned().collect();
        by_user(&all).iter().map(|(user, rows)| (vec![text('u', *user), "1".into()], latest(rows))).collect()
    }),
    ("select payment_id as x, count(*) over (partition by user_id) as y from payment", |p, _| {
        let groups = by_user(p);
        let group = |e: &Event| &groups[&e.user];
        p.iter().map(|e| (vec![text('p', Some(e.id)), group(e).len().to_string()], latest(group(e)))).collect()
    }),
    ("select payment_id as x, user_id as y from payment where user_id in (select user_id from purchase_order where order_id <> 'o1')", |p, o| {
        let mut rows = Rows::new();
        for p in p {
            let partners: Vec<&Event> = o.iter().filter(|o| o.id != 1 && same_user(p, o)).collect();
            if !partners.is_empty() {
                rows.push((vec![text('p', Some(p.id)), text('u', p.user)], p.from.max(latest(&partners))));
            }
        }
        rows
    }),
    ("select payment_id as x, user_id as y from payment p where not exists (select 1 from purchase_order o where o.user_id = p.user_id)", |p, o| {
        let alone = p.iter().filter(|p| !o.iter().any(|o| same_user(p, o)));
        alone.map(|p| (vec![text('p', Some(p.id)), text('u', p.user)], p.from)).collect()
    }),
    (
        "with u as (select user_id, count(*) as n from payment group by user_id), v as (select * from u where n > 1)
         select o.order_id as x, v.n as y from purchase_order o left join v on o.user_id = v.user_id order by o.order_id",
        |p, o| {
            let mut rows = Rows::new();
            for o in o {
                let partners: Vec<&Event> = p.iter().filter(|p| same_user(p, o)).collect();
                rows.push(match partners.len() {
                    0 | 1 => (vec![text('o', Some(o.id)), "null".into()], o.from),
                    n => (vec![text('o', Some(o.id)), n.to_string()], o.from.max(latest(&partners))),
                });
            }
            rows
        },
    ),
    ("select order_id as x, (select count(*) from payment p where p.user_id = o.user_id) as y from purchase_order o", |p, o| {
        let mut rows = Rows::new();
        for o in o {
            let partners: Vec<&Event> = p.iter().filter(|p| same_user(p, o)).collect();
            let known = partners.iter().map(|p| p.from).max().map_or(o.from, |from| o.from.max(from));
            rows.push((vec![text('o', Some(o.id)), partners.len().to_string()], known));
        }
        rows
    }),
];

fn stored(catalog: &Catalog, relation: &str, rows: &[Event]) -> Arc<dyn TableProvider> {
    let schema = catalog.storage_schema(relation).unwrap();
    let texts = |prefix: char, value: fn(&Event) -> Option<u8>| {
        StringArray::from_iter(rows.iter().map(|row| value(row).map(|n| format!("{prefix}{n}"))))
    };
    let instants = |value: &dyn Fn(&Event) -> Option<i64>| {
        TimestampMicrosecondArray::from_iter(rows.iter().map(value)).with_timezone("UTC")
    };
    let columns = schema
        .fields()
        .iter()
        .map(|field| -> arrow::array::ArrayRef {
            match field.name().as_str() {
                "payment_id" => Arc::new(texts('p', |row| Some(row.id))),
                "order_id" if relation == "payment" => Arc::new(texts('o', |row| row.other)),
                "order_id" => Arc::new(texts('o', |row| Some(row.id))),
                "user_id" => Arc::new(texts('u', |row| row.user)),
                "delivery_method" | "phone" => Arc::new(texts('m', |row| row.other)),
                "amount" => {
                    let cents = rows.iter().map(|row| Some(i128::from(row.amount) * 100));
                    Arc::new(Decimal128Array::from_iter(cents).with_precision_and_scale(18, 2).unwrap())
                }
                "paid_at" | "ordered_at" => Arc::new(instants(&|row| Some(i64::from(row.day) * DAY + row.amount))),
                "event_date" => Arc::new(Date32Array::from_iter_values(rows.iter().map(|row| row.day))),
                "_known_from" => Arc::new(instants(&|row| Some(row.from))),
                "_known_until" => Arc::new(instants(&|row| row.until)),
                other => panic!("{other}"),
            }
        })
        .collect();
    let fields: Vec<_> = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap())
}

fn rows(batches: &[RecordBatch], names: &[&str]) -> Rows {
    let mut rows = Rows::new();
    let options = FormatOptions::default().with_null("null");
    for batch in batches {
        let known = batch.column_by_name("_known_from").unwrap().as_primitive::<TimestampMicrosecondType>();
        let columns: Vec<ArrayFormatter> = names
            .iter()
            .map(|name| ArrayFormatter::try_new(batch.column_by_name(name).unwrap(), &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            rows.push((columns.iter().map(|column| column.value(row).to_string()).collect(), known.value(row)));
        }
    }
    rows.sort();
    rows
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn known_from_is_the_latest_of_what_a_row_is_made_of(
        payments in prop::collection::vec(event(), 0..8),
        orders in prop::collection::vec(event(), 0..8),
    ) {
        let session = Session::new(&SessionOptions::default()).unwrap();
        let visible = |rows: &[Event]| rows.iter().filter(|row| row.visible()).cloned().collect::<Vec<_>>();
        let (p, o) = (visible(&payments), visible(&orders));
        for (sql, reference) in SHAPES {
            let (project, catalog, out) = one_table(sql, "materialized: full", "x y");
            prop_assert_eq!(&out, &[]);
            let inputs = HashMap::from([
                ("payment".to_string(), stored(&catalog, "payment", &payments)),
                ("purchase_order".to_string(), stored(&catalog, "purchase_order", &orders)),
            ]);
            let table = &project.tables["t"];
            let frame = known::build(session.context(), &catalog, table, &inputs, NIGHT, None).unwrap();
            let names: Vec<String> = frame.schema().fields().iter().map(|f| f.name().clone()).collect();
            prop_assert_eq!(names, ["x", "y", "_known_from"]);
            let found = rows(&block_on(frame.collect()).unwrap(), &["x", "y"]);
            let mut expected = reference(&p, &o);
            expected.sort();
            prop_assert_eq!(found, expected, "{}", sql);
        }
    }

    #[test]
    fn days_built_one_by_one_are_what_is_built_at_once(
        payments in prop::collection::vec(event(), 0..12),
        orders in prop::collection::vec(event(), 0..12),
    ) {
        let session = Session::new(&SessionOptions::default()).unwrap();
        let sql = "select p.payment_id, p.paid_at, o.user_id as x, o.event_date as partner_date from payment p \
                   left join purchase_order o on p.order_id = o.order_id";
        let head = "materialized: incremental\nevent_time: paid_at\nlookback: 30h\nlookahead: 1d";
        let (project, catalog, out) = one_table(sql, head, "payment_id paid_at x partner_date");
        prop_assert_eq!(&out, &[]);
        let inputs = HashMap::from([
            ("payment".to_string(), stored(&catalog, "payment", &payments)),
            ("purchase_order".to_string(), stored(&catalog, "purchase_order", &orders)),
        ]);
        let names = ["payment_id", "x", "event_date", "partner_date"];
        let build = |days| {
            let frame = known::build(session.context(), &catalog, &project.tables["t"], &inputs, NIGHT, days).unwrap();
            rows(&block_on(frame.collect()).unwrap(), &names)
        };
        let day = |day: i32| NaiveDate::from_epoch_days(day).unwrap();
        let mut one_by_one: Rows = (0..5).flat_map(|d| build(Some((day(d), day(d))))).collect();
        one_by_one.sort();
        let mut expected = Rows::new();
        for p in payments.iter().filter(|p| p.visible()) {
            let near = |o: &&Event| o.visible() && p.other == Some(o.id) && (p.day - 2..=p.day + 1).contains(&o.day);
            let date = |d: i32| day(d).to_string();
            let partners: Vec<&Event> = orders.iter().filter(near).collect();
            for o in &partners {
                let row = vec![text('p', Some(p.id)), text('u', o.user), date(p.day), date(o.day)];
                expected.push((row, p.from.max(o.from)));
            }
            if partners.is_empty() {
                expected.push((vec![text('p', Some(p.id)), "null".into(), date(p.day), "null".into()], p.from));
            }
        }
        expected.sort();
        prop_assert_eq!(&one_by_one, &expected);
        prop_assert_eq!(&build(None), &expected);
        let (mut split, rest) = (build(Some((day(0), day(2)))), build(Some((day(3), day(9)))));
        split.extend(rest);
        split.sort();
        prop_assert_eq!(&split, &expected);
    }
}

/// Remembers the filters it was scanned with.
#[derive(Debug)]
struct Recording {
    rows: Arc<dyn TableProvider>,
    filters: Arc<Mutex<Vec<String>>>,
}

#[async_trait::async_trait]
impl TableProvider for Recording {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> datafusion::error::Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn datafusion::catalog::Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        self.filters.lock().unwrap().extend(filters.iter().map(ToString::to_string));
        self.rows.scan(state, projection, &[], limit).await
    }
}

#[tokio::test]
async fn the_days_to_read_reach_the_provider_as_filters_on_the_partition() {
    let sql = "select p.payment_id, p.paid_at, o.user_id as x from payment p left join purchase_order o on p.order_id = o.order_id";
    let head = "materialized: incremental\nevent_time: paid_at\nlookback: 2d";
    let (project, catalog, _) = one_table(sql, head, "payment_id paid_at x");
    let mut inputs: HashMap<String, Arc<dyn TableProvider>> = HashMap::new();
    let mut seen = HashMap::new();
    for name in ["payment", "purchase_order"] {
        let filters = Arc::new(Mutex::new(Vec::new()));
        seen.insert(name, filters.clone());
        inputs.insert(name.into(), Arc::new(Recording { rows: stored(&catalog, name, &[]), filters }));
    }
    let session = Session::new(&SessionOptions::default()).unwrap();
    let day = |day| NaiveDate::from_ymd_opt(2024, 1, day).unwrap();
    let days = Some((day(10), day(11)));
    let frame = known::build(session.context(), &catalog, &project.tables["t"], &inputs, NIGHT, days).unwrap();
    frame.collect().await.unwrap();
    let filters = |name: &str| {
        let mut filters = seen[name].lock().unwrap().clone();
        filters.retain(|filter| filter.contains("event_date"));
        filters.join(" and ")
    };
    assert_eq!(filters("payment"), "event_date >= Date32(\"2024-01-10\") and event_date <= Date32(\"2024-01-11\")");
    assert_eq!(
        filters("purchase_order"),
        "event_date >= Date32(\"2024-01-08\") and event_date <= Date32(\"2024-01-11\")"
    );
}
