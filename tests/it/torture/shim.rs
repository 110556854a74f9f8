//! The library of `shim.c`, compiled once: it goes between the real binary and libc.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

struct Built {
    dir: TempDir,
    worked: bool,
}

static SHIM: LazyLock<Built> = LazyLock::new(|| {
    let dir = TempDir::new().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/torture/shim.c");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let mut compile = Command::new(compiler);
    compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(dir.path().join("shim.so")).arg(source).arg("-ldl");
    let worked = cfg!(target_os = "linux") && compile.status().is_ok_and(|status| status.success());
    Built { dir, worked }
});

/// `None` where it cannot be had, which is said: a test that needs it holds nothing then.
pub fn library() -> Option<PathBuf> {
    if !SHIM.worked {
        eprintln!("skipped: this needs Linux and a C compiler");
        return None;
    }
    Some(SHIM.dir.path().join("shim.so"))
}

/// Runs a command with the library before libc, watching a directory.
pub fn watch(command: &mut Command, library: &Path, under: &Path) {
    command.env("LD_PRELOAD", library).env("SHIM_UNDER", under);
}
