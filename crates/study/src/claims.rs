use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crate::StudyError;

/// Files by which processes that share a folder tell each other what they work on.
///
/// A claim is a file that only one process can have made. While it works, the process writes to it
/// again and again; one that was not written to for a lease is of a process that died, and is taken
/// over. Ages are measured by the clock of the file system, so machines need not agree on the time.
///
/// Should two processes ever work on one thing after all, both write the same result.
#[derive(Debug)]
pub(super) struct Claims {
    folder: PathBuf,
    lease: Duration,
    worker: String,
    files: AtomicUsize,
}

/// Something that this process works on, until the value is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    path: PathBuf,
    worker: String,
    stop: Option<Sender<()>>,
    beats: Option<JoinHandle<()>>,
}

impl Claims {
    /// Claims in the folder of a study.
    pub(super) fn new(study: &Path, lease: Duration) -> Result<Self, StudyError> {
        let folder = study.join("claims");
        std::fs::create_dir_all(&folder).map_err(StudyError::io(&folder))?;
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        // Processes of containers may share host names and numbers.
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let nanos = started.map_or(0, |since| since.subsec_nanos());
        let worker = format!("{}-{}-{nanos}", host.trim(), std::process::id());
        Ok(Self { folder, lease, worker, files: AtomicUsize::new(0) })
    }

    /// How long to wait before looking again for what others have made.
    pub(super) fn pause(&self) -> Duration {
        (self.lease / 8).clamp(Duration::from_millis(100), Duration::from_secs(5))
    }

    /// Claims something by the name of its file; `None` while another process works on it.
    pub(super) fn take(&self, name: &str) -> Result<Option<Claim>, StudyError> {
        let path = self.folder.join(name);
        loop {
            let mut options = OpenOptions::new();
            match options.write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    beat(&mut file, &self.worker).map_err(StudyError::io(&path))?;
                    return self.kept(path).map(Some);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(StudyError::io(&path)(error)),
            }
            if !self.is_stale(&path)? {
                return Ok(None);
            }
            // Of those who find it stale, one moves it away. Whoever moves a claim that was made
            // since puts it back.
            let number = self.files.fetch_add(1, Ordering::Relaxed);
            let aside = self.folder.join(format!(".{}-{number}", self.worker));
            match std::fs::rename(&path, &aside) {
                Ok(()) if self.is_stale(&aside)? => {
                    std::fs::remove_file(&aside).map_err(StudyError::io(&aside))?;
                }
                Ok(()) => {
                    // There may be a newer one in its place already.
                    let _ = std::fs::hard_link(&aside, &path);
                    std::fs::remove_file(&aside).map_err(StudyError::io(&aside))?;
                    return Ok(None);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(StudyError::io(&path)(error)),
            }
        }
    }

    /// Who works on something now.
    pub(super) fn holder(&self, name: &str) -> Option<String> {
        let path = self.folder.join(name);
        let holder = std::fs::read_to_string(&path).ok()?;
        matches!(self.is_stale(&path), Ok(false)).then_some(holder)
    }

    /// Whether a claim has not been written to for a lease; one that is gone has not.
    fn is_stale(&self, path: &Path) -> Result<bool, StudyError> {
        let modified = |path: &Path| std::fs::metadata(path).and_then(|of| of.modified());
        let written = match modified(path) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(StudyError::io(path)(error)),
        };
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let clock = self.folder.join(format!(".{}-{number}", self.worker));
        std::fs::write(&clock, "now").map_err(StudyError::io(&clock))?;
        let now = modified(&clock).map_err(StudyError::io(&clock))?;
        std::fs::remove_file(&clock).map_err(StudyError::io(&clock))?;
        Ok(now.duration_since(written).is_ok_and(|age| age > self.lease))
    }

    /// A claim that is written to as long as it is held.
    fn kept(&self, path: PathBuf) -> Result<Claim, StudyError> {
        let (stop, stopped) = channel();
        let (own, worker, every) = (path.clone(), self.worker.clone(), self.lease / 4);
        let beats = std::thread::Builder::new().name("claim".into()).spawn(move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                // Another process may have taken it over while this one was stopped. It is told by
                // the result that it is made twice; a file that cannot be written ends the claim.
                if !is_of(&own, &worker) {
                    return;
                }
                let written = OpenOptions::new().write(true).open(&own);
                if written.and_then(|mut file| beat(&mut file, &worker)).is_err() {
                    return;
                }
            }
        });
        let beats = beats.map_err(StudyError::io(&path))?;
        Ok(Claim { path, worker: self.worker.clone(), stop: Some(stop), beats: Some(beats) })
    }
}

/// Writes to a claim, which sets its time.
fn beat(file: &mut File, worker: &str) -> std::io::Result<()> {
    file.write_all(worker.as_bytes())?;
    file.sync_all()
}

fn is_of(path: &Path, worker: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|of| of == worker)
}

impl Drop for Claim {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(beats) = self.beats.take() {
            // It has nothing to say, and a panic of its own was printed.
            let _ = beats.join();
        }
        if is_of(&self.path, &self.worker) {
            // What is left goes stale.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(400);

    #[test]
    fn one_of_many_has_a_claim_and_the_next_has_it_after() {
        let folder = tempfile::tempdir().unwrap();
        let claims: Vec<_> =
            (0..8).map(|_| Claims::new(folder.path(), Duration::from_secs(60)).unwrap()).collect();
        let taken: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                claims.iter().map(|of| scope.spawn(|| of.take("run").unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(taken.iter().flatten().count(), 1);
        assert!(claims[0].holder("run").is_some() && claims[0].holder("other").is_none());
        drop(taken);
        assert!(claims[0].take("run").unwrap().is_some());
        assert_eq!(std::fs::read_dir(folder.path().join("claims")).unwrap().count(), 0);
    }

    #[test]
    fn a_claim_lives_as_long_as_its_process_and_is_taken_over_after_the_lease() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (
            Claims::new(folder.path(), LEASE).unwrap(),
            Claims::new(folder.path(), LEASE).unwrap(),
        );
        let held = one.take("run").unwrap().unwrap();
        std::thread::sleep(3 * LEASE);
        assert!(other.take("run").unwrap().is_none(), "it is held beyond the lease");
        // A process that was killed leaves its file, and writes no more.
        drop(held);
        std::fs::write(folder.path().join("claims/run"), "dead").unwrap();
        assert!(other.take("run").unwrap().is_none(), "it may live yet");
        std::thread::sleep(2 * LEASE);
        assert!(one.holder("run").is_none());
        let rivals = std::thread::scope(|scope| {
            let threads = [&one, &other].map(|of| scope.spawn(|| of.take("run").unwrap()));
            threads.map(|thread| thread.join().unwrap())
        });
        assert_eq!(rivals.iter().flatten().count(), 1);
    }
}
