//! Which implementation computes the parity.

/// An implementation of the parity sums. All give the same bytes; they differ in speed and in what the CPU must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// GFNI on 512-bit vectors (AVX-512 F and BW).
    Gfni512,
    /// GFNI on 256-bit vectors (AVX2).
    Gfni256,
    /// Byte shuffles on 256-bit vectors.
    Avx2,
    /// Byte shuffles on 128-bit vectors.
    Ssse3,
    /// Plain 64-bit words; what the compiler makes of them on the target.
    Portable,
}

impl Kernel {
    /// Every kernel, fastest first.
    pub const ALL: [Kernel; 5] =
        [Kernel::Gfni512, Kernel::Gfni256, Kernel::Avx2, Kernel::Ssse3, Kernel::Portable];

    /// The fastest one that this CPU runs.
    pub fn best() -> Kernel {
        Self::ALL.into_iter().find(|kernel| kernel.is_available()).unwrap_or(Kernel::Portable)
    }

    /// Whether this CPU runs it.
    pub fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        match self {
            Kernel::Gfni512 => {
                is_x86_feature_detected!("gfni")
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
            }
            Kernel::Gfni256 => is_x86_feature_detected!("gfni") && is_x86_feature_detected!("avx2"),
            Kernel::Avx2 => is_x86_feature_detected!("avx2"),
            Kernel::Ssse3 => is_x86_feature_detected!("ssse3"),
            Kernel::Portable => true,
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Kernel::Portable
        }
    }
}
