//! Paths: which resource, in which writing, and the `uri`s that lead back (RCML.md 3.4).

use http::Method;

use crate::error::ApiError;

/// Both roots, without the trailing slash.
const ROOTS: [&str; 2] = ["/restcomm/2012-04-24", "/2010-04-01"];

/// `api_version` of every resource, whichever root was asked.
pub(crate) const API_VERSION: &str = "2012-04-24";

/// Kinds of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Clients,
    Applications,
    Numbers,
    Calls,
    Notifications,
    Recordings,
}

impl Kind {
    pub fn path(self) -> &'static str {
        match self {
            Kind::Clients => "Clients",
            Kind::Applications => "Applications",
            Kind::Numbers => "IncomingPhoneNumbers",
            Kind::Calls => "Calls",
            Kind::Notifications => "Notifications",
            Kind::Recordings => "Recordings",
        }
    }

    fn of(segment: &str) -> Option<Self> {
        const ALL: [Kind; 6] =
            [Kind::Clients, Kind::Applications, Kind::Numbers, Kind::Calls, Kind::Notifications, Kind::Recordings];
        ALL.into_iter().find(|kind| kind.path() == segment)
    }

    /// Whether customers make these, rather than calls.
    fn is_directory(self) -> bool {
        matches!(self, Kind::Clients | Kind::Applications | Kind::Numbers)
    }
}

/// What under an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Account,
    List(Kind),
    One(Kind, String),
    /// The notifications or recordings of a call.
    OfCall(Kind, String),
    /// The sound of a recording.
    Sound(String),
}

impl Route {
    /// 405 for what cannot be done here.
    pub fn check_method(&self, method: &Method) -> Result<(), ApiError> {
        let allow = match self {
            Route::List(kind) if kind.is_directory() => "GET, HEAD, POST",
            Route::One(kind, _) if kind.is_directory() => "GET, HEAD, POST, PUT, DELETE",
            Route::One(Kind::Recordings, _) | Route::Sound(_) => "GET, HEAD, DELETE",
            _ => "GET, HEAD",
        };
        let allowed = allow.split(", ").any(|name| name == method.as_str());
        if allowed { Ok(()) } else { Err(ApiError::method(method, allow)) }
    }
}

/// A path under one of the roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Root and account: `/2010-04-01/Accounts/AC…`.
    pub base: String,
    pub account: String,
    pub route: Route,
    /// A segment ends in `.json`.
    pub json: bool,
}

/// Reads a path; `None` where nothing is.
pub(crate) fn parse(path: &str) -> Option<Target> {
    let (root, rest) = ROOTS.iter().find_map(|root| path.strip_prefix(root).map(|rest| (root, rest)))?;
    let mut json = false;
    // The suffix may sit on any segment: `Calls.json/CA…`.
    let mut segments = rest
        .strip_prefix('/')?
        .trim_end_matches('/')
        .split('/')
        .map(|segment| segment.strip_suffix(".json").inspect(|_| json = true).unwrap_or(segment).to_owned());
    if segments.next()? != "Accounts" {
        return None;
    }
    let account = segments.next()?;
    let (kind, sid, below, more) = (segments.next(), segments.next(), segments.next(), segments.next());
    let route = match (kind.as_deref(), sid, below.as_deref(), more) {
        (None, None, None, None) => Route::Account,
        (Some(kind), None, None, None) => Route::List(Kind::of(kind)?),
        (Some("Recordings"), Some(sid), None, None) if sid.ends_with(".wav") => {
            Route::Sound(sid.trim_end_matches(".wav").to_owned())
        }
        (Some(kind), Some(sid), None, None) => Route::One(Kind::of(kind)?, sid),
        (Some("Calls"), Some(sid), Some("Notifications"), None) => Route::OfCall(Kind::Notifications, sid),
        (Some("Calls"), Some(sid), Some("Recordings"), None) => Route::OfCall(Kind::Recordings, sid),
        _ => return None,
    };
    Some(Target { base: format!("{root}/Accounts/{account}"), account, route, json })
}

/// Makes `uri`s with the request's own prefix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Links<'a> {
    pub base: &'a str,
    pub json: bool,
    /// The request's own path, for lists.
    pub path: &'a str,
    /// The request's own query.
    pub query: &'a str,
}

impl Links<'_> {
    fn suffix(&self) -> &'static str {
        if self.json { ".json" } else { "" }
    }

    pub fn account(&self) -> String {
        format!("{}{}", self.base, self.suffix())
    }

    pub fn list(&self, kind: Kind) -> String {
        format!("{}/{}{}", self.base, kind.path(), self.suffix())
    }

    pub fn one(&self, kind: Kind, sid: &str) -> String {
        format!("{}/{}/{sid}{}", self.base, kind.path(), self.suffix())
    }

    pub fn of_call(&self, kind: Kind, sid: &str) -> String {
        format!("{}/Calls/{sid}/{}{}", self.base, kind.path(), self.suffix())
    }

    /// The sound of a recording.
    pub fn sound(&self, sid: &str) -> String {
        format!("{}/{}/{sid}.wav", self.base, Kind::Recordings.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RCML.md 3.4: both prefixes; `.json` on any segment.
    #[test]
    fn paths() {
        let target = parse("/restcomm/2012-04-24/Accounts/AC1/Clients/CL2.json").unwrap();
        assert_eq!(target.route, Route::One(Kind::Clients, "CL2".to_owned()));
        assert_eq!((target.base.as_str(), target.json), ("/restcomm/2012-04-24/Accounts/AC1", true));
        let target = parse("/2010-04-01/Accounts/AC1.json").unwrap();
        assert_eq!((target.route, target.account.as_str(), target.json), (Route::Account, "AC1", true));
        assert!(parse("/2010-04-01/Accounts/AC1/Calls.json/CA2").unwrap().json);
        assert_eq!(
            parse("/2010-04-01/Accounts/AC1/Calls/CA2/Notifications").unwrap().route,
            Route::OfCall(Kind::Notifications, "CA2".into())
        );
        assert_eq!(parse("/2010-04-01/Accounts/AC1/Recordings/RE2.wav").unwrap().route, Route::Sound("RE2".into()));
        assert_eq!(parse("/2010-04-01/Accounts/AC1/Calls/").unwrap().route, Route::List(Kind::Calls));
        for path in ["", "/", "/2010-04-01", "/2010-04-01/Accounts", "/2010-04-01Accounts/AC1", "/2010-04-01/Other/AC1"]
        {
            assert_eq!(parse(path), None, "{path}");
        }
        assert_eq!(parse("/2010-04-01/Accounts/AC1/Widgets"), None);
        assert_eq!(parse("/2010-04-01/Accounts/AC1/Clients/CL1/Notifications"), None);
        assert_eq!(parse("/2010-04-01/Accounts/AC1/Calls/CA1/Notifications/NO1"), None);
    }
}
