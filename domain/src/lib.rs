//! The farm's words and rules, pure.
