#![no_main]

larder_fuzz::target!("json");
