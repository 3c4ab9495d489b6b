//! The demonstration: scripted phones that place a call through the running server.

mod phone;

pub use phone::{Account, Answered, Dialog, Phone, PhoneError, Seen};
