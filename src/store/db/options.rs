//! How each family is kept.

use rocksdb::{
    BlockBasedOptions, Cache, DBCompactionStyle, DBCompressionType, LogLevel, Options, UniversalCompactOptions,
};

use crate::format::Family;

/// Merging goes on until a family has fewer sorted runs than this.
const FEW_RUNS: i32 = 6;

/// True for families whose rows are blocks, which are only ever ingested.
pub(super) fn holds_blocks(name: &str) -> bool {
    name == Family::Data.name() || name == Family::Tree.name()
}

fn is_index(name: &str) -> bool {
    name == Family::Chunks.name() || name == Family::Pages.name()
}

pub(super) fn family_options(name: &str, cache: &Cache) -> Options {
    let mut options = Options::default();
    // Blocks are compressed and sealed before they come here; the default would be LZ4.
    options.set_compression_type(DBCompressionType::None);
    options.set_bottommost_compression_type(DBCompressionType::None);
    let mut table = BlockBasedOptions::default();
    // The newest that store-format.md allows (section 4): RocksDB's default moves on, and other readers do not know it yet.
    table.set_format_version(6);
    if holds_blocks(name) {
        // A row is hundreds of KiB: nothing to gain from a cache.
        table.disable_cache();
        // What is merged into one file stays one: each file begins with an epoch note (store-format.md, section 8).
        options.set_target_file_size_base(8 << 30);
    } else {
        table.set_block_cache(cache);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        let mut universal = UniversalCompactOptions::default();
        universal.set_size_ratio(20);
        options.set_compaction_style(DBCompactionStyle::Universal);
        options.set_universal_compaction_options(&universal);
        options.set_level_zero_file_num_compaction_trigger(FEW_RUNS);
        // Merging catches up when it can; writing does not wait for it.
        options.set_level_zero_slowdown_writes_trigger(1000);
        options.set_level_zero_stop_writes_trigger(2000);
    }
    // Merging begins when `merge.rs` says so, never by itself: a file that cannot be read must not stop a capture.
    options.set_disable_auto_compactions(true);
    if is_index(name) {
        table.set_bloom_filter(10.0, false);
        options.set_write_buffer_size(32 << 20);
    } else {
        options.set_write_buffer_size(4 << 20);
    }
    options.set_block_based_table_factory(&table);
    options
}

pub(super) fn database_options() -> Options {
    let mut options = Options::default();
    options.set_atomic_flush(true);
    options.set_max_open_files(open_files_limit());
    // By default sixteen threads are started for each family, however few files it has.
    options.set_max_file_opening_threads(1);
    options.set_keep_log_file_num(1);
    options.set_log_level(LogLevel::Error);
    options.set_max_background_jobs(2);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

/// Raises the limit of open files as far as allowed and leaves room for other uses.
fn open_files_limit() -> i32 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.current < limit.maximum {
        let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
        let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised);
    }
    let now = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20);
    i32::try_from((now / 2).clamp(64, 65_536)).unwrap_or(1024)
}
