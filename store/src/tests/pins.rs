//! Pins: proposed, taken into use, given up; and their locks.

use super::*;

impl Farm {
    async fn propose(&self, revision: &'static str) -> PinId {
        let (project, branch, recipe) = (self.project, self.branch, self.recipe);
        put!(self, tx => tx.propose_pin(project, branch, &project_inputs(revision, recipe), LATER)).unwrap()
    }

    async fn pin_of(&self, id: PinId) -> Pin {
        ask!(self, read => read.pin(id)).unwrap()
    }

    async fn current(&self) -> PinId {
        let (project, branch) = (self.project, self.branch);
        ask!(self, read => read.current_pin(project, branch)).unwrap().unwrap().id
    }
}

#[tokio::test]
async fn one_pin_is_in_use_and_those_before_it_stay_readable() {
    let farm = Farm::new().await;
    let new = farm.propose("r2").await;
    assert_eq!(farm.current().await, farm.pin);
    put!(farm, tx => tx.take_pin(new, LATER)).unwrap();
    assert_eq!(farm.current().await, new);
    let old = farm.pin_of(farm.pin).await;
    assert_eq!((old.state, old.project_inputs.revision.as_str()), (PinState::Past, "r1"));
    assert_eq!(refusal(put!(farm, tx => tx.take_pin(new, LATER))), "the project inputs are not proposed");
    let branch = farm.branch;
    assert_eq!(ask!(farm, read => read.current_pin(ProjectId(99), branch)).unwrap(), None);
    assert_eq!(refusal(ask!(farm, read => read.pin(PinId(99)))), "there is no such pin");
}

#[tokio::test]
async fn a_newer_proposal_takes_the_place_and_goes_on_with_the_wait() {
    let farm = Farm::new().await;
    let first = farm.propose("r2").await;
    put!(farm, tx => tx.mark_pin_worse(first, AT)).unwrap();
    put!(farm, tx => tx.mark_pin_worse(first, LATER)).unwrap();
    let second = farm.propose("r3").await;
    assert_eq!(farm.pin_of(first).await.state, PinState::Dropped);
    assert_eq!(farm.pin_of(second).await.worse_since, Some(AT));
    let live = ask!(farm, read => read.live_pins()).unwrap();
    assert_eq!(live.iter().map(|pin| pin.id).collect::<Vec<_>>(), [farm.pin, second]);
    put!(farm, tx => tx.drop_pin(second)).unwrap();
    assert_eq!(refusal(put!(farm, tx => tx.drop_pin(second))), "the project inputs are not proposed");
    assert_eq!(farm.current().await, farm.pin);
}

#[tokio::test]
async fn the_first_lock_stays() {
    let farm = Farm::new().await;
    let pin = farm.pin;
    put!(farm, tx => tx.lock_pin(pin, Sha256([1; 32]), 10, AT)).unwrap();
    put!(farm, tx => tx.lock_pin(pin, Sha256([2; 32]), 20, LATER)).unwrap();
    let lock = PinLock { sha256: Sha256([1; 32]), bytes: 10, written_at: AT };
    assert_eq!(farm.pin_of(pin).await.lock, Some(lock));
}

#[tokio::test]
async fn project_inputs_keep_their_needs() {
    let farm = Farm::new().await;
    let (project, branch) = (farm.project, farm.branch);
    let wanted =
        ProjectInputs { needs: vec![("say".into(), "1f".into())], ..project_inputs("r2", farm.recipe) };
    let of = wanted.clone();
    let pin = put!(farm, tx => tx.propose_pin(project, branch, &of, LATER)).unwrap();
    assert_eq!(farm.pin_of(pin).await.project_inputs, wanted);
}

#[tokio::test]
async fn a_revision_is_missing_until_it_is_the_newest_again_or_has_run() {
    let farm = Farm::new().await;
    let (project, pin) = (farm.project, farm.pin);
    let missing = || async { ask!(farm, read => read.missing_revisions()).unwrap() };
    let polled = async |newest: &'static str| {
        put!(farm, tx => tx.record_project_poll(project, newest, AT)).unwrap();
    };
    polled("r1").await;
    put!(farm, tx => tx.mark_revision_missing(pin, "r1", AT)).unwrap();
    assert_eq!(missing().await, [("penlight".into(), "r1".into(), AT)]);
    polled("r1").await;
    assert_eq!(missing().await.len(), 1, "the poll shows nothing new");
    polled("r2").await;
    assert_eq!(missing().await.len(), 1, "another one is the newest");
    polled("r1").await;
    assert_eq!(missing().await, []);
    put!(farm, tx => tx.mark_revision_missing(pin, "r1", AT)).unwrap();
    put!(farm, tx => tx.record_project_failure(project, "no branch", AT)).unwrap();
    polled("r1").await;
    assert_eq!(missing().await, [], "its branch is back");
    put!(farm, tx => tx.mark_revision_missing(pin, "r1", LATER)).unwrap();
    put!(farm, tx => tx.mark_revisions_available(pin)).unwrap();
    assert_eq!(missing().await, []);
}

#[tokio::test]
async fn a_run_shows_that_what_it_needed_can_be_had() {
    let farm = Farm::new().await;
    let (trunk, branch, recipe, needed) = (farm.trunk, farm.branch, farm.recipe, farm.pin);
    let pin = |needs: Vec<(String, String)>| ProjectInputs { needs, ..project_inputs("u1", recipe) };
    let with = pin(vec![("penlight".into(), "r1".into())]);
    let user = put!(farm, tx => async {
        let user = tx.put_project(trunk, "user", "https://example.org/user.git").await?;
        let pin = tx.propose_pin(user, branch, &with, AT).await?;
        tx.take_pin(pin, AT).await?;
        Ok(pin)
    })
    .unwrap();
    put!(farm, tx => tx.mark_revision_missing(user, "r1", AT)).unwrap();
    let missing = || async { ask!(farm, read => read.missing_revisions()).unwrap().len() };
    assert_eq!(missing().await, 2);
    put!(farm, tx => tx.mark_revisions_available(needed)).unwrap();
    assert_eq!(missing().await, 1, "nothing is known of the other one");
    put!(farm, tx => tx.mark_revision_missing(user, "r1", AT)).unwrap();
    put!(farm, tx => tx.mark_revisions_available(user)).unwrap();
    assert_eq!(missing().await, 0);
}
