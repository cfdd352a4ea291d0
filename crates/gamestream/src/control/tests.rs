use super::*;
use crate::crypto::SessionKey;
use crate::input::{InputPacket, Key, Modifiers};
use crate::sdp::ControlEncryption::{self, Legacy, V2};

const KEY: SessionKey = SessionKey::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex.replace(' ', "")).unwrap()
}

fn open(encryption: ControlEncryption, frame: &str) -> Result<ClientMessage, ControlError> {
    ControlCipher::new(&KEY, encryption).open(&bytes(frame))
}

#[test]
fn golden_client_frames_open_in_both_modes() {
    let idr_v2 = "01001a000000000022302723537811166cb9bfead7dad4575cd629f5cafe";
    let idr_legacy = "01001a0000000000566c8363e380dad031b24ee56ee40bb6021579f6ebbe";
    assert_eq!(open(V2, idr_v2), Ok(ClientMessage::RequestIdr));
    assert_eq!(open(Legacy, idr_legacy), Ok(ClientMessage::RequestIdr));
    assert_eq!(open(Legacy, idr_v2), Err(ControlError::Tag));

    let key =
        Key { code: 0x41, pressed: true, by_layout: false, on_screen: false, modifiers: Modifiers::SHIFT };
    let expected = Ok(ClientMessage::Input(InputPacket::Key(key)));
    let v2 = "0100260002010000a1e1cfff184170261a09b36657000c2ad8e4e1af4f2833a3470de2997cfca5ad0076";
    let legacy = "01002600020100005a018c0ec2a9fb62aa56da31426df9bf77f944fb443f02e49e29d0d075047d11a736";
    assert_eq!(open(V2, v2), expected);
    assert_eq!(open(Legacy, legacy), expected);
}

#[test]
fn golden_host_frames_in_both_modes() {
    let rumble = HostMessage::Rumble { controller: 1, low_frequency: 0x1234, high_frequency: 0xabcd };
    let end = HostMessage::Termination(Termination::Graceful);
    let golden = [
        (
            V2,
            "01002200000000000060e7ba17f11a7d3ce7c8078049503df0dd40da4f38e822c98f9186a90a",
            "01001c00010000007c12155b31ad22d098eb08ed2c5f5d8628320370093d85fb",
        ),
        (
            Legacy,
            "0100220000000000c84672d74e9fc20f1ee59a28102e308e0b1771f6ebbef477e0313ba43195",
            "01001c000100000025cd26d49560a079a086acb30a314c35ee523ad739dcd6ba",
        ),
    ];
    for (encryption, first, second) in golden {
        let mut cipher = ControlCipher::new(&KEY, encryption);
        assert_eq!(hex::encode(cipher.seal(&rumble)), first);
        assert_eq!(hex::encode(cipher.seal(&end)), second);
    }
}

#[test]
fn every_host_message_has_its_layout() {
    let effects = TriggerEffects { left: None, right: Some((0x21, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])) };
    let metadata = HdrMetadata {
        primaries: [(1, 2), (3, 4), (5, 6)],
        white: (7, 8),
        max_luminance: 1000,
        min_luminance: 10,
        max_content_light: 11,
        max_frame_average_light: 12,
        max_full_frame_luminance: 13,
    };
    let gyroscope = MotionSensor::Gyroscope;
    let golden = [
        (HostMessage::TriggerRumble { controller: 2, left: 3, right: 4 }, "0055 0600 0200 0300 0400"),
        (
            HostMessage::MotionRequest { controller: 1, rate_hz: 100, sensor: gyroscope },
            "0155 0500 0100 6400 02",
        ),
        (HostMessage::Led { controller: 1, rgb: [255, 128, 1] }, "0255 0500 0100 ff8001"),
        (
            HostMessage::AdaptiveTriggers { controller: 1, effects },
            "0355 1900 0100 04 00 21 00000000000000000000 0102030405060708090a",
        ),
        (
            HostMessage::HdrMode { metadata: Some(metadata) },
            "0e01 1b00 01 0100 0200 0300 0400 0500 0600 0700 0800 e803 0a00 0b00 0c00 0d00",
        ),
        (HostMessage::Termination(Termination::FrameConversion), "0901 0400 800e9403"),
        (HostMessage::Termination(Termination::ProtectedContent), "0901 0400 800e9302"),
        (HostMessage::Termination(Termination::Other(7)), "0901 0400 00000007"),
    ];
    for (message, layout) in golden {
        assert_eq!(hex::encode(message.encode()), layout.replace(' ', ""), "{message:?}");
    }
    assert_eq!(HostMessage::HdrMode { metadata: None }.encode(), [bytes("0e01 1b00"), vec![0; 27]].concat());
}

