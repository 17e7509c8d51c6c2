use super::*;

/// So that it is there at once on a slow line, and nobody adds a framework.
const LARGEST_PAGE: usize = 250_000;

/// Names of things, which no browser asks for: the namespace of drawings, in script and icon, and the banner of the charts' library.
const NAMES: [&str; 2] = ["http://www.w3.org/2000/svg", "https://github.com/leeoniya/uPlot"];

/// What stands between two marks, the first time.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap();
    rest.split_once(end).unwrap().0
}

#[test]
fn the_policy_allows_exactly_what_the_page_holds() {
    let page = page();
    let style = between(&page.html, "<style>", "</style>");
    let script = between(&page.html, "<script type=\"module\">", "</script>");
    assert!(style.contains(".uplot") && style.ends_with(STYLES[1]));
    assert!(script.starts_with(SCRIPTS[0]) && script.ends_with(SCRIPTS[21]));
    for (directive, text) in [("style-src", style), ("script-src", script)] {
        let allowed = format!("{directive} {};", source_of(text));
        assert!(page.content_security_policy.contains(&allowed), "{allowed}");
    }
    assert!(!page.content_security_policy.contains("unsafe"));
    assert!(page.content_security_policy.starts_with("default-src 'none';"));
}

#[test]
fn the_hash_of_a_text_is_as_browsers_reckon_it() {
    // https://www.w3.org/TR/CSP3/#framework-directive-source-list, by `printf 'alert(1)' | openssl dgst -sha256 -binary | base64`
    assert_eq!(
        source_of("alert(1)"),
        "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='"
    );
}

#[test]
fn nothing_is_fetched_from_elsewhere() {
    let html = &page().html;
    for scheme in ["http:", "https:", "ws:", "wss:"] {
        let start = format!("{scheme}//");
        for piece in html.split(&start).skip(1) {
            let url = format!("{start}{piece}");
            let shown: String = url.chars().take(80).collect();
            assert!(NAMES.iter().any(|name| url.starts_with(name)), "{shown}");
        }
    }
    for fetching in [
        "<link rel=\"stylesheet",
        "<script src",
        "importScripts",
        "<iframe",
        "<img",
        "sendBeacon",
        "WebSocket",
    ] {
        assert!(!html.contains(fetching), "{fetching}");
    }
    let style = STYLES.concat();
    assert!(!style.contains("url(") && !style.contains("@import"));
}

#[test]
fn no_text_becomes_markup_or_script() {
    let own = SCRIPTS[2..].concat();
    for dangerous in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "DOMParser",
        "createContextualFragment",
        "document.cookie",
    ] {
        assert!(!own.contains(dangerous), "{dangerous}");
    }
    for event in [
        "onclick=",
        "onload=",
        "onerror=",
        "onsubmit=",
        "javascript:",
        " style=\"",
    ] {
        assert!(!SKELETON.contains(event) && !own.contains(event), "{event}");
    }
}

#[test]
fn the_page_ends_its_elements_itself() {
    let script = SCRIPTS.join("\n");
    assert!(!script.contains("</script") && !script.contains("<!--"));
    assert!(!STYLES.concat().contains("</style"));
    assert!(!page().html.contains(STYLE_PLACE) && !page().html.contains(SCRIPT_PLACE));
}

#[test]
fn the_page_is_small_and_its_parts_are_short() {
    assert!(page().html.len() < LARGEST_PAGE, "{} bytes", page().html.len());
    for script in &SCRIPTS[2..] {
        assert!(script.lines().count() <= 600, "{}", script.lines().next().unwrap());
    }
}
