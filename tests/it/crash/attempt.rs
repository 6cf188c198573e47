//! A command that gets into trouble, and what is promised of the store afterwards.

use std::collections::HashSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Mutex;

use super::enumerate;
use super::power_cut::{Cut, Image};
use super::shim::Trouble;
use super::stage::{Stage, Trial, oracle};
use crate::sandbox::{Client, Ran, compare, model};

/// How the effect of a command is seen.
pub(super) enum Seen {
    /// In what this command prints as JSON.
    In(Vec<String>),
    /// In whether verify finds damage: the command mends some.
    Mended,
}

/// A command, the store that it is tried on, and what the store is before and after it.
pub(super) struct Attempt {
    pub(super) stage: Stage,
    words: Vec<String>,
    seen: Seen,
    /// What the command says when it is run again though it was done: status, and a word of standard error.
    again: (i32, &'static str),
    before: String,
    after: String,
    /// Of what was found to be right: many a trouble leaves the same bytes as another.
    right: Mutex<HashSet<u64>>,
}

/// What is new each time, or tells how far the files of keys have followed.
const PASSED_OVER: [&str; 11] = [
    "id",
    "name",
    "since",
    "added",
    "arrival",
    "counted_as",
    "client_time",
    "new_bytes",
    "stored_bytes",
    "epochs",
    "there",
];

fn plain(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            fields.retain(|name, _| !PASSED_OVER.contains(&name.as_str()));
            if let Some(count) = fields.get_mut("epochs_under_older_identities") {
                *count = (*count != 0).into();
            }
            fields.values_mut().for_each(plain);
        }
        serde_json::Value::Array(items) => {
            // The file of a key that was removed goes with the next write.
            items.retain(|item| !(item["in_use"] == false && item["role"].is_null()));
            items.iter_mut().for_each(plain);
        }
        _ => {}
    }
}

impl Attempt {
    pub(super) fn new(stage: Stage, words: &[&str], seen: Seen, again: (i32, &'static str)) -> Self {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut attempt =
            Self { stage, words, seen, again, before: String::new(), after: String::new(), right: Mutex::default() };
        let trial = Trial::begin(&attempt.stage);
        let look = || attempt.look(&trial.client, &trial.store).unwrap();
        let before = look();
        trial.client.run(&trial.store, &attempt.words).done();
        let after = look();
        (attempt.before, attempt.after) = (before, after);
        attempt
    }

    /// A capture: run again it takes another snapshot.
    pub(super) fn capture(stage: Stage) -> Self {
        let words = stage.capture();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        Self::new(stage, &words, Seen::In(["list", "--json"].map(str::to_owned).to_vec()), (0, ""))
    }

    /// The command is seen to do something.
    pub(super) fn that_changes(self) -> Self {
        assert_ne!(self.before, self.after, "{:?}", self.words);
        self
    }

    fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }

    fn captures(&self) -> bool {
        self.words[0] == "snapshot"
    }

    /// Puts the command into trouble at every point, or at a sample of so many.
    pub(super) fn enumerate(&self, name: &str, troubles: &[Trouble], sample: u64) {
        let work = |trouble, at, cuts: &[Cut]| self.try_point(trouble, at, cuts);
        enumerate(name, self.operations().len() as u64, troubles, sample, work);
        println!("{name}: {} different stores", self.right.lock().unwrap().len());
    }

    /// The operations of the command when nothing goes wrong.
    pub(super) fn operations(&self) -> Vec<String> {
        let trial = Trial::begin(&self.stage);
        let (ran, log) = trial.trouble(&self.words(), "count", 0, 0);
        ran.done();
        log
    }

