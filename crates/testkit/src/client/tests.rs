use super::*;

const MINIMAL: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?><root status_code=\"200\"><hostname>desk</hostname><appversion>7.1.431.-1</appversion><GfeVersion>3.23.0.74</GfeVersion><uniqueid>3f2b8c1e-8f0a-4a55-9d0c-6a1f2e3d4c5b</uniqueid><HttpsPort>47984</HttpsPort><ExternalPort>47989</ExternalPort><MaxLumaPixelsHEVC>1869449984</MaxLumaPixelsHEVC><mac>02:00:00:00:00:01</mac><LocalIP>192.168.1.10</LocalIP><ServerCodecModeSupport>197377</ServerCodecModeSupport><PairStatus>1</PairStatus><currentgame>0</currentgame><state>SUNSHINE_SERVER_FREE</state></root>";

#[test]
fn the_minimal_server_info_of_appendix_c_is_read() {
    let info = ServerInfo::parse(MINIMAL).unwrap();
    assert_eq!((info.codec_modes, info.https_port, info.paired), (0x30301, 47_984, true));
    assert_eq!(info.mac, "02:00:00:00:00:01");
    // A game counts only while the state says busy.
    let free = MINIMAL.replace("<currentgame>0", "<currentgame>7");
    assert_eq!(ServerInfo::parse(&free).unwrap().current_game, 0);
    let busy = free.replace("_FREE", "_BUSY");
    assert_eq!(ServerInfo::parse(&busy).unwrap().current_game, 7);
    for broken in [MINIMAL.replace("7.1.431.-1", "7.1.431"), MINIMAL.replace("uniqueid", "id")] {
        assert!(matches!(ServerInfo::parse(&broken), Err(ClientError::Protocol(_))));
    }
}

#[test]
fn the_launch_query_has_the_stock_parameters() {
    let host = HostAddress { ip: "127.0.0.1".parse().unwrap(), http_port: 1 };
    let client = Client::new(Identity::test_key(0), host);
    let mut request = StreamRequest::new(1920, 1080, 60);
    let query = client.launch_query(&request, &[0xab; 16], -5);
    assert_eq!(
        query,
        "mode=1920x1080x60&additionalStates=1&sops=0&rikey=abababababababababababababababab&rikeyid=-5\
         &localAudioPlayMode=0&surroundAudioInfo=196610&remoteControllersBitmap=0&gcmap=0&gcpersist=0&corever=1"
    );
    request.hdr = true;
    request.audio.channels = 6;
    let legacy = client.with_generation(Generation::Legacy61).launch_query(&request, &[0; 16], 0);
    assert!(legacy.contains("&hdrMode=1&") && legacy.contains("surroundAudioInfo=4128774"));
    assert!(!legacy.contains("corever"));
    request.audio.channels = 8;
    assert_eq!(request.audio.surround_info(), 104_792_072);
}
