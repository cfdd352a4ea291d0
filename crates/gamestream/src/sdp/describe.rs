//! The body of the reply to DESCRIBE.

use super::Encryption;
use crate::serverinfo::CodecModes;
use std::fmt::Write;

/// The start of an HEVC parameter set in base64; clients only look for its presence.
const HEVC_MARK: &str = "sprop-parameter-sets=AAAAAU";
/// Clients only look for `AV1/90000`.
const AV1_MARK: &str = "a=rtpmap:98 AV1/90000";
/// Opus layouts for the identity mapping: per channel count first the normal, then the high quality one. The normal
/// surround lines are rotated, because clients rotate them back (protocol text §7.2).
const SURROUND: [&str; 5] = ["21101", "642012453", "660012345", "85301245673", "88001234567"];

/// What the host offers to a stream. Must agree with what `/serverinfo` said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostFeatures {
    /// Codecs and profiles.
    pub codecs: CodecModes,
    /// Pen and touch events are taken; otherwise clients emulate a mouse.
    pub pen_touch: bool,
    /// Gamepad touchpads and motion sensors are taken.
    pub controller_touch: bool,
    /// What may be encrypted.
    pub encryption_supported: Encryption,
    /// What clients shall encrypt even if their user did not ask for it.
    pub encryption_requested: Encryption,
    /// What must be encrypted: ANNOUNCE is refused with 403 otherwise.
    pub encryption_required: Encryption,
    /// Reference frames can be invalidated. Omitted unless it is honoured.
    pub ref_pic_invalidation: bool,
}

impl HostFeatures {
    /// The body of the reply to DESCRIBE.
    pub fn describe(&self) -> String {
        // Requested without supported would miss exactly the clients that want it (protocol text §11).
        let requested = self.encryption_requested | self.encryption_required;
        let supported = self.encryption_supported | requested;
        let flags = u32::from(self.pen_touch) | u32::from(self.controller_touch) << 1;

        let mut body = String::new();
        let mut line = |line: std::fmt::Arguments<'_>| {
            writeln!(body, "{line}").expect("writing to a String cannot fail");
        };
        line(format_args!("a=x-ss-general.featureFlags:{flags}"));
        line(format_args!("a=x-ss-general.encryptionSupported:{}", supported.bits()));
        line(format_args!("a=x-ss-general.encryptionRequested:{}", requested.bits()));
        if self.ref_pic_invalidation {
            line(format_args!("a=x-nv-video[0].refPicInvalidation:1"));
        }
        if self.codecs.any_hevc() {
            line(format_args!("{HEVC_MARK}"));
        }
        if self.codecs.any_av1() {
            line(format_args!("{AV1_MARK}"));
        }
        for layout in SURROUND {
            line(format_args!("a=fmtp:97 surround-params={layout}"));
        }
        body
    }
}
