//! The threads that share products on a CPU.

/// The stack of each: as much as a main thread has, and more.
const STACK: usize = 16 << 20;

/// Starts them.
pub fn start() -> Result<(), rayon::ThreadPoolBuildError> {
    rayon::ThreadPoolBuilder::new().stack_size(STACK).build_global()
}

/// Runs a command as one of them.
///
/// A thread outside of the pool would hand over every product and sleep until it is done: two changes of
/// threads each, which cost more than a product of few rows. Not for commands whose own threads wait for
/// each other: each waiting one would take a thread from the products.
pub fn inside<T: Send>(command: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| command())
}
