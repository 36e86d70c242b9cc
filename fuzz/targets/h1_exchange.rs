#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| sockeye_fuzz::check("h1_exchange", octets));
