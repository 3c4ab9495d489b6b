//! Lists page by page: `Page`, `PageSize` and the token that names the next page (RCML.md 3.4).

use ringfork_state::{Cursor, Page, PageRequest, sid};
use url::form_urlencoded;

use crate::error::ApiError;
use crate::form::Form;
use crate::render::{Fields, Reply};
use crate::route::{Kind, Links};

/// Most items of a page; a larger PageSize gives this many.
const MAX_PAGE: usize = 1000;

/// Which page was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub request: PageRequest,
    number: u64,
}

/// Reads `Page`, `PageSize`, `PageToken` for a list of resources whose SIDs begin with `prefix`.
pub(crate) fn asked(query: &Form, prefix: &str) -> Result<Asked, ApiError> {
    let number = match query.filter("Page") {
        None => 0,
        Some(text) => text.parse::<u64>().map_err(|_| ApiError::bad("Page", "is not a whole number"))?,
    };
    let size = match query.filter("PageSize") {
        None => PageRequest::default().size,
        Some(text) => match text.parse::<usize>() {
            Ok(size) if size > 0 => size.min(MAX_PAGE),
            _ => return Err(ApiError::bad("PageSize", "is not a whole number from 1 to 1000")),
        },
    };
    let cursor = match query.filter("PageToken") {
        None if number > 0 => return Err(ApiError::bad("Page", "needs the PageToken of a next_page_uri")),
        None => Cursor::Newest,
        Some(token) => read_token(token, prefix).ok_or_else(|| ApiError::bad("PageToken", "is not one of ours"))?,
    };
    Ok(Asked { request: PageRequest { size, cursor }, number })
}

fn token(cursor: &Cursor) -> Option<String> {
    match cursor {
        Cursor::Newest => None,
        Cursor::Older(sid) => Some(format!("O{sid}")),
        Cursor::Newer(sid) => Some(format!("N{sid}")),
    }
}

fn read_token(token: &str, prefix: &str) -> Option<Cursor> {
    let (way, place) = token.split_at_checked(1)?;
    sid::parse(prefix, place).ok()?;
    match way {
        "O" => Some(Cursor::Older(place.to_owned())),
        "N" => Some(Cursor::Newer(place.to_owned())),
        _ => None,
    }
}

/// A list as it is shown.
pub(crate) struct Listing {
    pub kind: Kind,
    pub items: Vec<Fields>,
    pub page: u64,
    pub page_size: usize,
    pub uri: String,
    pub first: String,
    pub next: Option<String>,
    pub previous: Option<String>,
}

/// A page of a list with its `uri`s: filters and PageSize stay, in the order of the request.
pub(crate) fn list<T>(
    kind: Kind,
    page: Page<T>,
    asked: &Asked,
    query: &Form,
    links: &Links<'_>,
    show: impl Fn(&T) -> Fields,
) -> Reply {
    let uri = |number: u64, cursor: &Cursor| {
        let mut text = form_urlencoded::Serializer::new(String::new());
        let kept = query.pairs().iter().filter(|(name, _)| !matches!(name.as_str(), "Page" | "PageSize" | "PageToken"));
        text.extend_pairs(kept);
        text.append_pair("Page", &number.to_string());
        text.append_pair("PageSize", &asked.request.size.to_string());
        if let Some(token) = token(cursor) {
            text.append_pair("PageToken", &token);
        }
        format!("{}?{}", links.path, text.finish())
    };
    let own = if links.query.is_empty() { links.path.to_owned() } else { format!("{}?{}", links.path, links.query) };
    Reply::List(Box::new(Listing {
        kind,
        items: page.items.iter().map(show).collect(),
        page: asked.number,
        page_size: asked.request.size,
        uri: own,
        first: uri(0, &Cursor::Newest),
        next: page.next.map(|cursor| uri(asked.number.saturating_add(1), &cursor)),
        previous: page.previous.map(|cursor| uri(asked.number.saturating_sub(1), &cursor)),
    }))
}

/// The list of at most one that a filter by a unique name gives.
pub(crate) fn single<T>(found: Option<T>) -> Page<T> {
    Page { items: found.into_iter().collect(), next: None, previous: None }
}
