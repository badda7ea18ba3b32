//! Disks that are full, folders that cannot be written, and files that are not as they were left:
//! the command says so, keeps what was saved, and goes on once the cause is gone.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::{arg, fails, lora_moe, succeeds, tiny_model};

const STEPS: usize = 8;

/// A run of 8 steps that saves each, and what it ends with when nothing is in its way.
struct Run {
    folder: tempfile::TempDir,
    config: PathBuf,
    model: PathBuf,
    whole: PathBuf,
}

impl Run {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (model, data) = tiny_model(folder.path());
        let config = folder.path().join("run.toml");
        let text = format!(
            "[model]\npath = {model:?}\n[adapter]\npreset = \"lora\"\nr = 2\n\
             [data]\ntrain = [{{ path = {data:?} }}]\ntemplate = \"plain\"\n\
             [training]\noutput_dir = \"unset\"\nper_device_train_batch_size = 4\n\
             logging_steps = 1\nmax_steps = {STEPS}\nsave_steps = 1\nsave_total_limit = {STEPS}\n"
        );
        std::fs::write(&config, text).unwrap();
        let whole = folder.path().join("whole");
        let run = Self { folder, config, model, whole };
        let output = run.train(&run.whole, &[]);
        assert!(output.status.success(), "{}", error(&output));
        run
    }

    fn arguments(&self, output: &Path, more: &[&str]) -> Vec<String> {
        let set = format!("training.output_dir={}", arg(output));
        let base = ["train", "--config", arg(&self.config), "--set", &set];
        [&base, more].concat().into_iter().map(str::to_owned).collect()
    }

    fn train(&self, output: &Path, more: &[&str]) -> Output {
        let arguments = self.arguments(output, more);
        lora_moe(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Goes on, and ends as if nothing had been in the way.
    fn goes_on(&self, output: &Path, more: &[&str]) {
        let ended = self.train(output, more);
        assert!(ended.status.success(), "{}", error(&ended));
        for file in ["adapter_model.safetensors", "adapter_config.json"] {
            let read = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
            assert!(read(output) == read(&self.whole), "{file}");
        }
        let stray = left_behind(output);
        assert!(stray.is_empty(), "{stray:?}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Temporary files and folders.
fn left_behind(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".tmp")).collect()
}

fn newest(folder: &Path) -> Option<usize> {
    let names = std::fs::read_dir(folder).ok()?;
    let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.strip_prefix("checkpoint-")?.parse().ok()).max()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// The run as if it had ended after a step.
fn copy_until(run: &Run, step: usize, to: &Path) {
    copy(&run.whole, to);
    for file in ["adapter_model.safetensors", "adapter_config.json"] {
        std::fs::remove_file(to.join(file)).unwrap();
    }
    for later in step + 1..=STEPS {
        std::fs::remove_dir_all(to.join(format!("checkpoint-{later}"))).unwrap();
    }
}

/// A file system in memory, for as long as it lives.
struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Prints why and returns `None` where none can be mounted.
    fn new(at: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir(at).unwrap();
        let output =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs", arg(at)]).output();
        match output {
            Ok(output) if output.status.success() => Some(Self(at.into())),
            Ok(output) => {
                println!("skipped: no file system can be mounted: {}", error(&output).trim());
                None
            }
            Err(error) => {
                println!("skipped: no file system can be mounted: {error}");
                None
            }
        }
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let status = Command::new("mount").args(["-o", &options, arg(&self.0)]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", arg(&self.0)]).status();
    }
}

#[test]
fn a_run_on_a_full_disk_keeps_its_checkpoints_and_goes_on_when_there_is_room() {
    let run = Run::new();
    let size = |folder: &Path| -> u64 {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata());
        files.map(|data| data.unwrap().len().next_multiple_of(4096)).sum()
    };
    let checkpoint = size(&run.whole.join("checkpoint-1"));
    let at = run.path("full");
    // Room for three and a half.
    let Some(disk) = Tmpfs::new(&at, &format!("size={}", checkpoint * 7 / 2)) else { return };
    let output = at.join("run");
    let ended = run.train(&output, &[]);
    let error = error(&ended);
    println!("{error}");
    assert_eq!(ended.status.code(), Some(1), "{error}");
    assert!(error.contains("No space left on device") && error.contains(arg(&output)), "{error}");
    let saved = newest(&output).unwrap();
    assert!((1..STEPS).contains(&saved), "{saved}");
    // Still full, and still as clear.
    let again = run.train(&output, &["--resume"]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(newest(&output), Some(saved));
    disk.remount("size=64m");
    run.goes_on(&output, &["--resume"]);
}

#[test]
fn a_merge_on_a_full_disk_leaves_no_model() {
    let run = Run::new();
    let at = run.path("full");
    let Some(disk) = Tmpfs::new(&at, "size=32k") else { return };
    let output = at.join("merged");
    let arguments = ["merge", "--model", arg(&run.model), "--adapter", arg(&run.whole), "--output"];
    let arguments = [&arguments[..], &[arg(&output)]].concat();
    let error = fails(&arguments);
    println!("{error}");
    assert!(error.contains("No space left on device") && error.contains("merged"), "{error}");
    assert!(!output.join("config.json").exists());
    assert_eq!(left_behind(&output), [""; 0]);
    disk.remount("size=64m");
    succeeds(&arguments);
    assert!(succeeds(&["inspect", arg(&output)]).contains("llama"));
}

#[test]
fn a_folder_on_a_read_only_disk_is_named() {
    let run = Run::new();
    let at = run.path("disk");
    let Some(disk) = Tmpfs::new(&at, "size=64m") else { return };
    let output = at.join("run");
    copy_until(&run, 3, &output);
    disk.remount("ro");
    for more in [&[][..], &["--resume"]] {
        let ended = run.train(&output, more);
        let error = error(&ended);
        println!("{error}");
        assert!(!ended.status.success());
        assert!(error.contains("Read-only file system") && error.contains("run"), "{error}");
    }
    disk.remount("rw");
    run.goes_on(&output, &["--resume"]);
}

#[test]
fn a_folder_without_permissions_is_named() {
    let run = Run::new();
    let output = run.path("closed");
    std::fs::create_dir(&output).unwrap();
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&output, 0o555);
    let arguments = run.arguments(&output, &[]);
    // Nothing is closed to root, so there the command runs as somebody else.
    let binary = env!("CARGO_BIN_EXE_lora-moe");
    let mut command = if std::fs::write(output.join("probe"), "").is_ok() {
        std::fs::remove_file(output.join("probe")).unwrap();
        mode(run.folder.path(), 0o755);
        let mut other = Command::new("setpriv");
        other.args(["--reuid=65534", "--regid=65534", "--clear-groups", binary]);
        let version = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", binary, "--version"])
            .output();
        if !version.is_ok_and(|output| output.status.success()) {
            println!("skipped: runs as root, and the command cannot be run as somebody else");
            return;
        }
        other
    } else {
        Command::new(binary)
    };
    let ended = command.args(&arguments).output().unwrap();
    let error = error(&ended);
    println!("{error}");
    assert_eq!(ended.status.code(), Some(1), "{error}");
    assert!(error.contains("Permission denied") && error.contains("closed"), "{error}");
    mode(&output, 0o755);
    run.goes_on(&output, &[]);
}

#[test]
fn a_checkpoint_that_was_cut_short_is_named_with_another_one_to_go_on_from() {
    let run = Run::new();
    let files = [
        "adapter_model.safetensors",
        "adapter_config.json",
        "optimizer.safetensors",
        "trainer_state.json",
    ];
    for (at, file) in files.into_iter().enumerate() {
        let output = run.path(&format!("cut-{at}"));
        copy_until(&run, 5, &output);
        let path = output.join("checkpoint-5").join(file);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let ended = run.train(&output, &["--resume"]);
        let error = error(&ended);
        println!("{error}");
        let other = output.join("checkpoint-4");
        assert!(error.contains(file), "{error}");
        assert!(error.contains(&format!("with `--resume {}`", other.display())), "{error}");
        assert_eq!(newest(&output), Some(5), "nothing is removed for a mistake");
        run.goes_on(&output, &["--resume", arg(&other)]);
    }
}

#[test]
fn a_checkpoint_that_lacks_a_file_is_named() {
    let run = Run::new();
    for file in ["adapter_model.safetensors", "adapter_config.json", "optimizer.safetensors"] {
        let output = run.path(file);
        copy_until(&run, 1, &output);
        std::fs::remove_file(output.join("checkpoint-1").join(file)).unwrap();
        let error = error(&run.train(&output, &["--resume"]));
        println!("{error}");
        assert!(error.contains("checkpoint-1 cannot be read"), "{error}");
        assert!(error.contains("no other healthy checkpoint"), "{error}");
        std::fs::remove_dir_all(output.join("checkpoint-1")).unwrap();
        run.goes_on(&output, &[]);
    }
}

#[test]
fn what_was_torn_does_not_stand_in_the_way() {
    let run = Run::new();
    let output = run.path("torn");
    copy_until(&run, 4, &output);
    let torn = output.join(".checkpoint-5.tmp");
    std::fs::create_dir(&torn).unwrap();
    std::fs::write(torn.join("adapter_model.safetensors"), "half").unwrap();
    std::fs::write(output.join(".writing-abc.tmp"), "half").unwrap();
    // A checkpoint that was being removed.
    std::fs::rename(output.join("checkpoint-1"), output.join(".checkpoint-1.tmp")).unwrap();
    let log = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap();
    std::fs::write(output.join("metrics.jsonl"), &log[..log.len() - 20]).unwrap();
    run.goes_on(&output, &["--resume"]);
}
