//! `/serverinfo` (protocol text §2.5).

use crate::applist::AppId;
use crate::xml::Document;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::{BitOr, BitOrAssign};

/// Selects one modern code path in every client (protocol text §2.6): SHA-256 pairing, TCP RTSP, encrypted control,
/// multi-block FEC, and the extensions that a negative fourth component announces.
pub const APP_VERSION: &str = "7.1.431.-1";
/// Old enough for every version check of clients, and not 2.x, which would forbid 4K.
pub const GFE_VERSION: &str = "3.23.0.74";
/// What `MaxLumaPixelsHEVC` says when HEVC is available; 0 makes a client drop HEVC.
const MAX_LUMA_PIXELS_HEVC: &str = "1869449984";

/// Codecs and profiles on offer, as `ServerCodecModeSupport` counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CodecModes(u32);

impl CodecModes {
    /// H.264 High, 4:2:0, 8 bit.
    pub const H264: Self = Self(0x1);
    /// HEVC Main.
    pub const HEVC: Self = Self(0x100);
    /// HEVC Main 10.
    pub const HEVC_10: Self = Self(0x200);
    /// AV1 Main, 8 bit.
    pub const AV1: Self = Self(0x1_0000);
    /// AV1 Main, 10 bit.
    pub const AV1_10: Self = Self(0x2_0000);
    /// H.264 High 4:4:4, 8 bit.
    pub const H264_444: Self = Self(0x4_0000);
    /// HEVC range extensions 4:4:4, 8 bit.
    pub const HEVC_444: Self = Self(0x8_0000);
    /// HEVC range extensions 4:4:4, 10 bit.
    pub const HEVC_444_10: Self = Self(0x10_0000);
    /// AV1 High 4:4:4, 8 bit.
    pub const AV1_444: Self = Self(0x20_0000);
    /// AV1 High 4:4:4, 10 bit.
    pub const AV1_444_10: Self = Self(0x40_0000);
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// The mask as a number.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `other` is on offer.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any profile of HEVC is on offer.
    pub const fn any_hevc(self) -> bool {
        self.0 & (Self::HEVC.0 | Self::HEVC_10.0 | Self::HEVC_444.0 | Self::HEVC_444_10.0) != 0
    }

    /// Whether any profile of AV1 is on offer.
    pub const fn any_av1(self) -> bool {
        self.0 & (Self::AV1.0 | Self::AV1_10.0 | Self::AV1_444.0 | Self::AV1_444_10.0) != 0
    }
}

impl BitOr for CodecModes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for CodecModes {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Who asks, and what only they may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Anybody, over plain HTTP: told that the host is unpaired and free.
    Stranger,
    /// A paired certificate, over HTTPS.
    Paired {
        /// Hardware address for Wake-on-LAN; zeros mean "do not overwrite".
        mac: [u8; 6],
        /// The app of this caller's own session.
        current_game: Option<AppId>,
    },
}

/// Everything `/serverinfo` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// Shown name of the host.
    pub hostname: String,
    /// The host's identity, a UUID in its usual form that never changes.
    pub unique_id: String,
    /// Port of the HTTPS API.
    pub https_port: u16,
    /// HTTP port as reachable from outside.
    pub external_port: u16,
    /// From [`local_ip`] of the address that was asked.
    pub local_ip: Ipv4Addr,
    /// What can be encoded.
    pub codecs: CodecModes,
    /// Who asks.
    pub caller: Caller,
}

