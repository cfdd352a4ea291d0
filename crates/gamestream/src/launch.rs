//! The parameters of `/launch` and `/resume` (protocol text §4).

use crate::api::ApiError;
use crate::applist::AppId;
use crate::crypto::SessionKey;
use crate::query::Query;

/// Which of the two requests a query belongs to; they require different parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaunchKind {
    /// `/launch`: names an app.
    Launch,
    /// `/resume`: comes back to the running app.
    Resume,
}

/// The mode that a client wishes for. ANNOUNCE has the last word on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestedMode {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Millihertz; `None` when the client left it open (sent 0).
    pub refresh_mhz: Option<u32>,
}

/// A validated `/launch` or `/resume`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchRequest {
    /// The app; always there for [`LaunchKind::Launch`], `None` for [`LaunchKind::Resume`].
    pub app: Option<AppId>,
    /// `mode`, where sent (older clients leave it out of `/resume`).
    pub mode: Option<RequestedMode>,
    /// `rikey`: the key of everything in this session.
    pub key: SessionKey,
    /// `rikeyid` modulo 2³²: the base of the audio nonces.
    pub key_id: u32,
    /// `hdrMode`: the client would take HDR.
    pub hdr: bool,
    /// `sops`: the client allows the host to change display settings.
    pub optimise: bool,
    /// `localAudioPlayMode`: also play on the host's speakers; `None` keeps the value of the launch.
    pub host_audio: Option<bool>,
    /// Channels and WAVEFORMAT mask of `surroundAudioInfo`; stereo where not sent.
    pub audio: AudioLayout,
    /// `gcmap`: gamepads present at the start, one bit each.
    pub gamepads: u32,
    /// `gcpersist`: keep virtual gamepads after a disconnect.
    pub keep_gamepads: bool,
    /// `corever`: 1 and above understands `rtspenc://`; 0 where not sent.
    pub core_version: u32,
    /// `continuousAudio`: keep sending silence.
    pub continuous_audio: bool,
}

/// A speaker layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioLayout {
    /// 2, 6 or 8.
    pub channels: u8,
    /// WAVEFORMAT bits.
    pub mask: u32,
}

impl AudioLayout {
    /// Two channels, left and right.
    pub const STEREO: Self = Self { channels: 2, mask: 0x3 };
}

impl LaunchRequest {
    /// Reads and validates the parameters. Limits of the mode are the host's business.
    ///
    /// # Errors
    /// Status 400 with a message that names the parameter.
    pub fn parse(query: &Query, kind: LaunchKind) -> Result<Self, ApiError> {
        let (app, host_audio) = match kind {
            LaunchKind::Launch => {
                query.require("appid")?;
                let app = query.number("appid")?.and_then(AppId::new);
                let app = app.ok_or_else(|| ApiError::bad_request("The parameter appid names no app"))?;
                query.require("localAudioPlayMode")?;
                (Some(app), flag(query, "localAudioPlayMode")?)
            }
            LaunchKind::Resume => (None, flag(query, "localAudioPlayMode")?),
        };
        query.require("rikey")?;
        let key = query.bytes("rikey")?.and_then(|key| key.try_into().ok()).map(SessionKey::new);
        let key = key.ok_or_else(|| ApiError::bad_request("The parameter rikey is not 16 bytes long"))?;
        query.require("rikeyid")?;
        // Signed from most clients, unsigned from one: both are the same 32 bits.
        let key_id = query.number::<i64>("rikeyid")?.unwrap_or_default() as u32;

        Ok(Self {
            app,
            mode: query.value("mode").map(mode).transpose()?,
            key,
            key_id,
            hdr: flag(query, "hdrMode")?.unwrap_or(false),
            optimise: flag(query, "sops")?.unwrap_or(false),
            host_audio,
            audio: audio_layout(query)?,
            gamepads: match query.number("gcmap")? {
                Some(mask) => mask,
                None => query.number("remoteControllersBitmap")?.unwrap_or(0),
            },
            keep_gamepads: flag(query, "gcpersist")?.unwrap_or(false),
            core_version: query.number("corever")?.unwrap_or(0),
            continuous_audio: flag(query, "continuousAudio")?.unwrap_or(false),
        })
    }

    /// Whether the client understands `rtspenc://`.
    pub fn understands_encrypted_rtsp(&self) -> bool {
        self.core_version >= 1
    }
}

fn flag(query: &Query, key: &str) -> Result<Option<bool>, ApiError> {
    Ok(query.number::<i64>(key)?.map(|value| value != 0))
}

fn audio_layout(query: &Query) -> Result<AudioLayout, ApiError> {
    let Some(info) = query.number::<u32>("surroundAudioInfo")? else { return Ok(AudioLayout::STEREO) };
    match info & 0xffff {
        channels @ (2 | 6 | 8) => Ok(AudioLayout { channels: channels as u8, mask: info >> 16 }),
        _ => Err(ApiError::bad_request("The parameter surroundAudioInfo names neither 2, 6 nor 8 channels")),
    }
}

/// `WxHxFPS`; FPS is whole, fractional, or the rate times 1000.
fn mode(text: &str) -> Result<RequestedMode, ApiError> {
    parse_mode(text).ok_or_else(|| ApiError::bad_request("The parameter mode is not of the form WxHxFPS"))
}

