//! Pairing (protocol text §3).
/// Deliberately wrong or unusual ways to pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PairVariant {
    /// As stock desktop clients do.
    #[default]
    Stock,
    /// All hex digits in upper case, as the mobile clients send them.
    UppercaseHex,
    /// The phase-4 signature has one bit flipped.
    TamperedSignature,
    /// The phase-4 secret has one bit flipped after phase 3 committed to it.
    TamperedSecret,
    /// Goes on to phase 4 although the host's proof shows that the PIN was wrong.
    IgnoreWrongPin,
    /// Phase 2 is sent twice.
    RepeatPhase2,
    /// Phase 3 before phase 2.
    Phase3First,
    /// Phase 4 without phase 3.
    SkipPhase3,
    /// The salt has 8 bytes only.
    ShortSalt,
    /// The phase-4 secret has 8 bytes and no signature.
    ShortSecret,
}
