//! A page with everything on it, for tests: every section, texts that try to break out, thousands of customers.
//!
//! Numbers are made up, but fit each other well enough to be looked at.

use super::page::*;

/// Texts that are markup, quotes, other scripts and directions, or break a line of a script.
pub const HOSTILE: [&str; 8] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(2)>",
    "o'neil \"quoted\" & co",
    "</script><!-- --> ]]>",
    "Zoë Łukasz 王小明 مثال 🙂",
    "line\u{2028}separator\u{2029}and\ttab",
    "u\u{0}nul\u{1b}escape",
    "{{ 7*7 }} ${7*7} %s",
];

/// A number in [0, 1) that depends on its arguments only.
fn noise(a: u64, b: u64) -> f64 {
    let mut x = a.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ b.wrapping_mul(0xD1B5_4A32_D192_ED03) ^ 0x5851_F42D;
    for _ in 0..3 {
        x ^= x >> 31;
        x = x.wrapping_mul(0x94D0_49BB_1331_11EB);
    }
    (x >> 11) as f64 / (1u64 << 53) as f64
}

pub fn full(customers: u64) -> Model {
    Model {
        name: "credit".into(),
        description: "Default on an instalment loan within 90 days.".into(),
        date: "2025-06-30".into(),
        verdict: Verdict {
            outcome: Outcome::Refused,
            candidate: Some("2025-06-30-1a0a7fb2".into()),
            champion: Some("2025-06-23-77c0ffee".into()),
            note: "2 of 8 checks failed: average_precision, action_changes. The champion goes on scoring.".into(),
        },
        facts: vec![
            Fact::new("ROC AUC, test", "0.7124", "0.6871 – 0.7368"),
            Fact::new("Average precision", "0.2210", "base rate 7.8%"),
            Fact::new("Calibration error", "0.0113", "isotonic"),
            Fact::new("Checks failed", "2 of 8", ""),
            Fact::new("Scored", "5,000", "of 5,000 asked for"),
            Fact::new("Action changes", "11.3%", "565 customers"),
        ],
        gate: Section::Shown(gate()),
        quality: Section::Shown(quality()),
        curves: Section::Shown(curves()),
        calibration: Section::Shown(calibration()),
        distributions: Section::Shown(vec![
            distribution(),
            Distribution { rows: "scores of the night".into(), ..distribution() },
        ]),
        lift: Section::Shown(lift()),
        importances: Section::Shown(importances()),
        contributions: Section::Shown(contributions()),
        monitoring: Section::Shown(monitoring()),
        fairness: Section::Shown(fairness()),
        decisions: Section::Shown(decisions()),
        actions: Section::Shown(ActionChanges {
            actions: vec!["emi".into(), "review".into(), "no_emi".into()],
            counts: vec![vec![3870, 212, 14], vec![187, 322, 96], vec![9, 47, 243]],
        }),
        customers: Section::Shown(table(customers)),
        provenance: provenance(),
    }
}

fn check(metric: &str, values: (f64, f64, f64), direction: &str, status: Status, note: &str) -> Check {
    Check {
        metric: metric.into(),
        candidate: Some(values.0),
        champion: Some(values.1),
        threshold: Some(values.2),
        direction: direction.into(),
        low: None,
        high: None,
        status,
        note: note.into(),
    }
}

fn gate() -> Gate {
    let worse = "the lower bound of the difference is below −0.005";
    let paired = |check: Check, low, high| Check { low: Some(low), high: Some(high), ..check };
    let checks = vec![
        paired(
            check("average_precision", (0.2210, 0.2284, -0.005), "change at least", Status::Fail, worse),
            -0.0191,
            0.0043,
        ),
        paired(check("anchor", (0.2210, 0.2195, -0.02), "change at least", Status::Pass, ""), -0.0102, 0.0139),
        check("calibration_error", (0.0113, 0.0127, 0.05), "at most", Status::Pass, ""),
        check("rank_agreement", (0.84, 1.0, 0.5), "at least", Status::Pass, ""),
        check("action_changes", (0.113, 0.0, 0.10), "at most", Status::Fail, "565 of 5,000 customers"),
        check("psi", (0.061, 0.0, 0.25), "at most", Status::Pass, ""),
        check("coverage", (1.0, 1.0, 0.99), "at least", Status::Pass, ""),
        Check {
            candidate: None,
            champion: None,
            threshold: None,
            direction: String::new(),
            ..check("assert: u0000042 is prepaid only", (0.0, 0.0, 0.0), "", Status::Skipped, HOSTILE[0])
        },
    ];
    Gate { checks }
}

