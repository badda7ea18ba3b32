//! The allocator of the command.

#![allow(unsafe_code)]

use std::env;

use libmimalloc_sys::{mi_option_large_os_pages, mi_option_set, mi_option_t};
use lora_moe::finetune::memory::Counted;
use mimalloc::MiMalloc;

/// Training on a CPU allocates a large buffer for every operation; glibc gives each back to the
/// system at once and pays for its pages again.
#[global_allocator]
static ALLOCATOR: Counted<MiMalloc> = Counted(MiMalloc);

/// `purge_delay` of `mi_option_t`; its numbers do not change, says mimalloc's header.
const PURGE_DELAY: mi_option_t = 15;

/// Keeps memory that was freed, and asks for large pages: a step then spends a tenth of its time
/// less in the kernel. The variables `MIMALLOC_PURGE_DELAY` and `MIMALLOC_ALLOW_LARGE_OS_PAGES` win.
pub fn tune() {
    let options = [
        ("MIMALLOC_PURGE_DELAY", PURGE_DELAY, -1),
        ("MIMALLOC_ALLOW_LARGE_OS_PAGES", mi_option_large_os_pages, 1),
    ];
    for (variable, option, value) in options {
        if env::var_os(variable).is_none() {
            // SAFETY: both are options of this version of mimalloc, and no other thread runs yet.
            unsafe { mi_option_set(option, value) };
        }
    }
}
