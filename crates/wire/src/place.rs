//! Where a job ran: reading project, revision and push out of task routes, repository paths and source addresses.
//!
//! In: single strings. Out: what they surely say. Never: guessing a project from a string of another form.

use sheriffd_event::{JobFacts, Project, PushId, Revision};

/// The prefix of the one route that tells Treeherder where a task belongs.
const TREEHERDER_ROUTE: &str = "tc-treeherder.v2.";

/// The folders of a Mercurial host whose repositories are known by their last name alone
/// (`integration/autoland` is `autoland`); others (localisations, people's own) need the whole path to be told apart.
const NAMED_FOLDERS: [&str; 6] = ["integration", "releases", "projects", "incubator", "ci", "build"];

/// What a Treeherder route says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// `autoland`, or `owner/repository`.
    pub(super) project: &'a str,
    /// The head revision of the push.
    pub(super) revision: &'a str,
    /// The push's number in Mercurial's pushlog, or the number of a pull request.
    pub(super) number: Option<u64>,
}

impl<'a> Place<'a> {
    /// Reads `tc-treeherder.v2.[owner/]project.revision[.number]`; `None` for any other route. The owner `_` stands
    /// for none.
    pub(super) fn of_route(route: &'a str) -> Option<Place<'a>> {
        let rest = route.strip_prefix(TREEHERDER_ROUTE)?;
        // Read from the end: a repository's name may hold dots, a revision and a number do not.
        let (head, last) = rest.rsplit_once('.')?;
        let numbered = match head.rsplit_once('.') {
            Some((project, revision)) if is_revision(revision) => last.parse().ok().map(|number| Place {
                project,
                revision,
                number: Some(number),
            }),
            _ => None,
        };
        let mut place = numbered.unwrap_or(Place {
            project: head,
            revision: last,
            number: None,
        });
        place.project = place.project.strip_prefix("_/").unwrap_or(place.project);
        (!place.project.is_empty() && is_revision(place.revision)).then_some(place)
    }

    /// The place that routes agree on. `None` when there is none, or several that differ: a task belongs to one push.
    pub(super) fn of_routes(routes: impl Iterator<Item = &'a str>) -> Option<Place<'a>> {
        let mut found = None;
        for place in routes.filter_map(Place::of_route) {
            match &found {
                None => found = Some(place),
                Some(first) if *first == place => {}
                Some(_) => return None,
            }
        }
        found
    }

    /// Writes what it says into facts. The number of a place on GitHub is a pull request's, not a push's.
    pub(super) fn fill(&self, facts: &mut JobFacts) {
        facts.project = Some(Project::from(self.project));
        facts.revision = Some(Revision::from(self.revision));
        facts.push = self.number.filter(|_| !self.project.contains('/')).map(PushId);
    }
}

/// Whether text looks like a commit hash: 12 to 40 hexadecimal digits.
fn is_revision(text: &str) -> bool {
    (12..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The project of a repository's path on a Mercurial host: `integration/autoland` is `autoland`. `None` for no path.
pub(super) fn project_of_path(path: &str) -> Option<Project> {
    let path = path.trim_matches('/');
    if path.is_empty() || path.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return None;
    }
    let name = match path.split_once('/') {
        Some((folder, name)) if NAMED_FOLDERS.contains(&folder) && !name.contains('/') => name,
        _ => path,
    };
    Some(Project::from(name))
}

/// The project of a repository's address: `https://hg.mozilla.org/integration/autoland` is `autoland`,
/// `https://github.com/org/repo` (with or without `.git`, over ssh too) is `org/repo`. `None` for other hosts.
pub(super) fn project_of_url(url: &str) -> Option<Project> {
    let url = url.trim();
    if let Some(path) = url.strip_prefix("https://hg.mozilla.org/") {
        // Below the repository a page's address goes on: …/file/<revision>/…, …/raw-file/<revision>/….
        let end = ["/file/", "/raw-file/", "/rev/"]
            .iter()
            .filter_map(|part| path.find(part))
            .min();
        return project_of_path(&path[..end.unwrap_or(path.len())]);
    }
    let path = ["https://github.com/", "git@github.com:", "ssh://git@github.com/"]
        .iter()
        .find_map(|prefix| url.strip_prefix(prefix))?;
    let mut parts = path.split('/');
    let (owner, name) = (parts.next()?, parts.next()?);
    let name = name.strip_suffix(".git").unwrap_or(name);
    (!owner.is_empty() && !name.is_empty()).then(|| Project::from(format!("{owner}/{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REVISION: &str = "219d38523a321229f7f48aca6592f76b993fb1aa";

    fn place(route: &str) -> Option<(&str, &str, Option<u64>)> {
        Place::of_route(route).map(|place| (place.project, place.revision, place.number))
    }

    #[test]
    fn every_form_of_the_treeherder_route_is_read() {
        let with = |start: &str, end: &str| format!("tc-treeherder.v2.{start}.{REVISION}{end}");
        assert_eq!(
            place(&with("autoland", ".88554")),
            Some(("autoland", REVISION, Some(88554)))
        );
        assert_eq!(place(&with("autoland", "")), Some(("autoland", REVISION, None)));
        assert_eq!(
            place(&with("mozilla/fenix", ".12")),
            Some(("mozilla/fenix", REVISION, Some(12)))
        );
        assert_eq!(place(&with("_/servo-try", "")), Some(("servo-try", REVISION, None)));
        assert_eq!(
            place(&with("org/repo.js", ".7")),
            Some(("org/repo.js", REVISION, Some(7)))
        );
    }

    #[test]
    fn other_routes_say_nothing() {
        let stage = format!("tc-treeherder-stage.v2.autoland.{REVISION}.1");
        for route in [
            "",
            "checks",
            "tc-treeherder.v2.",
            "tc-treeherder.v2.autoland",
            "tc-treeherder.v2.autoland.tip",
            &stage,
        ] {
            assert_eq!(place(route), None, "{route}");
        }
    }

    #[test]
    fn routes_that_disagree_say_nothing() {
        let (one, two) = (
            format!("tc-treeherder.v2.try.{REVISION}.1"),
            format!("tc-treeherder.v2.try.{REVISION}.2"),
        );
        assert!(Place::of_routes([one.as_str(), "checks", &one].into_iter()).is_some());
        assert_eq!(Place::of_routes([one.as_str(), &two].into_iter()), None);
    }

    #[test]
    fn a_project_is_found_in_paths_and_addresses() {
        let of_path = |path| project_of_path(path).map(|p| p.to_string());
        assert_eq!(of_path("integration/autoland").as_deref(), Some("autoland"));
        assert_eq!(of_path("try").as_deref(), Some("try"));
        assert_eq!(of_path("l10n-central/de").as_deref(), Some("l10n-central/de"));
        assert_eq!(of_path("/"), None);
        let of_url = |url| project_of_url(url).map(|p| p.to_string());
        let page = format!("https://hg.mozilla.org/integration/autoland/file/{REVISION}/taskcluster/ci/test");
        assert_eq!(of_url(&page).as_deref(), Some("autoland"));
        assert_eq!(of_url("https://hg.mozilla.org/try").as_deref(), Some("try"));
        assert_eq!(
            of_url("https://github.com/mozilla/bugbug").as_deref(),
            Some("mozilla/bugbug")
        );
        assert_eq!(
            of_url("git@github.com:mozilla-mobile/mozilla-vpn-client.git").as_deref(),
            Some("mozilla-mobile/mozilla-vpn-client")
        );
        assert_eq!(of_url("https://example.org/a/b"), None);
    }
}
