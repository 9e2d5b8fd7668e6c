//! What pages and mails say of a suite that cannot fetch what it needs.

/// A fetch step that failed, although no change of the trunk is to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchFailure {
    /// The step.
    pub step: String,
    /// The last lines that it printed and that look like errors.
    pub message: Option<String>,
    /// Whether a change that was fetched before cannot be fetched any more either.
    pub is_checked: bool,
}

/// A longer message is for the build's page.
const MAX_MESSAGE_CHARS: usize = 300;

impl FetchFailure {
    /// ``its fetch step `deps` fails, at a change that was fetched before as well (no route to host)``
    pub fn clause(&self) -> String {
        let compared = match self.is_checked {
            true => "at a change that was fetched before as well",
            false => "and there is no change that was fetched before to compare with",
        };
        let lines = self.lines();
        let printed: String = lines.join(" / ").chars().take(MAX_MESSAGE_CHARS).collect();
        let printed = if printed.is_empty() { String::new() } else { format!(" ({printed})") };
        format!("its fetch step `{}` fails, {compared}{printed}", self.step)
    }

    /// The lines that it printed last and that say anything.
    pub fn lines(&self) -> Vec<&str> {
        let message = self.message.as_deref().unwrap_or("");
        message.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_clause_names_the_step_is_bounded_and_says_whether_another_change_was_fetched(
            message in prop::option::of("(?s).{0,2000}"), is_checked in any::<bool>(),
        ) {
            let failure = FetchFailure { step: "deps".into(), message, is_checked };
            let clause = failure.clause();
            prop_assert!(clause.starts_with("its fetch step `deps` fails, "));
            prop_assert_eq!(clause.contains("as well"), is_checked || failure.lines().join(" / ").contains("as well"));
            prop_assert!(clause.chars().count() <= MAX_MESSAGE_CHARS + 120 && !clause.contains('\n'));
        }
    }
}
