//! Random runs of commands against an oracle, with kills in the middle and clocks that jump: after each step the store says what the
//! oracle says, and at the end every snapshot that lives comes back as it was.
//!
//! Each run follows from its seed. One that fails is made shorter as far as it still fails, and its steps are told.
//! `scripts/model-runs` makes as many as asked: `LARDER_RUNS`, `LARDER_STEPS`, `LARDER_TEST_SEED`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use larder::model::Role;
use serde_json::Value;

use crate::crash::shim;
use crate::keys::stranger;
use crate::oracle::{DATASETS, Member, Oracle, Series, Snapshot, State};
use crate::sandbox::{Client, Ran, Sandbox, compare, model, noise, pick, seed};

const KILLED: i32 = 137;
const DAY: i64 = 86_400;
/// Between jumps and the ends of holds lies half an hour: no command takes so long.
const JUMPS: [i64; 9] = [3600, 7200, DAY, 40 * DAY, 3000 * DAY, -3600, -2 * DAY, -400 * DAY, -6000 * DAY];
const HOLDS: [i64; 4] = [5400, DAY + 1800, 30 * DAY + 1800, 2000 * DAY + 1800];
const ZONES: [&str; 4] = ["UTC", "Pacific/Kiritimati", "America/St_Johns", ":/no/such/zone"];
const MOST_MEMBERS: usize = 5;

/// What is done. Numbers are taken modulo what there is, so that a part of a run is a run.
#[derive(Debug, Clone, Copy)]
enum Step {
    Change { set: usize, dice: u64 },
    Snapshot { set: usize, who: usize, immutable: bool },
    ForgetNamed { first: usize, more: usize },
    ForgetLast { set: Option<usize>, keep: usize },
    ForgetByPolicy,
    Hold { which: usize, until: Option<i64> },
    Release { which: usize },
    Policy { set: usize, keep: Option<usize> },
    Gc,
    AddKey { role: Role },
    RemoveKey { who: usize },
    RotateKeys { reseal: bool },
    Restore { which: usize },
    Export { which: usize },
    Verify { data: bool },
    Repair,
    Denied { who: usize },
    Clock { jump: i64 },
}

/// A step, the dice for who does it and where, and at which operation on the store's files it is killed, if it comes so far.
#[derive(Debug, Clone, Copy)]
struct Move {
    step: Step,
    dice: usize,
    kill: Option<u64>,
}

fn random_move(seed: u64, turn: u64) -> Move {
    let roll = |what: u64, end: u64| pick(seed, turn * 16 + what, end);
    let index = |what| roll(what, 1 << 20) as usize;
    let (set, which) = (index(1) % DATASETS.len(), index(2));
    let step = match roll(0, 100) {
        0..14 => Step::Change { set, dice: roll(3, 1 << 40) },
        14..42 => Step::Snapshot { set, who: which, immutable: roll(3, 12) == 0 },
        42..50 => Step::ForgetNamed { first: which, more: index(3) % 3 },
        50..55 => Step::ForgetLast { set: (roll(3, 2) == 0).then_some(set), keep: 1 + index(4) % 4 },
        55..58 => Step::ForgetByPolicy,
        58..63 => Step::Hold { which, until: (roll(3, 3) > 0).then(|| HOLDS[index(4) % HOLDS.len()]) },
        63..66 => Step::Release { which },
        66..69 => Step::Policy { set, keep: (roll(3, 4) > 0).then(|| 1 + index(4) % 4) },
        69..77 => Step::Gc,
        77..80 => Step::AddKey { role: [Role::Writer, Role::Writer, Role::Catalog, Role::Owner][index(3) % 4] },
        80..82 => Step::RemoveKey { who: which },
        82..84 => Step::RotateKeys { reseal: roll(3, 2) == 0 },
        84..88 => Step::Restore { which },
        88..90 => Step::Export { which },
        90..92 => Step::Verify { data: roll(3, 2) == 0 },
        92..94 => Step::Repair,
        94..96 => Step::Denied { who: which },
        _ => Step::Clock { jump: JUMPS[index(3) % JUMPS.len()] },
    };
    Move { step, dice: index(5), kill: (roll(6, 4) == 0).then(|| 1 + roll(7, 170)) }
}

#[derive(Debug, Default)]
struct Figures {
    steps: BTreeMap<&'static str, u64>,
    kills: u64,
    compared: u64,
}