    /// Puts the command into trouble at a point and checks what is left. Gives what is wrong.
    pub(super) fn try_point(&self, trouble: Trouble, at: u64, cuts: &[Cut]) -> Vec<String> {
        let trial = Trial::begin(&self.stage);
        let (ran, log) = trial.trouble(&self.words(), trouble.mode(), trouble.errno(), at);
        let place =
            || format!("{trouble:?} at {at} ({})", log.get(at as usize - 1).map_or("after the end", String::as_str));
        let mut wrong = Vec::new();
        let mut check = |store: &Path, variant: String| {
            let acknowledged = ran.status == 0;
            let left = bytes_of(&[store, &trial.client.state()], acknowledged);
            if self.right.lock().unwrap().contains(&left) {
                return;
            }
            match self.check(&trial, store, acknowledged) {
                Ok(()) => _ = self.right.lock().unwrap().insert(left),
                Err(why) => wrong.push(format!("{}{variant}, exit {}: {why}", place(), ran.status)),
            }
        };
        if trouble == Trouble::PowerCut {
            let image = Image::read(&trial.store, &trial.image);
            for cut in cuts {
                let store = trial.dir.path().join("after");
                image.build(*cut, &store);
                trial.reset_client();
                check(&store, format!(" {cut:?}"));
                fs::remove_dir_all(&store).unwrap();
            }
        } else {
            check(&trial.store, String::new());
        }
        wrong
    }

    /// What the store is, as far as the command changes it.
    fn look(&self, client: &Client, store: &Path) -> Result<String, String> {
        match &self.seen {
            Seen::Mended => {
                let ran = oracle(client, store, &["verify", "--read-data"]);
                if [0, 13].contains(&ran.status) { Ok(ran.status.to_string()) } else { Err(told("verify", &ran)) }
            }
            Seen::In(words) => {
                let ran = run(client, store, &words.iter().map(String::as_str).collect::<Vec<_>>())?;
                let values = serde_json::Deserializer::from_slice(&ran.stdout).into_iter::<serde_json::Value>();
                let mut lines = String::new();
                for value in values {
                    let mut value = value.map_err(|e| told(&e.to_string(), &ran))?;
                    plain(&mut value);
                    lines.push_str(&format!("{value}\n"));
                }
                Ok(lines)
            }
        }
    }

    /// All that is promised of a store after trouble.
    fn check(&self, trial: &Trial, store: &Path, acknowledged: bool) -> Result<(), String> {
        let (stage, client) = (&self.stage, &trial.client);
        let mends = matches!(self.seen, Seen::Mended);
        let verify = || run(client, store, &["verify", "--read-data"]);
        let mut listed = oracle(client, store, &["list", "--json"]);
        match listed.status {
            // As long as there is damage to be mended it is told here too.
            13 if mends => {
                listed.status = 0;
                listed.stdout = listed.stdout.split(|byte| *byte == b'\n').next().unwrap_or_default().to_vec();
            }
            0 => {}
            _ => return Err(told("list", &listed)),
        }
        let ids = listed.ids();
        if let Some(lost) = stage.acknowledged.keys().find(|id| !ids.contains(id)) {
            return Err(format!("the acknowledged snapshot {lost} is gone"));
        }
        let now = self.look(client, store)?;
        if now != self.after && (now != self.before || acknowledged) {
            let how = if acknowledged { "acknowledged" } else { "not acknowledged" };
            return Err(format!(
                "the effect is neither absent nor whole, or absent though acknowledged ({how}): {now}"
            ));
        }
        for (label, other) in &stage.others {
            if *label != "third" && !trial.opens(stage, store, other)? {
                return Err(format!("the key {label} is shut out"));
            }
        }
        if !mends {
            let _ = verify()?;
        }
        self.restore(trial, store, &ids, mends)?;
        let whole = now == self.after && self.before != self.after;
        if !self.captures() {
            let again = client.run(store, &self.words);
            let (status, word) = if whole { self.again } else { (0, "") };
            if again.status != status || !again.stderr.contains(word) {
                return Err(told(&format!("the same command again ({whole})"), &again));
            }
            let now = self.look(client, store)?;
            if !whole && now != self.after {
                return Err(format!("the same command again does something else: {now}"));
            }
            let _ = verify()?;
        }
        let ids = run(client, store, &["list", "--json"])?.ids();
        if mends {
            self.restore(trial, store, &ids, false)?;
        }
        let capture = stage.capture();
        let _ = run(client, store, &capture.iter().map(String::as_str).collect::<Vec<_>>())?;
        let after = run(client, store, &["list", "--json"])?.ids();
        if after.len() != ids.len() + 1 || after[..ids.len()] != ids[..] {
            return Err(format!("after another capture {} snapshots where there were {}", after.len(), ids.len()));
        }
        self.keys_open_as_they_are_listed(trial, store)
    }

