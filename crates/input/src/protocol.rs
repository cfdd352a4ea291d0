//! `org_kde_kwin_fake_input` to version 6, generated from `protocols/`.
#![allow(
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    unused_imports,
    clippy::all,
    reason = "generated code"
)]

use wayland_client;
use wayland_client::protocol::*;

pub mod __interfaces {
    use wayland_client::protocol::__interfaces::*;
    wayland_scanner::generate_interfaces!("protocols/kde-fake-input.xml");
}
use self::__interfaces::*;
wayland_scanner::generate_client_code!("protocols/kde-fake-input.xml");
