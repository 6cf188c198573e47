#![no_main]

larder_fuzz::target!("ignore_file");
