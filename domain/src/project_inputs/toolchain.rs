//! Toolchain inputs: everything in a toolchain that is not the change. A trunk's own recipe and the compiler of its maker
//! must accuse no change.

use protocol::Sha256;

use super::environment;
use crate::words::states::ToolchainInputsState;

/// All inputs of a toolchain but the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolchainInputs {
    /// The hash of the trunk's recipe, with its variables, its limits and its smoke test.
    pub recipe: Sha256,
    /// What counts of the environment in which toolchains are made; none until the first one is made.
    pub environment: Option<Vec<String>>,
}

/// The properties of a maker's environment that count for its toolchains. A kernel changes with each update of a machine,
/// and what an owner offers to suites is no part of a compiler.
pub fn counted(properties: &[String]) -> Vec<String> {
    let counts = |word: &&String| !["kernel=", "offer="].iter().any(|ignored| word.starts_with(ignored));
    properties.iter().filter(counts).cloned().collect()
}

/// The toolchain inputs that are wanted today. The environment in use stays as long as a maker has it; then that of the
/// proposal is wanted, in which a toolchain was made elsewhere.
pub fn wanted(
    recipe: Sha256,
    current: &ToolchainInputs,
    proposed: Option<&ToolchainInputs>,
    has_maker: bool,
) -> ToolchainInputs {
    let environment = match proposed {
        Some(proposed) if !has_maker => &proposed.environment,
        Some(_) | None => &current.environment,
    };
    ToolchainInputs { recipe, environment: environment.clone() }
}

/// What a maker's environment means for the inputs of the toolchain that it made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MakerEnvironment {
    /// It is that of the inputs.
    Same,
    /// It is the first one: it becomes that of the inputs.
    First,
    /// It is another one, and no maker has that of the inputs any longer: it is proposed in its place.
    Proposed,
    /// It is another one: the toolchain is no part of any history.
    Apart,
}

/// Decides what a maker's environment means. `has_maker`: whether another maker has the environment of the inputs;
/// `is_switching`: whether other inputs are proposed already.
pub fn made_in(
    inputs: &ToolchainInputs,
    state: ToolchainInputsState,
    environment: &[String],
    has_maker: bool,
    is_switching: bool,
) -> MakerEnvironment {
    use ToolchainInputsState as State;
    match (&inputs.environment, state) {
        (None, _) => MakerEnvironment::First,
        (Some(own), _) if own == environment => MakerEnvironment::Same,
        (Some(_), State::Proposed) if !has_maker => MakerEnvironment::Proposed,
        (Some(_), State::Current) if !has_maker && !is_switching => MakerEnvironment::Proposed,
        (Some(_), State::Proposed | State::Current | State::Past | State::Dropped) => MakerEnvironment::Apart,
    }
}

/// How toolchain inputs differ from those before, one sentence each. Nothing is known of builds that have none.
pub fn differs(old: Option<&ToolchainInputs>, new: &ToolchainInputs) -> Vec<String> {
    let Some(old) = old else { return vec!["the inputs of earlier toolchains were not recorded".into()] };
    let mut differs = Vec::new();
    if old.recipe != new.recipe {
        differs.push("the trunk's recipe changed".to_string());
    }
    if let (Some(was), Some(is)) = (&old.environment, &new.environment) {
        let words = environment::differs(was, is).into_iter();
        differs.extend(words.map(|words| match words.strip_prefix("cc ") {
            Some(compiler) => format!("compiler: {compiler}"),
            None => words,
        }));
    }
    if differs.is_empty() {
        differs.push("the same inputs were taken into use again".into());
    }
    differs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(',').map(str::to_string).collect()
    }

    fn inputs(recipe: u8, environment: &str) -> ToolchainInputs {
        let environment = (environment != "-").then(|| words(environment));
        ToolchainInputs { recipe: Sha256([recipe; 32]), environment }
    }

    #[test]
    fn a_kernel_and_an_offer_do_not_count_for_a_toolchain() {
        let all = words("arch=x86_64,cc=gcc 12,kernel=6.1,libc=gnu 2.36,offer=postgresql,sandbox=none");
        assert_eq!(counted(&all), words("arch=x86_64,cc=gcc 12,libc=gnu 2.36,sandbox=none"));
    }

    #[test]
    fn an_environment_stays_in_use_as_long_as_a_maker_has_it() {
        let (old, new) = (inputs(1, "cc=gcc 12"), inputs(1, "cc=gcc 13"));
        let wants = |recipe, proposed, has_maker| wanted(Sha256([recipe; 32]), &old, proposed, has_maker);
        assert_eq!(wants(1, None, false), old);
        assert_eq!(wants(1, Some(&new), false), new);
        assert_eq!(wants(1, Some(&new), true), old);
        assert_eq!(wants(2, None, true), inputs(2, "cc=gcc 12"));
        assert_eq!(wants(2, Some(&new), false), inputs(2, "cc=gcc 13"));
    }

    #[test]
    fn another_environment_is_proposed_once_no_maker_has_the_one_in_use() {
        use ToolchainInputsState as State;
        let made = |asked, state, has_maker, is_switching| {
            made_in(&inputs(1, asked), state, &words("cc=gcc 13"), has_maker, is_switching)
        };
        for state in [State::Proposed, State::Current, State::Past, State::Dropped] {
            assert_eq!(made("-", state, false, false), MakerEnvironment::First);
            assert_eq!(made("cc=gcc 13", state, false, false), MakerEnvironment::Same);
            assert_eq!(made("cc=gcc 12", state, true, false), MakerEnvironment::Apart);
        }
        assert_eq!(made("cc=gcc 12", State::Current, false, false), MakerEnvironment::Proposed);
        assert_eq!(made("cc=gcc 12", State::Current, false, true), MakerEnvironment::Apart);
        assert_eq!(made("cc=gcc 12", State::Proposed, false, true), MakerEnvironment::Proposed);
        assert_eq!(made("cc=gcc 12", State::Past, false, false), MakerEnvironment::Apart);
    }

    #[test]
    fn each_difference_has_its_words() {
        let shown = |old: Option<&ToolchainInputs>, new| differs(old, &new).join("; ");
        let old = inputs(1, "cc=gcc 12.2,libc=gnu 2.36");
        assert_eq!(shown(Some(&old), inputs(2, "-")), "the trunk's recipe changed");
        assert_eq!(
            shown(Some(&old), inputs(1, "cc=gcc 13.1,libc=gnu 2.36")),
            "compiler: gcc 12.2 is now gcc 13.1"
        );
        assert_eq!(
            shown(Some(&old), inputs(2, "cc=gcc 12.2,libc=gnu 2.38")),
            "the trunk's recipe changed; libc gnu 2.36 is now gnu 2.38"
        );
        assert_eq!(shown(None, inputs(1, "-")), "the inputs of earlier toolchains were not recorded");
    }
}