    /// Each snapshot is what was captured; as long as there is damage to be mended it may be told instead.
    fn restore(&self, trial: &Trial, store: &Path, ids: &[String], mends: bool) -> Result<(), String> {
        let stage = &self.stage;
        for id in ids.iter().rev().step_by(1 + ids.len() / 4) {
            let dest = trial.dir.path().join("restored");
            let expected = stage.acknowledged.get(id).or_else(|| self.captures().then_some(&stage.expected));
            let Some(expected) = expected else { continue };
            let ran = oracle(&trial.client, store, &["restore", id, dest.to_str().unwrap()]);
            match ran.status {
                0 => compare(expected, &model(&dest))
                    .map_err(|why| format!("snapshot {id} is not what was captured: {why}"))?,
                13 if mends => {}
                _ => return Err(told("restore", &ran)),
            }
            let _ = fs::remove_dir_all(&dest);
        }
        Ok(())
    }

    fn keys_open_as_they_are_listed(&self, trial: &Trial, store: &Path) -> Result<(), String> {
        for (label, other) in &self.stage.others {
            let keys = run(&trial.client, store, &["key", "list", "--json"])?;
            let listed = String::from_utf8_lossy(&keys.stdout).contains(&format!("\"label\":\"{label}\""));
            let opens = trial.opens(&self.stage, store, other)?;
            if opens != listed {
                return Err(format!("the key {label} is listed: {listed}; opens: {opens}"));
            }
        }
        Ok(())
    }
}

/// A hash of all that is in folders. What nothing reads is left out: RocksDB's reports of what it did, and what is in a MANIFEST that is
/// not the current one; and so is where this client has seen the store, since each trial has a place of its own.
fn bytes_of(folders: &[&Path], acknowledged: bool) -> u64 {
    fn add(folder: &Path, hasher: &mut DefaultHasher) {
        let current = fs::read_to_string(folder.join("CURRENT")).unwrap_or_default();
        let mut items: Vec<_> = fs::read_dir(folder).unwrap().map(|item| item.unwrap()).collect();
        items.retain(|item| !item.file_name().to_string_lossy().starts_with("LOG") && item.file_name() != "places");
        items.sort_by_key(fs::DirEntry::file_name);
        items.len().hash(hasher);
        for item in items {
            item.file_name().hash(hasher);
            let name = item.file_name().to_string_lossy().into_owned();
            match item.file_type().unwrap() {
                _ if name.starts_with("MANIFEST-") && current.trim() != name => {}
                kind if kind.is_dir() => add(&item.path(), hasher),
                kind if kind.is_symlink() => fs::read_link(item.path()).unwrap().hash(hasher),
                _ => fs::read(item.path()).unwrap().hash(hasher),
            }
        }
    }
    let mut hasher = DefaultHasher::new();
    acknowledged.hash(&mut hasher);
    folders.iter().for_each(|folder| add(folder, &mut hasher));
    hasher.finish()
}

fn told(what: &str, ran: &Ran) -> String {
    format!("{what} gives {}: {}{}", ran.status, ran.stderr.trim(), String::from_utf8_lossy(&ran.stdout))
}

fn run(client: &Client, store: &Path, words: &[&str]) -> Result<Ran, String> {
    let ran = oracle(client, store, words);
    if ran.status == 0 { Ok(ran) } else { Err(told(&words.join(" "), &ran)) }
}
