#![no_main]

larder_fuzz::target!("dataset_record");
