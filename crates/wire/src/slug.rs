//! Slug ids: 16 bytes as 22 characters of URL-safe base64 (RFC 4648 §5 without padding), and the same bytes as a UUID.
//!
//! Taskcluster names tasks by the first, Treeherder by the second. Never: validating UUID versions.

/// The characters of URL-safe base64, by value.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The UUID, in lower case with dashes, of a slug id. `None` when it is not one.
pub fn to_uuid(slug: &str) -> Option<String> {
    if slug.len() != 22 {
        return None;
    }
    let mut bits: u128 = 0;
    for (index, byte) in slug.bytes().enumerate() {
        let value = ALPHABET.iter().position(|&letter| letter == byte)? as u128;
        // 22 characters hold 132 bits; the last 4 must be zero.
        match index {
            21 if value & 0b1111 != 0 => return None,
            21 => bits = (bits << 2) | (value >> 4),
            _ => bits = (bits << 6) | value,
        }
    }
    let hex = format!("{bits:032x}");
    Some(format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    ))
}

/// The slug id of a UUID written with dashes. `None` when it is not one.
pub fn from_uuid(uuid: &str) -> Option<String> {
    let dashes = |(index, byte): (usize, u8)| (byte == b'-') == matches!(index, 8 | 13 | 18 | 23);
    if uuid.len() != 36 || !uuid.bytes().enumerate().all(dashes) || uuid.contains('+') {
        return None;
    }
    let bits = u128::from_str_radix(&uuid.replace('-', ""), 16).ok()?;
    let letter = |index: u32| {
        let value = if index == 21 {
            (bits << 4) & 0x3f
        } else {
            (bits >> (122 - 6 * index)) & 0x3f
        };
        char::from(ALPHABET[value as usize])
    };
    Some((0..22).map(letter).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_recorded_slug_id_and_its_uuid_in_treeherder_are_the_same() {
        assert_eq!(
            to_uuid("A3dJ8bDIQRKzHiZBhM0c5Q").as_deref(),
            Some("037749f1-b0c8-4112-b31e-264184cd1ce5")
        );
        assert_eq!(
            from_uuid("14d4f704-b890-4473-b5e0-d360a278d042").as_deref(),
            Some("FNT3BLiQRHO14NNgonjQQg")
        );
    }

    #[test]
    fn what_is_no_slug_id_has_no_uuid() {
        for text in [
            "",
            "bugbug-test-select",
            "A3dJ8bDIQRKzHiZBhM0c5R",
            "A3dJ8bDIQRKzHiZBhM0c5Q=",
            "A3dJ8bDIQRKzHiZBhM0c+Q",
        ] {
            assert_eq!(to_uuid(text), None, "{text}");
        }
        assert_eq!(from_uuid("d22c74d4aa6d2a1dcba96d95dccbd5fdca70cf33"), None);
    }

    proptest! {
        #[test]
        fn every_uuid_comes_back_from_its_slug_id(bits: u128) {
            let hex = format!("{bits:032x}");
            let uuid = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
            let slug = from_uuid(&uuid).expect("a UUID");
            prop_assert_eq!(to_uuid(&slug), Some(uuid));
        }

        #[test]
        fn no_text_makes_either_direction_panic(text: String) {
            let _ = (to_uuid(&text), from_uuid(&text));
        }
    }
}
