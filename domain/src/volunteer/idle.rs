//! Why a worker has nothing to do, in one sentence for its page.

/// Whether the farm may offer it anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Presence {
    /// It waits for the operator's approval.
    Pending,
    /// The operator does not let it work.
    Disabled,
    /// It has no open session.
    #[default]
    Offline,
    /// It has one.
    Connected,
}

/// What is known of a worker and of the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdleFacts {
    /// Whether the farm may offer it anything.
    pub presence: Presence,
    /// Why it is paused, with the time if that is known.
    pub pause: Option<String>,
    /// How many builds it runs.
    pub running: usize,
    /// How many it may run.
    pub slots: u64,
    /// Whether its results do not count yet.
    pub is_on_probation: bool,
    /// Whether any platform of the farm matches its facts.
    pub has_platform: bool,
    /// How many builds wait on its platforms.
    pub waiting: u64,
    /// What its owner allows, in words; empty where that is everything.
    pub terms: String,
}

/// Why it does nothing; none while it works.
pub fn reason(facts: &IdleFacts) -> Option<String> {
    match facts.presence {
        Presence::Pending => return Some("It waits for the operator's approval.".to_string()),
        Presence::Disabled => return Some("The operator has disabled it.".to_string()),
        Presence::Offline => return Some("It is not connected.".to_string()),
        Presence::Connected => {}
    }
    let text = if let Some(pause) = &facts.pause {
        format!("It is paused by its owner{pause}.")
    } else if facts.running > 0 {
        return None;
    } else if facts.slots == 0 {
        "Its owner lets it finish what it runs, and begin nothing.".to_string()
    } else if !facts.has_platform {
        "No platform of this farm matches it.".to_string()
    } else if facts.waiting == 0 {
        "Nothing waits on its platforms.".to_string()
    } else if facts.is_on_probation {
        "It is on probation: it repeats what others built, until its results have agreed often enough. Nothing is to be \
         repeated now."
            .to_string()
    } else if facts.terms.is_empty() {
        "Builds wait on its platforms, but each of them needs another machine: a maker, the worker that it is bound to, or \
         something that this one does not offer."
            .to_string()
    } else {
        format!("Builds wait on its platforms, and perhaps its owner does not allow them: {}.", facts.terms)
    };
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_that_holds_is_given() {
        let idle =
            IdleFacts { presence: Presence::Connected, slots: 1, has_platform: true, ..IdleFacts::default() };
        let says = |facts: IdleFacts| reason(&facts).unwrap_or_default();
        assert!(says(idle.clone()).contains("Nothing waits"));
        assert_eq!(says(IdleFacts { running: 1, ..idle.clone() }), "");
        let pause = Some(" until 18:00: hours".to_string());
        assert_eq!(
            says(IdleFacts { pause, running: 1, ..idle.clone() }),
            "It is paused by its owner until 18:00: hours."
        );
        assert!(says(IdleFacts { presence: Presence::Pending, ..idle.clone() }).contains("approval"));
        assert!(says(IdleFacts { presence: Presence::Disabled, ..idle.clone() }).contains("disabled"));
        assert!(says(IdleFacts { presence: Presence::Offline, ..idle.clone() }).contains("not connected"));
        assert!(says(IdleFacts { has_platform: false, ..idle.clone() }).contains("No platform"));
        let waiting = IdleFacts { waiting: 3, ..idle };
        assert!(says(waiting.clone()).contains("another machine"));
        assert!(says(IdleFacts { is_on_probation: true, ..waiting.clone() }).contains("probation"));
        assert!(says(IdleFacts { terms: "no network in steps".into(), ..waiting }).contains("no network"));
    }
}
