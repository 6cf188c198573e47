//! `seeds CORPUS STORE-FORMAT.MD`: writes first inputs for each target.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [corpus, page] = &arguments[..] else { return Err(std::io::ErrorKind::InvalidInput.into()) };
    larder_fuzz::write_seeds(Path::new(corpus), &std::fs::read_to_string(page)?)
}
