#![no_main]

larder_fuzz::target!("snapshot_name");
