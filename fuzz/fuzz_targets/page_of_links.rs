#![no_main]

larder_fuzz::target!("page_of_links");
