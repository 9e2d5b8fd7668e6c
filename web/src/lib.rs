//! The farm's pages, their JSON and live events. They only read the store; nothing here writes, and nothing calls the
//! master.
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        clippy::disallowed_methods,
        reason = "tests count small things, and may wait for a disk"
    )
)]

mod answer;
mod asset;
mod etag;
mod format;
mod health;
mod live;
mod load;
pub mod pages;
mod params;
mod raw;
mod routes;
mod state;

pub use format::status_style::StatusStyle;
pub use routes::router;
pub use state::{FarmStatus, State};
