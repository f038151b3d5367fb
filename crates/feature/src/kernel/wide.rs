//! The same loops on wider registers, where the processor has them.
//!
//! A kernel written once is compiled twice, for the processors that every build must
//! support and for those with AVX2, and chosen when it runs. Wider registers hold more
//! neighbouring rows; each row is computed by the same operations in the same order, and
//! fused multiply-add stays off. The bits are therefore the same.

/// Defines a function whose loops are compiled for AVX2 too. Everything that the body
/// calls must be inlined into it to profit.
macro_rules! wide {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$doc])*
        $vis fn $name($($arg: $type),*) {
            #[inline(always)]
            fn plain($($arg: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $type),*) {
                    plain($($arg),*);
                }

                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor was asked on the line before.
                    #[allow(unsafe_code, reason = "calls a safe function after its check")]
                    unsafe {
                        avx2($($arg),*);
                    }
                    return;
                }
            }
            plain($($arg),*);
        }
    };
}
pub(crate) use wide;