/// A run under way.
struct Run {
    sandbox: Sandbox,
    clients: Vec<Client>,
    oracle: Oracle,
    /// Seconds by which the clock is ahead of the true one.
    shift: i64,
    figures: Figures,
}

type Told<T = ()> = Result<T, String>;

fn told(what: &str, ran: &Ran) -> String {
    format!("{what}: exit {}: {}{}", ran.status, ran.stderr.trim(), String::from_utf8_lossy(&ran.stdout))
}

fn json(what: &str, ran: &Ran) -> Told<Value> {
    serde_json::from_slice(&ran.stdout).map_err(|e| format!("{e}: {}", told(what, ran)))
}

impl Run {
    fn new() -> Self {
        let sandbox = Sandbox::with_store();
        let clients = vec![sandbox.client().clone()];
        let oracle = Oracle { members: vec![Member { role: Role::Owner, has_key: true }], ..Oracle::default() };
        let run = Self { sandbox, clients, oracle, shift: 0, figures: Figures::default() };
        for set in 0..DATASETS.len() {
            fs::create_dir_all(run.tree(set).join("folder")).unwrap();
            (0..8).for_each(|file| run.write(set, file, file + 10 * set as u64));
        }
        run
    }

    fn tree(&self, set: usize) -> PathBuf {
        self.sandbox.path(format!("tree-{set}"))
    }

    /// Trees stay of one size, so that no snapshot is strange beside those before it.
    fn write(&self, set: usize, file: u64, dice: u64) {
        let name = if file.is_multiple_of(2) { format!("{file}") } else { format!("folder/{file}") };
        fs::write(self.tree(set).join(name), noise(dice, (dice % 30_000) as usize)).unwrap();
    }

    fn now(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed() + self.shift
    }

    fn command(&self, who: usize, dice: usize, words: &[&str]) -> Command {
        let mut command = self.clients[who].larder(&self.sandbox.store());
        command.args(words).env("TZ", ZONES[dice % ZONES.len()]);
        command.env("LD_PRELOAD", shim()).env("SHIM_CLOCK", self.shift.to_string());
        command
    }

    /// Runs the CLI by this clock.
    fn larder(&self, who: usize, words: &[&str]) -> Ran {
        Ran::of(&mut self.command(who, 0, words))
    }

    /// The same, killed where the move says.
    fn moved(&mut self, who: usize, at: Move, words: &[&str]) -> Ran {
        let mut command = self.command(who, at.dice, words);
        if let Some(kill) = at.kill {
            command.env("SHIM_MODE", "kill").env("SHIM_ROOT", self.sandbox.store()).env("SHIM_AT", kill.to_string());
        }
        let ran = Ran::of(&mut command);
        self.figures.kills += u64::from(ran.status == KILLED);
        ran
    }

    fn list(&self) -> Told<Value> {
        json("list", &self.larder(0, &["list", "--json"]))
    }

    /// Those who may do what takes such a role: one of them.
    fn one_with(&self, role: Role, dice: usize) -> usize {
        let may = |who: &usize| self.oracle.members[*who].has_key && self.oracle.members[*who].role >= role;
        let all: Vec<_> = (0..self.clients.len()).filter(may).collect();
        all[dice % all.len()]
    }

    /// Somebody who is trusted has written into the log.
    fn witnessed(&mut self) {
        self.oracle.latest = self.oracle.latest.max(self.now());
    }

