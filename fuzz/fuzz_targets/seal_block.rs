#![no_main]

larder_fuzz::target!("seal_block");
