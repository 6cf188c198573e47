#![no_main]

larder_fuzz::target!("ledger_row");
