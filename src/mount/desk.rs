//! Where requests are taken and answered, each within a deadline.
//!
//! The kernel lets nobody end, not even by SIGKILL, who waits for the answer to a request that was taken. So each reply lies in
//! a slot while the work for it goes on, and who comes first takes it out: the work, or a watchman who answers EIO. And the last
//! free of the threads that take requests hands its work over: there is always one that takes. A few others do that work; there
//! are more of them only while some are stuck, for each has memory of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use fuser::{
    Errno, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEntry, ReplyLseek, ReplyStatfs, ReplyXattr,
};

use crate::model::{Notice, Progress};

/// Threads besides those that take requests.
const SPARE: usize = 2;
/// The same while some are stuck.
const MOST_SPARE: usize = 64;
/// A request that has waited so long is stuck.
const STUCK: Duration = Duration::from_millis(500);
/// How long a spare thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(10);

macro_rules! replies {
    ($($name:ident $reply:ident),*) => {
        /// A reply that waits for its answer.
        #[derive(Debug)]
        pub(super) enum Reply { $($name($reply)),* }

        impl Reply {
            fn error(self, errno: Errno) {
                match self { $(Self::$name(reply) => reply.error(errno)),* }
            }
        }

        $(impl Sort for $reply {
            fn wrap(self) -> Reply { Reply::$name(self) }
            fn open(reply: Reply) -> Option<Self> {
                if let Reply::$name(reply) = reply { Some(reply) } else { None }
            }
            fn look(reply: &mut Reply) -> Option<&mut Self> {
                if let Reply::$name(reply) = reply { Some(reply) } else { None }
            }
        })*
    };
}

/// A sort of reply.
pub(super) trait Sort: Sized {
    fn wrap(self) -> Reply;
    fn open(reply: Reply) -> Option<Self>;
    fn look(reply: &mut Reply) -> Option<&mut Self>;
}

replies!(
    Attr ReplyAttr, Data ReplyData, Directory ReplyDirectory, DirectoryPlus ReplyDirectoryPlus, Entry ReplyEntry,
    Lseek ReplyLseek, Statfs ReplyStatfs, Xattr ReplyXattr
);

#[derive(Debug, Default)]
struct Slot(Mutex<Option<(Instant, Reply)>>);

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<(Instant, Reply)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes requests. Cheap to share.
#[derive(Debug, Clone)]
pub(super) struct Desk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Threads that take requests.
    threads: usize,
    /// How many of them are at work.
    busy: AtomicUsize,
    /// As many as there ever were requests at a time.
    slots: Mutex<Vec<Arc<Slot>>>,
    free: Mutex<Vec<Arc<Slot>>>,
    spare: AtomicUsize,
    expired: AtomicU64,
    /// Of the expired ones, those whose work still goes on.
    stuck: AtomicUsize,
    hand: Sender<Job>,
    take: Receiver<Job>,
}

type Job = Box<dyn FnOnce() + Send>;

/// The right to answer one request. Dropped without an answer, it answers EIO.
#[derive(Debug)]
pub(super) struct Ticket<R: Sort> {
    desk: Desk,
    slot: Arc<Slot>,
    /// Not by the watchman.
    answered: bool,
    sort: std::marker::PhantomData<fn() -> R>,
}

impl<R: Sort> Ticket<R> {
    /// Answers, unless the watchman did.
    pub(super) fn give(mut self, answer: impl FnOnce(R)) {
        // Not under the lock: an answer is a system call.
        let reply = self.slot.lock().take();
        self.answered = reply.is_some();
        if let Some(reply) = reply.and_then(|(_, reply)| R::open(reply)) {
            answer(reply);
        }
    }

    /// Changes the reply before it is given. Nothing if the watchman has answered.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut R) -> T) -> Option<T> {
        self.slot.lock().as_mut().and_then(|(_, reply)| R::look(reply)).map(change)
    }

    /// Answers with an error.
    pub(super) fn fail(mut self, errno: Errno) {
        let reply = self.slot.lock().take();
        self.answered = reply.is_some();
        if let Some((_, reply)) = reply {
            reply.error(errno);
        }
    }
}

impl<R: Sort> Drop for Ticket<R> {
    fn drop(&mut self) {
        // A reply that is dropped answers EIO.
        if self.slot.lock().take().is_none() && !self.answered {
            self.desk.0.stuck.fetch_sub(1, Ordering::Relaxed);
        }
        self.desk.0.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.slot.clone());
    }
}

