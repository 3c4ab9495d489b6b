//! The dialogs that one INVITE of ours made: one for each To tag that came back (RFC 3261 §13.2.2.4).

use bytes::Bytes;

use super::Dialog;
use crate::message::Message;

/// Most dialogs kept of one INVITE; responses of further branches are as if they had not come, so that a 2xx of one is
/// repeated by its sender and given up.
pub const MAX_DIALOGS: usize = 32;

/// Early and confirmed dialogs of one INVITE, and the ACKs that were sent in them.
#[derive(Debug, Default)]
pub struct InviteDialogs {
    dialogs: Vec<Branch>,
}

#[derive(Debug)]
struct Branch {
    dialog: Dialog,
    confirmed: bool,
    ack: Option<Bytes>,
}

/// The ACK that a repeated 2xx gets again (§13.2.2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlreadyAcknowledged(pub Bytes);

impl InviteDialogs {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a response note of: a provisional one with a To tag makes an early dialog (§12.1.2), a 2xx confirms its
    /// dialog or makes one. Returns the dialog; `None` where the response makes none: 100, no To tag in a provisional
    /// response, a failure (which ends all early ones, §12.3), or one too many.
    ///
    /// # Errors
    /// The ACK to send again, for a 2xx that got its ACK already.
    pub fn on_response(
        &mut self,
        response: &Message,
        target: &str,
    ) -> Result<Option<&mut Dialog>, AlreadyAcknowledged> {
        let success = match response.status() {
            Some(101..=199) => false,
            Some(200..=299) => true,
            Some(300..) => {
                self.dialogs.retain(|branch| branch.confirmed);
                return Ok(None);
            }
            _ => return Ok(None),
        };
        let tag = response.to_tag();
        if tag.is_none() && !success {
            return Ok(None);
        }
        let tag = tag.unwrap_or_default();
        let at = match self.dialogs.iter().position(|branch| branch.dialog.remote_tag == tag) {
            Some(at) => at,
            None if self.dialogs.len() >= MAX_DIALOGS => return Ok(None),
            None => {
                let Some(dialog) = Dialog::of_uac(response, target) else { return Ok(None) };
                self.dialogs.push(Branch { dialog, confirmed: success, ack: None });
                self.dialogs.len() - 1
            }
        };
        let Some(branch) = self.dialogs.get_mut(at) else { return Ok(None) };
        if success {
            if let Some(ack) = &branch.ack {
                return Err(AlreadyAcknowledged(ack.clone()));
            }
            if !std::mem::replace(&mut branch.confirmed, true) {
                branch.dialog.confirm(response);
            }
        }
        Ok(Some(&mut branch.dialog))
    }

    /// Keeps the ACK that was sent in the dialog with this remote tag.
    pub fn acknowledged(&mut self, remote_tag: &str, ack: Bytes) {
        if let Some(branch) = self.dialogs.iter_mut().find(|branch| branch.dialog.remote_tag == remote_tag) {
            branch.ack = Some(ack);
        }
    }

    /// The dialogs, and whether each is confirmed.
    pub fn iter(&self) -> impl Iterator<Item = (&Dialog, bool)> {
        self.dialogs.iter().map(|branch| (&branch.dialog, branch.confirmed))
    }

    /// Takes the dialog with this remote tag out, to live on without its INVITE.
    pub fn take(&mut self, remote_tag: &str) -> Option<Dialog> {
        let at = self.dialogs.iter().position(|branch| branch.dialog.remote_tag == remote_tag)?;
        Some(self.dialogs.swap_remove(at).dialog)
    }
}
