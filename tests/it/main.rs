//! The integration tests: one binary, one sandbox. Each module says what is promised; its tests' names say which promise.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::format_push_string,
    clippy::unnecessary_debug_formatting,
    reason = "a test fails where it stands and tells what it did; its numbers are small"
)]

mod allowing; // archives as tar makes them when asked to, what --allow lets in, parts of archives
mod attacks; // someone changes, swaps or sets back what is in the store, or has the wrong key
mod behind; // the database of a store, read and changed behind Larder's back
mod by_hand; // trees and archives that tests make by hand
mod capture; // what capture and restore do with things in their way
mod cheats; // someone with a writer key, or a removed one, tries what it does not permit
mod clocked; // captures by any clock and with any key
mod compare; // diff, find, history, stats, why-big, why-new
mod config; // larder.toml: where it is found, what wins, what is refused
mod crash; // trouble at any operation: kills, power cuts, failing and full disks
mod damage; // any file of a store changed, cut or gone
mod damage_table; // each kind of file × each kind of damage × commands
mod databases; // SQLite, a PostgreSQL server and what stands in for SQL Server, for tests
mod epoch_records; // records of epochs that somebody has changed: nothing is lost, nothing stays open to who left
mod evidence; // what a snapshot says about itself
mod export; // packs: what is in them, what is not, never half of one
mod faithful; // a mounted snapshot is the captured tree to rsync, tar, diff, cp, find, getfacl and system calls
mod false_entries; // entries of the log that name snapshots which did not come with them
mod fixtures; // frozen stores of each format version, read by Larder and by tests/reader.py
mod folding; // a target that takes names for one that differ in letter case
mod foreign; // archives as other programs make them, read as they are
mod foreign_files; // files beside the database that are none of its own
mod format_page; // store-format.md against the code: tables, families, offsets, test vectors
mod former_keys; // who had a key, or one that may less, and writes what only others may
mod frame; // what all commands share: help, completions, manual, log, colours, signals, pipes, hints
mod full_disk; // no byte or no inode left
mod gc; // snapshots given up, and their room given back
mod heal_packs; // what is whole in a damaged pack heals a store
mod herd; // processes beside each other, and who kills them
mod identities; // what opens a store, and that nothing of it is told
mod importing; // packs, and archives of others, as snapshots: whole or not at all
mod key_doubts; // lists of keys that may not be the newest: nobody is let in, left out or shut out by one
mod key_objects; // row and file of a key differ, or the newest list of keys is lost
mod key_rows; // rows and files of keys that somebody changed, took away or put back
mod keys; // keys come and go, rotation, kills meanwhile
mod laid_ready; // what lies ready beside a key's file; forged changes of keys; key export
mod layouts;
mod leaks; // what an encrypted store gives away
mod leave_out; // what a capture leaves out
mod listing; // lists of snapshots, and their names
mod loss_attacks; // losses of log entries that no owner accepted
mod losses; // what killed runs leave is no loss; lost manifests and lists of files, healed, repaired or given up
mod lost_entries; // entries of the arrival log that are lost: healed from a copy, or given up by an owner
mod many_readers; // readers beside a writer
mod misnamed; // rows of the indexes that name other places than the right ones
mod mount_trouble; // readers and servers of a mount killed, damage beneath it, snapshots made meanwhile
mod mounting; // where a mount is made, and where it is refused
#[cfg(feature = "mssql")]
mod mssql; // SQL Server: what stands in for one, or a real one; trouble with it
mod no_keys; // nothing to unlock with, shared with the benchmarks
mod odd_trees; // trees of somebody's own making: pages that share pages, names of one file that differ, sizes that are none
mod oracle; // what a store must hold, in memory
mod pack_faults; // archives with several things wrong: each named, of its sort, taken by nobody
mod pack_lies; // packs whose checksums hold and whose parts contradict each other; packs that lie there extracted
mod packs; // whole packs: stock tools, the same bytes always, what is known of them later
mod promises; // the eight promises, one test each
mod pseudo; // file systems of which a capture takes the mount point alone
mod random_runs; // random commands, kills and clocks against the oracle
mod record_answers; // what is asked of datasets: by tags and times of observations, begins of hashes; what validate and verify tell
mod record_folders; // folders of records: what is taken, what is left out and told
mod record_guards; // what record datasets are guarded from: other snapshots, nothing at all, keys that speak to terminals
mod record_input; // what an import is given: cut lines, links, texts that grow, packs beyond limits
mod record_library; // records written and read by programs: RecordWriter, RecordReader
mod record_lines; // records canon, hash and validate: lines in, lines out
mod record_missing; // what is not there, or not what it seems: records that an index lists, datasets that are two, contents that come back
mod record_observations; // observations: each is kept with all that is said of it, none twice
mod record_packs; // datasets in other forms: packs, tables, mounts; texts that are no records
mod record_peers; // datasets as the older system, grep, rsync and readers of tables see them
mod record_policies; // what holds for a dataset: said, shown, changed
mod record_secrets; // no secret reaches a file
mod record_sets; // record datasets: each content once, conflicts, versions, what is written for a change
mod record_tables; // what records export writes for programs: fields, reports, closed pipes
mod record_trouble; // imports killed, beside each other, on a full disk, with questions
mod refusals; // what the command line refuses or bounds: outputs over the store, special files, secrets as names
mod removal; // what a restore must not take away
mod repair_lies; // rows, tips and lists of files that somebody put there who has no key
mod repairing; // repair makes anew what can be, sets damage aside; heal takes what is lost from elsewhere
mod resealing; // what is under older identities of the store is sealed anew; nobody who left opens any of it
mod restore; // restores into folders that hold something: patterns, deletion, rehearsals, kills
mod restore_beside; // restores beside others, by others than root, and over what a kill left
mod retention; // what forget, hold, release and policy keep and give up
mod retention_attacks; // a writer that lies about time, number and who it is
mod retention_scale; // retention of ten thousand snapshots
mod roles; // what writers and catalog keys can and cannot do
mod round_trips; // packs there and back: every form is the snapshot again, none that was tampered with is
mod roundtrip; // what goes in comes out: restore, mount, tar, the independent reader
mod safety; // the snapshot that is taken before a restore can be trusted
mod sandbox; // what all tests use: a client, a store, the CLI, models of trees
mod schema; // what --json prints against `larder schema`
mod sealed_packs; // packs under recipients, passphrases and passwords: there and back, with wrong keys, cut and changed
mod serving; // mounts in the background, within a deadline, asked once; leases and times
mod set_back; // a database or a list of files of an earlier time; small files lost or swapped together; what leads elsewhere
mod signatures; // writer keys sign: none passes for another
mod source_text; // Rust sources as the rules of tidy.rs read them
mod storm; // everything at once, and everybody killed at random
mod strays; // numbers that nobody can have come to by counting; two damages at once
mod streams; // standard input, what commands print, and captures that are stopped
mod sync_decisions; // who wins where a dataset and a table have two contents, row by row of the older system's table
mod sync_meanwhile; // others write into the table while it is synchronised
mod sync_refused; // tables that do not take each row, or are none
mod sync_rows; // rows changed by hand, rows with what was there before; what is told of a sync
mod sync_sql; // a dataset and a table, each direction, each conflict, each strange record: the same in both databases
mod sync_trouble; // servers that refuse, hang, are full or killed; syncs that are killed, and beside each other
mod tidy; // the rules of ARCHITECTURE.md: layers, doors, who prints, exits and knows the time
mod unchanged; // no snapshot where none is needed: --skip-if-unchanged, --dry-run
mod unmatched; // patterns of a restore that fit nothing
mod unpacking; // packs, and archives of others, as folders: without a store, nothing outside, whole or not at all
mod verify_packs; // packs and archives against what they say of themselves
mod verifying; // verify without keys, in parts, within a budget; no changed byte is passed over
mod wrappings; // compressions and seals around archives, ours and others', cut, changed and blown up
