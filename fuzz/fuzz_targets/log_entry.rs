#![no_main]

larder_fuzz::target!("log_entry");
