//! The thread that takes what has arrived, in any order, waits for what groups owe it, and builds a tree of it in the end.

use std::collections::VecDeque;
use std::path::PathBuf;

use crossbeam_channel::{Receiver, never};

use crate::archives::Sorter;
use crate::model::{Body, Quiet};
use crate::ops::capture::group::{ReadFile, Unread};
use crate::ops::capture::tree::{TreeOutcome, TreeThread};
use crate::ops::capture::{CaptureError, Outcomes, Pipeline, Setting};
use crate::ops::member_entry::{Importer, key_of};

use super::About;
use super::arrived::{Arrived, Kept, Marks, refused};
use super::assemble::assemble;
use super::links::Names;

/// A step of the intake.
#[derive(Debug)]
pub(super) enum Event {
    /// An item of which all is known.
    Ready(Box<Arrived>),
    /// A file whose body the next outcome of the groups gives.
    Read(Box<Arrived>),
    /// All of a snapshot has arrived.
    Finish(Box<About>),
}

/// A tree that is not committed yet.
pub(super) struct Built {
    pub(super) about: About,
    pub(super) tree: TreeOutcome,
    /// Plain and stored bytes that the store got so far.
    pub(super) bytes: (u64, u64),
}

pub(super) struct Collector<'a> {
    pipeline: &'a Pipeline<'a>,
    events: Receiver<Event>,
    groups: Receiver<Outcomes>,
    outcomes: VecDeque<Result<ReadFile, Unread>>,
    dir: PathBuf,
    items: Sorter,
    names: Names,
    importer: Importer,
    built: Vec<Built>,
}

impl<'a> Collector<'a> {
    /// `dir`: where temporary files go.
    pub(super) fn new(
        pipeline: &'a Pipeline<'a>,
        events: Receiver<Event>,
        groups: Receiver<Outcomes>,
        dir: PathBuf,
    ) -> Self {
        Self {
            pipeline,
            events,
            groups,
            outcomes: VecDeque::new(),
            items: Sorter::new(&dir),
            names: Names::new(&dir),
            dir,
            importer: Importer::new(),
            built: Vec::new(),
        }
    }

    /// Runs until nothing more comes.
    pub(super) fn run(mut self) -> Result<Vec<Built>, CaptureError> {
        while let Ok(event) = self.events.recv() {
            match event {
                Event::Ready(arrived) => self.add(&arrived)?,
                Event::Read(arrived) => self.read(*arrived)?,
                Event::Finish(about) => self.finish(*about)?,
            }
        }
        Ok(self.built)
    }

    fn add(&mut self, arrived: &Arrived) -> Result<(), CaptureError> {
        let size = arrived.entry.file().map_or(0, |file| file.size);
        self.pipeline.setting.progress.advance(1, size);
        if arrived.replaces && (arrived.target.is_some() || self.names.knows(&arrived.path)) {
            let why = "it takes the place of an earlier member, and one of the two has further names: which belong to which an import cannot tell; \
                       unpack it, and capture the folder";
            return Err(refused(&arrived.path, why));
        }
        if let Some(target) = &arrived.target {
            return self.names.push(&arrived.path, target);
        }
        let marks = Marks { linked: arrived.linked, replaces: arrived.replaces };
        let kept = Kept::bytes_of(&arrived.entry, marks);
        Ok(self.items.push(&key_of(&arrived.path), &kept)?)
    }

    fn read(&mut self, mut arrived: Arrived) -> Result<(), CaptureError> {
        while self.outcomes.is_empty() {
            let read = self.groups.recv().and_then(|group| group.recv());
            self.outcomes = read.map_err(|_| CaptureError::Died("the intake"))??.into();
        }
        match self.outcomes.pop_front() {
            Some(Ok(file)) => {
                arrived.entry.body = Body::File(file.body);
                self.add(&arrived)
            }
            _ => Err(CaptureError::Died("a reader")),
        }
    }

    fn finish(&mut self, about: About) -> Result<(), CaptureError> {
        let items = std::mem::replace(&mut self.items, Sorter::new(&self.dir)).sorted();
        let names = std::mem::replace(&mut self.names, Names::new(&self.dir));
        let ids = self.pipeline.setting.store.keyring().ids();
        let names = if names.is_empty() { None } else { Some(names.join(&items, ids, &self.dir)?) };
        // What is put in its place was counted when it arrived.
        let quiet = Pipeline { setting: Setting { progress: &Quiet, ..self.pipeline.setting }, ..*self.pipeline };
        let tree = TreeThread::new(&quiet, never(), never(), None);
        let tree = assemble(&items, names.as_ref(), tree, ids, &mut self.importer)?;
        let bytes = self.pipeline.writer.put_bytes();
        self.built.push(Built { about, tree, bytes });
        Ok(())
    }
}
