use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Whether the process was asked to end: by Ctrl-C, or by SIGTERM, which a cluster sends before it
/// ends a job. A second signal ends it at once.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    listens: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Listens from here on. Before, and in commands that do not listen, a signal ends the process
    /// at once, which loses nothing: files are written under another name and renamed. It may be
    /// called again, as by each rank of a process.
    pub fn listen(&self) -> std::io::Result<()> {
        if self.listens.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        for signal in [SIGINT, SIGTERM] {
            // In this order: it ends the process where an earlier signal has set the flag.
            let code = status(signal);
            flag::register_conditional_shutdown(signal, code.into(), self.asked.clone())?;
            flag::register_usize(signal, self.signal.clone(), usize::from(code))?;
            flag::register(signal, self.asked.clone())?;
        }
        Ok(())
    }

    /// Ends the process at a signal, and says `how` to go on: for commands that write every file whole
    /// or not at all, so that there is nothing to finish first.
    pub fn end_with(&self, how: &'static str) -> std::io::Result<()> {
        self.listen()?;
        let this = self.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            while !this.asked() {
                std::thread::sleep(Duration::from_millis(50));
            }
            eprintln!("interrupted: {how}");
            std::process::exit(this.status().into());
        })?;
        Ok(())
    }

    /// Whether a signal came.
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// The exit status that says which, as shells do: 130 or 143.
    pub fn status(&self) -> u8 {
        u8::try_from(self.signal.load(Ordering::SeqCst)).unwrap_or(1)
    }
}

/// The exit status of a rank that ends because another was asked to: Ctrl-C reaches all of them, so it was SIGTERM.
pub const OF_ANOTHER_RANK: u8 = 143;

/// 128 and the signal's number.
fn status(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(1)
}
