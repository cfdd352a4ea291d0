//! What programs write to gamepads.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lumen_input::pads::fuzz::output(data));
