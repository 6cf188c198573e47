//! A storm: writers, readers, mounts, verify, forget, gc and changes of keys all at once, while somebody kills and stops them at random.
//!
//! `scripts/storm` lasts as long as is asked for: `LARDER_STORM_SECONDS`, `LARDER_TEST_SEED`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::herd::{Ended, Herd};
use crate::keys::named_member;
use crate::sandbox::{Client, Model, Sandbox, compare, model, noise, pick, seed};

/// What must be true of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Living,
    /// Somebody has begun to give it up; whether that was done may not be known.
    Going,
    Gone,
}

#[derive(Debug, Clone)]
struct Known {
    dataset: String,
    tree: Arc<Model>,
    state: State,
    since: Instant,
}

/// What was acknowledged by id, and by dataset what was tried and not acknowledged.
#[derive(Default)]
struct Book {
    known: BTreeMap<String, Known>,
    tried: BTreeMap<String, Vec<Arc<Model>>>,
}

#[derive(Default)]
struct Figures {
    made: AtomicU64,
    given_up: AtomicU64,
    compared: AtomicU64,
    copies: AtomicU64,
    mounts: AtomicU64,
    dead_mounts: AtomicU64,
    stuck: AtomicU64,
    verifies: AtomicU64,
    forgotten: AtomicU64,
    begun: AtomicU64,
    collections: AtomicU64,
    rotations: AtomicU64,
    reseals: AtomicU64,
}

struct Storm {
    sandbox: Sandbox,
    herd: Herd,
    seed: u64,
    until: Instant,
    book: Mutex<Book>,
    figures: Figures,
    faults: Mutex<Vec<String>>,
}

/// Dice of one worker.
struct Dice {
    seed: u64,
    turn: u64,
}

impl Dice {
    fn roll(&mut self, end: u64) -> u64 {
        self.turn += 1;
        pick(self.seed, self.turn, end)
    }
}

fn count(figure: &AtomicU64) {
    figure.fetch_add(1, Ordering::Relaxed);
}

impl Storm {
    fn goes_on(&self) -> bool {
        Instant::now() < self.until && self.faults.lock().unwrap().is_empty()
    }

    fn fault(&self, text: String) {
        println!("fault: {text}");
        self.faults.lock().unwrap().push(text);
    }

    fn dice(&self, worker: u64) -> Dice {
        Dice { seed: self.seed.wrapping_mul(0x9e37_79b9).wrapping_add(worker << 48), turn: 0 }
    }

    fn larder(&self, client: &Client, words: &[&str]) -> Command {
        let mut command = client.command(env!("CARGO_BIN_EXE_larder"));
        command.arg("--store").arg(self.sandbox.store()).args(words);
        command
    }

    /// Runs the CLI; nothing if it was killed, or hangs, which is a fault.
    fn run(&self, client: &Client, words: &[&str]) -> Option<Ended> {
        match self.herd.run(&mut self.larder(client, words)) {
            Ok(ended) => ended.status.is_some().then_some(ended),
            Err(why) => {
                self.fault(why);
                None
            }
        }
    }

    /// Runs what must be done unless it is killed. True if it was done.
    fn must(&self, client: &Client, words: &[&str]) -> bool {
        let Some(ended) = self.run(client, words) else { return false };
        if ended.status != Some(0) {
            self.fault(format!("{words:?}: {}", ended.told()));
        }
        ended.status == Some(0)
    }

    /// A snapshot that lives and was acknowledged at least so long ago.
    fn living(&self, dice: &mut Dice, age: Duration) -> Option<(String, Known)> {
        let book = self.book.lock().unwrap();
        let fits = |known: &&Known| known.state == State::Living && known.since.elapsed() >= age;
        let list: Vec<_> = book.known.iter().filter(|(_, known)| fits(known)).collect();
        let at = dice.roll(list.len() as u64) as usize;
        list.get(at).map(|(id, known)| ((*id).clone(), (*known).clone()))
    }

    fn state(&self, id: &str) -> State {
        self.book.lock().unwrap().known[id].state
    }

    fn set(&self, id: &str, state: State) {
        self.book.lock().unwrap().known.get_mut(id).unwrap().state = state;
    }

