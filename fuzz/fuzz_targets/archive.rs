#![no_main]

larder_fuzz::target!("archive");