fn parse_mode(text: &str) -> Option<RequestedMode> {
    let mut parts = text.split('x');
    let (width, height, fps) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let refresh_mhz = match millihertz(fps)? {
        0 => None,
        mhz => Some(mhz),
    };
    Some(RequestedMode { width: digits(width)?, height: digits(height)?, refresh_mhz })
}

/// Rates of 1000 and above are not frames per second: some clients send the rate times 1000.
const TIMES_1000_FROM: u32 = 1000;

/// A rate in millihertz from `60`, `59.94` or `59940`.
pub(crate) fn millihertz(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = digits(whole)?;
    if whole >= TIMES_1000_FROM {
        return fraction.bytes().all(|b| b.is_ascii_digit()).then_some(whole);
    }
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths = fraction.bytes().chain(std::iter::repeat(b'0')).take(3);
    let thousandths = thousandths.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    Some(whole * 1000 + thousandths)
}

/// Only digits: `str::parse` would take a plus sign too.
fn digits(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "uniqueid=0123456789ABCDEF&rikey=000102030405060708090A0B0C0D0E0F&rikeyid=16909060";

    fn launch(extra: &str) -> Result<LaunchRequest, ApiError> {
        let query = Query::parse(format!("{BASE}&appid=5&localAudioPlayMode=0&{extra}")).unwrap();
        LaunchRequest::parse(&query, LaunchKind::Launch)
    }

    fn resume(query: &str) -> Result<LaunchRequest, ApiError> {
        LaunchRequest::parse(&Query::parse(query).unwrap(), LaunchKind::Resume)
    }

    #[test]
    fn a_launch_as_clients_send_it() {
        let request = launch(
            "mode=1920x1080x60&additionalStates=1&sops=1&hdrMode=1&clientHdrCapVersion=0&surroundAudioInfo=4128774\
             &remoteControllersBitmap=3&gcmap=3&gcpersist=1&corever=1",
        )
        .unwrap();
        assert_eq!(
            request,
            LaunchRequest {
                app: AppId::new(5),
                mode: Some(RequestedMode { width: 1920, height: 1080, refresh_mhz: Some(60_000) }),
                key: SessionKey::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
                key_id: 0x0102_0304,
                hdr: true,
                optimise: true,
                host_audio: Some(false),
                audio: AudioLayout { channels: 6, mask: 0x3f },
                gamepads: 3,
                keep_gamepads: true,
                core_version: 1,
                continuous_audio: false,
            }
        );
        assert!(request.understands_encrypted_rtsp());
    }

    #[test]
    fn a_resume_may_carry_the_keys_alone() {
        let request = resume(&format!("{BASE}&surroundAudioInfo=196610")).unwrap();
        assert_eq!((request.app, request.mode, request.host_audio), (None, None, None));
        assert_eq!(request.audio, AudioLayout::STEREO);
        assert!(!request.understands_encrypted_rtsp());
    }

    #[test]
    fn surround_layouts() {
        for (info, channels, mask) in [(196_610, 2, 0x3), (4_128_774, 6, 0x3f), (104_792_072, 8, 0x63f)] {
            let audio = launch(&format!("surroundAudioInfo={info}")).unwrap().audio;
            assert_eq!(audio, AudioLayout { channels, mask });
        }
        assert_eq!(launch("surroundAudioInfo=196611").unwrap_err().status, 400);
    }

    #[test]
    fn key_ids_are_32_bits_however_they_are_signed() {
        let key = "rikey=000102030405060708090a0b0c0d0e0f";
        for (text, id) in [("-1", u32::MAX), ("4294967295", u32::MAX), ("-2147483648", 0x8000_0000), ("7", 7)]
        {
            assert_eq!(resume(&format!("{key}&rikeyid={text}")).unwrap().key_id, id, "{text}");
        }
    }

    #[test]
    fn modes_in_every_spelling() {
        let mhz = |text: &str| launch(&format!("mode=1364x768x{text}")).unwrap().mode.unwrap().refresh_mhz;
        assert_eq!(mhz("60"), Some(60_000));
        assert_eq!(mhz("59.94"), Some(59_940));
        assert_eq!(mhz("59.9400001"), Some(59_940));
        assert_eq!(mhz("59940"), Some(59_940));
        assert_eq!(mhz("0"), None);
        for bad in
            ["1364x768", "1364x768x", "1364x768x60x1", "x768x60", "-1x768x60", "1x2x6.x", "99999999999x1x1"]
        {
            assert_eq!(launch(&format!("mode={bad}")).unwrap_err().status, 400, "{bad}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for missing in ["appid", "localAudioPlayMode", "rikey", "rikeyid"] {
            let all = format!("{BASE}&appid=5&localAudioPlayMode=0");
            let without: Vec<&str> =
                all.split('&').filter(|pair| !pair.starts_with(&format!("{missing}="))).collect();
            let query = Query::parse(without.join("&")).unwrap();
            let error = LaunchRequest::parse(&query, LaunchKind::Launch).unwrap_err();
            assert_eq!(error.status, 400);
            assert!(error.message.contains(missing), "{}", error.message);
        }
        assert_eq!(resume("rikey=0011&rikeyid=1").unwrap_err().status, 400, "short key");
        assert_eq!(resume("rikey=zz&rikeyid=1").unwrap_err().status, 400, "not hex");
    }
}
