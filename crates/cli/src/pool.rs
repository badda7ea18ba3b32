//! Where a command computes.

/// The stack of a thread of the pool: as much as a main thread has, and more.
const STACK: usize = 16 << 20;

/// Runs a command as one of the threads that share its products.
///
/// A thread outside of the pool would hand over every product and sleep until it is done: two changes of
/// threads each, which cost more than a product of few rows. Not for commands whose own threads wait for
/// each other: each waiting one would take a thread from the products.
pub fn inside<T: Send>(command: impl FnOnce() -> T + Send) -> T {
    // Where the pool was made before, its stacks are what they are.
    let _ = rayon::ThreadPoolBuilder::new().stack_size(STACK).build_global();
    rayon::scope(|_| command())
}
