//! Bytes of TCP connections to the RTSP port.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lumen_gamestream::fuzz::rtsp(data));
