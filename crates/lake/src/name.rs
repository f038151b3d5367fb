//! Names of tables: one safe path segment each, so that no table lies in another.

use crate::LakeError;

/// Accepts a name that is one plain path segment on every store.
///
/// # Errors
/// [`LakeError::Name`] for anything else.
pub(crate) fn check(name: &str) -> Result<(), LakeError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if first && name.len() <= 120 && name.chars().all(plain) {
        Ok(())
    } else {
        Err(LakeError::Name(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_name_is_one_plain_segment() {
        for name in ["BTC-USD", "btc_usd.1h", "0"] {
            assert!(check(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "a/b", "_delta_log", ".hidden", "a b", "ü", "-x"] {
            assert!(check(name).is_err(), "{name}");
        }
        assert!(check(&"a".repeat(121)).is_err());
    }
}