impl Desk {
    /// For so many threads that take requests.
    pub(super) fn new(threads: usize) -> Self {
        let (hand, take) = unbounded();
        let (slots, free) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner {
            threads,
            busy: AtomicUsize::new(0),
            slots,
            free,
            spare: AtomicUsize::new(0),
            expired: AtomicU64::new(0),
            stuck: AtomicUsize::new(0),
            hand,
            take,
        }))
    }

    /// How many threads take requests.
    pub(super) fn threads(&self) -> usize {
        self.0.threads
    }

    /// Has a request answered by `work`: on this thread, or on another if this is the last one free.
    pub(super) fn serve<R: Sort + 'static>(&self, reply: R, work: impl FnOnce(Ticket<R>) + Send + 'static) {
        let ticket = self.ticket(reply);
        let job = move || {
            // What panics here costs one answer, not the mount.
            if catch_unwind(AssertUnwindSafe(|| work(ticket))).is_err() {
                log::error!("a request could not be answered: its thread panicked");
            }
        };
        if self.0.busy.fetch_add(1, Ordering::Relaxed) + 1 < self.0.threads {
            job();
        } else {
            self.hand_over(Box::new(job));
        }
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }

    fn ticket<R: Sort>(&self, reply: R) -> Ticket<R> {
        let free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let slot = free.unwrap_or_else(|| {
            let slot = Arc::<Slot>::default();
            self.0.slots.lock().unwrap_or_else(PoisonError::into_inner).push(slot.clone());
            slot
        });
        *slot.lock() = Some((Instant::now(), reply.wrap()));
        Ticket { desk: self.clone(), slot, answered: false, sort: std::marker::PhantomData }
    }

    fn hand_over(&self, job: Job) {
        // It cannot fail: the other end is ours too.
        let _ = self.0.hand.send(job);
        self.help(SPARE);
    }

    /// Has one more thread at the work that waits, if there are fewer than `most`.
    fn help(&self, most: usize) {
        if self.0.take.is_empty() {
            return;
        }
        if self.0.spare.fetch_add(1, Ordering::Relaxed) >= most {
            self.0.spare.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let desk = self.clone();
        let work = move || {
            while let Ok(job) = desk.0.take.recv_timeout(IDLE) {
                job();
            }
            desk.0.spare.fetch_sub(1, Ordering::Relaxed);
        };
        if thread::Builder::new().name("spare".to_owned()).spawn(work).is_err() {
            // The work stays in the queue: whoever is there comes to it, or the watchman.
            self.0.spare.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Answers EIO where nobody did for as long as `deadline`, until `end` is dropped.
    pub(super) fn watch(&self, deadline: Duration, progress: &dyn Progress, end: &Receiver<()>) {
        let interval = (deadline / 8).clamp(Duration::from_millis(50), STUCK);
        let mut stalled = false;
        while end.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            if self.waiting(STUCK) {
                (0..self.0.take.len()).for_each(|_| self.help(MOST_SPARE));
            }
            // The kernel asks once more for a page that it did not get: nobody shall wait twice as long for that.
            let is_stuck = self.0.stuck.load(Ordering::Relaxed) > 0;
            let late = self.expire(if is_stuck { deadline / 4 } else { deadline });
            if late > 0 && !stalled {
                let seconds = deadline.as_secs_f64();
                progress.notice(Notice::Remark(format!(
                    "the store does not answer: whoever waited for {seconds} s got an input/output error"
                )));
            }
            stalled = late > 0 || is_stuck;
        }
    }

    /// Takes out and answers what has waited too long; tells how many.
    fn expire(&self, deadline: Duration) -> usize {
        let slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let late: Vec<_> = slots
            .iter()
            .filter_map(|slot| {
                let mut slot = slot.lock();
                let late = slot.take_if(|(since, _)| since.elapsed() >= deadline);
                // Under the lock, so that whoever comes back to an empty slot finds itself counted.
                self.0.stuck.fetch_add(usize::from(late.is_some()), Ordering::Relaxed);
                late
            })
            .map(|(_, reply)| reply.error(Errno::EIO))
            .collect();
        self.0.expired.fetch_add(late.len() as u64, Ordering::Relaxed);
        late.len()
    }

    /// How many were not answered in time.
    pub(super) fn expired(&self) -> u64 {
        self.0.expired.load(Ordering::Relaxed)
    }

    /// True if somebody has waited for so long.
    fn waiting(&self, time: Duration) -> bool {
        let slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.iter().any(|slot| slot.lock().as_ref().is_some_and(|(since, _)| since.elapsed() >= time))
    }
}
