//! Windows virtual key codes to Linux key codes, protocol text §9.5.
//!
//! Clients send virtual keys in the US-ANSI *positional* sense, so a code names a place on the keyboard and the layout
//! of the compositor decides what it types. Numbers on the right are those of the kernel's `input-event-codes.h`.

use lumen_gamestream::input::MouseButton;

/// `KEY_LEFTCTRL`
pub const KEY_LEFTCTRL: u16 = 29;
/// `KEY_LEFTSHIFT`
pub const KEY_LEFTSHIFT: u16 = 42;
/// `KEY_RIGHTSHIFT`
pub const KEY_RIGHTSHIFT: u16 = 54;
/// `KEY_LEFTALT`
pub const KEY_LEFTALT: u16 = 56;
/// `KEY_RIGHTCTRL`
pub const KEY_RIGHTCTRL: u16 = 97;
/// `KEY_RIGHTALT`
pub const KEY_RIGHTALT: u16 = 100;
/// `KEY_LEFTMETA`
pub const KEY_LEFTMETA: u16 = 125;
/// `KEY_RIGHTMETA`
pub const KEY_RIGHTMETA: u16 = 126;

/// Whether a key, by its usual place, changes what others type while it is held.
pub fn is_modifier(code: u16) -> bool {
    matches!(
        code,
        KEY_LEFTCTRL
            | KEY_RIGHTCTRL
            | KEY_LEFTSHIFT
            | KEY_RIGHTSHIFT
            | KEY_LEFTALT
            | KEY_RIGHTALT
            | KEY_LEFTMETA
            | KEY_RIGHTMETA
    )
}

/// A0 to AF and B0 to B3: modifiers by side, browser and media keys.
const SIDES_AND_MEDIA: [u16; 20] = [
    KEY_LEFTSHIFT,
    KEY_RIGHTSHIFT,
    KEY_LEFTCTRL,
    KEY_RIGHTCTRL,
    KEY_LEFTALT,
    KEY_RIGHTALT,
    158, // BACK
    159, // FORWARD
    173, // REFRESH
    128, // STOP
    217, // SEARCH
    156, // BOOKMARKS
    172, // HOMEPAGE
    113, // MUTE
    114, // VOLUMEDOWN
    115, // VOLUMEUP
    163, // NEXTSONG
    165, // PREVIOUSSONG
    166, // STOPCD
    164, // PLAYPAUSE
];

/// 41 to 5A: A to Z.
const LETTERS: [u16; 26] =
    [30, 48, 46, 32, 18, 33, 34, 35, 23, 36, 37, 38, 50, 49, 24, 25, 16, 19, 31, 20, 22, 47, 17, 45, 21, 44];

/// 60 to 6F: the keypad, 0 to 9, then `* + , - . /`.
const KEYPAD: [u16; 16] = [82, 79, 80, 81, 75, 76, 77, 71, 72, 73, 55, 78, 121, 74, 83, 98];

/// What a virtual key types on a US keyboard; `None` for keys that do not type, space and Enter included.
pub fn us_character(virtual_key: u8, shift: bool) -> Option<char> {
    const SHIFTED: [char; 10] = [')', '!', '@', '#', '$', '%', '^', '&', '*', '('];
    let (plain, shifted) = match virtual_key {
        0x30..=0x39 => (char::from(virtual_key), SHIFTED[usize::from(virtual_key - 0x30)]),
        0x41..=0x5a => (char::from(virtual_key).to_ascii_lowercase(), char::from(virtual_key)),
        0xba => (';', ':'),
        0xbb => ('=', '+'),
        0xbc => (',', '<'),
        0xbd => ('-', '_'),
        0xbe => ('.', '>'),
        0xbf => ('/', '?'),
        0xc0 => ('`', '~'),
        0xdb => ('[', '{'),
        0xdc => ('\\', '|'),
        0xdd => (']', '}'),
        0xde => ('\'', '"'),
        _ => return None,
    };
    Some(if shift { shifted } else { plain })
}

/// Whether a virtual key means one that only Japanese keyboards have, where a client flags such keys.
pub fn may_be_japanese(virtual_key: u8) -> bool {
    matches!(virtual_key, 0xdc | 0xe2)
}

