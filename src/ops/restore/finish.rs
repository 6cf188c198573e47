//! What is done once all in a folder is there; and what a rehearsal tells instead.

use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::Stat;

use crate::model::Body;
use crate::tree::Node;

use super::existing::{Standing, is_one_file};
use super::folders::{Folder, Origin};
use super::item::SOCKET;
use super::metadata::{Before, On, has_xattrs, unmark};
use super::outcome::Outcome;
use super::place::parted;
use super::{Context, Overwrite};

impl Context<'_> {
    /// Puts a folder's own metadata on it, after all that is in it. A folder that was there keeps its own unless files may be
    /// overwritten.
    pub(super) fn finish_folder(&self, folder: &Folder, node: &Node) -> Outcome {
        let there = matches!(folder.origin, Origin::Existed | Origin::Empty);
        if folder.origin == Origin::Existed && self.overwrite == Overwrite::Never {
            // The target itself is the user's choice.
            if folder.marked && !self.dry {
                self.unmark(folder, node);
            }
            let fits = node.path.is_empty() || self.carrier.owner_and_mode_fit(&node.entry, folder.met);
            return if fits { Outcome::Same(Vec::new()) } else { Outcome::Unlike };
        }
        let xattrs = match self.pages.xattrs(&node.entry) {
            Ok(xattrs) => xattrs,
            Err(e) => return e.into(),
        };
        let on = On::Open(folder.as_fd());
        let adjusted = there && !(self.carrier.fits(&node.entry, folder.met) && has_xattrs(on, &xattrs));
        let lost = if self.dry {
            Vec::new()
        } else {
            let existed = there || folder.origin == Origin::Unfinished;
            let before = Before {
                existed,
                marked: folder.marked || folder.origin != Origin::Existed,
                ..Before::of(folder.as_fd())
            };
            self.carrier.put(on, &node.entry, &xattrs, before)
        };
        if adjusted { Outcome::Adjusted(lost) } else { folder_outcome(folder.origin, lost) }
    }

    /// Takes the mark off a folder that was finished but for that.
    fn unmark(&self, folder: &Folder, node: &Node) {
        if let Ok(xattrs) = self.pages.xattrs(&node.entry) {
            unmark(folder.as_fd(), &xattrs);
        }
    }

    /// What would become of an item. `first`: another name of it that is there, and whether it would be written anew.
    pub(super) fn foresee(&self, folder: Option<&Folder>, node: &Node, first: Option<(&Arc<Node>, bool)>) -> Outcome {
        if node.entry.body == Body::Socket {
            return Outcome::Skipped(SOCKET.to_owned());
        }
        let Some(folder) = folder else { return Outcome::Made(Vec::new()) };
        let met = match first {
            None => self.meet(folder, node),
            Some((first, fresh)) => self.meet_link(folder, node, |stat| !fresh && self.is_name_of(first, stat)),
        };
        let cleared = met.and_then(|standing| {
            let clear = if standing == Standing::Folder { self.clear(folder, node) } else { Ok(()) };
            clear.map(|()| standing)
        });
        cleared.map_or_else(|outcome| outcome, |standing| standing.then(Vec::new()))
    }

    /// True if what stands at a node's place is this file.
    fn is_name_of(&self, node: &Node, stat: &Stat) -> bool {
        let (above, name) = parted(&node.path);
        let folder = self.base.as_ref().and_then(|base| base.descend(above).ok());
        folder.is_some_and(|folder| is_one_file(&folder, name, stat))
    }
}

/// What became of a folder of this origin.
pub(super) fn folder_outcome(origin: Origin, lost: Vec<String>) -> Outcome {
    match origin {
        Origin::Made | Origin::Unfinished => Outcome::Made(lost),
        Origin::Replaced => Outcome::Replaced(lost),
        Origin::Existed | Origin::Empty => Outcome::Same(lost),
    }
}
