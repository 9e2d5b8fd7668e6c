//! The conversation with workers: from their HTTP calls and handshake to the rows that their reports become.

pub mod apply;
pub mod barred;
pub mod fault;
pub mod handshake;
pub mod http;
pub mod intake;
pub mod logs;
pub mod presence;
pub mod refusal;
pub mod session;
pub mod signed;
pub mod socket;
