//! Which files are near a test.
//!
//! In: what failed. Out: the folders whose files are near it. Never: a file system, or a guess about a test whose name is
//! no path.
//!
//! A push that breaks a test has mostly touched the module that the test is about, so that nearness tells which pushes to
//! suspect (C. Ziftci and J. Reardon, *Who Broke the Build? Automatically Identifying Changes That Induce Test Failures in
//! Continuous Integration at Google Scale*, ICSE-SEIP 2017: the distance from a change to the failing target). Google
//! counts steps between build targets; all that a pushlog tells is paths. Trees keep the tests of a module in a folder
//! inside it, so the way to the module ends where the first folder of tests begins: `dom/base/test/test_a.html` is about
//! `dom/base`.

use super::{Signature, test_path};

/// Folders that hold tests and nothing that is tested.
const OF_TESTS: [&str; 20] = [
    "test",
    "tests",
    "__tests__",
    "unit",
    "gtest",
    "gtests",
    "mochitest",
    "mochitests",
    "browser",
    "chrome",
    "a11y",
    "xpcshell",
    "marionette",
    "crashtest",
    "crashtests",
    "reftest",
    "reftests",
    "jit-test",
    "jsapi-tests",
    "cppunittest",
];

/// Of those, the ones that hold tests at the top of a tree too: `browser` and others are products there.
const OF_TESTS_AT_THE_TOP: [&str; 3] = ["test", "tests", "__tests__"];

/// How deep an area is at most. What is below belongs together: a test of `dom/media/webaudio` may break by a change to
/// `dom/media/mediasink`.
const DEPTH: usize = 2;

/// The folders whose files are near a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbourhood {
    /// The folder that the test lies in; empty for the top of the tree.
    own: String,
    /// The folder of what it tests; `None` where its path does not tell.
    area: Option<String>,
}

impl Neighbourhood {
    /// The neighbourhood of what failed, by the test's path, or else by its group's. `None` where neither is a path.
    ///
    /// ```
    /// use sheriffd_event::{Neighbourhood, Signature};
    ///
    /// let signature = Signature { group: None, test: "dom/base/test/test_a.html".into() };
    /// let near = Neighbourhood::of(&signature).unwrap();
    /// assert!(near.holds("dom/base") && near.holds("dom/base/test") && !near.holds("dom/media"));
    /// ```
    pub fn of(signature: &Signature) -> Option<Neighbourhood> {
        let own = folder_of_test(&signature.test).or_else(|| folder_of_group(signature.group.as_deref()?))?;
        let area = area(&own);
        Some(Neighbourhood { own, area })
    }

    /// Whether files in this folder are near: it is the test's own, or the area, or lies in one of them.
    pub fn holds(&self, folder: &str) -> bool {
        is_within(folder, &self.own) || self.area.as_deref().is_some_and(|area| is_within(folder, area))
    }
}

/// The folder in the tree that a test lies in; `None` where its name is no path.
fn folder_of_test(name: &str) -> Option<String> {
    // Reftests are named by two paths, `a.html == b.html`, and some harnesses add words of theirs.
    let first = name.split_whitespace().next()?;
    if first.contains("://") {
        return None;
    }
    let file = first.split_once('?').map_or(first, |(file, _)| file);
    let path = test_path::path_of_name(file.rsplit_once(':').map_or(file, |(_, own)| own));
    path.rsplit_once('/').map(|(folder, _)| folder.to_owned())
}

/// The folder in the tree that the tests of a group lie in; `None` where its name is no path.
fn folder_of_group(group: &str) -> Option<String> {
    match group.starts_with('/') {
        // Groups of web-platform tests are folders.
        true => folder_of_test(&format!("{}/", group.trim_end_matches('/'))),
        false => group
            .contains('/')
            .then(|| test_path::folder_of_group(group).to_owned()),
    }
}

/// What the tests in a folder are about, as a folder; `None` where the path does not tell.
fn area(own: &str) -> Option<String> {
    if let Some(within) = test_path::within_web_platform(own) {
        // They are filed by standards, and gecko keeps many of these in a folder of the same name.
        let standard = within.split('/').next()?;
        return (!standard.is_empty()).then(|| standard.to_owned());
    }
    let is_of_tests = |(depth, part): (usize, &str)| match depth {
        0 => OF_TESTS_AT_THE_TOP.contains(&part),
        _ => OF_TESTS.contains(&part),
    };
    let way: Vec<&str> = own
        .split('/')
        .enumerate()
        .take(DEPTH)
        .take_while(|step| !is_of_tests(*step))
        .map(|(_, part)| part)
        .collect();
    let area = way.join("/");
    (!area.is_empty()).then_some(area)
}

