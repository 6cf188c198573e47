#![no_main]

larder_fuzz::target!("sealed_value");