/// The Linux key code of a virtual key; `None` when there is no such key. `japanese` says which of two keys the ones of
/// [`may_be_japanese`] are.
pub fn evdev(virtual_key: u8, japanese: bool) -> Option<u16> {
    let index = |first: u8| usize::from(virtual_key - first);
    Some(match virtual_key {
        0xdc if japanese => 124, // YEN (International3)
        0xe2 if japanese => 89,  // RO (International1)
        0x08 => 14,              // BACKSPACE
        0x09 => 15,              // TAB
        0x0c => 355,             // CLEAR
        0x0d => 28,              // ENTER, also that of the keypad
        0x10 => KEY_LEFTSHIFT,
        0x11 => KEY_LEFTCTRL,
        0x12 => KEY_LEFTALT,
        0x13 => 119, // PAUSE
        0x14 => 58,  // CAPSLOCK
        0x15 => 93,  // KATAKANAHIRAGANA
        0x16 => 122, // HANGEUL
        0x17 => 123, // HANJA
        0x19 => 90,  // KATAKANA
        0x1b => 1,   // ESC
        0x1c => 92,  // HENKAN
        0x1d => 94,  // MUHENKAN
        0x20 => 57,  // SPACE
        0x21 => 104, // PAGEUP
        0x22 => 109, // PAGEDOWN
        0x23 => 107, // END
        0x24 => 102, // HOME
        0x25 => 105, // LEFT
        0x26 => 103, // UP
        0x27 => 106, // RIGHT
        0x28 => 108, // DOWN
        0x29 => 353, // SELECT
        0x2a => 210, // PRINT
        0x2b => 134, // OPEN, for EXECUTE
        0x2c => 99,  // SYSRQ, the Print Screen key
        0x2d => 110, // INSERT
        0x2e => 111, // DELETE
        0x2f => 138, // HELP
        0x30 => 11,  // 0
        0x31..=0x39 => 2 + u16::from(virtual_key - 0x31),
        0x41..=0x5a => LETTERS[index(0x41)],
        0x5b => KEY_LEFTMETA,
        0x5c => KEY_RIGHTMETA,
        0x5d => 127, // COMPOSE, the menu key
        0x5f => 142, // SLEEP
        0x60..=0x6f => KEYPAD[index(0x60)],
        0x70..=0x79 => 59 + u16::from(virtual_key - 0x70), // F1 to F10
        0x7a..=0x7b => 87 + u16::from(virtual_key - 0x7a), // F11, F12
        0x7c..=0x87 => 183 + u16::from(virtual_key - 0x7c), // F13 to F24
        0x90 => 69,                                        // NUMLOCK
        0x91 => 70,                                        // SCROLLLOCK
        0xa0..=0xb3 => SIDES_AND_MEDIA[index(0xa0)],
        0xba => 39, // SEMICOLON
        0xbb => 13, // EQUAL
        0xbc => 51, // COMMA
        0xbd => 12, // MINUS
        0xbe => 52, // DOT
        0xbf => 53, // SLASH
        0xc0 => 41, // GRAVE
        0xdb => 26, // LEFTBRACE
        0xdc => 43, // BACKSLASH
        0xdd => 27, // RIGHTBRACE
        0xde => 40, // APOSTROPHE
        0xe2 => 86, // 102ND
        _ => return None,
    })
}