fn quality() -> Quality {
    let measured =
        |value: f64, half: f64| Measured { value: Some(value), low: Some(value - half), high: Some(value + half) };
    let segment = |name: &str, rows, positives, auc, half: f64| Segment {
        name: name.into(),
        rows,
        positives,
        values: vec![
            measured(auc, half),
            measured(auc - 0.49, half * 1.3),
            measured(auc - 0.41, half),
            Measured { value: Some(0.066), low: None, high: None },
            Measured { value: None, low: None, high: None },
        ],
    };
    Quality {
        part: "test".into(),
        intervals: "95% by bootstrap over customers, 1,000 draws".into(),
        metrics: ["roc_auc", "average_precision", "ks", "brier", "f1"].map(String::from).to_vec(),
        segments: vec![
            segment("all", 4312, 337, 0.7124, 0.025),
            segment("high_activity", 1604, 88, 0.7391, 0.051),
            segment("low_activity", 2708, 249, 0.6987, 0.031),
            Segment { values: vec![Measured::default(); 5], ..segment("nobody", 0, 0, 0.0, 0.0) },
        ],
        parts: vec![
            Part {
                name: "train".into(),
                rows: 11_204,
                positives: 801,
                from: "2024-05-27".into(),
                to: "2025-01-31".into(),
            },
            Part {
                name: "test".into(),
                rows: 4312,
                positives: 337,
                from: "2025-03-01".into(),
                to: "2025-03-31".into(),
            },
        ],
    }
}

fn curves() -> Curves {
    let line = |name: &str, note: &str, shape: &dyn Fn(f64) -> f64| Line {
        name: name.into(),
        note: note.into(),
        points: (0..=120).map(|i| f64::from(i) / 120.0).map(|x| (x, shape(x))).collect(),
    };
    Curves {
        rows: "4,312 test rows".into(),
        base_rate: 0.078,
        roc: vec![
            line("Candidate", "AUC 0.7124", &|x| x.powf(0.40)),
            line("Champion", "AUC 0.7180", &|x| x.powf(0.39) - 0.02 * (x * 6.2).sin().abs() * (1.0 - x)),
        ],
        precision_recall: vec![
            line("Candidate", "AP 0.2210", &|x| 0.078 + 0.55 * (1.0 - x).powi(3) * (1.0 - (-(x + 0.01) * 40.0).exp())),
            line("Champion", "AP 0.2284", &|x| 0.078 + 0.58 * (1.0 - x).powi(3) * (1.0 - (-(x + 0.015) * 40.0).exp())),
        ],
    }
}

fn calibration() -> Calibration {
    let bins = |bend: f64| {
        let bin = |i: u32| {
            let predicted = 0.006 + 0.0031 * f64::from(i).powf(2.0);
            let observed = predicted * (1.0 + bend * (noise(u64::from(i), 3) - 0.3));
            ReliabilityBin { predicted, observed, low: observed * 0.8, high: observed * 1.25, rows: 431 }
        };
        (0..10).map(bin).collect()
    };
    Calibration {
        rows: "1,117 rows that neither training nor test saw, then 4,312 test rows".into(),
        kind: "isotonic".into(),
        lines: vec![
            Reliability { name: "Before".into(), error: Some(0.0243), bins: bins(0.9) },
            Reliability { name: "After".into(), error: Some(0.0113), bins: bins(0.25) },
        ],
    }
}

