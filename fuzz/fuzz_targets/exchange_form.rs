#![no_main]

larder_fuzz::target!("exchange_form");
