#![no_main]

larder_fuzz::target!("key_object");