impl ServerInfo {
    /// The reply.
    pub fn to_xml(&self) -> String {
        let (paired, mac, game) = match self.caller {
            Caller::Stranger => ("0", [0; 6], None),
            Caller::Paired { mac, current_game } => ("1", mac, current_game),
        };
        let [a, b, c, d, e, f] = mac;
        Document::ok()
            .element("hostname", &self.hostname)
            .element("appversion", APP_VERSION)
            .element("GfeVersion", GFE_VERSION)
            .element("uniqueid", &self.unique_id)
            .element("HttpsPort", &self.https_port.to_string())
            .element("ExternalPort", &self.external_port.to_string())
            .element("MaxLumaPixelsHEVC", if self.codecs.any_hevc() { MAX_LUMA_PIXELS_HEVC } else { "0" })
            .element("mac", &format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"))
            .element("LocalIP", &self.local_ip.to_string())
            .element("ServerCodecModeSupport", &self.codecs.bits().to_string())
            .element("PairStatus", paired)
            .element("currentgame", &game.map_or(0, AppId::as_u32).to_string())
            .element("state", if game.is_some() { "SUNSHINE_SERVER_BUSY" } else { "SUNSHINE_SERVER_FREE" })
            .finish()
    }
}

/// `LocalIP` for a request that arrived at `asked`: clients take IPv4 only, and ignore 127.0.0.1, which therefore
/// stands for "asked over IPv6" (protocol text §1.3).
pub fn local_ip(asked: IpAddr) -> Ipv4Addr {
    match asked.to_canonical() {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::LOCALHOST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden() -> ServerInfo {
        ServerInfo {
            hostname: "desk".into(),
            unique_id: "3f2b8c1e-8f0a-4a55-9d0c-6a1f2e3d4c5b".into(),
            https_port: 47984,
            external_port: 47989,
            local_ip: Ipv4Addr::new(192, 168, 1, 10),
            codecs: CodecModes::H264
                | CodecModes::HEVC
                | CodecModes::HEVC_10
                | CodecModes::AV1
                | CodecModes::AV1_10,
            caller: Caller::Paired { mac: [2, 0, 0, 0, 0, 1], current_game: None },
        }
    }

    #[test]
    fn paired_reply_is_the_golden_one() {
        assert_eq!(
            golden().to_xml(),
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><root status_code=\"200\"><hostname>desk</hostname>\
             <appversion>7.1.431.-1</appversion><GfeVersion>3.23.0.74</GfeVersion>\
             <uniqueid>3f2b8c1e-8f0a-4a55-9d0c-6a1f2e3d4c5b</uniqueid><HttpsPort>47984</HttpsPort>\
             <ExternalPort>47989</ExternalPort><MaxLumaPixelsHEVC>1869449984</MaxLumaPixelsHEVC>\
             <mac>02:00:00:00:00:01</mac><LocalIP>192.168.1.10</LocalIP>\
             <ServerCodecModeSupport>197377</ServerCodecModeSupport><PairStatus>1</PairStatus>\
             <currentgame>0</currentgame><state>SUNSHINE_SERVER_FREE</state></root>"
        );
    }

    #[test]
    fn busy_exactly_when_a_game_runs() {
        let current_game = AppId::new(7);
        let info = ServerInfo { caller: Caller::Paired { mac: [0; 6], current_game }, ..golden() };
        let xml = info.to_xml();
        assert!(xml.contains("<currentgame>7</currentgame><state>SUNSHINE_SERVER_BUSY</state>"), "{xml}");
    }

    #[test]
    fn strangers_learn_nothing() {
        let xml = ServerInfo { caller: Caller::Stranger, codecs: CodecModes::H264, ..golden() }.to_xml();
        assert!(xml.contains("<mac>00:00:00:00:00:00</mac>"));
        assert!(xml.contains("<PairStatus>0</PairStatus><currentgame>0</currentgame>"));
        assert!(xml.contains("<MaxLumaPixelsHEVC>0</MaxLumaPixelsHEVC>"));
        assert!(xml.contains("SERVER_FREE"));
    }

    #[test]
    fn local_ip_is_always_ipv4() {
        assert_eq!(local_ip("10.1.2.3".parse().unwrap()), Ipv4Addr::new(10, 1, 2, 3));
        assert_eq!(local_ip("::ffff:10.1.2.3".parse().unwrap()), Ipv4Addr::new(10, 1, 2, 3));
        assert_eq!(local_ip("fd00::1".parse().unwrap()), Ipv4Addr::LOCALHOST);
    }
}
