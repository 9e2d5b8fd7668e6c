//! Ids of rows, each of a type of its own, so that a build is never taken for a change; and moments of the farm's clock.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<i64> for $name {
            fn from(id: i64) -> $name {
                $name(id)
            }
        }
    )*};
}

ids! {
    /// A trunk.
    TrunkId
    /// A branch of a trunk.
    BranchId
    /// A change of a trunk.
    ChangeId
    /// A platform.
    PlatformId
    /// A project.
    ProjectId
    /// Project inputs; newer ones have higher numbers.
    PinId
    /// Toolchain inputs; newer ones have higher numbers.
    ToolchainInputsId
    /// A builder.
    BuilderId
    /// A build; newer ones have higher numbers.
    BuildId
    /// An attempt at a build.
    AttemptId
    /// A worker.
    WorkerId
    /// A case of a builder.
    CaseId
    /// A breakage; newer ones have higher numbers.
    BreakageId
    /// A notice.
    NoticeId
    /// A moment: UTC milliseconds since 1970.
    Timestamp
}

impl std::ops::Add<std::time::Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, span: std::time::Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl std::ops::Sub<std::time::Duration> for Timestamp {
    type Output = Timestamp;

    fn sub(self, span: std::time::Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Timestamp {
    /// The time from `earlier` until this; nothing where that is later.
    pub fn since(self, earlier: Timestamp) -> std::time::Duration {
        let ms = self.0.saturating_sub(earlier.0);
        std::time::Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }
}
