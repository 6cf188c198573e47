#![no_main]

larder_fuzz::target!("capture_cache");
