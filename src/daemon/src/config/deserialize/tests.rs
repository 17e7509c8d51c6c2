use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::expand::{Surroundings, expand};
use super::super::yaml;
use super::*;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Sample {
    url: String,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    interval_ms: u64,
    #[serde(default)]
    enabled: bool,
    #[serde(default)]
    ratio: f64,
    #[serde(default)]
    tables: Vec<String>,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    tls: Option<Tls>,
    #[serde(default)]
    properties: BTreeMap<String, String>,
    #[serde(default)]
    anything: serde_json::Value,
}

#[derive(Debug, Deserialize, PartialEq, Default)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Initial,
    Never,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Tls {
    ca_file: std::path::PathBuf,
}

fn read_text(text: &str) -> Result<Sample, String> {
    let mut problems = Problems::new("x.yaml");
    let mut tree = yaml::parse(text.as_bytes(), &mut problems).unwrap();
    expand(
        &mut tree,
        &Surroundings::of(&[("PORT", "5432"), ("SECRET", "hunter2")]),
        &mut problems,
    );
    let sample = read(&tree, "", &[], &mut problems);
    problems.into_result().map_err(|problems| problems.to_string())?;
    Ok(sample.unwrap())
}

#[test]
fn everything_is_read_as_it_was_meant() {
    let text = "url: no\nport: \"${PORT}\"\ninterval_ms: 250\nenabled: true\nratio: 0.5\ntables: [a, 'b', 7]\nmode: never\n\
                tls: {ca_file: /ca.pem}\nproperties: {acks: 1, linger.ms: 5, flag: true}\n\
                anything: {a: [1, -2, 1.5, true, null, text]}\n";
    let sample = read_text(text).unwrap();
    assert_eq!(sample.url, "no");
    assert_eq!(sample.port, Some(5432));
    assert_eq!(sample.tables, ["a", "b", "7"]);
    assert_eq!(sample.mode, Mode::Never);
    assert_eq!(sample.properties["linger.ms"], "5");
    assert_eq!(sample.properties["flag"], "true");
    assert_eq!(
        sample.anything,
        serde_json::json!({"a": [1, -2, 1.5, true, null, "text"]})
    );
}

const COMPLAINTS: &[(&str, &str)] = &[
    (
        "url: x\nmode: nevr\n",
        "x.yaml:2:7: mode: unknown value `nevr`; did you mean `never`?",
    ),
    (
        "url: x\nmode: 7\n",
        "x.yaml:2:7: mode: unknown value `7`; known are `initial`, `never`",
    ),
    (
        "url: x\nmode: [a]\n",
        "x.yaml:2:7: mode: expects one of `initial`, `never`, found a list",
    ),
    (
        "url: x\ntabels: []\n",
        "x.yaml:2:1: unknown key `tabels`; did you mean `tables`?",
    ),
    (
        "url: x\ntls: {ca: /x}\n",
        "x.yaml:2:7: tls: unknown key `ca`; did you mean `ca_file`?",
    ),
    ("url: x\ntls: {}\n", "x.yaml:2:6: tls: the key `ca_file` is missing"),
    ("port: 1\n", "x.yaml:1:1: the key `url` is missing"),
    (
        "url: x\nport: 70000\n",
        "x.yaml:2:7: port: expects a whole number from 0 to 65535, found `70000`",
    ),
    (
        "url: x\nport: -1\n",
        "x.yaml:2:7: port: expects a whole number from 0 to 65535, found `-1`",
    ),
    (
        "url: x\nport: \"80\"\n",
        "x.yaml:2:7: port: expects a whole number from 0 to 65535, found the text \"80\"; remove the quotes",
    ),
    (
        "url: x\nport: 0660\n",
        "x.yaml:2:7: port: expects a whole number from 0 to 65535, found `0660`; write it in decimal, without leading zeros",
    ),
    (
        "url: x\ninterval_ms: 5s\n",
        "x.yaml:2:14: interval_ms: expects a whole number from 0, found `5s`; the unit is in the key's name",
    ),
    (
        "url: x\ninterval_ms: 1_000\n",
        "x.yaml:2:14: interval_ms: expects a whole number from 0, found `1_000`; write it without `_`",
    ),
    (
        "url: x\nenabled: yes\n",
        "x.yaml:2:10: enabled: expects `true` or `false`, found `yes`; write `true`",
    ),
    (
        "url: x\nenabled: off\n",
        "x.yaml:2:10: enabled: expects `true` or `false`, found `off`; write `false`",
    ),
    (
        "url: x\nenabled: \"true\"\n",
        "x.yaml:2:10: enabled: expects `true` or `false`, found the text \"true\"",
    ),
    (
        "url: x\nratio: fast\n",
        "x.yaml:2:8: ratio: expects a number, found `fast`",
    ),
    ("url:\n", "x.yaml:1:4: url: expects text, found nothing"),
    ("url: [a]\n", "x.yaml:1:6: url: expects text, found a list"),
    (
        "url: x\ntables: public.orders\n",
        "x.yaml:2:9: tables: expects a list, found `public.orders`",
    ),
    (
        "url: x\ntables: [a, {b: c}]\n",
        "x.yaml:2:13: tables.1: expects text, found a mapping",
    ),
    (
        "url: x\nport: ${SECRET}\n",
        "x.yaml:2:7: port: expects a whole number from 0 to 65535, found the value of `${SECRET}`",
    ),
    (
        "url: x\nmode: ${SECRET}\n",
        "x.yaml:2:7: mode: unknown value `${SECRET}`; known are `initial`, `never`",
    ),
    ("- a\n", "x.yaml:1:1: expects a mapping, found a list"),
];

#[test]
fn complaints_have_a_place_and_a_remedy() {
    for (text, expected) in COMPLAINTS {
        assert_eq!(read_text(text), Err((*expected).to_owned()), "{text}");
    }
}

#[test]
fn several_complaints_are_told_at_once() {
    let text = "url: [x]\ntabels: []\nport: 70000\ntls: {ca: x, ca_file: y}\n";
    let expected = "x.yaml:1:6: url: expects text, found a list\n\
                    x.yaml:2:1: unknown key `tabels`; did you mean `tables`?\n\
                    x.yaml:3:7: port: expects a whole number from 0 to 65535, found `70000`\n\
                    x.yaml:4:7: tls: unknown key `ca`; did you mean `ca_file`?";
    assert_eq!(read_text(text), Err(expected.to_owned()));
}

#[test]
fn keys_that_the_caller_reads_are_known_names() {
    let mut problems = Problems::new("x.yaml");
    let tree = yaml::parse(b"url: x\nsourse: y\nsource: z\n", &mut problems).unwrap();
    let _: Option<Sample> = read(&tree, "connectors.a", &["source"], &mut problems);
    assert_eq!(
        problems.to_string(),
        "x.yaml:2:1: connectors.a: unknown key `sourse`; did you mean `source`?"
    );
}
