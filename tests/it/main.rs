//! The integration tests: one binary, one sandbox. Each module says what is promised; its tests' names say which promise.

mod format_page; // store-format.md against the code: tables, families, offsets, test vectors
