//! Session timers (RFC 4028): what interval is agreed, who refreshes, and when.

use std::time::Duration;

/// What we ask for, seconds.
pub const INTERVAL: u32 = 1800;
/// The shortest that we accept, seconds (RFC 4028 §5).
pub const MIN_SE: u32 = 90;

/// Which side of the request refreshes (RFC 4028 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that sent the request.
    Uac,
    /// The one that answered it.
    Uas,
}

/// What one request and its 2xx agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// Seconds.
    pub interval: u32,
    /// We refresh; else the peer does.
    pub ours: bool,
}

impl Agreed {
    /// From the agreement until what comes next: our refresh at half of the interval, or our BYE when the peer's did
    /// not come: the smaller of 32 s and a third of the interval before its end (RFC 4028 §10).
    pub fn due(self) -> Duration {
        let interval = u64::from(self.interval);
        Duration::from_secs(if self.ours { interval / 2 } else { interval - (interval / 3).min(32) })
    }

    /// From the agreement until the session is over unrefreshed, where the refreshing is ours.
    pub fn end(self) -> Duration {
        let interval = u64::from(self.interval);
        Duration::from_secs(interval - (interval / 3).min(32))
    }
}

/// What a request says about session timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// `Session-Expires`, with `refresher` if it is there.
    pub interval: Option<(u32, Option<Side>)>,
    /// `Min-SE`.
    pub min_se: Option<u32>,
    /// `Supported: timer`.
    pub supported: bool,
}

/// The interval asked for is below [`MIN_SE`]: 422.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("session interval too small")]
pub struct TooSmall;

/// What we answer as UAS, for the 2xx (RFC 4028 §9): `None` is no session timer.
///
/// # Errors
/// [`TooSmall`] where 422 is due.
pub fn answer(asked: Asked) -> Result<Option<(u32, Side)>, TooSmall> {
    let floor = asked.min_se.unwrap_or(0).max(MIN_SE);
    match asked.interval {
        // A proxy may have put it there for a caller that does not know it: then we refresh (table 2).
        Some((interval, refresher)) => {
            if interval < MIN_SE {
                return Err(TooSmall);
            }
            let side = match refresher {
                Some(Side::Uac) if asked.supported => Side::Uac,
                _ => Side::Uas,
            };
            Ok(Some((interval.min(INTERVAL).max(floor.min(interval)), side)))
        }
        None if asked.supported => Ok(Some((INTERVAL.max(floor), Side::Uas))),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(interval: Option<(u32, Option<Side>)>, min_se: Option<u32>, supported: bool) -> Asked {
        Asked { interval, min_se, supported }
    }

    /// RFC 4028 §9, table 2, and §5.
    #[test]
    fn what_we_answer() {
        assert_eq!(answer(asked(Some((89, None)), None, true)), Err(TooSmall));
        assert_eq!(answer(asked(Some((90, None)), None, true)), Ok(Some((90, Side::Uas))));
        assert_eq!(answer(asked(Some((600, Some(Side::Uac))), None, true)), Ok(Some((600, Side::Uac))));
        assert_eq!(answer(asked(Some((600, Some(Side::Uas))), None, true)), Ok(Some((600, Side::Uas))));
        assert_eq!(answer(asked(Some((600, None)), None, false)), Ok(Some((600, Side::Uas))));
        assert_eq!(answer(asked(Some((7200, None)), None, true)), Ok(Some((1800, Side::Uas))));
        assert_eq!(answer(asked(Some((7200, None)), Some(3600), true)), Ok(Some((3600, Side::Uas))));
        assert_eq!(answer(asked(None, None, true)), Ok(Some((1800, Side::Uas))));
        assert_eq!(answer(asked(None, Some(3600), true)), Ok(Some((3600, Side::Uas))));
        assert_eq!(answer(asked(None, None, false)), Ok(None));
    }

    /// RFC 4028 §10: we refresh at half; the peer's refresh is given up 32 s, or a third, before the end.
    #[test]
    fn when_it_is_due() {
        assert_eq!(Agreed { interval: 1800, ours: true }.due().as_secs(), 900);
        assert_eq!(Agreed { interval: 1800, ours: false }.due().as_secs(), 1768);
        assert_eq!(Agreed { interval: 90, ours: false }.due().as_secs(), 60);
    }
}
