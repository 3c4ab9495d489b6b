//! RTP, RTCP, SDP offers and answers, G.711 and DTMF, as plain data and functions: the shell owns sockets and pacing.
//!
//! - [`sdp`]: what each dialog offers and answers.
//! - [`formats`]: what of it we make and understand ourselves.
//! - [`payload`]: payload numbers rewritten between two dialogs.
//! - [`relay`]: whom a stream is taken from and sent to; silence.
//! - [`rtp`], [`rtcp`], [`events`]: packets.
//! - [`stream`]: one outgoing stream over sound of our own and relayed packets.
//! - [`dtmf`]: keys, taken and sent.
//! - [`g711`], [`tone`]: sound of our own.
//! - [`recorder`], [`wav`]: what is said, kept.

pub mod dtmf;
pub mod events;
pub mod formats;
pub mod g711;
pub mod payload;
pub mod recorder;
pub mod relay;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod stream;
pub mod tone;
pub mod wav;
