//! HTTP Basic with AccountSid and AuthToken (RCML.md 3.4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use ringfork_state::Account;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::Api;
use crate::error::ApiError;

/// What the directory keeps of an auth token: lower-case hex SHA-256.
pub fn token_hash(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

/// The account that the request is for, if its credentials are that account's. All refusals look the same.
pub(crate) async fn check(api: &Api, headers: &HeaderMap, account_sid: &str) -> Result<Account, ApiError> {
    let (user, token) = credentials(headers).ok_or_else(ApiError::unauthorized)?;
    let account = api.directory.account().await?.ok_or_else(ApiError::unauthorized)?;
    // Hashes of equal length: the comparison takes the same time for every guess.
    let right = token_hash(&token).as_bytes().ct_eq(account.auth_token_sha256.as_bytes());
    let named = user == account.sid && account_sid == account.sid;
    if named && bool::from(right) { Ok(account) } else { Err(ApiError::unauthorized()) }
}

fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, token) = decoded.split_once(':')?;
    Some((user.to_owned(), token.to_owned()))
}
