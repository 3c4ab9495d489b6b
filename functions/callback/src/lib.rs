//! Delivers one status callback.
