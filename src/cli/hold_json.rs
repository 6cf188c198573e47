//! A hold as it is shown.

use schemars::JsonSchema;
use serde::Serialize;

use crate::snapshots::Hold;

use super::output::rfc3339;

/// A hold on a snapshot.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct HoldJson {
    /// Which entry of the log set it.
    sequence: u64,
    /// When it was set; RFC 3339, UTC.
    since: String,
    /// When it ends by itself.
    until: Option<String>,
    reason: Option<String>,
    /// Who set it, as `user@host`.
    by: String,
}

impl From<&Hold> for HoldJson {
    fn from(hold: &Hold) -> Self {
        Self {
            sequence: hold.sequence,
            since: rfc3339(hold.since),
            until: hold.until.map(rfc3339),
            reason: hold.reason.clone(),
            by: hold.by.clone(),
        }
    }
}

/// A hold in words.
pub(super) fn text(hold: &Hold) -> String {
    let until = hold.until.map_or_else(String::new, |until| format!(" until {}", rfc3339(until)));
    let reason = hold.reason.as_deref().unwrap_or_default();
    // Nobody is named where what the entry says is lost.
    let by = Some(&hold.by).filter(|by| !by.is_empty()).map_or_else(String::new, |by| format!(" by {by}"));
    format!("since {}{until}{by}: {reason}", rfc3339(hold.since))
}
