//! Telling the kernel of new snapshots: it keeps the listing of every folder until it is told that it changed.

use std::ffi::OsStr;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use fuser::{INodeNo, Notifier};

use crate::model::{Notice, Progress};
use crate::view::View;

use super::asked::Asked;
use super::layout::Layout;
use super::number::Ino;

/// How often is looked; a look costs reading one small file.
const INTERVAL: Duration = Duration::from_millis(500);

/// Looks until `end` is dropped. Runs in a thread of its own: a message to the kernel about a folder must not be sent while a
/// question about it is being answered.
pub(super) fn watch(view: &View, notifier: &Notifier, asked: &Asked, progress: &dyn Progress, end: &Receiver<()>) {
    let mut told = view.catalog();
    let mut trouble = None;
    while end.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        match view.look_again() {
            Ok(_) => trouble = None,
            Err(e) => {
                let why = e.to_string();
                if trouble.as_ref() != Some(&why) {
                    progress.notice(Notice::Remark(format!("new snapshots cannot be looked for: {why}")));
                }
                trouble = Some(why);
                continue;
            }
        }
        // Whoever looks a new name up looks afresh too: compared is with what the kernel was told.
        if *view.catalog() == *told {
            continue;
        }
        let now = view.catalog();
        // Of what was there before nothing changes but by gc, which the kernel finds out when it looks a name up.
        let changed = now.changed_since(&told).map(|arrival| u64::try_from(arrival.seconds).unwrap_or(0));
        let (before, after) = (Layout::new(told), Layout::new(now.clone()));
        told = now;
        for seconds in changed.map_or_else(Vec::new, |since| asked.since(since)) {
            tell_changes(notifier, &before, &after, Ino::AsOf(seconds));
        }
        for folder in [Ino::Snapshots, Ino::Datasets] {
            tell_changes(notifier, &before, &after, folder);
        }
        for (_, dataset) in after.list(Ino::Datasets).unwrap_or_default() {
            tell_changes(notifier, &before, &after, dataset);
        }
    }
}

/// Both messages are needed: one makes the kernel forget a name, the other the listing.
fn tell_changes(notifier: &Notifier, before: &Layout, after: &Layout, folder: Ino) {
    let (old, new) = (before.list(folder).unwrap_or_default(), after.list(folder).unwrap_or_default());
    if old == new {
        return;
    }
    let ino = INodeNo(folder.raw(None));
    let only = |a: &[(String, Ino)], b: &[(String, Ino)]| -> Vec<String> {
        a.iter().filter(|item| !b.contains(item)).map(|(name, _)| name.clone()).collect()
    };
    for name in only(&new, &old).into_iter().chain(only(&old, &new)) {
        let _ = notifier.inval_entry(ino, OsStr::new(&name));
    }
    let _ = notifier.inval_inode(ino, 0, 0);
}
