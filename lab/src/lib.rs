//! Real desktops for tests.
