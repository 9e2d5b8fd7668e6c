//! The farm as real processes.
