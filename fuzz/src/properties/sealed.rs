//! Blocks, sealed values, key objects: what was sealed comes out as it was, and nothing else does.

use std::sync::LazyLock;

use crate::codec::{
    CacheKey, DataKey, Effort, IdKeys, StoreIdentity, armoured, is_passphrase_file, open_block, open_table, open_value,
    public_id_key, seal_value, unarmoured,
};
use crate::format::{
    BlockHeader, BlockKind, BlockTable, CacheHead, CacheRecord, Cipher, MAX_BLOCK, MAX_BLOCK_ITEMS, MAX_CHUNK,
    SealedHeader, from_bytes, to_bytes,
};
use crate::model::EpochId;

/// Longer content is not sealed a second time: that takes its time and finds no more.
const SHORT: usize = 64 << 10;

const EPOCH: EpochId = EpochId::from_bytes([3; 16]);

/// The identity that opens the key objects of the corpus, and no others.
pub(crate) const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

fn keys() -> (DataKey, DataKey) {
    (DataKey::new(&[1; 32]), DataKey::new(&[2; 32]))
}

/// A block of an unencrypted store: all that a key would guard is read too.
pub(super) fn block(bytes: &[u8]) -> bool {
    if let Ok((header, table, content)) = BlockHeader::parse(bytes) {
        assert_eq!([&header.to_bytes()[..], table, content].concat(), bytes);
    }
    let (strange, none) = (DataKey::new(&[9; 32]), DataKey::none());
    assert!(open_block(bytes, Some(&strange), Some(&strange)).is_err(), "it was never sealed");
    let Ok(open) = open_block(bytes, Some(&none), Some(&none)) else { return false };
    let (header, table) = open_table(bytes, &none).expect("the block was opened");
    assert_eq!(header.cipher, Cipher::None, "what says that it is sealed was read as if it were not");
    let items = items(&open);
    assert!(open.content.len() <= MAX_BLOCK && items.len() <= MAX_BLOCK_ITEMS);
    assert_eq!(items.concat(), *open.content, "the items are not the content");
    assert!(open.item(u32::try_from(items.len()).expect("items are counted in 32 bits")).is_none());
    assert_eq!(table.length as usize, open.content.len());
    if open.content.len() <= SHORT {
        let lengths = table.items.clone();
        let effort = Effort::level(1);
        let again =
            crate::codec::seal_block(header.kind, EPOCH, (&none, &none), &open.content, (lengths, &[]), effort, true);
        let again = again.expect("what was opened can be sealed").bytes;
        let again = open_block(&again, Some(&none), Some(&none)).expect("what was sealed can be opened");
        assert_eq!(self::items(&again), items);
    }
    true
}

fn items(open: &crate::codec::OpenBlock) -> Vec<&[u8]> {
    (0..).map_while(|ordinal| open.item(ordinal)).collect()
}

pub(super) fn block_table(bytes: &[u8]) -> bool {
    let Ok(table) = BlockTable::from_bytes(bytes) else { return false };
    assert_eq!(table.to_bytes(), bytes);
    assert!(table.items.len() <= MAX_BLOCK_ITEMS && table.length as usize <= MAX_BLOCK && table.dictionary == 0);
    assert!(table.items.iter().all(|len| (1..=MAX_CHUNK).contains(&(*len as usize))));
    assert_eq!(table.items.iter().map(|len| u64::from(*len)).sum::<u64>(), u64::from(table.length));
    true
}

/// Items are sealed, come out as they were, and do not if one bit of the block is another.
pub(super) fn seal_block(bytes: &[u8]) -> bool {
    let Some((&[kind, step, at, bit], content)) = bytes.split_first_chunk() else { return false };
    if content.is_empty() {
        return false;
    }
    let kind = if kind % 2 == 0 { BlockKind::Data } else { BlockKind::Tree };
    let pieces: Vec<&[u8]> = content.chunks(usize::from(step) + 1).collect();
    let lengths = pieces.iter().map(|piece| u32::try_from(piece.len()).expect("a piece is short")).collect();
    let (page, chunk) = keys();
    let sealed =
        crate::codec::seal_block(kind, EPOCH, (&page, &chunk), content, (lengths, &[]), Effort::level(1), true);
    let sealed = sealed.expect("short content can be sealed").bytes;
    let key = if kind == BlockKind::Data { &chunk } else { &page };
    let open = open_block(&sealed, Some(&page), Some(key)).expect("what was sealed can be opened");
    assert_eq!(items(&open), pieces);
    let mut changed = sealed;
    let at = usize::from(at) * changed.len() / 256;
    changed[at] ^= 1 << (bit % 8);
    assert!(open_block(&changed, Some(&page), Some(key)).is_err(), "a flipped bit was not noticed");
    true
}

/// Read as a sealed value, and as the plain bytes of one.
pub(super) fn sealed_value(bytes: &[u8]) -> bool {
    let (page, other) = keys();
    let sealed = seal_value(EPOCH, &page, "log", b"row", bytes);
    let open = |value: &[u8], key, family, row| open_value(value, key, family, row).map(|plain| plain.to_vec()).ok();
    assert_eq!(open(&sealed, &page, "log", &b"row"[..]).as_deref(), Some(bytes));
    assert!(open(&sealed, &other, "log", b"row").is_none() && open(&sealed, &page, "log", b"other").is_none());
    assert!(open(&sealed, &page, "datasets", b"row").is_none());
    let Ok((header, sealed)) = SealedHeader::parse(bytes) else { return false };
    assert_eq!([&header.to_bytes()[..], sealed].concat(), bytes);
    let opened = open(bytes, &DataKey::none(), "log", b"row");
    assert_eq!(opened.as_deref(), (header.cipher == Cipher::None).then_some(sealed));
    true
}

/// What follows the sealing of a capture cache: its head, and its records.
pub(super) fn capture_cache(bytes: &[u8]) -> bool {
    static KEY: LazyLock<CacheKey> = LazyLock::new(|| CacheKey::new(&IdKeys::new(&public_id_key()), &[4; 16]));
    let segment = KEY.seal(1, bytes).expect("short segments can be sealed");
    assert_eq!(KEY.open(1, &segment).expect("what was sealed can be opened"), bytes);
    assert!(KEY.open(2, &segment).is_err() && KEY.open(1, bytes).is_err());
    let head = CacheHead::from_bytes(bytes).map(|head| assert_eq!(head.to_bytes(), bytes)).is_ok();
    let records = from_bytes::<Vec<CacheRecord>>(bytes, "cache").map(|records| assert_eq!(to_bytes(&records), bytes));
    head || records.is_ok()
}

/// Age files, armoured or not.
pub(super) fn key_object(bytes: &[u8]) -> bool {
    static OWN: LazyLock<StoreIdentity> =
        LazyLock::new(|| StoreIdentity::parse(IDENTITY).expect("the identity is well formed"));
    let binary = unarmoured(bytes.to_vec());
    assert!(binary.len() <= bytes.len());
    let text = armoured(bytes).expect("any bytes can be armoured");
    assert!(bytes.is_empty() || unarmoured(text) == bytes);
    if is_passphrase_file(bytes) {
        assert!(is_passphrase_file(&binary));
    }
    match OWN.unwrap(bytes) {
        Ok(plain) => assert_eq!(*OWN.unwrap(&binary).expect("its binary form opens too"), *plain),
        Err(_) => return is_passphrase_file(bytes),
    }
    true
}