    fn step(&mut self, at: Move) -> Told {
        let count = self.oracle.snapshots.len();
        let id = |which: usize| self.oracle.snapshots[which % count].id.clone();
        let name = match at.step {
            Step::Change { set, dice } => {
                (0..=dice % 3).for_each(|n| self.write(set, pick(dice, n, 8), dice.rotate_left(n as u32 * 9)));
                "changes"
            }
            Step::Clock { jump } => {
                self.shift += jump;
                "jumps of the clock"
            }
            Step::Snapshot { set, who, immutable } => self.snapshot(at, set, who, immutable)?,
            Step::AddKey { role } => self.add_key(at, role)?,
            Step::RemoveKey { who } => self.remove_key(at, who)?,
            Step::RotateKeys { reseal } => {
                let words = ["key", "rotate", "--reseal"];
                // Sealing anew collects.
                let garbage = if reseal { self.oracle.garbage(self.now()) } else { Vec::new() };
                let ran = self.moved(0, at, &words[..2 + usize::from(reseal)]);
                done_or_killed("key rotate", &ran)?;
                self.oracle
                    .set(&garbage, if ran.status == KILLED { State::PerhapsCollected } else { State::Collected });
                self.witnessed();
                if reseal { "rotations of keys, all sealed anew" } else { "rotations of keys" }
            }
            Step::Verify { data } => {
                let words = if data { ["verify", "--read-data"] } else { ["verify", "--no-key"] };
                done_or_killed("verify", &self.moved(self.one_with(Role::Owner, at.dice), at, &words))?;
                "verifies"
            }
            Step::Repair => {
                let ran = self.moved(0, at, &["repair", "--apply", "--json"]);
                done_or_killed("repair", &ran)?;
                if ran.status == 0 && json("repair", &ran)?["needed"] != false {
                    return Err(told("repair has changed a whole store", &ran));
                }
                "repairs"
            }
            Step::Denied { who } => self.denied(who)?,
            Step::Gc => self.gc(at)?,
            Step::Policy { set, keep } => self.policy(at, set, keep)?,
            Step::ForgetByPolicy => {
                let policies = self.oracle.policies;
                self.forget(at, &["--policy"], |oracle, now| (0, oracle.beyond(|set| policies[set], now)))?
            }
            Step::ForgetLast { set, keep } => {
                let of = set.filter(|set| self.oracle.snapshots.iter().any(|s| s.lives() && s.dataset == *set));
                let mut words = vec!["--keep-last".to_owned(), keep.to_string()];
                words.extend(of.iter().flat_map(|set| ["-d".to_owned(), DATASETS[*set].to_owned()]));
                let words: Vec<_> = words.iter().map(String::as_str).collect();
                let keep = |set| of.is_none_or(|of| of == set).then_some(keep);
                self.forget(at, &words, |oracle, now| (0, oracle.beyond(keep, now)))?
            }
            _ if count == 0 => return Ok(()),
            Step::ForgetNamed { first, more } => {
                let mut named: Vec<_> = (0..=more).map(|n| (first + n * 7) % count).collect();
                named.sort_unstable();
                named.dedup();
                let ids: Vec<_> = named.iter().map(|which| id(*which)).collect();
                let words: Vec<_> = ids.iter().map(String::as_str).collect();
                self.forget(at, &words, |oracle, now| (oracle.of_forgetting(&named, now), named.clone()))?
            }
            Step::Hold { which, until } => {
                let until_text = until.map(|seconds| format!("{}min", seconds / 60));
                let mut words = vec!["--reason", "a test"];
                words.extend(until_text.iter().flat_map(|text| ["--until", text]));
                let ends = until.map(|seconds| self.now() + seconds);
                self.hold(at, "hold", which % count, &words, |holds| holds.push(ends))?
            }
            Step::Release { which } => self.hold(at, "release", which % count, &[], Vec::clear)?,
            Step::Restore { which } => self.restore(at, which % count)?,
            Step::Export { which } => self.export(at, which % count)?,
        };
        *self.figures.steps.entry(name).or_default() += 1;
        self.oracle.compare(&self.list()?)
    }

