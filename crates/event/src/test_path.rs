//! Paths of tests: which files are tests, and by which names harnesses and manifests call them.
//!
//! The conventions are those of gecko's harnesses (`test_*`, `browser_*`, web-platform tests by their folder) and the
//! ones that most other trees share (`*_test.*`, `*.test.*`, `*.spec.*`).

use std::borrow::Cow;

/// What a file's name has to end in to be a test: harnesses load these, the rest is support.
const SOURCES: [&str; 14] = [
    "html", "xhtml", "htm", "xht", "svg", "js", "mjs", "jsm", "ts", "tsx", "jsx", "py", "go", "rs",
];

/// Folders with web-platform tests, and what stands for them in a test's name.
const WEB_PLATFORM: [(&str, &str); 2] = [
    ("testing/web-platform/tests/", "/"),
    ("testing/web-platform/mozilla/tests/", "/_mozilla/"),
];

/// Folders inside web-platform tests that hold what tests need, and no test.
const SUPPORT: [&str; 6] = ["resources", "support", "tools", "common", "reference", "META.yml"];

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The folder that a path lies in; empty for one without.
pub fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Whether the file at this path is a test by its name.
pub fn is_test(path: &str) -> bool {
    let name = file_name(path);
    let Some((stem, extension)) = name.rsplit_once('.') else {
        return false;
    };
    if !SOURCES.contains(&extension) {
        return false;
    }
    if let Some(rest) = WEB_PLATFORM.iter().find_map(|(folder, _)| path.strip_prefix(folder)) {
        let is_support = rest.split('/').any(|part| SUPPORT.contains(&part));
        return !is_support && !stem.ends_with("-ref") && !stem.ends_with("-notref") && extension != "py";
    }
    ["test_", "browser_"].iter().any(|start| stem.starts_with(start))
        || ["_test", ".test", ".spec"].iter().any(|end| stem.ends_with(end))
}

/// The name that results use for the test at this path: web-platform tests are named as their server serves them.
pub fn name_in_results(path: &str) -> String {
    WEB_PLATFORM
        .iter()
        .find_map(|(folder, served)| Some(format!("{served}{}", path.strip_prefix(folder)?)))
        .unwrap_or_else(|| path.to_owned())
}

/// The path of the test that results call so: the inverse of [`name_in_results`]. What looks like a path is one.
pub fn path_of_name(name: &str) -> Cow<'_, str> {
    // The longest first: every served name begins as those of the main folder do.
    WEB_PLATFORM
        .iter()
        .rev()
        .find_map(|(folder, served)| Some(format!("{folder}{}", name.strip_prefix(served)?)))
        .map_or(Cow::Borrowed(name), Cow::Owned)
}

/// Where a folder of web-platform tests is among them, empty for all of them; `None` for other folders.
pub fn within_web_platform(folder: &str) -> Option<&str> {
    WEB_PLATFORM.iter().find_map(|(all, _)| {
        let rest = folder.strip_prefix(all.trim_end_matches('/'))?;
        if rest.is_empty() {
            Some(rest)
        } else {
            rest.strip_prefix('/')
        }
    })
}

/// Whether a name in results means the test at this path. Some harnesses put the manifest before it (`a.toml:b.js`), and
/// one web-platform file can hold several tests (`a.any.js` is `a.any.html` and `a.any.worker.html`, each with `?…`).
pub fn is_named(name: &str, path: &str) -> bool {
    let wanted = name_in_results(path);
    let bare = name.rsplit_once(':').map_or(name, |(_, test)| test);
    if name == wanted || bare == wanted {
        return true;
    }
    let served = name.split_once('?').map_or(name, |(test, _)| test);
    served == wanted
        || [".any", ".window", ".worker"].iter().any(|kind| {
            wanted.strip_suffix(&format!("{kind}.js")).is_some_and(|stem| {
                served
                    .strip_prefix(stem)
                    .is_some_and(|rest| rest.starts_with('.') && rest.ends_with(".html"))
            })
        })
}

/// The groups that web-platform results may file the test under, the nearest first; empty for other tests.
pub fn web_platform_groups(path: &str) -> Vec<String> {
    let name = name_in_results(path);
    if name == path {
        return Vec::new();
    }
    let mut groups = Vec::new();
    let mut at = name.as_str();
    while let Some((folder, _)) = at.rsplit_once('/') {
        groups.push(if folder.is_empty() {
            "/".to_owned()
        } else {
            folder.to_owned()
        });
        at = folder;
    }
    groups
}

/// The folder that the manifest of a group lies in. Of a manifest that another one includes (`a.toml:b.toml`), the last
/// name is the manifest's own.
pub fn folder_of_group(group: &str) -> &str {
    folder(group.rsplit_once(':').map_or(group, |(_, own)| own))
}

/// Where the group of the test at this path may be: groups of web-platform tests, else the folder of its manifest.
pub fn places(path: &str) -> Vec<String> {
    match web_platform_groups(path) {
        groups if groups.is_empty() => vec![folder(path).to_owned()],
        groups => groups,
    }
}

