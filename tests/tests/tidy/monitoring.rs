//! Metrics, alerts, dashboard and their documentation name the same things.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::read;

const METRICS: &str = "docs/reference/metrics.md";
const OPERATIONS: &str = "docs/operations.md";
const ALERTS: &str = "deploy/prometheus/alerts.yml";
const STORIES: &str = "deploy/prometheus/alerts_test.yml";
const DASHBOARD: &str = "deploy/grafana/tailrace.json";

/// Names of metrics, with their types.
fn metrics() -> BTreeMap<String, String> {
    let page = read(METRICS);
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.strip_suffix('`')?;
        Some((name.to_owned(), cells.next()?.to_owned()))
    });
    let metrics: BTreeMap<_, _> = rows.collect();
    assert!(metrics.len() > 40, "{METRICS} has a row for each metric");
    metrics
}

/// Names of series that an expression asks for.
fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let names = words.filter(|word| word.starts_with("tailrace_") || word.starts_with("process_"));
    names.map(ToOwned::to_owned).collect()
}

fn unknown_in(text: &str) -> Vec<String> {
    let metrics = metrics();
    let is_known = |name: &String| {
        let kind = metrics.get(name).map(String::as_str);
        let parts = ["_bucket", "_sum", "_count"].iter();
        let mut families = parts.filter_map(|part| name.strip_suffix(part));
        // A histogram has no series of its own name.
        kind.is_some_and(|kind| kind != "histogram")
            || families.any(|family| metrics.get(family).is_some_and(|kind| kind == "histogram"))
    };
    names_in(text).into_iter().filter(|name| !is_known(name)).collect()
}

/// Names of alerts, each with its rule.
fn alerts() -> BTreeMap<String, String> {
    let text = read(ALERTS);
    let mut rules = text.split("- alert: ");
    assert!(unknown_in(rules.next().unwrap()).is_empty());
    let alerts = rules.map(|rule| {
        let (name, rule) = rule.split_once('\n').unwrap();
        (name.trim().to_owned(), rule.to_owned())
    });
    alerts.collect()
}

#[test]
fn every_metric_of_an_alert_is_there() {
    for (name, rule) in alerts() {
        assert_eq!(unknown_in(&rule), [""; 0], "{ALERTS}: {name}");
    }
    assert_eq!(unknown_in(&read(STORIES)), [""; 0], "{STORIES}");
}

#[test]
fn every_alert_says_what_to_do_and_has_a_section_and_a_story() {
    let (operations, stories) = (read(OPERATIONS), read(STORIES));
    let alerts = alerts();
    for (name, rule) in &alerts {
        for part in ["expr:", "severity:", "summary:", "description:"] {
            assert!(rule.contains(part), "{ALERTS}: {name} has no {part}");
        }
        let runbook = format!("runbook: \"{OPERATIONS}#{}\"", name.to_lowercase());
        assert!(rule.contains(&runbook), "{ALERTS}: {name} has no {runbook}");
        let severity = ["critical", "warning", "info"]
            .iter()
            .any(|severity| rule.contains(&format!("severity: {severity} ")));
        assert!(severity, "{ALERTS}: {name} is of another severity");
        let told = format!("alertname=\"{name}\"");
        assert!(stories.contains(&told), "{STORIES} has no story in which {name} fires");
    }
    let sections = operations.lines().filter_map(|line| line.strip_prefix("### "));
    let sections: BTreeSet<_> = sections.filter(|section| section.starts_with("Tailrace")).collect();
    let alerts: BTreeSet<_> = alerts.keys().map(String::as_str).collect();
    assert_eq!(
        sections, alerts,
        "{OPERATIONS} has a section for each alert, and no other"
    );
}

#[test]
fn every_panel_of_the_dashboard_is_whole() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "{DASHBOARD}: two panels have one id");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for panel in panels {
        let title = text(&panel["title"]);
        assert!(
            !title.is_empty() && !text(&panel["description"]).is_empty(),
            "{panel:#}"
        );
        if panel["type"] == "row" {
            assert!(title.ends_with('?'), "{DASHBOARD}: the row `{title}` is no question");
            continue;
        }
        let unit = text(&panel["fieldConfig"]["defaults"]["unit"]);
        assert!(!unit.is_empty(), "{DASHBOARD}: `{title}` has no unit");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{DASHBOARD}: `{title}` shows nothing");
        for target in targets {
            let expression = text(&target["expr"]);
            assert_eq!(unknown_in(&expression), [""; 0], "{DASHBOARD}: `{title}`");
            let is_chosen = ["$instance", "$connector"]
                .iter()
                .any(|choice| expression.contains(choice));
            assert!(is_chosen, "{DASHBOARD}: `{title}` shows what was not chosen");
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        assert_eq!(unknown_in(&text(&variable["query"]["query"])), [""; 0], "{DASHBOARD}");
    }
    refuse_overlaps(panels);
}

fn refuse_overlaps(panels: &[Value]) {
    let mut taken = BTreeMap::new();
    for panel in panels {
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(
            side("x") + side("w") <= 24,
            "{DASHBOARD}: {} is too far right",
            panel["title"]
        );
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                let before = taken.insert((x, y), panel["title"].clone());
                assert_eq!(before, None, "{DASHBOARD}: {} lies on another panel", panel["title"]);
            }
        }
    }
}

#[test]
fn the_dashboard_shows_every_metric_there_is() {
    let dashboard = read(DASHBOARD);
    let shown = names_in(&dashboard);
    let is_shown = |name: &String| {
        let parts = ["", "_bucket", "_sum", "_count"].iter();
        parts.into_iter().any(|part| shown.contains(&format!("{name}{part}")))
    };
    let missing: Vec<_> = metrics().into_keys().filter(|name| !is_shown(name)).collect();
    assert_eq!(missing, [""; 0], "{DASHBOARD}");
}