    fn snapshot(&mut self, at: Move, set: usize, who: usize, immutable: bool) -> Told<&'static str> {
        let who = self.one_with(Role::Writer, who);
        let trusted = self.oracle.members[who].role != Role::Writer;
        // Only who is trusted is believed that.
        let immutable = immutable && trusted;
        let tree = self.tree(set);
        let mut words = vec!["snapshot", tree.to_str().unwrap(), "--dataset", DATASETS[set], "--json"];
        words.extend(immutable.then_some("--immutable"));
        let expected = Rc::new(model(&tree));
        let ran = self.moved(who, at, &words);
        done_or_killed("snapshot", &ran)?;
        let list = self.list()?;
        let ids: Vec<_> = list.as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect();
        let old = self.oracle.living();
        let new: Vec<_> = ids.iter().filter(|id| !old.contains(&id.as_str())).collect();
        let told_id = if ran.status == 0 { json("snapshot", &ran)?["id"].as_str().map(str::to_owned) } else { None };
        match new.as_slice() {
            [] if ran.status == KILLED => {}
            [id] if told_id.as_ref().is_none_or(|told| told == *id) => {
                let series = if trusted { Series::Trusted } else { Series::Writer(who) };
                let (id, tree, state) = ((*id).clone(), expected, State::Living);
                self.oracle.snapshots.push(Snapshot {
                    id,
                    dataset: set,
                    tree,
                    series,
                    immutable,
                    holds: Vec::new(),
                    state,
                });
                if trusted {
                    self.witnessed();
                }
            }
            new => return Err(format!("a snapshot {told_id:?} was made, and new are {new:?}")),
        }
        Ok("snapshots")
    }

    /// Gives up what the oracle says, with the exit status that it says; if it is killed, all of it or nothing.
    fn forget(
        &mut self,
        at: Move,
        words: &[&str],
        expected: impl Fn(&Oracle, i64) -> (i32, Vec<usize>),
    ) -> Told<&'static str> {
        let (status, gone) = expected(&self.oracle, self.now());
        let who = self.one_with(Role::Catalog, at.dice);
        // The clocks jump; that holds outlast such jumps is for other tests.
        let sure: &[&str] = if self.oracle.may_be_behind(self.now()) { &[] } else { &["--clock-is-right"] };
        let words = [&["forget", "--json"], words, sure].concat();
        let mut ran = self.moved(who, at, &words);
        if ran.status == 1 && self.oracle.may_be_behind(self.now()) {
            if !told("", &ran).contains("clock of this machine is behind") {
                return Err(told("forget", &ran));
            }
            self.oracle.compare(&self.list()?)?;
            ran = self.moved(who, at, &[&words[..], &["--clock-is-right"]].concat());
        }
        match ran.status {
            KILLED => {
                let list = self.list()?;
                if self.oracle.compare(&list).is_err() {
                    self.oracle.set(&gone, State::Forgotten);
                }
            }
            found if found == status => {
                if status == 0 {
                    self.oracle.set(&gone, State::Forgotten);
                }
            }
            _ => return Err(format!("exit {status} is right: {}", told(&words.join(" "), &ran))),
        }
        self.witnessed();
        Ok("forgets")
    }

    fn hold(
        &mut self,
        at: Move,
        verb: &str,
        which: usize,
        words: &[&str],
        change: impl Fn(&mut Vec<Option<i64>>),
    ) -> Told<&'static str> {
        let snapshot = &self.oracle.snapshots[which];
        let status = match (snapshot.lives(), verb == "release" && snapshot.holds.is_empty()) {
            (false, _) if verb == "hold" => 10,
            (false, _) => return Ok("holds"),
            (true, true) => 2,
            (true, false) => 0,
        };
        let id = snapshot.id.clone();
        let who = self.one_with(Role::Catalog, at.dice);
        let ran = self.moved(who, at, &[&[verb, &id], words].concat());
        let mut changed = self.oracle.clone();
        change(&mut changed.snapshots[which].holds);
        match ran.status {
            KILLED if status == 0 && changed.compare(&self.list()?).is_ok() => self.oracle = changed,
            KILLED => {}
            0 if status == 0 => self.oracle = changed,
            found if found == status => {}
            _ => return Err(format!("exit {status} is right: {}", told(verb, &ran))),
        }
        self.witnessed();
        Ok("holds and releases")
    }

    fn policy(&mut self, at: Move, set: usize, keep: Option<usize>) -> Told<&'static str> {
        let was = self.oracle.policies[set];
        let number = keep.unwrap_or_default().to_string();
        let words = match keep {
            Some(_) => vec!["policy", "set", DATASETS[set], "--keep-last", &number],
            None => vec!["policy", "clear", DATASETS[set]],
        };
        let ran = self.moved(self.one_with(Role::Catalog, at.dice), at, &words);
        let shown = self.larder(0, &["policy", "show", "--json"]);
        let lines = String::from_utf8_lossy(&shown.stdout).into_owned();
        let of_set = |line: &Value| line["dataset"] == DATASETS[set];
        let line = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(of_set);
        let found = line.and_then(|line| line["options"].as_str()?.rsplit(' ').next()?.parse().ok());
        let right = match ran.status {
            0 => found == keep,
            10 => keep.is_none() && was.is_none() && found.is_none(),
            KILLED => found == keep || found == was,
            _ => false,
        };
        if shown.status != 0 || !right {
            return Err(format!("policy was {was:?}, is {found:?}: {}", told(&words.join(" "), &ran)));
        }
        self.oracle.policies[set] = found;
        self.witnessed();
        Ok("policies")
    }

    fn gc(&mut self, at: Move) -> Told<&'static str> {
        let garbage = self.oracle.garbage(self.now());
        let ran = self.moved(self.one_with(Role::Catalog, at.dice), at, &["gc", "--json"]);
        done_or_killed("gc", &ran)?;
        if ran.status == KILLED {
            self.oracle.set(&garbage, State::PerhapsCollected);
            return Ok("gcs");
        }
        let removed = json("gc", &ran)?["removed"].to_string();
        for which in 0..self.oracle.snapshots.len() {
            let snapshot = &self.oracle.snapshots[which];
            let (was, expected) = (removed.contains(&snapshot.id), garbage.contains(&which));
            if was != expected && !(expected && snapshot.state == State::PerhapsCollected) {
                return Err(format!("gc has removed {removed}; is {which} of {garbage:?}? {snapshot:?}"));
            }
        }
        self.oracle.set(&garbage, State::Collected);
        Ok("gcs")
    }

    fn add_key(&mut self, at: Move, role: Role) -> Told<&'static str> {
        if self.clients.len() >= MOST_MEMBERS {
            return Ok("keys added");
        }
        let label = format!("member{}", self.clients.len());
        let (client, recipient) = stranger(&self.sandbox, &label);
        let ran = self.moved(0, at, &["key", "add", "-r", &recipient, "--role", role.as_str(), "--label", &label]);
        done_or_killed("key add", &ran)?;
        self.clients.push(client);
        self.oracle.members.push(Member { role, has_key: self.has_key(&label)? });
        self.witnessed();
        if ran.status == 0 && !self.oracle.members[self.clients.len() - 1].has_key {
            return Err(format!("{label} was added and has no key"));
        }
        Ok("keys added")
    }

    fn remove_key(&mut self, at: Move, who: usize) -> Told<&'static str> {
        let present: Vec<_> = (1..self.clients.len()).filter(|who| self.oracle.members[*who].has_key).collect();
        let Some(who) = present.get(who % present.len().max(1)).copied() else { return Ok("keys removed") };
        let label = format!("member{who}");
        let ran = self.moved(0, at, &["key", "remove", &label]);
        done_or_killed("key remove", &ran)?;
        let has_key = self.has_key(&label)?;
        if ran.status == 0 && has_key {
            return Err(format!("{label} was removed and has a key"));
        }
        self.oracle.members[who].has_key = has_key;
        self.witnessed();
        Ok("keys removed")
    }

    fn has_key(&self, label: &str) -> Told<bool> {
        let list = json("key list", &self.larder(0, &["key", "list", "--json"]))?;
        Ok(list["keys"].as_array().is_some_and(|keys| keys.iter().any(|key| key["label"] == label)))
    }

    /// Whoever has no key can do nothing, a writer reads nothing, and a catalog key no content.
    fn denied(&self, who: usize) -> Told<&'static str> {
        let who = who % self.clients.len();
        let Member { role, has_key } = self.oracle.members[who];
        let word = match (role, has_key) {
            (_, false) => "list",
            (Role::Owner, true) => return Ok("attempts of others"),
            (Role::Writer, true) => "list",
            (Role::Catalog, true) => "repair",
        };
        let ran = self.larder(who, &[word]);
        if ran.status == 12 { Ok("attempts of others") } else { Err(told(&format!("{role:?} {has_key} {word}"), &ran)) }
    }

    fn restore(&mut self, at: Move, which: usize) -> Told<&'static str> {
        let snapshot = self.oracle.snapshots[which].clone();
        let dest = self.sandbox.path("dest");
        let who = self.one_with(Role::Owner, at.dice);
        let ran = self.moved(who, at, &["restore", &snapshot.id, dest.to_str().unwrap()]);
        match (ran.status, snapshot.lives()) {
            (10, false) | (KILLED, _) => {}
            (0, true) => {
                compare(&snapshot.tree, &model(&dest)).map_err(|why| format!("{}: {why}", snapshot.id))?;
                self.figures.compared += 1;
            }
            _ => return Err(format!("it is {:?}: {}", snapshot.state, told("restore", &ran))),
        }
        let _ = fs::remove_dir_all(&dest);
        Ok("restores")
    }

    fn export(&mut self, at: Move, which: usize) -> Told<&'static str> {
        let snapshot = self.oracle.snapshots[which].clone();
        let (tar, dest) = (self.sandbox.path("out.tar"), self.sandbox.path("untarred"));
        let who = self.one_with(Role::Owner, at.dice);
        let ran = self.moved(who, at, &["export", "--bare", &snapshot.id, "-o", tar.to_str().unwrap()]);
        match (ran.status, snapshot.lives()) {
            (10, false) | (KILLED, _) => {}
            (0, true) => {
                fs::create_dir(&dest).unwrap();
                Ran::of(Command::new("tar").arg("-xpf").arg(&tar).arg("-C").arg(&dest)).done();
                compare(&snapshot.tree, &model(&dest)).map_err(|why| format!("{} in a tar: {why}", snapshot.id))?;
                self.figures.compared += 1;
            }
            _ => return Err(format!("it is {:?}: {}", snapshot.state, told("export", &ran))),
        }
        let _ = fs::remove_dir_all(&dest);
        let _ = fs::remove_file(&tar);
        Ok("exports")
    }

    /// All that lives comes back, before and after the last gc.
    fn ends(&mut self) -> Told {
        let end = |step| Move { step, dice: 0, kill: None };
        self.step(end(Step::Gc))?;
        self.step(end(Step::Verify { data: true }))?;
        for which in 0..self.oracle.snapshots.len() {
            self.step(end(Step::Restore { which }))?;
        }
        self.step(end(Step::Repair))
    }
}

