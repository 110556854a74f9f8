//! Pages as text: what they show, that nothing gets out of its place, and that they are the same every time.

use std::collections::BTreeSet;

use super::html::{SCRIPT, STYLE};
use super::page::*;
use super::{experiment, index, model, sample};

/// Everything between two marks, each time.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    text.split(from).skip(1).filter_map(|rest| rest.split(to).next()).collect()
}

#[test]
fn a_page_has_every_section_and_says_why_one_is_missing() {
    let page = model(&sample::full(200)).unwrap();
    let ids = [
        "gate",
        "actions",
        "quality",
        "curves",
        "calibration",
        "distribution",
        "lift",
        "importances",
        "contributions",
        "fairness",
        "decisions",
        "monitoring",
        "customers",
        "provenance",
    ];
    for id in ids {
        assert!(page.contains(&format!("<section id=\"{id}\"")), "{id} is no section");
        assert!(page.contains(&format!("href=\"#{id}\"")), "{id} is not in the contents");
    }
    assert!(!page.contains("class=\"absent\""));
    let empty = model(&sample::empty()).unwrap();
    assert_eq!(between(&empty, "class=\"absent\"", "</p>").len(), ids.len() - 1, "all but how it was made");
    assert!(!empty.contains("<svg"), "nothing is drawn that is not there");
    assert!(empty.contains("No champion"));
}

#[test]
fn an_experiment_shows_every_variant_and_marks_the_best() {
    let page = experiment(&sample::experiment()).unwrap();
    assert_eq!(between(&page, "<section", "</section>").len(), 2);
    assert_eq!(between(&page, "<svg", "</svg>").len(), 4, "a chart per segment and metric");
    // Twice to explain the marks, and in each segment once by more than noise and once not.
    assert_eq!((page.matches("pill pass").count(), page.matches("pill skipped").count()), (3, 3));
    assert!(page.contains("0.0123 (0.0034 to 0.0211) over mlp"));
    assert!(!page.contains("<script>alert(1)") && !page.contains("<img src=x"));
}

#[test]
fn a_page_is_the_same_every_time() {
    assert_eq!(model(&sample::full(300)).unwrap(), model(&sample::full(300)).unwrap());
}

#[test]
fn nothing_is_fetched_and_only_our_own_script_runs() {
    let pages = [model(&sample::full(50)), Ok(index(&shown_index())), experiment(&sample::experiment())];
    for page in pages.map(Result::unwrap) {
        assert!(page.contains("default-src 'none'"), "a policy that allows nothing");
        let scripts = between(&page, "<script", "</script>");
        for script in &scripts {
            let (attributes, text) = script.split_once('>').unwrap();
            assert!(
                attributes.contains("application/json") || text == SCRIPT,
                "a script of somebody else: {attributes}"
            );
        }
        assert!(!page.contains(" style=\"") && !page.contains(" onclick") && !page.contains("javascript:"));
        let mut links: Vec<&str> = between(&page, " href=\"", "\"");
        links.extend(between(&page, " src=\"", "\""));
        links.retain(|link| {
            !link.starts_with('#') && !link.ends_with(".html") && !link.ends_with(".csv") && *link != "data:,"
        });
        assert_eq!(links, Vec::<&str>::new(), "an address that is no page beside it");
    }
}

#[test]
fn the_policy_names_the_hashes_of_what_is_inlined() {
    use base64::Engine;
    use sha2::Digest;
    let page = model(&sample::empty()).unwrap();
    let policy = between(&page, "Content-Security-Policy\" content=\"", "\"")[0];
    for (kind, open, close) in [("style", "<style>", "</style>"), ("script", "<script>", "</script>")] {
        let inlined = between(&page, open, close)[0];
        let hash = base64::prelude::BASE64_STANDARD.encode(sha2::Sha256::digest(inlined.as_bytes()));
        assert!(policy.contains(&format!("{kind}-src 'sha256-{hash}'")), "{kind}");
    }
    assert!(!SCRIPT.contains("</script") && !SCRIPT.contains("<!--") && !STYLE.contains("</style"));
}