/// The Linux code of a mouse button, protocol text §9.5.
pub fn button(button: MouseButton) -> u16 {
    match button {
        MouseButton::Left => 0x110,   // BTN_LEFT
        MouseButton::Middle => 0x112, // BTN_MIDDLE
        MouseButton::Right => 0x111,  // BTN_RIGHT
        MouseButton::X1 => 0x113,     // BTN_SIDE
        MouseButton::X2 => 0x114,     // BTN_EXTRA
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// The table of protocol text §9.5, by the kernel's names.
    const TABLE: &str = "08 BACKSPACE, 09 TAB, 0C CLEAR, 0D ENTER, 10 LEFTSHIFT, 11 LEFTCTRL, 12 LEFTALT, 13 PAUSE, \
        14 CAPSLOCK, 15 KATAKANAHIRAGANA, 16 HANGEUL, 17 HANJA, 19 KATAKANA, 1B ESC, 1C HENKAN, 1D MUHENKAN, 20 SPACE, \
        21 PAGEUP, 22 PAGEDOWN, 23 END, 24 HOME, 25 LEFT, 26 UP, 27 RIGHT, 28 DOWN, 29 SELECT, 2A PRINT, 2B OPEN, \
        2C SYSRQ, 2D INSERT, 2E DELETE, 2F HELP, 30 0, 31 1, 32 2, 33 3, 34 4, 35 5, 36 6, 37 7, 38 8, 39 9, 41 A, 42 B, \
        43 C, 44 D, 45 E, 46 F, 47 G, 48 H, 49 I, 4A J, 4B K, 4C L, 4D M, 4E N, 4F O, 50 P, 51 Q, 52 R, 53 S, 54 T, \
        55 U, 56 V, 57 W, 58 X, 59 Y, 5A Z, 5B LEFTMETA, 5C RIGHTMETA, 5D COMPOSE, 5F SLEEP, 60 KP0, 61 KP1, 62 KP2, \
        63 KP3, 64 KP4, 65 KP5, 66 KP6, 67 KP7, 68 KP8, 69 KP9, 6A KPASTERISK, 6B KPPLUS, 6C KPCOMMA, 6D KPMINUS, \
        6E KPDOT, 6F KPSLASH, 70 F1, 71 F2, 72 F3, 73 F4, 74 F5, 75 F6, 76 F7, 77 F8, 78 F9, 79 F10, 7A F11, 7B F12, \
        7C F13, 7D F14, 7E F15, 7F F16, 80 F17, 81 F18, 82 F19, 83 F20, 84 F21, 85 F22, 86 F23, 87 F24, 90 NUMLOCK, \
        91 SCROLLLOCK, A0 LEFTSHIFT, A1 RIGHTSHIFT, A2 LEFTCTRL, A3 RIGHTCTRL, A4 LEFTALT, A5 RIGHTALT, A6 BACK, \
        A7 FORWARD, A8 REFRESH, A9 STOP, AA SEARCH, AB BOOKMARKS, AC HOMEPAGE, AD MUTE, AE VOLUMEDOWN, AF VOLUMEUP, \
        B0 NEXTSONG, B1 PREVIOUSSONG, B2 STOPCD, B3 PLAYPAUSE, BA SEMICOLON, BB EQUAL, BC COMMA, BD MINUS, BE DOT, \
        BF SLASH, C0 GRAVE, DB LEFTBRACE, DC BACKSLASH, DD RIGHTBRACE, DE APOSTROPHE, E2 102ND";

    /// Names and codes of the kernel, in the order of its header.
    const KERNEL: &str = "ESC 1, 1 2, 2 3, 3 4, 4 5, 5 6, 6 7, 7 8, 8 9, 9 10, 0 11, MINUS 12, EQUAL 13, BACKSPACE 14, \
        TAB 15, Q 16, W 17, E 18, R 19, T 20, Y 21, U 22, I 23, O 24, P 25, LEFTBRACE 26, RIGHTBRACE 27, ENTER 28, \
        LEFTCTRL 29, A 30, S 31, D 32, F 33, G 34, H 35, J 36, K 37, L 38, SEMICOLON 39, APOSTROPHE 40, GRAVE 41, \
        LEFTSHIFT 42, BACKSLASH 43, Z 44, X 45, C 46, V 47, B 48, N 49, M 50, COMMA 51, DOT 52, SLASH 53, RIGHTSHIFT 54, \
        KPASTERISK 55, LEFTALT 56, SPACE 57, CAPSLOCK 58, F1 59, F2 60, F3 61, F4 62, F5 63, F6 64, F7 65, F8 66, F9 67, \
        F10 68, NUMLOCK 69, SCROLLLOCK 70, KP7 71, KP8 72, KP9 73, KPMINUS 74, KP4 75, KP5 76, KP6 77, KPPLUS 78, KP1 79, \
        KP2 80, KP3 81, KP0 82, KPDOT 83, 102ND 86, F11 87, F12 88, RO 89, KATAKANA 90, HENKAN 92, KATAKANAHIRAGANA 93, \
        MUHENKAN 94, RIGHTCTRL 97, KPSLASH 98, SYSRQ 99, RIGHTALT 100, HOME 102, UP 103, PAGEUP 104, LEFT 105, RIGHT 106, \
        END 107, DOWN 108, PAGEDOWN 109, INSERT 110, DELETE 111, MUTE 113, VOLUMEDOWN 114, VOLUMEUP 115, PAUSE 119, \
        KPCOMMA 121, HANGEUL 122, HANJA 123, YEN 124, LEFTMETA 125, RIGHTMETA 126, COMPOSE 127, STOP 128, OPEN 134, \
        HELP 138, SLEEP 142, BOOKMARKS 156, BACK 158, FORWARD 159, NEXTSONG 163, PLAYPAUSE 164, PREVIOUSSONG 165, \
        STOPCD 166, HOMEPAGE 172, REFRESH 173, F13 183, F14 184, F15 185, F16 186, F17 187, F18 188, F19 189, F20 190, \
        F21 191, F22 192, F23 193, F24 194, PRINT 210, SEARCH 217, SELECT 353, CLEAR 355";

    #[test]
    fn every_row_of_the_protocol_text_and_nothing_else() {
        let kernel: BTreeMap<&str, u16> = KERNEL
            .split(',')
            .filter_map(|row| row.trim().split_once(' '))
            .map(|(name, code)| (name, code.parse().expect("a number")))
            .collect();
        let table: BTreeMap<u8, u16> = TABLE
            .split(',')
            .filter_map(|row| row.trim().split_once(' '))
            .map(|(key, name)| (u8::from_str_radix(key, 16).expect("hex"), kernel[name]))
            .collect();
        assert_eq!(table.len(), 146, "no row was lost on the way here");
        for key in 0..=u8::MAX {
            assert_eq!(evdev(key, false), table.get(&key).copied(), "virtual key {key:02x}");
        }
    }

    #[test]
    fn two_keys_may_be_japanese() {
        assert_eq!((evdev(0xdc, false), evdev(0xdc, true)), (Some(43), Some(124)));
        assert_eq!((evdev(0xe2, false), evdev(0xe2, true)), (Some(86), Some(89)));
        for key in (0..=u8::MAX).filter(|key| !may_be_japanese(*key)) {
            assert_eq!(evdev(key, false), evdev(key, true));
        }
    }

    #[test]
    fn characters_are_those_of_a_us_keyboard() {
        let typed = |shift| (0..=u8::MAX).filter_map(|key| us_character(key, shift)).collect::<String>();
        assert_eq!(typed(false), "0123456789abcdefghijklmnopqrstuvwxyz;=,-./`[\\]'");
        assert_eq!(typed(true), ")!@#$%^&*(ABCDEFGHIJKLMNOPQRSTUVWXYZ:+<_>?~{|}\"");
    }
}