fn distribution() -> Distribution {
    let edges: Vec<f64> = (0..=40).map(|i| f64::from(i) * 0.0125).collect();
    let counts = |centre: f64, width: f64, all: f64| {
        let height =
            |x: f64| (-((x - centre) / width).powi(2)).exp() + 0.6 * (-(x - centre).abs() / (width * 2.5)).exp();
        edges.windows(2).map(|edge| (all * height((edge[0] + edge[1]) / 2.0)) as u64).collect::<Vec<u64>>()
    };
    Distribution {
        rows: "test rows by outcome".into(),
        layers: vec![
            Layer { name: "No default".into(), counts: counts(0.045, 0.04, 420.0) },
            Layer { name: "Default".into(), counts: counts(0.14, 0.1, 18.0) },
        ],
        bounds: vec![Bound { at: 0.12, action: "emi".into() }, Bound { at: 0.2, action: "review".into() }],
        edges,
    }
}

fn lift() -> Lift {
    let positives = [104, 62, 45, 34, 27, 22, 17, 12, 9, 5];
    let all: u64 = positives.iter().sum();
    let mut found = 0;
    let deciles = positives.map(|positives| {
        found += positives;
        let lift = positives as f64 / 431.0 / (all as f64 / 4310.0);
        Decile { rows: 431, positives, rate: positives as f64 / 431.0, lift, captured: found as f64 / all as f64 }
    });
    Lift { rows: "4,312 test rows".into(), base_rate: 0.078, deciles: deciles.to_vec() }
}

const FEATURES: [&str; 14] = [
    "instalments.late_share_180d",
    "payments.amount_mean_90d",
    "payments.cod_share_180d",
    "instalments.days_since_last_late",
    "orders.count_30d",
    "outcomes.returned_share_365d",
    "activity.visits_30d",
    "payments.bank=blik",
    "baskets.items_mean_90d",
    "payments.amount_stddev_365d",
    "payments.hours_since_last_payment",
    "orders.distinct_delivery_methods_180d",
    "a_group.with_a_name_that_is_longer_than_the_room_for_it_180d",
    "<b>bold</b>.\"quoted\"&co",
];

fn importances() -> Importances {
    let share = |index: usize| 0.19 * 0.78f64.powi(index as i32);
    let features = FEATURES.iter().enumerate().map(|(index, feature)| Importance {
        feature: (*feature).into(),
        share: share(index),
        splits: (240.0 * share(index)).round() + 3.0,
        champion: Some(share(index) * (0.7 + 0.6 * noise(index as u64, 9))),
    });
    Importances { features: features.collect(), more: 61 }
}

fn contributions() -> Contributions {
    let features = FEATURES.iter().take(12).enumerate().map(|(index, feature)| {
        let scale = 0.6 * 0.8f64.powi(index as i32);
        let points = (0..200).map(|row| {
            let value = noise(row, index as u64 + 20);
            let spread = (noise(row, index as u64 + 50) - 0.5) * 0.5;
            let direction = if index % 3 == 2 { -1.0 } else { 1.0 };
            let rank = (index != 7 && row % 17 != 0).then_some(value);
            (direction * scale * ((value - 0.4).powi(3) * 6.0 + spread * (value + 0.1)), rank)
        });
        Contribution {
            feature: (*feature).into(),
            mean_absolute: scale / 4.0,
            mean: scale / 9.0,
            points: points.collect(),
        }
    });
    Contributions { rows: "200 test rows, drawn with the model's seed".into(), features: features.collect() }
}