    /// Snapshots of a tree that changes, into one dataset.
    fn writes(&self, client: &Client, worker: u64) {
        let (mut dice, dataset) = (self.dice(worker), format!("set{worker}"));
        let tree = self.sandbox.path(format!("tree{worker}"));
        fs::create_dir_all(tree.join("folder")).unwrap();
        for file in 0..10 {
            fs::write(tree.join(format!("folder/{file}")), noise(file, 20_000)).unwrap();
        }
        while self.goes_on() {
            for _ in 0..=dice.roll(3) {
                let len = 1 + dice.roll(60_000) as usize;
                fs::write(tree.join(format!("folder/{}", dice.roll(10))), noise(dice.roll(1000), len)).unwrap();
            }
            fs::write(tree.join("turn"), dice.turn.to_string()).unwrap();
            let known = Arc::new(model(&tree));
            let words = ["snapshot", tree.to_str().unwrap(), "--dataset", &dataset, "--json"];
            // It may be listed before we know of it.
            self.book.lock().unwrap().tried.entry(dataset.clone()).or_default().push(known.clone());
            match self.run(client, &words) {
                Some(Ended { status: Some(0), stdout, .. }) => {
                    let report: serde_json::Value = serde_json::from_slice(&stdout).unwrap();
                    let id = report["id"].as_str().unwrap().to_owned();
                    let (dataset, since) = (dataset.clone(), Instant::now());
                    let known = Known { dataset, tree: known, state: State::Living, since };
                    self.book.lock().unwrap().known.insert(id, known);
                    count(&self.figures.made);
                }
                Some(ended) => self.fault(format!("{words:?}: {}", ended.told())),
                None => count(&self.figures.given_up),
            }
        }
    }

    /// Restores and cats. A snapshot may be given up meanwhile: 10.
    fn reads(&self, client: &Client, worker: u64) {
        let mut dice = self.dice(worker);
        let dest = self.sandbox.path(format!("dest{worker}"));
        while self.goes_on() {
            let Some((id, known)) = self.living(&mut dice, Duration::ZERO) else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            let file = format!("folder/{}", dice.roll(10));
            let path = format!("{id}:{file}");
            let restores = dice.roll(2) == 0;
            let words = if restores { ["restore", &id, dest.to_str().unwrap()] } else { ["cat", "--quiet", &path] };
            let ended = self.run(client, &words);
            match ended {
                Some(Ended { status: Some(0), stdout, .. }) => {
                    let told = &known.tree[file.as_bytes()];
                    let compared = if restores {
                        compare(&known.tree, &model(&dest))
                    } else if told.contains(&format!(" {} {}", stdout.len(), blake3::hash(&stdout))) {
                        Ok(())
                    } else {
                        Err("wrong bytes".to_owned())
                    };
                    compared.unwrap_or_else(|why| self.fault(format!("{words:?}: {why}")));
                    count(&self.figures.compared);
                }
                Some(Ended { status: Some(10), .. }) if self.state(&id) != State::Living => {}
                Some(ended) => self.fault(format!("{words:?}: {}", ended.told())),
                None => {}
            }
            let _ = fs::remove_dir_all(&dest);
        }
    }

