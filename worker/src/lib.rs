//! The volunteer's program: builds what the master offers.
