//! KWin's own protocols, generated from `protocols/`.
#![allow(
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    unused_imports,
    clippy::all,
    reason = "generated code"
)]

/// Outputs that are streamed: `zkde_screencast_unstable_v1`, versions 1 to 6.
pub(crate) mod screencast {
    use wayland_client;
    use wayland_client::protocol::*;

    pub mod __interfaces {
        use wayland_client::protocol::__interfaces::*;
        wayland_scanner::generate_interfaces!("protocols/kde-screencast.xml");
    }
    use self::__interfaces::*;
    wayland_scanner::generate_client_code!("protocols/kde-screencast.xml");
}

/// Devices and their configuration: `kde_output_device_v2` to version 21, `kde_output_management_v2` to version 18.
pub(crate) mod outputs {
    use wayland_client;
    use wayland_client::protocol::*;

    pub mod __interfaces {
        use wayland_client::protocol::__interfaces::*;
        wayland_scanner::generate_interfaces!("protocols/kde-outputs.xml");
    }
    use self::__interfaces::*;
    wayland_scanner::generate_client_code!("protocols/kde-outputs.xml");
}
