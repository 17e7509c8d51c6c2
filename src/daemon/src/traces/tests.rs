use super::*;

fn config(settings: &str) -> TracesConfig {
    serde_json::from_str(settings).unwrap()
}

#[test]
fn what_cannot_work_is_refused_at_its_key() {
    for (settings, key) in [
        (r#"{"url":"collector:4318"}"#, "url"),
        (r#"{"url":"http://someone:secret@collector"}"#, "url"),
        (r#"{"url":"http://collector","sample_ratio":1.5}"#, "sample_ratio"),
        (r#"{"url":"http://collector","ca_file":"ca.pem"}"#, "ca_file"),
        (r#"{"url":"http://collector","headers":{"a b":"c"}}"#, "headers"),
        (r#"{"url":"http://collector","headers":{"a":"c\n"}}"#, "headers"),
    ] {
        let (refused, sentence) = Collector::new(&config(settings)).unwrap_err();
        assert_eq!(refused, key, "{sentence}");
        assert!(!sentence.contains("secret"), "{sentence}");
    }
    let collector = Collector::new(&config(r#"{"url":"http://collector","headers":{"api-key":"secret"}}"#)).unwrap();
    assert!(!format!("{collector:?}").contains("secret"));
}

#[test]
fn answers_say_what_was_refused() {
    // Field 1, a message with field 1: 300.
    assert_eq!(otlp::refused(&[0x0a, 3, 0x08, 0xac, 0x02]), 300);
    assert_eq!(otlp::refused(b""), 0);
    assert_eq!(otlp::refused(b"<html>"), 0);
}
