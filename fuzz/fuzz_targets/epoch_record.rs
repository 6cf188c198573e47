#![no_main]

larder_fuzz::target!("epoch_record");