#[test]
fn every_client_message_decodes() {
    let decode = |inner: &str| ClientMessage::decode(&bytes(inner));
    assert_eq!(decode("0203 0200 0000"), Ok(ClientMessage::RequestIdr));
    assert_eq!(decode("0703 0100 00"), Ok(ClientMessage::StartB));
    assert_eq!(decode("0002 0800 0400 00000000 0000"), Ok(ClientMessage::Ping));
    assert_eq!(
        decode("0103 1800 05000000 00000000 07000000 00000000 00000000 00000000"),
        Ok(ClientMessage::InvalidateFrames { first: 5, last: 7 })
    );
    assert_eq!(decode("5003 0800 09000000 00000000"), Ok(ClientMessage::LongTermAck { frame: 9 }));
    assert_eq!(
        decode("0255 1500 0000000801040036000100ce002a00cd0002140001"),
        Ok(ClientMessage::FecStatus(FecStatus {
            frame: 8,
            highest_received: 0x0104,
            next_contiguous: 0x0036,
            missing: 1,
            total_data: 206,
            total_parity: 42,
            received_data: 205,
            received_parity: 2,
            fec_percent: 20,
            block: 0,
            blocks: 1,
        }))
    );
    assert_eq!(
        decode("0102 2000 00000000 32000000 e8030000 0102030405060708 00000000 00000000 14000000"),
        Ok(ClientMessage::LossStats(LossStats {
            lost: 0,
            interval_ms: 50,
            last_good_frame: 0x0807_0605_0403_0201
        }))
    );
    assert_eq!(decode("0030 0100 ff"), Ok(ClientMessage::Unknown { kind: 0x3000 }));
    assert_eq!(
        decode("0602 0a00 00000006 0d000000 0100"),
        Ok(ClientMessage::Input(InputPacket::EnableHaptics))
    );
}

#[test]
fn what_does_not_fit_is_dropped() {
    assert_eq!(open(V2, "0100"), Err(ControlError::Length));
    assert_eq!(open(V2, &format!("0100 1b00 {}", "00".repeat(26))), Err(ControlError::Length));
    assert_eq!(open(V2, &format!("0200 1a00 {}", "00".repeat(26))), Err(ControlError::NotSealed));
    assert_eq!(open(V2, &format!("0100 1a00 {}", "00".repeat(26))), Err(ControlError::Tag));
    let decode = |inner: &str| ClientMessage::decode(&bytes(inner));
    assert_eq!(decode("0203"), Err(ControlError::Length));
    assert_eq!(decode("0203 0300 0000"), Err(ControlError::Length));
    assert_eq!(decode("0103 0400 00000000"), Err(ControlError::Short(0x0301)));
    assert_eq!(decode("0255 0100 00"), Err(ControlError::Short(0x5502)));
    assert_eq!(decode("0602 0200 0000"), Err(ControlError::Input(InputError::Short)));
}

#[test]
fn a_replayed_frame_is_told_and_a_late_one_is_not_dropped() {
    let mut cipher = ControlCipher::new(&KEY, V2);
    let later = bytes("0100260002010000a1e1cfff184170261a09b36657000c2ad8e4e1af4f2833a3470de2997cfca5ad0076");
    let earlier = bytes("01001a000000000022302723537811166cb9bfead7dad4575cd629f5cafe");
    assert!(cipher.open(&later).is_ok());
    assert!(cipher.open(&earlier).is_ok(), "channels overtake each other");
    assert_eq!(cipher.open(&later), Err(ControlError::Replayed));
    assert_eq!(cipher.open(&earlier), Err(ControlError::Replayed));
}
