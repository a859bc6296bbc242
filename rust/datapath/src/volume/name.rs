//! Names of volumes and snapshots.

use crate::error::PoolError;
use crate::limits::NAME_CHARS_MAX;

/// Checks a name: a letter or digit, then letters, digits, `.`, `_`, `:` and `-`.
pub fn check_name(kind: &str, name: &str) -> Result<(), PoolError> {
    let later = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    let valid = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && name.bytes().all(later)
        && name.len() <= NAME_CHARS_MAX;
    if valid {
        return Ok(());
    }
    Err(PoolError::Invalid(format!(
        "{name:?} is no name for a {kind}: it must begin with a letter or digit, hold only letters, \
         digits and . _ : -, and have at most {NAME_CHARS_MAX} characters"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_bounded() {
        let longest = "a".repeat(NAME_CHARS_MAX);
        for name in ["a", "0", "vol0", "a.b_c:d-e", &longest] {
            assert_eq!(check_name("volume", name), Ok(()), "{name}");
        }
        let too_long = "a".repeat(NAME_CHARS_MAX + 1);
        for name in ["", "-a", ".", "a/b", "a@b", "a b", "\u{e4}", "a\n", &too_long] {
            assert!(check_name("volume", name).is_err(), "{name}");
        }
    }
}
