//! A CI that answers, and says nothing that makes sense.

use std::collections::BTreeSet;

use crate::ci_tree::Tree;
use crate::eventually::eventually;
use crate::fake_taskcluster::{FakeTaskcluster, Fault};
use crate::installation::Installation;
use crate::orange::{GREEN, SKIPPED, fired, pushes, states, turns_orange, wanted};
use crate::publisher::Publisher;
use crate::rabbitmq;
use crate::setting::{LIVE, Setting};

const LABEL: &str = "test-linux64/opt-mochitest-1";
const HOOK: &str = "/api/hooks/v1/hooks/project-gecko/in-tree-action-1-generic/ea5d85cbef/trigger";
/// What a proxy says on behalf of a service, with the status of a success.
const PORTAL: &str = "<html><head><title>Please log in</title></head><body>Welcome to the network</body></html>";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_nonsense_is_in_doubt_with_its_beginning_and_found_out_before_anything_is_asked_again() {
    let broker = rabbitmq::shared_vhost();
    let ci = FakeTaskcluster::start().await;
    let publisher = Publisher::at(broker.admin_url());
    let installation = Installation::new(&Setting::new(&broker, "nonsense", &ci).toml(), LIVE);
    let daemon = installation.start_ready().await;
    let tree = Tree::new(&ci, "nonsense", *GREEN.start());
    publisher.publish(&pushes(&tree, &[LABEL]));
    // One request is done, another one never reaches the CI, and both get the same answer; the third is answered well.
    let body = PORTAL.to_owned();
    ci.fail(
        "POST",
        HOOK,
        Fault::ActAndAnswer {
            status: 200,
            body: body.clone(),
        },
    );
    let headers = Default::default();
    ci.fail(
        "POST",
        HOOK,
        Fault::Answer {
            status: 200,
            headers,
            body,
        },
    );
    publisher.publish(&turns_orange(&tree, LABEL));

    let said = |words: &str| daemon.log().lines().filter(|line| line.contains(words)).count();
    eventually("two requests are in doubt, in the words of the answer", async || {
        (said("answered HTTP 200 without naming a task: <html><head><title>Please log in") == 2).then_some(())
    })
    .await;
    // The one that was done is found soon; that the other one was not is believed only after a while.
    let in_doubt = ("in-doubt".to_owned(), Some("in-doubt".to_owned()));
    let states_now = states(&installation.json(&["case", "show", "C1"]));
    assert!(states_now.contains(&in_doubt), "{states_now:?}");
    assert_eq!(
        tree.asked().len(),
        2,
        "nothing is asked again as long as it may have been done"
    );
    let counted = "sheriffd_actions_total{rule=\"backfill-new-orange\",backend=\"taskcluster\",result=\"in-doubt\"}";
    daemon.counts(counted, 2.0).await;

    eventually("every request is accepted", async || {
        let accepted = ("accepted".to_owned(), None);
        (states(&installation.json(&["case", "show", "C1"])) == vec![accepted; SKIPPED.count()]).then_some(())
    })
    .await;
    assert_eq!(
        fired(&ci).len(),
        SKIPPED.count() + 1,
        "only the one that never reached the CI was sent again"
    );
    assert_eq!(tree.asked().len(), SKIPPED.count());
    assert_eq!(BTreeSet::from_iter(fired(&ci)), wanted(&tree, &[LABEL]));
}