/// Whether a folder is this one, or lies in it. Nothing but the top itself lies in the top: everything would.
fn is_within(folder: &str, of: &str) -> bool {
    folder
        .strip_prefix(of)
        .is_some_and(|rest| rest.is_empty() || (!of.is_empty() && rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(test: &str) -> Neighbourhood {
        near_in(test, None).unwrap()
    }

    fn near_in(test: &str, group: Option<&str>) -> Option<Neighbourhood> {
        Neighbourhood::of(&Signature {
            group: group.map(Into::into),
            test: test.into(),
        })
    }

    fn folders(near: &Neighbourhood) -> (&str, Option<&str>) {
        (&near.own, near.area.as_deref())
    }

    #[test]
    fn the_area_of_a_test_is_where_its_path_leads_before_the_first_folder_of_tests_two_folders_at_most() {
        for (test, own, area) in [
            ("dom/base/test/test_a.html", "dom/base/test", "dom/base"),
            ("dom/base/test/unit/test_a.js", "dom/base/test/unit", "dom/base"),
            ("netwerk/test/browser/browser_a.js", "netwerk/test/browser", "netwerk"),
            (
                "dom/media/webaudio/test/test_a.html",
                "dom/media/webaudio/test",
                "dom/media",
            ),
            (
                "browser/base/content/test/popups/browser_a.js",
                "browser/base/content/test/popups",
                "browser/base",
            ),
            (
                "layout/reftests/bugs/1.html == layout/reftests/bugs/1-ref.html",
                "layout/reftests/bugs",
                "layout",
            ),
            (
                "dom/xpcshell.toml:dom/cache/test/xpcshell/test_a.js",
                "dom/cache/test/xpcshell",
                "dom/cache",
            ),
            ("src/net/http_test.go", "src/net", "src/net"),
        ] {
            assert_eq!(folders(&near(test)), (own, Some(area)), "{test}");
        }
    }

    #[test]
    fn web_platform_tests_are_about_the_standard_that_they_are_filed_under() {
        let own = "testing/web-platform/tests/dom/nodes";
        for test in [
            "/dom/nodes/a.html",
            "/dom/nodes/a.any.worker.html?1-10",
            "testing/web-platform/tests/dom/nodes/a.html",
        ] {
            assert_eq!(folders(&near(test)), (own, Some("dom")), "{test}");
        }
        assert_eq!(
            folders(&near("/_mozilla/dom/a.html")),
            ("testing/web-platform/mozilla/tests/dom", Some("dom"))
        );
        assert_eq!(folders(&near("/a.html")), ("testing/web-platform/tests", None));
        assert!(!near("/dom/nodes/a.html").holds("testing/web-platform/tests/css"));
    }

    #[test]
    fn at_the_top_of_a_tree_only_the_own_folder_is_near() {
        assert_eq!(folders(&near("tests/unit/test_a.py")), ("tests/unit", None));
        assert_eq!(folders(&near_in("a", Some("tests/a.toml")).unwrap()), ("tests", None));
        assert!(!near("tests/unit/test_a.py").holds("src") && near("tests/unit/test_a.py").holds("tests/unit/data"));
    }

    #[test]
    fn a_test_whose_name_is_no_path_is_where_its_group_is() {
        let group = "dom/ipc/tests/browser.toml";
        for test in ["automation.py", "chrome://mochitests/content/a/b.js", "Suite.Case", ""] {
            assert_eq!(
                folders(&near_in(test, Some(group)).unwrap()),
                ("dom/ipc/tests", Some("dom/ipc")),
                "{test}"
            );
            assert_eq!(near_in(test, None), None, "{test}");
            assert_eq!(near_in(test, Some("default")), None, "{test}");
        }
        let included = near_in("x", Some("a/xpcshell.ini:b/c/test/common.ini")).unwrap();
        assert_eq!(folders(&included), ("b/c/test", Some("b/c")));
        let standard = near_in("x", Some("/css/css-grid")).unwrap();
        assert_eq!(
            folders(&standard),
            ("testing/web-platform/tests/css/css-grid", Some("css"))
        );
    }

    #[test]
    fn names_are_compared_folder_by_folder() {
        let near = near("dom/base/test/test_a.html");
        assert!(!near.holds("dom/basement") && !near.holds("dom") && !near.holds("") && !near.holds("x/dom/base"));
        assert!(near.holds("dom/base/nested/deep"));
    }

    fn paths() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            "[a-z]{1,4}",
            proptest::sample::select(OF_TESTS.as_slice()).prop_map(str::to_owned)
        ];
        proptest::collection::vec(part, 1..6).prop_map(|parts| parts.join("/"))
    }

    proptest! {
        #[test]
        fn the_own_folder_is_near_and_the_area_is_a_folder_on_the_way_to_it(own in paths(), deeper in paths()) {
            let near = near(&format!("{own}/test_a.html"));
            prop_assert!(near.holds(&own));
            let below = format!("{own}/{deeper}");
            prop_assert!(near.holds(&below));
            prop_assert!(!near.holds(""));
            if let Some(area) = &near.area {
                prop_assert!(is_within(&own, area));
                prop_assert!(area.split('/').count() <= DEPTH);
                prop_assert!(near.holds(area));
            }
        }

        #[test]
        fn no_name_is_too_strange(test in ".{0,60}", group in proptest::option::of(".{0,60}"), folder in ".{0,30}") {
            if let Some(near) = near_in(&test, group.as_deref()) {
                near.holds(&folder);
            }
        }
    }
}
