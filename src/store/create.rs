//! Init: a store is made beside, in a folder of its own, and put in place with its header last.

use std::fs;
use std::path::Path;

use crate::codec::{
    Authority, IdKeys, MacLabel, Recipient, commitment, generate_identity, public_id_key, random_bytes, wrap,
};
use crate::format::{
    CHUNK_AVG, CHUNK_MAX, CHUNK_MIN, Cipher, Family, Header, HeaderError, KeyRecord, PAGE_MASK, PAGE_MIN, Tip,
    key_record_ext,
};
use crate::model::{Digest, Ext, KeyInfo, KeyName, Role, StoreId, Timestamp};

use super::db::{Db, Rows};
use super::error::{StoreError, THE_HEADER};
use super::files::{make_dir, sync_dir, write_whole};
use super::keyring::Keyring;

/// What a new store shall be like.
#[derive(Debug)]
pub struct NewStore {
    /// Owners' recipients; none for an unencrypted store.
    pub recipients: Vec<Recipient>,
    /// The present.
    pub now: Timestamp,
}

const PARTS: [&str; 6] = ["db", "keys", "leases", "tip", "tmp", "writer.lock"];
const BUILDING: &str = ".larder-init-";

/// Reads and parses the header of a store; its MAC is not yet checked.
pub(super) fn read_header(dir: &Path) -> Result<Header, StoreError> {
    let bytes = match super::files::read_small(&dir.join("header")) {
        Ok(bytes) => bytes,
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Err(if has_database(dir) {
                StoreError::damage(format!("{THE_HEADER} of the store at {}", dir.display()), "it is missing")
            } else if dir.exists() && fs::read_dir(dir).map_or(true, |mut d| d.next().is_some()) {
                StoreError::NotAStore(dir.to_owned())
            } else {
                StoreError::Missing(dir.to_owned())
            });
        }
        Err(e) => return Err(super::files::unreadable(&dir.join("header"), e)),
    };
    Header::parse(&bytes).map_err(|e| match e {
        HeaderError::NotAHeader if has_database(dir) => StoreError::damage(THE_HEADER, e),
        HeaderError::NotAHeader => StoreError::NotAStore(dir.to_owned()),
        HeaderError::Newer(_) if is_known_by_copy(dir) => {
            StoreError::damage(THE_HEADER, "it differs from its copy in the database")
        }
        HeaderError::Newer(_) => StoreError::Newer { path: dir.to_owned(), why: e.to_string() },
        HeaderError::Damaged(_) => StoreError::damage(THE_HEADER, e),
    })
}

/// Refuses a header that was not made with these keys.
pub(super) fn check_header(header: &Header, keyring: &Keyring) -> Result<(), StoreError> {
    let holds = keyring.ids().mac_holds(MacLabel::Header, &[&header.signed_part()], &header.mac);
    if holds { Ok(()) } else { Err(StoreError::damage(THE_HEADER, "its MAC does not hold")) }
}

/// True if there is a database, or what is left of one.
fn has_database(dir: &Path) -> bool {
    let is_of_one = |path: &Path| path.ends_with("CURRENT") || path.extension().is_some_and(|e| e == "sst");
    fs::read_dir(dir.join("db")).is_ok_and(|items| items.flatten().any(|item| is_of_one(&item.path())))
}

/// True if the database has a copy of the header that this version can read.
fn is_known_by_copy(dir: &Path) -> bool {
    let copy = Db::open_read(&dir.join("db")).and_then(|db| db.get(Family::Default, b"header")).ok().flatten();
    copy.is_some_and(|copy| Header::parse(&copy).is_ok())
}

/// Makes a store at `dir`, which must not exist, or be empty, or hold the leftovers of an init that was cut.
///
/// Gives the store's id. When this returns, the store lasts; if it is cut before, init may be run again.
///
/// # Errors
/// If the folder is in use or cannot be written to.
pub fn create(dir: &Path, new: &NewStore) -> Result<StoreId, StoreError> {
    make_dir(dir)?;
    clear_leftovers(dir)?;
    let store = StoreId::from_bytes(random_bytes()?);
    let building = dir.join(format!("{BUILDING}{store}"));
    make_dir(&building)?;
    for folder in ["keys", "leases", "tmp"] {
        make_dir(&building.join(folder))?;
    }
    fs::write(building.join("writer.lock"), b"").map_err(|e| StoreError::io("cannot make writer.lock", e))?;
    let made = Made::new(store, new)?;
    for (name, wrapped) in &made.keys {
        write_whole(&building.join("keys").join(format!("{name}.age")), wrapped)?;
    }
    build_database(&building.join("db"), &made)?;
    write_whole(&building.join("tip"), &made.tip)?;
    write_whole(&building.join("header"), &made.header)?;
    sync_dir(&building)?;
    sync_dir(dir)?;
    for part in PARTS.iter().chain(&["header"]) {
        if *part == "header" {
            sync_dir(dir)?;
        }
        fs::rename(building.join(part), dir.join(part))
            .map_err(|e| StoreError::io(format!("cannot put {part} in place"), e))?;
    }
    sync_dir(dir)?;
    fs::remove_dir(&building).map_err(|e| StoreError::io("cannot remove the building folder", e))?;
    sync_dir(dir)?;
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        sync_dir(parent)?;
    }
    Ok(store)
}

