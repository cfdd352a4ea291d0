//! `/applist` (protocol text §2.7).

use crate::xml::Document;
use std::fmt;

/// Names an app to clients: positive and within a signed 32-bit number. Clients keep shortcuts and box art under it for
/// ever, so an app keeps its id across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId(u32);

impl AppId {
    /// An id, if it lies in 1 to 2³¹ − 1.
    pub fn new(id: u32) -> Option<Self> {
        (1..=i32::MAX as u32).contains(&id).then_some(Self(id))
    }

    /// The number.
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One app of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppEntry {
    /// Its id.
    pub id: AppId,
    /// Shown name.
    pub title: String,
    /// Whether it can be streamed in HDR.
    pub hdr: bool,
}

/// The reply. Clients take an empty list for a failure, so there should be at least one app.
pub fn app_list(apps: &[AppEntry]) -> String {
    apps.iter()
        .fold(Document::ok(), |document, app| {
            document.nested("App", |element| {
                element
                    .element("IsHdrSupported", if app.hdr { "1" } else { "0" })
                    .element("AppTitle", &app.title)
                    .element("ID", &app.id.to_string())
            })
        })
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_without_white_space_and_escaped() {
        let apps = [
            AppEntry { id: AppId(1), title: "Desktop".into(), hdr: false },
            AppEntry { id: AppId(0x7fff_ffff), title: "Rock & <Roll>".into(), hdr: true },
        ];
        assert_eq!(
            app_list(&apps),
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><root status_code=\"200\"><App>\
             <IsHdrSupported>0</IsHdrSupported><AppTitle>Desktop</AppTitle><ID>1</ID></App><App>\
             <IsHdrSupported>1</IsHdrSupported><AppTitle>Rock &amp; &lt;Roll&gt;</AppTitle><ID>2147483647</ID>\
             </App></root>"
        );
    }

    #[test]
    fn ids_outside_what_clients_take_are_refused() {
        assert_eq!(AppId::new(1).map(AppId::as_u32), Some(1));
        assert_eq!(AppId::new(0), None);
        assert_eq!(AppId::new(0x8000_0000), None);
    }
}
