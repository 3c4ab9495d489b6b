//! RTP, RTCP, SDP offers and answers, G.711 and DTMF.
