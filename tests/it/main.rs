//! The integration tests: one binary, one sandbox. Each module says what is promised; its tests' names say which promise.

mod attacks; // someone changes, swaps or sets back what is in the store, or has the wrong key
mod crash; // trouble at any operation: kills, power cuts, failing and full disks, damaged files
mod format_page; // store-format.md against the code: tables, families, offsets, test vectors
mod leaks; // what an encrypted store gives away
mod many_readers; // readers beside a writer
mod sandbox; // what all tests use: a client, a store, the CLI, models of trees
