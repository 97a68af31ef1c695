//! Signatures of what we send.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::secret::Secret;

/// The signature of a body: `sha256=` and its HMAC-SHA256 (RFC 2104) in hexadecimal.
pub fn signature(secret: &Secret, body: &[u8]) -> String {
    // HMAC takes keys of any length: `new_from_slice` has no failure for it.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else {
        return String::new();
    };
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    digest
        .iter()
        .fold("sha256=".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}
