//! Notifications in memory.

use async_trait::async_trait;

use super::{KEPT, MemoryStore, page};
use crate::Result;
use crate::notification::{Notification, NotificationFilter, Notifications, cut_message};
use crate::page::{Page, PageRequest};

#[async_trait]
impl Notifications for MemoryStore {
    async fn notify(&self, notification: &Notification) -> Result<()> {
        let mut state = self.state();
        let mut kept = notification.clone();
        kept.message = cut_message(&kept.message).to_owned();
        state.notifications.insert(kept.sid.clone(), kept);
        while state.notifications.len() > KEPT {
            state.notifications.pop_first();
        }
        Ok(())
    }

    async fn notification(&self, sid: &str) -> Result<Option<Notification>> {
        Ok(self.state().notifications.get(sid).cloned())
    }

    async fn notifications(&self, filter: &NotificationFilter, request: &PageRequest) -> Result<Page<Notification>> {
        let state = self.state();
        let own = |sid: &str| Some(sid.to_owned());
        let pick = |_: &String, found: &Notification| filter.matches(found).then(|| found.clone());
        Ok(page(&state.notifications, request, own, pick, |found| found.sid.clone()))
    }
}
