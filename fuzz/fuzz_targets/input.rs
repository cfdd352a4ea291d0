//! Input packets.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lumen_gamestream::fuzz::input(data));
