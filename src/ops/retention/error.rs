//! What stands in the way of retention.

use crate::model::{DatasetName, Failure, Kind, SnapshotId, Timestamp};
use crate::snapshots::ResolveError;
use crate::store::{LOST_ENTRIES, StoreError, snapshot_label};

/// What stands in the way of retention.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// A writer's key.
    #[error("the key in use is a writer's: it may capture, and neither forget nor hold snapshots nor set policies")]
    Writer,
    /// The log is not whole.
    #[error("nothing is forgotten while the log may hide holds: {0}")]
    Log(#[source] StoreError),
    /// A policy cannot be read.
    #[error("which policies are in force is not known: {0}")]
    Policy(#[source] StoreError),
    /// The clock of this machine cannot be right.
    #[error("the clock of this machine is behind: it says {}, and entries of the log that catalog and owner keys vouch for are as new as {}", seconds(.now), seconds(.witness))]
    ClockBehind {
        /// What the clock says.
        now: Timestamp,
        /// The newest time that is believed.
        witness: Timestamp,
    },
    /// No snapshot to be asked about.
    #[error("there is no snapshot of a dataset {0}")]
    NoDataset(DatasetName),
    /// It may not be forgotten.
    #[error("{} is not forgotten: {why}", snapshot_label(*.id))]
    Kept {
        /// Which one.
        id: SnapshotId,
        /// Why not.
        why: String,
        /// What would help.
        hint: Option<&'static str>,
    },
    /// Nothing holds it.
    #[error("{} is not held", snapshot_label(*.0))]
    NotHeld(SnapshotId),
    /// It has no delete path.
    #[error("{} is immutable, and no option changes that", snapshot_label(*.0))]
    Immutable(SnapshotId),
    /// There is nothing to be denied.
    #[error("{} does not ask to be immutable", snapshot_label(*.0))]
    NotAsked(SnapshotId),
    /// There is no such policy.
    #[error("there is no such policy")]
    NoPolicy,
    /// No such snapshot.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn seconds(time: &Timestamp) -> String {
    jiff::Timestamp::from_second(time.seconds).map_or_else(|_| format!("@{}", time.seconds), |t| t.to_string())
}

impl Failure for RetentionError {
    fn kind(&self) -> Kind {
        match self {
            Self::Writer => Kind::WrongKey,
            Self::Log(_) | Self::Policy(_) => Kind::Damage,
            Self::ClockBehind { .. } => Kind::Failed,
            Self::NoDataset(_) | Self::NoPolicy => Kind::NotFound,
            Self::Kept { .. } | Self::NotHeld(_) | Self::Immutable(_) | Self::NotAsked(_) => Kind::Usage,
            Self::Resolve(e) => e.kind(),
            Self::Store(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Writer => Some("give the identity of a catalog or owner key with --identity FILE".to_owned()),
            Self::Log(_) => Some(format!("`larder verify` tells what is damaged; {LOST_ENTRIES}")),
            Self::Policy(_) => Some(
                "give the rules with the command instead, or use a newer larder; `larder repair` tells if what the policy says is lost".to_owned(),
            ),
            Self::ClockBehind { .. } => Some(
                "set the clock; if it is right, and others ran ahead, say --clock-is-right; nothing was forgotten"
                    .to_owned(),
            ),
            Self::NoDataset(_) | Self::NotHeld(_) | Self::NotAsked(_) => {
                Some("`larder list` shows what there is".to_owned())
            }
            Self::NoPolicy => Some("`larder policy show` lists them".to_owned()),
            Self::Immutable(_) => None,
            Self::Kept { hint, .. } => hint.map(str::to_owned),
            Self::Resolve(e) => e.hint(),
            Self::Store(e) => e.hint(),
        }
    }
}
