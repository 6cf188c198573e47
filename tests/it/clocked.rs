//! Captures by any clock and with any key, through the library: what a machine that lies can do, and what would take days.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use larder::codec::{
    Authority, Identity, Passphrase, Prompt, SigningKey, VoucherKey, generate_identity, parse_identities,
    parse_recipient, unwrap, wrap,
};
use larder::format::{Family, KeyRecord, key_record_ext};
use larder::model::{Evidence, KeyName, Quiet, Role, Timestamp};
use larder::ops::capture::{CaptureOptions, Source, capture};
use larder::store::{CacheSize, ClientDirs, Mending, Store, StoreError, Unlock, open, open_for_repair};

use crate::behind::database;
use crate::sandbox::{Client, Ran, Sandbox};

#[derive(Debug)]
pub(crate) struct Nobody;

impl Prompt for Nobody {
    fn message(&self, _: &str) {}
    fn passphrase(&self, _: &str) -> Option<Passphrase> {
        None
    }
}

/// A file of identities.
struct File(PathBuf);

impl File {
    fn identities(&self) -> Vec<Identity> {
        parse_identities(&fs::read(&self.0).unwrap(), "identity", Arc::new(Nobody)).unwrap()
    }
}

impl Unlock for File {
    fn identities(&self) -> Result<Vec<Identity>, StoreError> {
        Ok(Self::identities(self))
    }
    fn passphrase(&self) -> Result<Option<Passphrase>, StoreError> {
        Ok(None)
    }
}

/// The identities of a client.
pub(crate) fn identities(client: &Client) -> Vec<Identity> {
    File(client.identity()).identities()
}

/// Noon of so many days ago.
pub(crate) fn days_ago(days: i64) -> Timestamp {
    let today = now().seconds.div_euclid(86_400);
    Timestamp { seconds: (today - days) * 86_400 + 43_200, nanos: 0 }
}

/// The present.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// The store, opened by a client that has this identity.
pub(crate) fn opened(sandbox: &Sandbox, client: &Client) -> Store {
    let dirs = ClientDirs { state: client.state().join("larder"), cache: client.cache().join("larder") };
    open(&sandbox.store(), &File(client.identity()), &dirs, CacheSize::default()).unwrap()
}

/// The same for a repair.
pub(crate) fn opened_for_repair(sandbox: &Sandbox, client: &Client, mending: Mending) -> Store {
    let dirs = ClientDirs { state: client.state().join("larder"), cache: client.cache().join("larder") };
    let open = || open_for_repair(&sandbox.store(), &File(client.identity()), &dirs, CacheSize::default(), mending);
    // A process that another test is about to begin may hold the lock for a moment.
    let opened = (0..50).find_map(|_| {
        let opened = open();
        if opened.is_err() {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        opened.ok()
    });
    opened.expect("it opens")
}

/// Captures a folder by a clock that stands still; gives the snapshot's id.
pub(crate) fn capture_at(store: &Store, folder: &Path, dataset: &str, time: Timestamp) -> String {
    capture_as(store, folder, dataset, time, Evidence::default())
}

/// The same, with evidence fields.
pub(crate) fn capture_as(store: &Store, folder: &Path, dataset: &str, time: Timestamp, evidence: Evidence) -> String {
    let options = CaptureOptions { evidence, ..CaptureOptions::new(dataset.parse().unwrap()) };
    let source = Source::Paths(vec![folder.to_owned()]);
    capture(store, source, options, &Quiet, &|| time).unwrap().id.to_string()
}

/// A client with a key of its own to the store, of this role: it lacks what the role lacks.
pub(crate) fn client_with_role(sandbox: &Sandbox, name: &str, role: Role) -> Client {
    let keys = sandbox.store().join("keys");
    let mut owner = fs::read_dir(&keys).unwrap().map(|e| fs::read(e.unwrap().path()).unwrap());
    let identities = identities(sandbox.client());
    let record = owner.find_map(|bytes| unwrap(&bytes, &identities).ok()).unwrap();
    let mut record = KeyRecord::from_bytes(&record).unwrap();
    let client = sandbox.another_client(name);
    let (secret, recipient) = generate_identity();
    let folder = client.identity().parent().unwrap().to_owned();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).unwrap();
    fs::write(client.identity(), format!("{}\n", secret.as_str())).unwrap();
    let hash = blake3::hash(name.as_bytes());
    record.name = KeyName::from_slice(&hash.as_bytes()[..8]).unwrap();
    record.role = role;
    let token = Authority::new(&record.chunk_identities[0]).token(&record.name);
    let signing = VoucherKey::new(&record.page_identities[0]).signing_key(&record.name);
    let signing = Some(&signing).filter(|_| role == Role::Writer).map(SigningKey::as_bytes);
    record.ext = key_record_ext(&[token], None, signing);
    record.chunk_identities.clear();
    if role == Role::Writer {
        record.page_identities.clear();
    }
    let recipient = parse_recipient(&recipient, Arc::new(Nobody)).unwrap();
    let object = wrap(&record.to_bytes(), &recipient).unwrap();
    fs::write(keys.join(format!("{}.age", record.name)), &object).unwrap();
    let db = database(&sandbox.store());
    let default = db.cf_handle(Family::Default.name()).unwrap();
    db.put_cf(default, format!("key/{}", record.name), object).unwrap();
    db.flush_cf(default).unwrap();
    client
}

/// A folder with so many small files.
pub(crate) fn folder(sandbox: &Sandbox, name: &str, files: usize) -> PathBuf {
    let folder = sandbox.path(name);
    fs::create_dir(&folder).unwrap();
    for file in 0..files {
        fs::write(folder.join(file.to_string()), format!("{name} {file}")).unwrap();
    }
    folder
}

/// What a run of `forget --json` or `policy explain --json` told: the ids that are kept and forgotten in their order, and the sums.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) kept: Vec<String>,
    pub(crate) forgotten: Vec<String>,
    pub(crate) summary: serde_json::Value,
    pub(crate) lines: Vec<serde_json::Value>,
}

impl Told {
    #[track_caller]
    pub(crate) fn of(ran: Ran, status: i32) -> Self {
        let ran = ran.ended(status);
        let text = String::from_utf8(ran.stdout).unwrap();
        let mut lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let summary = lines.pop().unwrap();
        assert_eq!(summary["type"], "summary", "{text}");
        let with = |action: &str| {
            let fitting = lines.iter().filter(|l| l["action"] == action);
            fitting.map(|l| l["id"].as_str().unwrap().to_owned()).collect()
        };
        Self { kept: with("keep"), forgotten: with("forget"), summary, lines }
    }

    /// The codes of the reasons for one snapshot.
    pub(crate) fn codes(&self, id: &str) -> Vec<String> {
        let line = self.lines.iter().find(|l| l["id"] == id).unwrap();
        line["reasons"].as_array().unwrap().iter().map(|r| r["code"].as_str().unwrap().to_owned()).collect()
    }
}
