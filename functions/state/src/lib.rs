//! What is kept: types, one narrow trait per use, the DynamoDB adapter and the table definitions.
//!
//! | trait | who uses it |
//! | --- | --- |
//! | [`Directory`] | the edge: a client or number by name |
//! | [`DirectoryAdmin`] | the REST API: accounts, clients, applications, numbers |
//! | [`Bindings`] | the edge: registrations |
//! | [`Calls`] | the edge: every write of a call or leg |
//! | [`CallQueries`] | the REST API: a call, lists of calls |
//! | [`Notifications`] | edge and `callback` write, the REST API reads |
//! | [`Recordings`] | the edge writes, the REST API reads and deletes |
//! | [`Edges`] | the edge: lease and epoch; the reaper: who is alive |
//! | [`Reaping`] | the reaper: claims, open calls, their end |
//!
//! [`memory::MemoryStore`] and [`dynamodb::DynamoStore`] implement all of them; one suite (`tests/suite`) holds both to
//! the same behaviour. Nothing here knows SIP. Times are milliseconds since the Unix epoch unless a name says
//! otherwise.

pub mod binding;
pub mod call;
pub mod directory;
pub mod dynamodb;
pub mod edge;
mod error;
pub mod event;
pub mod memory;
pub mod notification;
pub mod page;
pub mod reaping;
pub mod recording;
pub mod sid;
pub mod table;

pub use binding::{Binding, BindingChange, BindingPage, Bindings, Expect};
pub use call::{Call, CallDescription, CallFilter, CallQueries, CallStatus, CallWrite, Calls, Direction, PlannedLeg};
pub use directory::{
    Account, Application, Client, ClientEntry, Directory, DirectoryAdmin, Number, NumberEntry, Voice, VoiceSettings,
};
pub use edge::{EdgeRecord, EdgeStart, Edges, Owner, Renewal, Unreaped};
pub use error::StoreError;
pub use event::{Callback, CallbackEvent, EventKind, Events, Method};
pub use notification::{Level, Notification, NotificationFilter, Notifications};
pub use page::{Cursor, Page, PageRequest};
pub use reaping::Reaping;
pub use recording::{Recording, RecordingFilter, Recordings};
pub use sid::CallSid;

/// What every operation here returns.
pub type Result<T> = std::result::Result<T, StoreError>;