/// Removes what a cut init left. Its building folder proves that no store was ever finished here: a finished one has a header.
fn clear_leftovers(dir: &Path) -> Result<(), StoreError> {
    if dir.join("header").exists() {
        return Err(StoreError::Occupied { path: dir.to_owned(), why: "holds a store already" });
    }
    let fail = |e| StoreError::io(format!("cannot look into {}", dir.display()), e);
    let names: Vec<_> =
        fs::read_dir(dir).map_err(fail)?.map(|e| e.map(|e| e.file_name())).collect::<Result<_, _>>().map_err(fail)?;
    let is_building = |name: &std::ffi::OsString| name.to_string_lossy().starts_with(BUILDING);
    let cut = names.iter().any(is_building);
    for name in &names {
        let ours = is_building(name) || PARTS.iter().any(|p| name == *p);
        if !cut || !ours {
            return Err(StoreError::Occupied { path: dir.to_owned(), why: "is not empty" });
        }
    }
    // The building folders go last: while one is there, the rest is known to be a leftover.
    let (building, parts): (Vec<_>, Vec<_>) = names.into_iter().partition(is_building);
    for name in parts.into_iter().chain(building) {
        let path = dir.join(name);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(|e| StoreError::io(format!("cannot remove {}", path.display()), e))?;
    }
    Ok(())
}

struct Made {
    store: StoreId,
    header: Vec<u8>,
    tip: Vec<u8>,
    keys: Vec<(KeyName, Vec<u8>)>,
}

impl Made {
    fn new(store: StoreId, new: &NewStore) -> Result<Self, StoreError> {
        let encrypted = !new.recipients.is_empty();
        let id_key = zeroize::Zeroizing::new(if encrypted { random_bytes()? } else { public_id_key() });
        let mut header = Header {
            compatible: 0,
            read_only_compatible: 0,
            store,
            created: new.now.seconds,
            cipher: if encrypted { Cipher::Aes256Gcm } else { Cipher::None },
            chunk_min: CHUNK_MIN,
            chunk_avg: CHUNK_AVG,
            chunk_max: CHUNK_MAX,
            page_mask: PAGE_MASK,
            page_min: PAGE_MIN,
            commitment: commitment(&id_key),
            mac: [0; 32],
        };
        header.mac = IdKeys::new(&id_key).mac(MacLabel::Header, &[&header.signed_part()]);
        let mut keys = Vec::new();
        if encrypted {
            let (page_identity, page_recipient) = generate_identity();
            let (chunk_identity, chunk_recipient) = generate_identity();
            let mut record = KeyRecord {
                store,
                name: KeyName::from_bytes([0; 8]),
                role: Role::Owner,
                id_key: *id_key,
                chunker_seed: random_bytes()?,
                page_recipient,
                chunk_recipient,
                page_identities: vec![page_identity.as_str().to_owned()],
                chunk_identities: vec![chunk_identity.as_str().to_owned()],
                ext: Vec::new(),
            };
            // There is no log entry yet to tell of the keys: each of them does.
            let mut all = Vec::new();
            for recipient in &new.recipients {
                all.push(KeyInfo {
                    name: KeyName::from_bytes(random_bytes()?),
                    role: Role::Owner,
                    recipient: recipient.to_string(),
                    label: String::new(),
                    added: new.now,
                    ext: Ext::new(),
                });
            }
            let authority = Authority::new(&chunk_identity);
            for (info, recipient) in all.iter().zip(&new.recipients) {
                record.name = info.name;
                record.ext = key_record_ext(&[authority.token(&info.name)], Some(&all), None);
                let plain = zeroize::Zeroizing::new(record.to_bytes());
                keys.push((record.name, wrap(&plain, recipient)?));
            }
        }
        let tip = Tip { sequence: 0, log_hash: Digest::from_bytes([0; 32]) };
        let tip = super::tip::to_bytes(&tip, &IdKeys::new(&id_key));
        Ok(Self { store, header: header.to_bytes(), tip, keys })
    }
}

fn build_database(dir: &Path, made: &Made) -> Result<(), StoreError> {
    let db = Db::create(dir)?;
    let mut rows = Rows::default();
    rows.put(Family::Default, b"canary", made.store.as_bytes());
    rows.put(Family::Default, b"header", &made.header);
    rows.put(Family::Default, b"gc", &0u64.to_be_bytes());
    for (name, wrapped) in &made.keys {
        rows.put(Family::Default, format!("key/{name}").as_bytes(), wrapped);
    }
    db.write(&rows, true)?;
    db.flush()
}
