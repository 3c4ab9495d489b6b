//! What happens before the server is ready: the data folder, its lock, the account, credentials and imported clients
//! (DESIGN "Running it").

mod account;
mod credentials;
mod folder;
mod import;

pub use account::{Identity, establish};
pub use credentials::{Credentials, DemoClient};
pub use folder::{Folder, StartError};
pub use import::{ImportReport, import, read_import};

/// Random bytes of the system.
///
/// # Errors
/// When the system has none.
pub fn random<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| StartError("the system gives no random numbers".into()))?;
    Ok(bytes)
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}
