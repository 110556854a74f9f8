//! The memory allocator of every binary, and how it treats the kernel.
//!
//! A night's plans allocate and free columns of some hundred kilobytes, gigabytes in all. An allocator that gives their
//! pages back at once has them cleared again by the kernel a moment later, which took a third of a large snapshot's
//! time. So pages are kept for a second before they go back, and large ones are asked for where there are any. What C
//! and C++ allocate comes from here too (the feature `override`): of the kernel's share of a training that was more than
//! half.

use libmimalloc_sys::{mi_option_large_os_pages, mi_option_set, mi_option_set_enabled, mi_option_t};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h, which the bindings do not name.
const PURGE_DELAY: mi_option_t = 15;
const KEPT_MILLISECONDS: std::ffi::c_long = 1000;

/// To be called once, first thing in `main`.
pub fn configure() {
    // SAFETY: both set a number in the allocator's table of options, whose indices these are.
    unsafe {
        mi_option_set(PURGE_DELAY, KEPT_MILLISECONDS);
        mi_option_set_enabled(mi_option_large_os_pages, true);
    }
}
