//! Lists, newest first, page by page (RCML.md 3.4). A page is named by the SID beside it, never by a number.

/// Where a page begins. SIDs sort by creation time, so one names a place in a list even after it was deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Cursor {
    /// The newest items.
    #[default]
    Newest,
    /// Those just older than this SID.
    Older(String),
    /// Those just newer than this SID.
    Newer(String),
}

/// Which page, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// Items, 1 to 1000.
    pub size: usize,
    /// Where it begins.
    pub cursor: Cursor,
}

impl Default for PageRequest {
    /// PageSize 50 (RCML.md 3.4).
    fn default() -> Self {
        PageRequest { size: 50, cursor: Cursor::Newest }
    }
}

/// One page, always newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// At most as many as asked.
    pub items: Vec<T>,
    /// The page after this one (older items), where there is one. A filtered list may end a page early to bound what
    /// it reads: then this is set although the page is short, and the last page may turn out empty.
    pub next: Option<Cursor>,
    /// The page before this one (newer items), where there is one.
    pub previous: Option<Cursor>,
}

impl<T> Page<T> {
    /// A page without items or neighbours.
    pub fn empty() -> Self {
        Page { items: Vec::new(), next: None, previous: None }
    }

    /// Cuts a page out of what was found beside the cursor, nearest to it first: `found` holds up to one more than
    /// `request.size` items, and its excess says that there is a further page that way.
    /// `stopped` is the SID at which a bounded read gave up, if it did.
    pub(crate) fn cut(
        request: &PageRequest,
        mut found: Vec<T>,
        stopped: Option<String>,
        sid: impl Fn(&T) -> String,
    ) -> Self {
        let more = found.len() > request.size;
        found.truncate(request.size);
        let beyond = if more { found.last().map(&sid) } else { stopped };
        match &request.cursor {
            Cursor::Newer(after) => {
                found.reverse();
                let next =
                    Some(found.last().map_or_else(|| Cursor::Older(after.clone()), |item| Cursor::Older(sid(item))));
                Page { items: found, next, previous: beyond.map(Cursor::Newer) }
            }
            Cursor::Older(before) => {
                let previous = found.first().map_or_else(|| before.clone(), &sid);
                Page { items: found, next: beyond.map(Cursor::Older), previous: Some(Cursor::Newer(previous)) }
            }
            Cursor::Newest => Page { items: found, next: beyond.map(Cursor::Older), previous: None },
        }
    }

    /// The same page of other things.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(change).collect(), next: self.next, previous: self.previous }
    }
}