fn monitoring() -> Monitoring {
    let measure = |what: &str, subject: &str, value, baseline: Option<f64>, warn, fail, status| Measure {
        what: what.into(),
        subject: subject.into(),
        value: Some(value),
        baseline,
        change: Some(value - baseline.unwrap_or(0.0)),
        warn: Some(warn),
        fail,
        status,
        note: String::new(),
    };
    let mut measures = vec![
        measure("psi", "payments.cod_share_180d", 0.271, None, 0.1, Some(0.25), Status::Fail),
        measure("psi", "score", 0.121, None, 0.1, Some(0.25), Status::Warn),
        measure("auc", "score", 0.7012, Some(0.7124), 0.05, None, Status::Pass),
        measure("base_rate", "score", 0.081, Some(0.078), 0.5, None, Status::Pass),
        measure("population", "users", 5000.0, Some(4988.0), 0.5, None, Status::Pass),
    ];
    measures.extend(FEATURES.iter().map(|feature| measure("psi", feature, 0.02, None, 0.1, Some(0.25), Status::Pass)));
    let series = |what: &str, subject: &str, centre: f64, warn, fail| Series {
        what: what.into(),
        subject: subject.into(),
        warn,
        fail,
        points: (1..=30)
            .map(|day| {
                (format!("2025-06-{day:02}"), centre * (0.75 + 0.5 * noise(day, centre.to_bits()) + day as f64 / 90.0))
            })
            .collect(),
    };
    let series = vec![
        series("psi", "score", 0.08, Some(0.1), Some(0.25)),
        series("auc", "score", 0.68, None, None),
        series("base_rate", "score", 0.07, None, None),
        series("population", "users", 4700.0, None, None),
    ];
    Monitoring { measures, series }
}

fn fairness() -> Fairness {
    let group = |name: &str, rows, favourable| Group {
        name: name.into(),
        rows,
        compared: rows > 200,
        favourable: Some(favourable),
        good: rows / 3,
        favourable_among_good: Some(favourable + 0.03),
    };
    let differences = vec![("demographic_parity".into(), Some(0.041)), ("equal_opportunity".into(), Some(0.022))];
    let groups = vec![group("PL", 3120, 0.847), group("CZ", 1001, 0.822), group("other", 191, 0.806)];
    Fairness { attributes: vec![Attribute { name: "country".into(), differences, groups }] }
}

fn decisions() -> Decisions {
    let action = |action: &str, count, probability, score| Action {
        action: action.into(),
        count,
        mean_probability: Some(probability),
        mean_score: Some(score),
    };
    let reason = |code: &str, sentence: &str, count| Reason { code: code.into(), sentence: sentence.into(), count };
    Decisions {
        version: "2025-06-23-77c0ffee".into(),
        actions: vec![
            action("emi", 4096, 0.049, 95.1),
            action("review", 605, 0.151, 84.9),
            action("no_emi", 299, 0.287, 71.3),
        ],
        reasons: vec![
            reason("R01", "Instalments were paid late in the last six months.", 812),
            reason("R04", "Many of the last orders were paid for in cash on delivery.", 377),
            reason("R07", "Short <history> of payments & orders.", 91),
        ],
    }
}

fn table(count: u64) -> Customers {
    let actions = ["emi", "review", "no_emi"];
    let row = |index: u64| {
        let probability = noise(index, 1).powi(3) * 0.6;
        let score = 100.0 * (1.0 - probability);
        let live_score = score + (noise(index, 2) - 0.5) * 8.0;
        let band = |score: f64| {
            actions[if score > 88.0 {
                0
            } else if score > 80.0 {
                1
            } else {
                2
            }]
        };
        let hostile = HOSTILE.get(index as usize);
        Customer {
            entity: vec![(
                "user_id".into(),
                hostile.map_or_else(|| format!("u{index:07}"), |text| (*text).to_string()),
            )],
            key: None,
            probability: Some(probability),
            score: Some(score),
            live_score: (index % 50 != 9).then_some(live_score),
            difference: (index % 50 != 9).then_some((score - live_score).abs()),
            action: band(score).into(),
            live_action: (index % 50 != 9).then(|| band(live_score).into()),
            limit: Some(if score > 95.0 { 1500.0 } else { 400.0 }),
            reasons: if probability > 0.1 { vec!["R01".into(), "R04".into()] } else { Vec::new() },
            missing: Some(index % 4),
        }
    };
    let rows: Vec<Customer> = (0..count).map(row).collect();
    Customers {
        rows,
        total: count + 7,
        order: "changed actions first, then the largest differences".into(),
        note: "Score and action are the candidate's, live ones the champion's.".into(),
        file: Some("2025-06-30/differences.csv".into()),
    }
}

