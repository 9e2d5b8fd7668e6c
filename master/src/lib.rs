//! The master: polls trunks, hands out builds, settles results.
