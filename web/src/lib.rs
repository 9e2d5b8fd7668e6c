//! The farm's pages, JSON and live events.
