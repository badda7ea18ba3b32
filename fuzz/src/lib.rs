//! What the fuzz targets have in common: the parsers, memory with an end, and panics that count only
//! where nobody caught them.

mod memory;
pub mod parsers;
pub mod seeds;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::path::PathBuf;
use std::sync::OnceLock;

thread_local! {
    /// What the last panic said. Those of foreign parsers are caught by the code that is tested.
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Gives the parser of a name a file that the fuzzer made up.
///
/// Folders are made below the one that `LORA_MOE_FUZZ_FOLDER` names, which should be in memory. Into
/// that of `LORA_MOE_FUZZ_SEEDS` go the files to begin with.
pub fn guided(name: &str, data: &[u8]) {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        set_hook(Box::new(|info| SAID.with(|said| *said.borrow_mut() = info.to_string())));
        let parent = std::env::var_os("LORA_MOE_FUZZ_FOLDER").map(PathBuf::from);
        let folder = parent.unwrap_or_else(std::env::temp_dir);
        let folder = folder.join(format!("fuzz-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the folder can be written to");
        if let Some(to) = std::env::var_os("LORA_MOE_FUZZ_SEEDS").map(PathBuf::from) {
            std::fs::create_dir_all(&to).expect("the folder can be written to");
            for (number, seed) in seeds::seeds(name).iter().enumerate() {
                std::fs::write(to.join(number.to_string()), seed).expect("it can be written to");
            }
        }
        folder
    });
    let found = parsers::PARSERS.iter().find(|(parser, _)| *parser == name);
    let (_, parser) = found.expect("a target is named after its parser");
    if catch_unwind(AssertUnwindSafe(|| parser(folder, data))).is_err() {
        SAID.with(|said| eprintln!("panicked: {}", said.borrow()));
        std::process::abort();
    }
}
