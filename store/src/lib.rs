//! What the farm remembers: SQLite and log files.
