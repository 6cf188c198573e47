//! A stream cut into parts of one size. Several threads make something of each; the outcomes are written in the stream's order.
//!
//! So the bytes that come out follow from the bytes that go in alone, however many threads there are and however the stream is written.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// Threads that are used at most.
pub(super) const THREADS_MAX: usize = 16;
/// Parts under way beyond one for each thread.
const AHEAD: usize = 2;

/// A part of a stream.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// What it looks back on: the end of the part before it.
    pub(super) before: Vec<u8>,
    /// Its bytes: as many as a part has, fewer in the last one.
    pub(super) bytes: Vec<u8>,
    /// Nothing comes behind it.
    pub(super) last: bool,
}

/// What was made of a part: bytes, and what else is to be known of it.
pub(super) struct Made<N> {
    pub(super) bytes: Vec<u8>,
    pub(super) note: N,
}

type Work<N> = dyn Fn(&Part) -> io::Result<Made<N>> + Send + Sync;

/// The sizes of parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Bytes of a part.
    pub(super) part: usize,
    /// Bytes of the part before it that it looks back on.
    pub(super) before: usize,
}

/// Takes a stream and writes what is made of its parts.
///
/// Dropped before [`Self::finish`], what was not written yet is lost.
pub(super) struct Parts<W: Write, N: Send + 'static> {
    out: W,
    sizes: Sizes,
    now: Part,
    /// Of each part that was written: its note.
    taken: Box<dyn FnMut(N) + Send>,
    crew: Crew<N>,
    window: usize,
}

/// The threads, which end when it is dropped.
struct Crew<N> {
    desk: Arc<Desk<N>>,
    threads: Vec<JoinHandle<()>>,
}

impl<N> Drop for Crew<N> {
    fn drop(&mut self) {
        self.desk.end();
        for thread in std::mem::take(&mut self.threads) {
            // One that panicked has said so with its part.
            let _ = thread.join();
        }
    }
}

impl<W: Write, N: Send + 'static> Parts<W, N> {
    /// Parts of a stream that goes to `out`. `taken` is given the notes in order.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub(super) fn new(
        out: W,
        sizes: Sizes,
        threads: usize,
        work: impl Fn(&Part) -> io::Result<Made<N>> + Send + Sync + 'static,
        taken: impl FnMut(N) + Send + 'static,
    ) -> io::Result<Self> {
        let threads = threads.clamp(1, THREADS_MAX);
        let work: Arc<Work<N>> = Arc::new(work);
        let mut crew = Crew { desk: Arc::new(Desk::new()), threads: Vec::with_capacity(threads) };
        for _ in 0..threads {
            let (desk, work) = (Arc::clone(&crew.desk), Arc::clone(&work));
            crew.threads.push(thread::Builder::new().name("compress".to_owned()).spawn(move || desk.serve(&*work))?);
        }
        Ok(Self { out, sizes, now: Part::default(), taken: Box::new(taken), crew, window: threads + AHEAD })
    }

    /// Hands the current part in. Of a full window the first part is waited for and written.
    fn hand_in(&mut self, last: bool) -> io::Result<()> {
        let mut next = self.crew.desk.spare();
        let end = self.now.bytes.len().saturating_sub(self.sizes.before);
        next.before.extend_from_slice(&self.now.bytes[end..]);
        let mut part = std::mem::replace(&mut self.now, next);
        part.last = last;
        self.crew.desk.add(part);
        while self.crew.desk.under_way() >= self.window {
            self.take()?;
        }
        // What is done already need not wait in memory.
        while self.crew.desk.is_done() {
            self.take()?;
        }
        Ok(())
    }

    fn take(&mut self) -> io::Result<()> {
        let made = self.crew.desk.outcome()?;
        self.out.write_all(&made.bytes)?;
        (self.taken)(made.note);
        Ok(())
    }

    /// What the stream goes to.
    pub(super) fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// Ends the stream. Of an empty one there is one part, which is empty.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.hand_in(true)?;
        while self.crew.desk.under_way() > 0 {
            self.take()?;
        }
        Ok(self.out)
    }
}

impl<W: Write, N: Send + 'static> Write for Parts<W, N> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Only of what comes behind it is known that a full part is not the last.
        if self.now.bytes.len() == self.sizes.part && !bytes.is_empty() {
            self.hand_in(false)?;
        }
        let len = bytes.len().min(self.sizes.part - self.now.bytes.len());
        if self.now.bytes.capacity() == 0 && len < self.sizes.part {
            self.now.bytes.reserve_exact(self.sizes.part);
        }
        self.now.bytes.extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    /// What is not a whole part stays: an early end would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Where parts wait for the threads, and outcomes for who writes them.
struct Desk<N> {
    state: Mutex<State<N>>,
    /// There is a part, or there will be none any more.
    jobs: Condvar,
    /// An outcome is there.
    outcomes: Condvar,
}