fn provenance() -> Provenance {
    Provenance {
        facts: vec![
            Fact::new("Version", "2025-06-30-1a0a7fb2", ""),
            Fact::new("Kind", "lightgbm", "143 trees"),
            Fact::new("Inputs", "75", "72 numeric, 3 categorical"),
            Fact::new("Made with", "Scorehouse 0.1.0, LightGBM 4.7.0", "linux x86_64"),
        ],
        warnings: vec!["payments.bank has 12 categories that are rarer than one in a thousand".into()],
        history: vec![
            ["2025-06-30", "2025-06-30-1a0a7fb2", "refused", "average_precision, action_changes"].map(String::from),
            ["2025-06-23", "2025-06-23-77c0ffee", "promoted", "passed 8 checks"].map(String::from),
        ],
        definition: Some("model: credit\n# <script>alert(3)</script>\nentity: user_id\n".into()),
    }
}

/// A model before its first night: nothing but sentences.
pub fn empty() -> Model {
    let why = "There is no champion yet.";
    Model {
        verdict: Verdict { outcome: Outcome::NoChampion, candidate: None, champion: None, note: String::new() },
        facts: Vec::new(),
        gate: Section::absent(why),
        quality: Section::absent(why),
        curves: Section::absent(why),
        calibration: Section::absent(why),
        distributions: Section::absent(why),
        lift: Section::absent(why),
        importances: Section::absent(why),
        contributions: Section::absent(why),
        monitoring: Section::absent(why),
        fairness: Section::absent(why),
        decisions: Section::absent(why),
        actions: Section::absent(why),
        customers: Section::absent(why),
        provenance: Provenance::default(),
        ..full(0)
    }
}

pub fn summary(model: &str, outcome: Outcome) -> Summary {
    Summary {
        model: model.into(),
        description: "Default on an instalment loan <within> 90 days.".into(),
        date: "2025-06-30".into(),
        outcome,
        note: "2 of 8 checks failed".into(),
        candidate: Some("2025-06-30-1a0a7fb2".into()),
        champion: (outcome != Outcome::NoChampion).then(|| "2025-06-23-77c0ffee".into()),
        roc_auc: Some(0.7124),
        average_precision: None,
        failed: 2,
        checks: 8,
        warnings: 1,
        scored: 5000,
    }
}

/// Variants on two segments, one of them without a value, with texts that try to break out.
pub fn experiment() -> Experiment {
    let measured = |at: u64, metric: u64| {
        let value = 0.6 + 0.2 * noise(at, metric);
        Measured { value: Some(value), low: Some(value - 0.02), high: Some(value + 0.03) }
    };
    let heads = ["lightgbm", "logistic", "mlp", HOSTILE[0]];
    let variants = |segment: u64| {
        let of = |(at, head): (u64, &&str)| Variant {
            name: format!("{head} on what a sequence sees"),
            head: (*head).to_string(),
            inputs: 40 + at,
            cells: vec![
                match at {
                    0 => (measured(segment, 0), Mark::BestByMoreThanNoise("0.0123 (0.0034 to 0.0211) over mlp".into())),
                    3 => (Measured::default(), Mark::None),
                    _ => (measured(segment, at), Mark::None),
                },
                (measured(segment + 7, at), if at == 1 { Mark::Best(HOSTILE[2].into()) } else { Mark::None }),
            ],
        };
        (0..).zip(&heads).map(of).collect()
    };
    let compared = |segment: &str, number: u64| Compared {
        segment: segment.into(),
        rows: 12_868 >> number,
        positives: 1_763 >> number,
        metrics: vec!["roc_auc".into(), "average_precision".into()],
        variants: variants(number),
    };
    Experiment {
        name: "emi_heads".into(),
        description: HOSTILE[1].into(),
        date: "2025-06-30".into(),
        facts: vec![Fact::new("Variants", "4", "of one model"), Fact::new("Seeds", "3", "")],
        segments: vec![compared("all", 0), compared("high_activity", 2)],
    }
}
