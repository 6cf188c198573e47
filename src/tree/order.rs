//! Work on several threads whose outcomes are taken in order, with few under way at a time.
//!
//! Threads of its own, not rayon's: jobs wait for disks and for each other's blocks, and the caller may be one of rayon's
//! workers. Whoever has nothing to do sleeps at once: queues that yield first lose a whole slice of time at each wait to
//! whatever else runs on a busy machine.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Jobs under way or waiting to be taken, for each processor.
const JOBS_A_PROCESSOR: usize = 3;

/// Processors that are used.
fn processors() -> usize {
    thread::available_parallelism().map_or(2, usize::from).clamp(2, 16)
}

/// Runs `work` on what `next` gives, on several threads, and gives the outcomes to `take` on this one, in order.
///
/// `next` runs ahead on a thread of its own by at most a few jobs.
///
/// # Errors
/// The first that `take` gives; what is under way is finished, what waits is dropped.
pub fn in_order<J: Send, R: Send, E>(
    mut next: impl FnMut() -> Option<J> + Send,
    work: impl Fn(J) -> R + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let desk = Desk::new(processors() * JOBS_A_PROCESSOR);
    let (desk, work) = (&desk, &work);
    thread::scope(|scope| {
        // One more than processors: now and then one waits for the disk, or for another that writes to the same file.
        for _ in 0..=processors() {
            scope.spawn(move || {
                let _stop = StopOnPanic(desk);
                while let Some((number, job)) = desk.job() {
                    desk.done(number, work(job));
                }
            });
        }
        scope.spawn(move || {
            let _stop = StopOnPanic(desk);
            while desk.has_room() {
                match next() {
                    Some(job) => desk.add(job),
                    None => return desk.end(),
                }
            }
        });
        let _stop = StopOnPanic(desk);
        while let Some(outcome) = desk.outcome() {
            if let Err(e) = take(outcome) {
                desk.stop();
                return Err(e);
            }
        }
        // If a thread panicked, the scope passes that on.
        Ok(())
    })
}

/// Where jobs wait for those who work, and outcomes for who takes them.
struct Desk<J, R> {
    window: usize,
    state: Mutex<State<J, R>>,
    /// There is room for a job.
    room: Condvar,
    /// There is a job, or there will be none any more.
    jobs: Condvar,
    /// The next outcome is there, or there will be none any more.
    outcomes: Condvar,
}

struct State<J, R> {
    jobs: VecDeque<(usize, J)>,
    /// Of each job that was not taken yet, in order: its outcome, once it is there.
    outcomes: VecDeque<Option<R>>,
    /// The number of the first of them.
    first: usize,
    ended: bool,
    stopped: bool,
}

impl<J, R> Desk<J, R> {
    fn new(window: usize) -> Self {
        let state = State { jobs: VecDeque::new(), outcomes: VecDeque::new(), first: 0, ended: false, stopped: false };
        Self { window, state: Mutex::new(state), room: Condvar::new(), jobs: Condvar::new(), outcomes: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<J, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a condition gives something.
    fn wait<T>(&self, changed: &Condvar, mut get: impl FnMut(&mut State<J, R>) -> Option<T>) -> T {
        let mut state = self.state();
        loop {
            if let Some(got) = get(&mut state) {
                return got;
            }
            state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for room for a job; false if none is wanted any more.
    fn has_room(&self) -> bool {
        self.wait(&self.room, |state| (state.stopped || state.outcomes.len() < self.window).then_some(!state.stopped))
    }

    fn add(&self, job: J) {
        let mut state = self.state();
        let number = state.first + state.outcomes.len();
        state.jobs.push_back((number, job));
        state.outcomes.push_back(None);
        self.jobs.notify_one();
    }

    /// Waits for a job; nothing if there will be none.
    fn job(&self) -> Option<(usize, J)> {
        self.wait(&self.jobs, |state| {
            let job = if state.stopped { None } else { state.jobs.pop_front() };
            (job.is_some() || state.ended || state.stopped).then_some(job)
        })
    }

    fn done(&self, number: usize, outcome: R) {
        let mut state = self.state();
        let at = number - state.first;
        state.outcomes[at] = Some(outcome);
        if at == 0 {
            self.outcomes.notify_one();
        }
    }

    /// Waits for the next outcome; nothing if there will be none.
    fn outcome(&self) -> Option<R> {
        self.wait(&self.outcomes, |state| {
            if state.stopped || (state.ended && state.outcomes.is_empty()) {
                return Some(None);
            }
            state.outcomes.front()?.as_ref()?;
            let outcome = state.outcomes.pop_front().flatten();
            state.first += 1;
            self.room.notify_one();
            Some(outcome)
        })
    }

    /// There are no more jobs.
    fn end(&self) {
        self.state().ended = true;
        self.wake_all();
    }

    /// Nothing more is wanted.
    fn stop(&self) {
        self.state().stopped = true;
        self.wake_all();
    }

    fn wake_all(&self) {
        for changed in [&self.room, &self.jobs, &self.outcomes] {
            changed.notify_all();
        }
    }
}

/// Lets nobody wait for a thread that panicked.
struct StopOnPanic<'a, J, R>(&'a Desk<J, R>);

impl<J, R> Drop for StopOnPanic<'_, J, R> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn outcomes_come_in_order_and_few_jobs_are_under_way() {
        let (begun, taken, most) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let mut numbers = 0..500u64;
        let mut expected = 0;
        let done: Result<(), ()> = in_order(
            || {
                let ahead = begun.fetch_add(1, Ordering::SeqCst) - taken.load(Ordering::SeqCst);
                most.fetch_max(ahead, Ordering::SeqCst);
                numbers.next()
            },
            |number| {
                // The later ones of each few are done first.
                thread::sleep(Duration::from_micros((7 - number % 8) * 50));
                number
            },
            |number| {
                assert_eq!(number, expected);
                expected += 1;
                taken.fetch_add(1, Ordering::SeqCst);
                Ok(())
            },
        );
        assert_eq!((done, expected), (Ok(()), 500));
        assert!(most.into_inner() <= processors() * JOBS_A_PROCESSOR + 1);
    }

    #[test]
    fn an_error_ends_it_and_no_job_makes_nothing() {
        let mut numbers = 0..;
        let ended = in_order(|| numbers.next(), |n: u64| n, |n| if n == 40 { Err("enough") } else { Ok(()) });
        assert_eq!(ended, Err("enough"));
        assert_eq!(in_order(|| None::<u8>, |n| n, |_| Err("nothing to take")), Ok(()));
    }

    #[test]
    fn a_panic_is_passed_on_wherever_it_happens() {
        for place in 0..3 {
            let run = || {
                let mut numbers = 0..100;
                in_order(
                    || numbers.next().inspect(|&n| assert!(place != 0 || n != 50, "next")),
                    |n| if place == 1 && n == 50 { panic!("work") } else { n },
                    |n| if place == 2 && n == 50 { panic!("take") } else { Ok::<(), ()>(()) },
                )
            };
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err(), "{place}");
        }
    }
}