#[test]
fn hostile_texts_stay_texts() {
    let mut page = sample::full(20);
    let hostile = sample::HOSTILE.join(" ");
    page.name = hostile.clone();
    page.description = hostile.clone();
    page.verdict.note = hostile.clone();
    let html = model(&page).unwrap();
    // Outside of our own script there is no tag that came with the data, neither in markup nor in JSON.
    let without = html.replace(SCRIPT, "");
    for text in ["<script>alert", "<img src=x", "</script><!--", "<b>bold", "\u{2028}alert"] {
        assert!(!without.contains(text), "{text} got out");
    }
    let names: Vec<&str> =
        between(&without, "<", ">").iter().map(|tag| tag.split([' ', '\n']).next().unwrap()).collect();
    assert!(!names.contains(&"img") && !names.contains(&"b"));
    // And the data are what they were.
    let json = between(&html, "id=\"customers-data\">", "</script>")[0];
    let data: serde_json::Value = serde_json::from_str(json).unwrap();
    let entities: Vec<&str> =
        data["rows"].as_array().unwrap().iter().map(|row| row[0]["user_id"].as_str().unwrap()).collect();
    assert_eq!(entities[..sample::HOSTILE.len()], sample::HOSTILE);
}

#[test]
fn ids_are_unique_and_labels_lead_somewhere() {
    let page = model(&sample::full(120)).unwrap();
    let ids = between(&page, " id=\"", "\"");
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len(), "an id is there twice");
    for labels in between(&page, "aria-labelledby=\"", "\"") {
        for label in labels.split(' ') {
            assert!(unique.contains(label), "{label} labels something and is nowhere");
        }
    }
    let (charts, described) = (page.matches("<svg").count(), page.matches("<desc id").count());
    assert!(charts > 10 && charts == described, "{charts} charts, {described} described");
    assert_eq!(page.matches("<table").count(), page.matches("<caption").count(), "a table without a caption");
    assert!(page.contains("<html lang=\"en\">") && page.contains("class=\"skip\""));
}

#[test]
fn charts_have_the_pages_colours() {
    let page = model(&sample::full(10)).unwrap();
    for chart in between(&page, "<svg", "</svg>") {
        assert!(chart.contains("var(--"), "a chart without a colour of the page");
        assert_eq!(between(chart, "\"#", "\"").iter().find(|c| c.len() == 6), None, "a fixed colour: {chart}");
        assert!(!chart.contains("NaN") && !chart.contains("inf"), "{chart}");
    }
}

#[test]
fn charts_of_little_are_drawn_too() {
    let mut page = sample::full(0);
    page.distributions = Section::Shown(vec![Distribution {
        rows: String::new(),
        edges: vec![0.0, 0.0],
        layers: Vec::new(),
        bounds: Vec::new(),
    }]);
    page.lift = Section::Shown(Lift { rows: String::new(), base_rate: 0.0, deciles: Vec::new() });
    page.calibration = Section::Shown(Calibration { rows: String::new(), kind: "none".into(), lines: Vec::new() });
    page.curves =
        Section::Shown(Curves { rows: String::new(), roc: Vec::new(), precision_recall: Vec::new(), base_rate: 0.0 });
    page.importances = Section::Shown(Importances { features: Vec::new(), more: 0 });
    page.contributions = Section::Shown(Contributions { rows: String::new(), features: Vec::new() });
    let one = Series {
        what: "psi".into(),
        subject: String::new(),
        warn: None,
        fail: None,
        points: vec![("2025-06-30".into(), 0.0); 2],
    };
    page.monitoring = Section::Shown(Monitoring { measures: Vec::new(), series: vec![one] });
    page.actions = Section::Shown(ActionChanges { actions: Vec::new(), counts: Vec::new() });
    page.fairness = Section::Shown(Fairness { attributes: Vec::new() });
    assert!(!model(&page).unwrap().contains("NaN"));
    let few = Contribution { feature: "a.b".into(), mean_absolute: 0.2, mean: -0.1, points: Vec::new() };
    page.contributions = Section::Shown(Contributions { rows: String::new(), features: vec![few] });
    assert!(model(&page).unwrap().contains("a.b: mean size 0.2000, mean −0.1000"), "bars where there are no rows");
}

