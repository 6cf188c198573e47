#![no_main]

larder_fuzz::target!("pack");