/// Whether a group is one of these, or its manifest lies in one of these folders itself. Groups of web-platform tests are
/// folders, and have no manifest.
pub fn is_at<T: AsRef<str>>(group: &str, places: &[T]) -> bool {
    let folder = Some(folder_of_group(group)).filter(|_| !group.starts_with('/'));
    places
        .iter()
        .any(|place| place.as_ref() == group || Some(place.as_ref()) == folder)
}

/// How well a manifest's name fits the kind of the test at this path: 2 when it is the harness's usual one, 1 when
/// nothing speaks against it, 0 when it is another harness's.
pub fn fit(manifest: &str, path: &str) -> u8 {
    let manifest = file_name(manifest);
    let name = file_name(path);
    let harnesses: &[&str] = match name.rsplit_once('.').map(|(_, extension)| extension) {
        _ if name.starts_with("browser_") => &["browser"],
        Some("html" | "xhtml" | "htm" | "xht" | "svg") => &["mochitest", "chrome", "a11y"],
        Some("js" | "mjs" | "jsm") if name.starts_with("test_") => &["xpcshell"],
        Some("py") => &["manifest", "marionette", "unit-tests", "python"],
        _ => &[],
    };
    let all = [
        "browser",
        "mochitest",
        "chrome",
        "a11y",
        "xpcshell",
        "marionette",
        "python",
        "unit-tests",
    ];
    let begins = |words: &[&str]| words.iter().any(|word| manifest.starts_with(word));
    match (begins(harnesses), begins(&all)) {
        (true, _) => 2,
        (false, false) => 1,
        (false, true) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_from_what_they_need_by_their_names() {
        for test in [
            "dom/base/test/test_a.html",
            "browser/base/content/test/browser_b.js",
            "testing/web-platform/tests/css/foo/bar.html",
            "src/things.test.ts",
            "pkg/net_test.go",
        ] {
            assert!(is_test(test), "{test}");
        }
        for other in [
            "dom/base/test/head.js",
            "dom/base/test/mochitest.toml",
            "testing/web-platform/tests/css/foo/bar-ref.html",
            "testing/web-platform/tests/css/support/a.html",
            "testing/web-platform/tests/common/a.js",
            "dom/base/Element.cpp",
            "test_plan.md",
        ] {
            assert!(!is_test(other), "{other}");
        }
    }

    #[test]
    fn results_name_a_test_in_the_words_of_its_harness() {
        assert!(is_named("dom/test_a.html", "dom/test_a.html"));
        assert!(is_named("dom/xpcshell.toml:dom/test_a.js", "dom/test_a.js"));
        assert!(is_named("/css/a.html?1-9", "testing/web-platform/tests/css/a.html"));
        assert!(is_named(
            "/x/a.any.worker.html",
            "testing/web-platform/tests/x/a.any.js"
        ));
        assert!(!is_named(
            "/x/ab.any.worker.html",
            "testing/web-platform/tests/x/a.any.js"
        ));
        assert!(!is_named("dom/test_ab.html", "dom/test_a.html"));
    }

    #[test]
    fn a_path_and_its_name_in_results_lead_to_one_another() {
        for path in [
            "dom/test/test_a.html",
            "testing/web-platform/tests/css/a.html",
            "testing/web-platform/mozilla/tests/css/a.html",
        ] {
            assert_eq!(path_of_name(&name_in_results(path)), path);
        }
        assert_eq!(
            within_web_platform("testing/web-platform/tests/css/foo"),
            Some("css/foo")
        );
        assert_eq!(within_web_platform("testing/web-platform/tests"), Some(""));
        assert_eq!(within_web_platform("testing/web-platform/testsuite"), None);
    }

    #[test]
    fn web_platform_groups_are_folders_the_nearest_first() {
        assert_eq!(
            web_platform_groups("testing/web-platform/tests/css/foo/bar.html"),
            ["/css/foo", "/css", "/"]
        );
        assert!(web_platform_groups("dom/test_a.html").is_empty());
    }

    #[test]
    fn a_group_is_looked_for_beside_its_test_or_among_the_folders_of_web_platform_tests() {
        let places = places("dom/test/test_a.html");
        assert!(is_at("dom/test/mochitest.toml", &places));
        assert!(is_at("dom/mochitest-common.toml:dom/test/mochitest.toml", &places));
        assert!(!is_at("dom/test/deep/mochitest.toml", &places));
        let places = super::places("testing/web-platform/tests/css/foo/bar.html");
        assert!(is_at("/css/foo", &places) && is_at("/css", &places));
        assert!(!is_at("/css/foo/deep", &places));
    }

    #[test]
    fn a_manifest_of_another_harness_does_not_fit() {
        assert_eq!(fit("dom/test/browser.toml", "dom/test/browser_a.js"), 2);
        assert_eq!(fit("dom/test/xpcshell.toml", "dom/test/browser_a.js"), 0);
        assert_eq!(fit("dom/test/xpcshell-remote.ini", "dom/test/test_a.js"), 2);
        assert_eq!(fit("dom/test/special.toml", "dom/test/test_a.html"), 1);
    }
}
