//! RTP, RTCP, SDP offers and answers, G.711 and DTMF, as plain data and functions: the shell owns sockets and pacing.

pub mod g711;
pub mod payload;
pub mod sdp;