    /// Mounts, copies snapshots out, and ends the mount in one of several ways. A copy may fail if the server was killed, or the
    /// snapshot given up.
    fn mounts(&self, client: &Client, worker: u64) {
        let mut dice = self.dice(worker);
        let point = self.sandbox.path(format!("mnt{worker}"));
        let dest = self.sandbox.path(format!("copy{worker}"));
        fs::create_dir_all(&point).unwrap();
        while self.goes_on() {
            let log = self.sandbox.path(format!("mount{worker}.log"));
            let mut command = self.larder(client, &["mount", point.to_str().unwrap()]);
            let server = self.herd.begin(command.stderr(fs::File::create(&log).unwrap()));
            while !is_mounted(&point) && server.ended().is_none() {
                std::thread::sleep(Duration::from_millis(10));
            }
            if !is_mounted(&point) && !server.was_killed() {
                self.fault(format!("no mount: {}", fs::read_to_string(&log).unwrap()));
            }
            count(&self.figures.mounts);
            for _ in 0..dice.roll(12) {
                // What is new appears within a second or so.
                let Some((id, known)) = self.living(&mut dice, Duration::from_secs(10)) else { break };
                let from = point.join("snapshots").join(&id[..16]);
                match self.herd.run(client.command("cp").arg("-a").arg(&from).arg(&dest)) {
                    Ok(Ended { status: Some(0), .. }) => {
                        if let Err(why) = compare(&known.tree, &model(&dest)) {
                            self.fault(format!("{} from a mount: {why}", &id[..16]));
                        }
                        count(&self.figures.copies);
                    }
                    Ok(Ended { status: Some(_), stderr, .. }) => {
                        if self.state(&id) == State::Living && !server.was_killed() && self.goes_on() {
                            let said = fs::read_to_string(&log).unwrap();
                            self.fault(format!("{} cannot be copied out of a mount: {stderr}{said}", &id[..16]));
                        }
                    }
                    Ok(_) => {}
                    // A mount that is killed while it hands a file to the kernel leaves whoever reads it waiting, until it is unmounted.
                    Err(_) if server.was_killed() => {
                        count(&self.figures.stuck);
                        break;
                    }
                    Err(why) => self.fault(why),
                }
                let _ = fs::remove_dir_all(&dest);
            }
            if dice.roll(3) == 0 {
                server.kill();
            }
            if server.was_killed() {
                count(&self.figures.dead_mounts);
            }
            // Whoever unmounts may be killed too; and the table of mounts, read while others mount, may lack a row for once.
            let begun = Instant::now();
            while (is_mounted(&point) || server.ended().is_none()) && begun.elapsed() < Duration::from_mins(3) {
                std::thread::sleep(Duration::from_millis(5));
                if is_mounted(&point) {
                    match self.run(client, &["unmount", point.to_str().unwrap()]) {
                        Some(Ended { status: Some(0 | 10), .. }) | None => {}
                        Some(ended) => self.fault(format!("unmount: {}", ended.told())),
                    }
                }
            }
            while self.herd.has(&dest) && begun.elapsed() < Duration::from_mins(3) {
                std::thread::sleep(Duration::from_millis(20));
            }
            if self.herd.has(&dest) {
                self.fault(format!("what copies to {} waits for a mount that is gone", dest.display()));
            }
            let _ = fs::remove_dir_all(&dest);
            if server.ended().is_none() {
                let said = fs::read_to_string(&log).unwrap();
                self.fault(format!("the mount is gone, its process is not: {said}{}", server.stacks()));
            }
        }
        let _ = rustix::mount::unmount(&point, rustix::mount::UnmountFlags::DETACH);
    }

    fn verifies(&self, client: &Client, worker: u64) {
        let mut dice = self.dice(worker);
        while self.goes_on() {
            let words = [&["verify"][..], &["verify", "--no-key"], &["verify", "--read-data=20"]];
            if self.must(client, words[dice.roll(3) as usize]) {
                count(&self.figures.verifies);
            }
            std::thread::sleep(Duration::from_millis(dice.roll(600)));
        }
    }

    fn gives_up(&self, client: &Client, worker: u64) {
        let mut dice = self.dice(worker);
        while self.goes_on() {
            std::thread::sleep(Duration::from_millis(dice.roll(900)));
            for _ in 0..dice.roll(4) {
                let Some((id, _)) = self.living(&mut dice, Duration::ZERO) else { break };
                self.set(&id, State::Going);
                if self.must(client, &["forget", &id]) {
                    self.set(&id, State::Gone);
                    count(&self.figures.forgotten);
                }
            }
            count(&self.figures.begun);
            if self.must(client, &["gc"]) {
                count(&self.figures.collections);
            }
        }
    }

    fn rotates(&self, client: &Client, worker: u64) {
        let mut dice = self.dice(worker);
        while self.goes_on() {
            std::thread::sleep(Duration::from_millis(1500 + dice.roll(4500)));
            let words = ["key", "rotate", "--reseal"];
            let reseals = dice.roll(2) == 0;
            if self.must(client, &words[..2 + usize::from(reseals)]) {
                count(&self.figures.rotations);
                if reseals {
                    count(&self.figures.reseals);
                }
            }
        }
    }

