//! The memory of this process, where the system or its allocator tells.

mod counted;

pub use counted::{Counted, PeakCount};

/// Resident memory, in bytes.
pub fn resident_bytes() -> Option<f64> {
    of_status("VmRSS:")
}

/// The high-water mark of resident memory, in bytes.
pub fn peak_bytes() -> Option<f64> {
    of_status("VmHWM:")
}

/// Forgets the high-water mark, where the system can.
pub fn reset_peak() {
    // Where it cannot, the mark stays that of the whole process, which is what it says elsewhere.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn of_status(name: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    Some(1024.0 * line.split_whitespace().nth(1)?.parse::<f64>().ok()?)
}