struct State<N> {
    jobs: VecDeque<(usize, Part)>,
    /// Of each part that was not taken yet, in order: its outcome, once it is there.
    outcomes: VecDeque<Option<io::Result<Made<N>>>>,
    /// The number of the first of them.
    first: usize,
    spare: Vec<Part>,
    ended: bool,
}

impl<N> Desk<N> {
    fn new() -> Self {
        let (jobs, outcomes, spare) = (VecDeque::new(), VecDeque::new(), Vec::new());
        let state = State { jobs, outcomes, first: 0, spare, ended: false };
        Self { state: Mutex::new(state), jobs: Condvar::new(), outcomes: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<N>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part whose memory is used again.
    fn spare(&self) -> Part {
        self.state().spare.pop().unwrap_or_default()
    }

    fn add(&self, part: Part) {
        let mut state = self.state();
        let number = state.first + state.outcomes.len();
        state.jobs.push_back((number, part));
        state.outcomes.push_back(None);
        self.jobs.notify_one();
    }

    fn under_way(&self) -> usize {
        self.state().outcomes.len()
    }

    /// True if the next outcome is there.
    fn is_done(&self) -> bool {
        self.state().outcomes.front().is_some_and(Option::is_some)
    }

    /// Waits for the next outcome; there must be a part under way.
    fn outcome(&self) -> io::Result<Made<N>> {
        let mut state = self.state();
        loop {
            if state.outcomes.front().is_some_and(Option::is_some) {
                state.first += 1;
                let lost = || io::Error::other("a part of the stream was lost");
                return state.outcomes.pop_front().flatten().unwrap_or_else(|| Err(lost()));
            }
            state = self.outcomes.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn end(&self) {
        self.state().ended = true;
        self.jobs.notify_all();
    }

    /// Works on parts until there are none any more.
    fn serve(&self, work: &Work<N>) {
        while let Some((number, mut part)) = self.job() {
            let failed = FailOnPanic { desk: self, number };
            let outcome = work(&part);
            std::mem::forget(failed);
            for bytes in [&mut part.before, &mut part.bytes] {
                bytes.clear();
            }
            self.done(number, outcome, Some(part));
        }
    }

    fn job(&self) -> Option<(usize, Part)> {
        let mut state = self.state();
        loop {
            if state.ended {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state = self.jobs.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, number: usize, outcome: io::Result<Made<N>>, spare: Option<Part>) {
        let mut state = self.state();
        let at = number - state.first;
        state.outcomes[at] = Some(outcome);
        state.spare.extend(spare);
        if at == 0 {
            self.outcomes.notify_one();
        }
    }
}

/// Lets nobody wait for a thread that panicked.
struct FailOnPanic<'a, N> {
    desk: &'a Desk<N>,
    number: usize,
}

impl<N> Drop for FailOnPanic<'_, N> {
    fn drop(&mut self) {
        self.desk.done(self.number, Err(io::Error::other("a thread that compressed has failed")), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(threads: usize, fail_at: u8) -> Parts<Vec<u8>, usize> {
        let work = move |part: &Part| {
            if part.bytes.first() == Some(&fail_at) {
                return Err(io::Error::other("this one"));
            }
            assert!(part.bytes.first() != Some(&254), "a panic, as a bug would make one");
            // Later parts are done first.
            std::thread::sleep(std::time::Duration::from_micros(u64::from(200 - part.bytes[0])));
            let bytes = [&part.before[..], b"|", &part.bytes, if part.last { b"." } else { b"" }].concat();
            Ok(Made { bytes, note: part.bytes.len() })
        };
        let mut expected = 0;
        let taken = move |len| {
            assert!(len == 3 || expected == 9, "notes come in order");
            expected += 1;
        };
        Parts::new(Vec::new(), Sizes { part: 3, before: 1 }, threads, work, taken).unwrap()
    }

    #[test]
    fn parts_come_in_order_whatever_the_threads_and_the_writes() {
        let content: Vec<u8> = (10..39).collect();
        let mut wanted = None;
        for (threads, step) in [(1, 1), (4, 2), (2, 29), (16, 3)] {
            let mut parts = parts(threads, 255);
            for slice in content.chunks(step) {
                parts.write_all(slice).unwrap();
                parts.flush().unwrap();
            }
            let made = parts.finish().unwrap();
            assert_eq!(made[..8], [b'|', 10, 11, 12, 12, b'|', 13, 14]);
            assert_eq!(made[made.len() - 5..], [36, b'|', 37, 38, b'.']);
            assert_eq!(wanted.get_or_insert(made.clone()), &made);
        }
    }

    #[test]
    fn a_full_part_may_be_the_last() {
        let mut parts = parts(2, 255);
        parts.write_all(&[1, 2, 3]).unwrap();
        assert_eq!(parts.finish().unwrap(), [b'|', 1, 2, 3, b'.']);
    }

    #[test]
    fn failures_are_passed_on() {
        for bad in [100, 254] {
            let mut parts = parts(2, 100);
            let written = (0..9).try_for_each(|_| parts.write_all(&[bad, 2, 3]));
            assert!(written.and_then(|()| parts.finish().map(drop)).is_err(), "{bad}");
        }
    }
}