fn done_or_killed(what: &str, ran: &Ran) -> Told {
    if matches!(ran.status, 0 | KILLED) { Ok(()) } else { Err(told(what, ran)) }
}

/// Makes the moves, from an empty store on.
fn replay(moves: &[Move]) -> Told<Figures> {
    let made = catch_unwind(AssertUnwindSafe(|| {
        let mut run = Run::new();
        for (at, next) in moves.iter().enumerate() {
            run.step(*next).map_err(|why| format!("step {at}, {next:?}: {why}"))?;
        }
        run.ends().map_err(|why| format!("at the end: {why}"))?;
        Ok(run.figures)
    }));
    made.unwrap_or_else(|panic| Err(format!("{:?}", panic.downcast_ref::<String>())))
}

/// A run that fails, without what it fails without, as far as there is time.
fn shortened(mut moves: Vec<Move>, mut why: String) -> (Vec<Move>, String) {
    let (begun, mut part) = (Instant::now(), moves.len().div_ceil(2));
    while begun.elapsed().as_secs() < 180 && part > 0 {
        let mut from = 0;
        while from < moves.len() && begun.elapsed().as_secs() < 180 {
            let mut fewer = moves.clone();
            fewer.drain(from..moves.len().min(from + part));
            match replay(&fewer) {
                Err(still) => (moves, why) = (fewer, still),
                Ok(_) => from += part,
            }
        }
        part = if part == 1 { 0 } else { part.div_ceil(2) };
    }
    (moves, why)
}

