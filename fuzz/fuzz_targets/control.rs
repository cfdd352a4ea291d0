//! Control frames, sealed and opened, and pings.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lumen_gamestream::fuzz::control(data));
