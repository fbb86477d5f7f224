//! Programs that are built beside this one, each a package of its own below `target/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) struct Package(PathBuf);

impl Package {
    /// `tail` is what follows the manifest's `[package]`.
    pub(crate) fn write(folder: &str, tail: &str, source: &str) -> Self {
        let folder = crates().join("../target").join(folder);
        let manifest = format!(
            "[package]\nname = 'program'\nversion = '0.0.0'\nedition = '2024'\n\n\
             [[bin]]\nname = 'program'\npath = 'main.rs'\n\n[workspace]\n\n{tail}\n"
        );
        fs::create_dir_all(&folder).expect("target/ can be written");
        fs::write(folder.join("Cargo.toml"), manifest).expect("target/ can be written");
        fs::write(folder.join("main.rs"), source).expect("target/ can be written");
        Self(folder)
    }

    /// Gives its standard output.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Result<String, String> {
        cargo(&self.0, arguments)
    }

    pub(crate) fn program(&self) -> PathBuf {
        self.0.join("target/release/program")
    }

    pub(crate) fn forget_what_was_built(&self) {
        let _ = fs::remove_dir_all(self.0.join("target"));
    }

    /// Name and version of each package that it stands on.
    pub(crate) fn dependencies(&self) -> Result<Vec<(String, String)>, String> {
        dependencies(&self.0, "255")
    }
}

/// The same for this program: only what it names itself.
pub(crate) fn own_dependencies() -> Result<Vec<(String, String)>, String> {
    dependencies(Path::new(env!("CARGO_MANIFEST_DIR")), "1")
}

fn dependencies(folder: &Path, depth: &str) -> Result<Vec<(String, String)>, String> {
    let arguments = ["--prefix", "none", "--edges", "normal,build", "--depth", depth];
    let tree = cargo(folder, &[&["tree", "--quiet"], &arguments[..]].concat())?;
    let of_line = |line: &str| {
        let mut words = line.split(' ');
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        Some((name.to_owned(), version.to_owned()))
    };
    let mut all: Vec<_> = tree.lines().skip(1).filter_map(of_line).collect();
    all.sort();
    all.dedup();
    Ok(all)
}

fn cargo(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(arguments).current_dir(folder).env("CARGO_TARGET_DIR", folder.join("target"));
    Ok(String::from_utf8_lossy(&output_of(&mut cargo)?.stdout).into_owned())
}

/// Of a command that succeeds.
pub(crate) fn output_of(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}\n{said}", output.status))
}