#[test]
fn customers_without_a_champion_have_no_columns_for_it() {
    let mut page = sample::full(0);
    let row = Customer {
        entity: vec![("user_id".into(), "u1".into())],
        score: Some(50.0),
        action: "emi".into(),
        ..Customer::default()
    };
    page.customers = Section::Shown(Customers {
        rows: vec![row],
        total: 1,
        order: "by score".into(),
        note: String::new(),
        file: None,
    });
    let html = model(&page).unwrap();
    assert!(html.contains("data-column=\"score\"") && !html.contains("data-column=\"live_score\""));
    assert!(!html.contains("id=\"changed\"") && html.contains("1 customers, by score"));
}

#[test]
fn the_index_links_every_page() {
    let page = index(&shown_index());
    for link in ["credit/2025-06-30.html", "credit/2025-06-29.html", "buying/2025-06-30.html"] {
        assert!(page.contains(&format!("href=\"{link}\"")), "{link}");
    }
    assert!(page.contains("&lt;within&gt;") && page.contains("2 of 8"));
    assert!(index(&Index::default()).contains("There is no report yet"));
}

fn shown_index() -> Index {
    let (night, before) = ("2025-06-30".to_string(), "2025-06-29".to_string());
    Index {
        models: vec![sample::summary("buying", Outcome::NoChampion), sample::summary("credit", Outcome::Refused)],
        nights: vec![("buying".into(), vec![night.clone()]), ("credit".into(), vec![night, before])],
    }
}

/// Relative luminance of sRGB (WCAG 2.2).
fn luminance(colour: &str) -> f64 {
    let channel = |at: usize| {
        let c = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
}

fn contrast(a: &str, b: &str) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn texts_have_contrast_in_both_themes() {
    let colour = |name: &str, theme: usize| {
        let pair = between(STYLE, &format!("--{name}: light-dark("), ")")[0];
        pair.split(", ").nth(theme).unwrap().to_string()
    };
    let texts = ["ink", "muted", "link"];
    let grounds = ["bg", "surface", "pass-bg", "warn-bg", "fail-bg", "one-bg"];
    let mut pairs: Vec<(&str, &str, f64)> = Vec::new();
    pairs.extend(grounds.iter().map(|ground| ("ink", *ground, 4.5)));
    pairs.extend(texts.iter().flat_map(|text| [(*text, "bg", 4.5), (*text, "surface", 4.5)]));
    pairs.extend(["pass", "warn", "fail"].iter().flat_map(|text| [(*text, "bg", 4.5)]));
    pairs.extend([
        ("pass", "pass-bg", 4.5),
        ("warn", "warn-bg", 4.5),
        ("fail", "fail-bg", 4.5),
        ("muted", "fail-bg", 4.5),
        ("muted", "warn-bg", 4.5),
    ]);
    // Lines and marks: 3 (WCAG 1.4.11).
    pairs.extend(["one", "two", "positive", "shade-0", "shade-4"].iter().map(|mark| (*mark, "bg", 3.0)));
    for theme in [0, 1] {
        for (text, ground, least) in &pairs {
            let found = contrast(&colour(text, theme), &colour(ground, theme));
            assert!(found >= *least, "{text} on {ground} has {found:.2}, theme {theme}");
        }
    }
    assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 1e-9);
}

/// For those who look at pages, and for tests in a browser (`make pages`): SCOREHOUSE_PAGES names a directory.
#[test]
fn pages_are_written_where_they_are_asked_for() {
    let Some(directory) = crate::clock::env("SCOREHOUSE_PAGES") else { return };
    let directory = std::path::Path::new(&directory);
    for folder in ["credit", "experiments"] {
        std::fs::create_dir_all(directory.join(folder)).unwrap();
    }
    std::fs::write(directory.join("index.html"), index(&shown_index())).unwrap();
    std::fs::write(directory.join("credit/2025-06-30.html"), model(&sample::full(20_000)).unwrap()).unwrap();
    std::fs::write(directory.join("credit/2025-06-29.html"), model(&sample::empty()).unwrap()).unwrap();
    let compared = experiment(&sample::experiment()).unwrap();
    std::fs::write(directory.join("experiments/emi_heads.html"), compared).unwrap();
}