fn given(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn random_runs_agree_with_an_oracle() {
    let (seed, runs, steps) = (seed(), given("LARDER_RUNS", 4), given("LARDER_STEPS", 30));
    let mut sum = Figures::default();
    for run in 0..runs {
        let seed = seed + run;
        let moves: Vec<_> = (0..steps).map(|turn| random_move(seed, turn)).collect();
        match replay(&moves) {
            Ok(figures) => {
                sum.kills += figures.kills;
                sum.compared += figures.compared;
                figures.steps.into_iter().for_each(|(name, count)| *sum.steps.entry(name).or_default() += count);
            }
            Err(why) => {
                println!("run with LARDER_TEST_SEED={seed} fails: {why}");
                let (moves, why) = shortened(moves, why);
                let mut list = String::new();
                moves.iter().for_each(|step| writeln!(list, "  {step:?}").unwrap());
                panic!("LARDER_TEST_SEED={seed} LARDER_RUNS=1 LARDER_STEPS={steps}: {why}\nafter\n{list}");
            }
        }
    }
    let steps: Vec<_> = sum.steps.iter().map(|(name, count)| format!("{count} {name}")).collect();
    println!("{runs} runs: {} killed, {} trees compared; {}", sum.kills, sum.compared, steps.join(", "));
}
