//! Documents for the shell: completions and manual pages.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::process::{Command, Stdio};

use support::{arg, lora_moe, succeeds};

#[test]
fn each_shell_completes_the_commands_and_their_options() {
    for shell in ["bash", "zsh", "fish"] {
        let script = succeeds(&["completions", shell]);
        for word in ["train", "convert", "resume", "drop-training"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(lora_moe(&["completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn bash_takes_the_script() {
    if Command::new("bash").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: there is no bash");
        return;
    }
    let script = succeeds(&["completions", "bash"]);
    let complete = r#"
        function=$(complete -p lora-moe | sed 's/.*-F \([^ ]*\).*/\1/')
        COMP_WORDS=(lora-moe tr); COMP_CWORD=1
        "$function" lora-moe tr lora-moe
        echo "${COMPREPLY[@]}"
    "#;
    let output =
        Command::new("bash").args(["-c", &format!("{script}\n{complete}")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "train", "{output:?}");
}

#[test]
fn each_command_has_a_page() {
    let folder = tempfile::tempdir().unwrap();
    succeeds(&["man", "--output", arg(folder.path())]);
    for page in ["lora-moe", "lora-moe-train", "lora-moe-bench-train"] {
        let text = std::fs::read_to_string(folder.path().join(format!("{page}.1"))).unwrap();
        assert!(text.starts_with(".ie") && text.contains(".SH SYNOPSIS"), "{page}: {text}");
        assert!(text.contains(&page.replace('-', "\\-")) || text.contains(page), "{page}");
    }
    let train = std::fs::read_to_string(folder.path().join("lora-moe-train.1")).unwrap();
    assert!(train.contains("resume"), "{train}");
}

/// As `lora-moe inspect ADAPTER | head` has it.
#[test]
fn a_reader_that_has_enough_is_no_mistake_of_the_program() {
    for arguments in [&["config", "--schema"][..], &["config", "--list"], &["eval", "--list-tasks"]]
    {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lora-moe"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && error.is_empty(), "{arguments:?}: {error}");
    }
}
