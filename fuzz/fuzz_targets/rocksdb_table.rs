#![no_main]

larder_fuzz::target!("rocksdb_table");
