#![no_main]

larder_fuzz::target!("record_line");