    /// What must hold when the storm is over.
    fn settles(&self) -> Result<(), String> {
        let run = |words: &[&str]| {
            let ran = self.sandbox.larder(words);
            if ran.status == 0 {
                return Ok(ran);
            }
            Err(format!("{words:?}: exit {}: {}{}", ran.status, ran.stderr, String::from_utf8_lossy(&ran.stdout)))
        };
        for words in
            [&["verify", "--no-key"][..], &["verify", "--read-data"], &["gc"], &["verify", "--read-data"], &["repair"]]
        {
            let _ = run(words)?;
        }
        let list = run(&["list", "--json"])?.json();
        let list: BTreeMap<_, _> = list.as_array().unwrap().iter().map(|s| (s["id"].as_str().unwrap(), s)).collect();
        let book = self.book.lock().unwrap();
        for (id, known) in &book.known {
            let (listed, state) = (list.contains_key(id.as_str()), known.state);
            if (state == State::Living && !listed) || (state == State::Gone && listed) {
                return Err(format!("snapshot {id} of {} is {state:?}, and listed: {listed}", known.dataset));
            }
        }
        let dest = self.sandbox.path("settled");
        let mut unknown = 0;
        for (id, told) in &list {
            let _ = run(&["restore", id, dest.to_str().unwrap()])?;
            let found = model(&dest);
            fs::remove_dir_all(&dest).unwrap();
            if let Some(known) = book.known.get(*id) {
                compare(&known.tree, &found).map_err(|why| format!("snapshot {id}: {why}"))?;
            } else {
                // Whoever took it was killed before it could say so.
                unknown += 1;
                let tried = &book.tried[told["dataset"].as_str().unwrap()];
                if !tried.iter().any(|tree| **tree == found) {
                    return Err(format!("snapshot {id} is nothing that was captured"));
                }
            }
        }
        println!("{} snapshots live and were compared; {unknown} of them were not acknowledged", list.len());
        Ok(())
    }
}

fn is_mounted(point: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    table.lines().any(|line| line.split(' ').nth(1) == point.to_str())
}

/// Acknowledged snapshots survive kills of anybody at any time; reads give the right bytes or an error; everybody comes to an end.
#[test]
fn a_storm_of_kills_loses_nothing() {
    assert!(rustix::process::geteuid().is_root() && Path::new("/dev/fuse").exists(), "mounts need root and /dev/fuse");
    let seconds = std::env::var("LARDER_STORM_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(15);
    let (seed, sandbox) = (seed(), Sandbox::with_store());
    let writers: Vec<_> = (0..2).map(|n| named_member(&sandbox, "writer", &format!("writer{n}"))).collect();
    let away: Vec<_> = (0..3).map(|n| sandbox.another_client(&format!("away{n}"))).collect();
    let until = Instant::now() + Duration::from_secs(seconds);
    let (herd, book, figures, faults) = <(Herd, Mutex<Book>, Figures, Mutex<Vec<String>>)>::default();
    let storm = Storm { sandbox, herd, seed, until, book, figures, faults };
    let home = storm.sandbox.client().clone();
    let s = &storm;
    std::thread::scope(|scope| {
        // Some share a home, as the processes of one user do.
        scope.spawn(|| s.writes(&home, 1));
        scope.spawn(|| s.writes(&away[0], 2));
        scope.spawn(|| s.writes(&writers[0], 3));
        scope.spawn(|| s.writes(&writers[1], 4));
        scope.spawn(|| s.reads(&home, 5));
        scope.spawn(|| s.reads(&away[1], 6));
        scope.spawn(|| s.mounts(&home, 7));
        scope.spawn(|| s.mounts(&away[1], 8));
        scope.spawn(|| s.verifies(&away[0], 9));
        scope.spawn(|| s.gives_up(&away[2], 10));
        scope.spawn(|| s.rotates(&home, 11));
        scope.spawn(|| s.herd.chaos(seed, || s.goes_on()));
    });
    let settled = storm.settles();
    let faults = storm.faults.lock().unwrap().join("\n");
    assert!(faults.is_empty() && settled.is_ok(), "{faults}\nin the end: {settled:?}");
    let of = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    let (f, h) = (&storm.figures, &storm.herd);
    println!(
        "{seconds} s, seed {seed}: {} processes, {} killed, {} stopped for a while; {} snapshots made, {} killed, \
         {} reads compared, {} copies out of {} mounts, of which {} were killed ({} with somebody waiting); {} verifies, {} forgotten, {} gcs of {} begun, {} rotations, {} with everything sealed anew",
        of(&h.begun),
        of(&h.kills),
        of(&h.stops),
        of(&f.made),
        of(&f.given_up),
        of(&f.compared),
        of(&f.copies),
        of(&f.mounts),
        of(&f.dead_mounts),
        of(&f.stuck),
        of(&f.verifies),
        of(&f.forgotten),
        of(&f.collections),
        of(&f.begun),
        of(&f.rotations),
        of(&f.reseals),
    );
    assert!(of(&f.made) > 0 && of(&h.kills) > 0, "nothing happened");
}
