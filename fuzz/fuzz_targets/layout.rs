#![no_main]

larder_fuzz::target!("layout");
